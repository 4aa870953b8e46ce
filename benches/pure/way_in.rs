//! The way in: a request of a hundred runs is decoded and normalised, and a run's parts are merged.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::stream;
use runhook::config::Limits;
use runhook::ingest::{Incoming, rehearsal};
use runhook::model::id::{ProjectId, RunId, TenantId};
use runhook::model::json::RawJson;
use runhook::model::merge::digest;
use runhook::model::run::{Fields, Layers, Part, PartKind, Payload};
use runhook::model::time::Timestamp;
use tokio::runtime;
use uuid::Uuid;

use crate::case::{Case, Turn};
use crate::runs::{Numbers, extra, payloads};

const RUNS: u64 = 100;

pub(super) const CASES: [Case; 4] = [
    Case { name: "ingest/batch", objects: RUNS, unit: "runs", prepare: |_| batch() },
    Case { name: "ingest/multipart", objects: RUNS, unit: "runs", prepare: |_| multipart(false) },
    Case { name: "ingest/multipart-zstd", objects: RUNS, unit: "runs", prepare: |_| multipart(true) },
    Case { name: "merge/post-and-patch", objects: RUNS, unit: "runs", prepare: |_| merge() },
];

/// The words of a run without its payloads, which are open at the end.
fn head(number: u64) -> String {
    let id = Uuid::from_u128(u128::from(number) + 1);
    format!(
        "{{\"id\":\"{id}\",\"trace_id\":\"{id}\",\"dotted_order\":\"20240405T012854085646Z{id}\",\"name\":\"step-{}\",\
         \"run_type\":\"llm\",\"session_name\":\"support-bot\",\"start_time\":\"2024-04-05T01:28:54.085646+00:00\",\
         \"end_time\":\"2024-04-05T01:28:55.185646+00:00\",\"tags\":[\"tag-1\",\"tag-2\"]",
        number % 50
    )
}

fn rehearse<F: Future<Output = usize> + 'static>(turn: impl Fn() -> F + 'static) -> Turn {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    Box::new(move || runtime.block_on(turn()))
}

fn incoming(body: Bytes, content_type: &str, encoding: Option<&str>) -> Incoming {
    Incoming {
        content_type: Some(content_type.to_owned()),
        encoding: encoding.map(str::to_owned),
        length: Some(body.len() as u64),
        body: Box::pin(stream::iter([Ok(body)])),
    }
}

fn batch() -> Turn {
    let mut numbers = Numbers::new(3);
    let runs: Vec<String> = (0..RUNS)
        .map(|number| {
            let (inputs, outputs) = payloads(&mut numbers);
            let extra = extra(&mut numbers);
            format!("{},\"inputs\":{inputs},\"outputs\":{outputs},\"extra\":{extra}}}", head(number))
        })
        .collect();
    let body = Bytes::from(format!("{{\"post\":[{}]}}", runs.join(",")));
    rehearse(move || {
        let incoming = incoming(body.clone(), "application/json", None);
        async { rehearsal::batch(incoming, &Limits::default()).await.unwrap().parts }
    })
}

fn multipart(compressed: bool) -> Turn {
    let mut numbers = Numbers::new(3);
    let mut body = String::new();
    for number in 0..RUNS {
        let id = Uuid::from_u128(u128::from(number) + 1);
        let (inputs, outputs) = payloads(&mut numbers);
        let extra = extra(&mut numbers);
        let whole = format!("{}}}", head(number));
        for (name, json) in [("", whole), (".inputs", inputs), (".outputs", outputs), (".extra", extra)] {
            write!(
                body,
                "--b\r\nContent-Disposition: form-data; name=\"post.{id}{name}\"\r\nContent-Type: application/json\r\n\r\n{json}\r\n"
            )
            .unwrap();
        }
    }
    body.push_str("--b--\r\n");
    let (body, encoding) = if compressed {
        (zstd::encode_all(body.as_bytes(), 3).unwrap(), Some("zstd"))
    } else {
        (body.into_bytes(), None)
    };
    let body = Bytes::from(body);
    rehearse(move || {
        let incoming = incoming(body.clone(), "multipart/form-data; boundary=b", encoding);
        async { rehearsal::multipart(incoming, &Limits::default(), Timestamp(0)).await.unwrap().parts }
    })
}

/// What a post and a patch say of each run, as it is merged and told.
fn merge() -> Turn {
    let mut numbers = Numbers::new(5);
    let parts: Vec<[Part; 2]> = (0..RUNS)
        .map(|number| {
            let run_id = RunId(Uuid::from_u128(u128::from(number) + 1));
            let (inputs, outputs) = payloads(&mut numbers);
            let payload = |text: String| Some(Payload::Inline(RawJson::parse(text).unwrap()));
            let posted = Fields {
                name: Some("step".to_owned()),
                run_type: Some("llm".to_owned()),
                start_time: Some(Timestamp(1_000_000)),
                inputs: payload(inputs),
                extra: Some(RawJson::parse(extra(&mut numbers)).unwrap()),
                ..Fields::default()
            };
            let patched =
                Fields { end_time: Some(Timestamp(2_000_000)), outputs: payload(outputs), ..Fields::default() };
            [(PartKind::Post, posted), (PartKind::Patch, patched)].map(|(kind, fields)| {
                let digest = digest(&fields, kind, run_id);
                Part { run_id, kind, project: None, fields, digest }
            })
        })
        .collect();
    Box::new(move || {
        let told = parts.iter().filter_map(|parts| {
            let mut layers = Layers::default();
            for part in parts {
                layers.apply(part.clone());
            }
            let project = ProjectId(Uuid::from_u128(1));
            layers.resolve(TenantId::DEFAULT, project, parts[0].run_id, Timestamp(3_000_000))
        });
        told.map(|run| run.name.len()).sum()
    })
}
