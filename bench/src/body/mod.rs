//! Request bodies: templates written once, into which ids and times are patched, so that making a body costs little more
//! than copying it.

mod shape;
mod template;
mod text;

use bytes::Bytes;
use uuid::Uuid;

use crate::body::shape::KIND_COUNT;
use crate::body::template::{Template, Values};
use crate::draw::{Draw, mixed, share};
use crate::run_id::{Class, RunId};

pub(crate) use shape::{BOUNDARY, Wire};

/// Different texts for each kind of run.
const VARIANTS: usize = 128;

/// What bodies are made of.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) wire: Wire,
    /// Runs in a body.
    pub(crate) batch: usize,
    /// About how many bytes of JSON a run has.
    pub(crate) run_bytes: usize,
    /// Over how many projects the bodies go round; all runs of a body are in one.
    pub(crate) projects: u16,
    /// The share of runs that fail.
    pub(crate) errors: f64,
    /// The share of runs that get feedback, half of it a low score.
    pub(crate) feedback: f64,
    /// The number of the load, below 16,384.
    pub(crate) load: u16,
    pub(crate) seed: u64,
}

/// A request's body, and whose runs are in it.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) runs: Vec<Uuid>,
}

/// Makes bodies, one after another.
pub(crate) struct Kitchen {
    recipe: Recipe,
    /// By place in the trace, then fine and failing, then variant.
    templates: Vec<[Vec<Template>; 2]>,
    serial: u64,
    bodies: u64,
    trace: Option<(Uuid, [u8; 22])>,
    digits: Digits,
}

impl Kitchen {
    /// Writes the templates.
    pub(crate) fn open(recipe: Recipe) -> Self {
        let mut draw = Draw::seeded(recipe.seed);
        let mut written = |place, error| {
            let template = |_| shape::template(recipe.wire, place, error, recipe.run_bytes, &mut draw);
            (0..VARIANTS).map(template).collect::<Vec<_>>()
        };
        let templates = (0..KIND_COUNT).map(|place| [written(place, false), written(place, true)]).collect();
        Self { recipe, templates, serial: 0, bodies: 0, trace: None, digits: Digits::default() }
    }

    /// The next body, made at this instant.
    pub(crate) fn next(&mut self, micros: u64) -> std::io::Result<Body> {
        let project = self.project();
        let mut bytes = Vec::with_capacity((self.recipe.run_bytes + 600) * self.recipe.batch + 64);
        let mut runs = Vec::with_capacity(self.recipe.batch);
        if self.recipe.wire == Wire::Batch {
            bytes.extend_from_slice(b"{\"post\":[");
        }
        for index in 0..self.recipe.batch {
            if index > 0 && self.recipe.wire == Wire::Batch {
                bytes.push(b',');
            }
            runs.push(self.run(project, micros, &mut bytes));
        }
        match self.recipe.wire {
            Wire::Batch => bytes.extend_from_slice(b"],\"patch\":[]}"),
            Wire::Multipart | Wire::MultipartZstd => bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes()),
        }
        if self.recipe.wire == Wire::MultipartZstd {
            bytes = zstd::bulk::compress(&bytes, 3)?;
        }
        self.bodies += 1;
        Ok(Body { bytes: bytes.into(), runs })
    }

    /// Traces stay together: a project lasts for as many bodies as a trace needs.
    fn project(&self) -> u16 {
        let traces = self.bodies * self.recipe.batch as u64 / KIND_COUNT as u64;
        let turn = if self.recipe.batch >= KIND_COUNT { self.bodies } else { traces };
        u16::try_from(turn % u64::from(self.recipe.projects.max(1))).unwrap_or_default()
    }

    fn run(&mut self, project: u16, micros: u64, out: &mut Vec<u8>) -> Uuid {
        let serial = self.serial;
        self.serial += 1;
        let luck = mixed(self.recipe.seed ^ mixed(serial));
        let class = self.class(luck);
        let id = RunId { millis: micros / 1000, class, load: self.recipe.load, project, serial }.uuid();
        let place = usize::try_from(serial % KIND_COUNT as u64).unwrap_or_default();
        let start = micros.saturating_sub(60_000_000) + place as u64;
        let begun = self.digits.path(start);
        let (trace, trace_begun) = match self.trace {
            Some(trace) if place > 0 => trace,
            _ => (id, begun),
        };
        self.trace = Some((trace, trace_begun));
        let values = Values {
            id: hyphenated(id),
            trace: hyphenated(trace),
            trace_begun,
            begun,
            start: self.digits.instant(start),
            end: self.digits.instant(start + 50_000 + luck % 4_000_000),
            project: self.digits.number(project),
        };
        let variant = usize::try_from(luck >> 8).unwrap_or_default() % VARIANTS;
        let variants = self.templates.get(place).map(|[fine, failing]| if class.error { failing } else { fine });
        if let Some(template) = variants.and_then(|variants| variants.get(variant)) {
            template.fill(&values, out);
        }
        id
    }

    fn class(&self, luck: u64) -> Class {
        let feedback = share(mixed(luck ^ 1)) < self.recipe.feedback;
        Class { error: share(luck) < self.recipe.errors, feedback, low: feedback && luck & 1 == 1 }
    }
}

fn hyphenated(id: Uuid) -> [u8; 36] {
    let mut text = [0; 36];
    id.hyphenated().encode_lower(&mut text);
    text
}

