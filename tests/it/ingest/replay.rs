//! What the real clients sent, recorded on the wire, sent again.

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runhook::model::json::RawJson;
use runhook::model::run::{Payload, Run, Status, StoredRun};
use runhook::model::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::engine::{Engine, gzip, zstd};
use crate::support::home::is_on_a_server;

#[derive(Deserialize, Clone)]
struct Recorded {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// A body that is no text.
    #[serde(default)]
    body_b64: String,
}

const FILES: [&str; 11] =
    ["base", "zstd", "batch", "mp404", "noinfo", "old_0.3.45", "old_0.1.147", "js_gzip", "js_plain", "otel", "v2"];

fn recorded(file: &str) -> Vec<Recorded> {
    let path = format!("{}/tests/fixtures/wire/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Recorded {
    /// Bodies were recorded decoded: they are encoded again where the client did.
    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method.as_str()).uri(format!("{}?{}", self.path, self.query));
        let mut body = self.body.clone().into_bytes();
        if !self.body_b64.is_empty() {
            body = STANDARD.decode(&self.body_b64).unwrap();
        }
        for (name, value) in &self.headers {
            match name.to_ascii_lowercase().as_str() {
                "content-length" | "connection" | "transfer-encoding" => continue,
                "content-encoding" => {
                    body = match value.as_str() {
                        "zstd" => zstd(&body),
                        "gzip" => gzip(&body),
                        other => panic!("{other} was not recorded"),
                    }
                }
                _ => {}
            }
            request = request.header(name, value);
        }
        request.body(Body::from(body)).unwrap()
    }

    /// The recordings ask for things the stub made up; those, and only those, are not there.
    fn may_be_missing(&self) -> bool {
        let by_id = ["/runs/", "/api/v2/runs/", "/feedback/"].iter().any(|place| self.path.starts_with(place));
        by_id && (self.method == "GET" || self.path.starts_with("/feedback/"))
    }
}

async fn replay(requests: &[Recorded]) -> (Engine, Vec<(Run, Vec<String>)>) {
    let engine = Engine::start().await;
    for recorded in requests {
        let answer = engine.send(recorded.request()).await;
        let fine = answer.status.is_success() || (answer.status.as_u16() == 404 && recorded.may_be_missing());
        assert!(fine, "{} {}: {} {:?}", recorded.method, recorded.path, answer.status, answer.body);
    }
    let seen = engine.runs().await.into_iter().map(timeless).collect();
    (engine, seen)
}

/// A run without what depends on when and in what order it arrived.
fn timeless(stored: StoredRun) -> (Run, Vec<String>) {
    let mut feedback: Vec<String> = stored.feedback.iter().map(|feedback| format!("{feedback:?}")).collect();
    feedback.sort();
    (Run { modified_at: Timestamp(0), ..stored.run }, feedback)
}

/// A shuffle that a seed repeats.
fn shuffled<T>(mut items: Vec<T>, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for index in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(index, usize::try_from(state % (index as u64 + 1)).unwrap());
    }
    items
}

#[tokio::test]
async fn recorded_traffic_gives_the_same_runs_in_any_order_and_with_repeats() {
    for file in FILES {
        let requests = recorded(file);
        let (_engine, expected) = replay(&requests).await;
        assert!(!expected.is_empty(), "{file}");
        // Each is a database of its own.
        for seed in 1..if is_on_a_server() { 2 } else { 5 } {
            let mut repeated = requests.clone();
            repeated.extend(requests.iter().filter(|recorded| recorded.method != "GET").cloned());
            let (_engine, seen) = replay(&shuffled(repeated, seed)).await;
            assert_eq!(seen, expected, "{file}, seed {seed}");
        }
    }
}

/// What clients would see of a run, without what is of no account to them.
fn told(stored: &StoredRun) -> Value {
    let run = &stored.run;
    let body = |payload: Option<&Payload>| match payload {
        Some(Payload::Inline(json)) => json.read::<Value>().unwrap(),
        Some(Payload::Blob(_)) => json!("elsewhere"),
        None => Value::Null,
    };
    let extra: Value = run.extra.as_ref().map_or(Value::Null, |extra| extra.read().unwrap());
    let mut feedback: Vec<Value> = stored
        .feedback
        .iter()
        .map(|one| json!([one.key, one.score, one.comment, one.correction, one.value.as_ref().map(RawJson::text)]))
        .collect();
    feedback.sort_by_key(Value::to_string);
    json!({
        "name": run.name, "run_type": run.run_type, "status": run.status.as_str(), "parent": run.parent_run_id,
        "trace": run.trace_id, "path": run.dotted_order, "from": run.start_time.naive(),
        "to": run.end_time.map(Timestamp::naive), "tags": run.tags, "inputs": body(run.inputs.as_ref()),
        "outputs": body(run.outputs.as_ref()), "error": run.error.as_ref().and_then(|error| error.lines().next()),
        "thread": extra["metadata"]["thread_id"], "tokens": run.usage.total_tokens,
        "attachments": run.attachments.iter().map(|one| json!([one.name, one.mime_type, one.bytes])).collect::<Vec<_>>(),
        "feedback": feedback,
    })
}

#[tokio::test]
async fn recorded_traffic_is_stored_as_it_was_meant() {
    for file in FILES {
        let (engine, _) = replay(&recorded(file)).await;
        let runs = engine.runs().await.iter().map(|stored| (stored.run.id.to_string(), told(stored))).collect();
        insta::assert_snapshot!(file, serde_json::to_string_pretty(&Value::Object(runs)).unwrap());
    }
}

#[tokio::test]
async fn recorded_runs_are_what_the_clients_traced() {
    let (engine, _) = replay(&recorded("base")).await;
    let runs = engine.runs().await;
    let named = |name: &str| &runs.iter().find(|stored| stored.run.name == name).unwrap().run;
    assert_eq!(named("slow").status, Status::Success);
    assert!(named("slow").end_time > Some(named("slow").start_time));
    assert_eq!(named("boom").status, Status::Error);
    assert!(named("boom").error.as_ref().unwrap().starts_with("ValueError('bad hello')"));
    assert_eq!(named("boom").parent_run_id, Some(named("root").id));
    assert_eq!(named("boom").trace_id, named("root").trace_id);
    assert_eq!(named("llm call").tags, ["t1"]);
    assert_eq!(named("llm call").usage.total_tokens, 12);
    assert_eq!(named("manual").status, Status::Success);
    assert_eq!(named("att").attachments[0].name, "a");
    assert_eq!(named("att").attachments[0].bytes, 11);
    let feedback = engine.get("/feedback?run=e095c2b7-87b0-4c30-b6e3-650e75c4735f").await.json();
    let keys: Vec<_> = feedback.as_array().unwrap().iter().map(|feedback| feedback["key"].clone()).collect();
    assert!(keys.contains(&"user_score".into()) && keys.contains(&"corr".into()), "{keys:?}");
}

/// A client that meets a 404 once sends what it has again, in batches, for as long as it lives.
#[tokio::test]
async fn what_a_client_sends_again_when_it_gives_multipart_up_are_the_same_runs() {
    let (mut multipart, mut batch) = (recorded("mp404"), recorded("mp404"));
    multipart.retain(|request| request.path == "/runs/multipart");
    batch.retain(|request| request.path == "/runs/batch");
    let (_one, by_multipart) = replay(&multipart).await;
    let (_other, by_batch) = replay(&batch).await;
    assert_eq!(by_multipart.len(), 3);
    assert_eq!(by_multipart, by_batch);
}

#[tokio::test]
async fn one_trace_is_the_same_by_every_transport() {
    let mut shapes = Vec::new();
    for file in ["base", "zstd", "batch"] {
        let (engine, _) = replay(&recorded(file)).await;
        let runs = engine.runs().await;
        let child = runs.iter().find(|stored| stored.run.name == "llm call").unwrap();
        let run = &child.run;
        let outputs = format!("{:?}", run.outputs);
        shapes.push((run.run_type.clone(), run.status.clone(), run.tags.clone(), outputs, run.usage.clone()));
    }
    assert_eq!(shapes[0], shapes[1]);
    assert_eq!(shapes[0], shapes[2]);
}