/// Writes instants. The part down to the second is kept, since most instants share it.
#[derive(Default)]
struct Digits {
    second: u64,
    path: [u8; 22],
    instant: [u8; 32],
}

impl Digits {
    fn turn_to(&mut self, micros: u64) {
        let second = micros / 1_000_000;
        if second == self.second {
            return;
        }
        self.second = second;
        let at = chrono::DateTime::from_timestamp(i64::try_from(second).unwrap_or_default(), 0).unwrap_or_default();
        copy(&mut self.path, &at.format("%Y%m%dT%H%M%S000000Z").to_string());
        copy(&mut self.instant, &at.format("%Y-%m-%dT%H:%M:%S.000000+00:00").to_string());
    }

    fn path(&mut self, micros: u64) -> [u8; 22] {
        self.turn_to(micros);
        let mut text = self.path;
        put_digits(text.get_mut(15..21).unwrap_or_default(), micros % 1_000_000);
        text
    }

    fn instant(&mut self, micros: u64) -> [u8; 32] {
        self.turn_to(micros);
        let mut text = self.instant;
        put_digits(text.get_mut(20..26).unwrap_or_default(), micros % 1_000_000);
        text
    }

    #[expect(clippy::unused_self, reason = "one place writes digits")]
    fn number(&self, number: u16) -> [u8; 5] {
        let mut text = [0; 5];
        put_digits(&mut text, number.into());
        text
    }
}

fn copy(into: &mut [u8], text: &str) {
    for (to, from) in into.iter_mut().zip(text.bytes()) {
        *to = from;
    }
}

fn put_digits(into: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in into.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const AT: u64 = 1_795_314_163_227_253;

    fn recipe(wire: Wire) -> Recipe {
        Recipe { wire, batch: 100, run_bytes: 2_270, projects: 3, errors: 0.1, feedback: 0.1, load: 5, seed: 1 }
    }

    fn posts(body: &Body) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&body.bytes).unwrap();
        body["post"].as_array().unwrap().clone()
    }

    #[test]
    fn a_batch_is_json_whose_runs_are_those_it_says() {
        let mut kitchen = Kitchen::open(recipe(Wire::Batch));
        for project in ["bench-00000", "bench-00001"] {
            let body = kitchen.next(AT).unwrap();
            let posts = posts(&body);
            let ids: Vec<String> = posts.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(ids, body.runs.iter().map(Uuid::to_string).collect::<Vec<_>>());
            assert!(posts.iter().all(|run| run["session_name"] == project));
            let bytes = body.bytes.len() / 100;
            assert!((2_200..2_400).contains(&bytes), "{bytes} bytes a run");
        }
    }

    #[test]
    fn a_run_packs_about_as_well_as_what_models_and_people_write() {
        let mut single = Kitchen::open(Recipe { batch: 1, ..recipe(Wire::Batch) });
        let bodies: Vec<Body> = (0..40).map(|_| single.next(AT).unwrap()).collect();
        let packed: usize = bodies.iter().map(|body| zstd::bulk::compress(&body.bytes, 3).unwrap().len()).sum();
        assert!((1_250..1_500).contains(&(packed / 40)), "{} bytes a run", packed / 40);
    }

    #[test]
    fn runs_that_fail_are_those_whose_ids_say_so() {
        let body = Kitchen::open(recipe(Wire::Batch)).next(AT).unwrap();
        let failing: Vec<bool> = posts(&body).iter().map(|run| run["error"].is_string()).collect();
        let said: Vec<bool> = body.runs.iter().map(|id| RunId::of(*id).unwrap().class.error).collect();
        assert_eq!(failing, said);
        assert!(said.contains(&true) && said.contains(&false));
    }

    #[test]
    fn children_hang_under_the_root_of_their_trace() {
        let mut single = Kitchen::open(Recipe { batch: 1, ..recipe(Wire::Batch) });
        let runs: Vec<Value> = (0..8).map(|at| posts(&single.next(AT + at * 7).unwrap())[0].clone()).collect();
        for run in &runs {
            let root = runs.iter().find(|root| root["id"] == run["trace_id"]).unwrap();
            assert!(run["dotted_order"].as_str().unwrap().starts_with("20261122T"), "{run}");
            assert!(run["dotted_order"].as_str().unwrap().starts_with(root["dotted_order"].as_str().unwrap()));
            assert_eq!(root["parent_run_id"], Value::Null);
            assert_eq!(root["session_name"], run["session_name"]);
        }
    }

    #[test]
    fn multipart_says_the_length_of_every_part_and_packed_is_the_same() {
        let plain = Kitchen::open(recipe(Wire::Multipart)).next(AT).unwrap();
        let packed = Kitchen::open(recipe(Wire::MultipartZstd)).next(AT).unwrap();
        assert_eq!(zstd::decode_all(&packed.bytes[..]).unwrap(), plain.bytes);
        let text = String::from_utf8(plain.bytes.to_vec()).unwrap();
        let mut parts = 0;
        for part in text.split(&format!("--{BOUNDARY}\r\n")).skip(1) {
            let (head, rest) = part.split_once("\r\n\r\n").unwrap();
            let length: usize = head.split("Content-Length: ").nth(1).unwrap().parse().unwrap();
            let (text, after) = rest.split_at(length);
            assert!(after.starts_with("\r\n"), "{head}");
            serde_json::from_str::<Value>(text).unwrap();
            parts += 1;
        }
        assert!(parts >= 500, "{parts}");
    }
}
