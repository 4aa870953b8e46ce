//! What exporters are told, and what is refused.

use axum::body::Body;
use axum::http::Request;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use runhook::config::Limits;
use serde_json::{Value, json};

use super::super::engine::{Answer, gzip};
use super::{Engine, JSON, NANOS, PROTOBUF, post, protobuf, request, root, run_of, send, span};
use crate::support::home::Room;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The status in an answer, whatever it is written in.
fn status(answer: &Answer) -> (i64, String) {
    match answer.header("content-type") {
        Some(JSON) => {
            let json = answer.json();
            (json["code"].as_i64().unwrap(), json["message"].as_str().unwrap().to_owned())
        }
        Some(PROTOBUF) => {
            let status = Status::decode(answer.body.clone()).unwrap();
            (status.code.into(), status.message)
        }
        other => panic!("{other:?}"),
    }
}

/// Spans of which only the first and the last are good.
fn mixed() -> Vec<Value> {
    let mut spans: Vec<Value> = (1..=7).map(|number| span(number, None, json!({}))).collect();
    for (number, span) in spans.iter_mut().enumerate() {
        span["traceId"] = format!("{:032x}", number + 1).into();
    }
    spans[1]["traceId"] = json!("abcd");
    spans[2]["spanId"] = json!("0000000000000000");
    spans[3]["startTimeUnixNano"] = json!("0");
    spans[4]["attributes"] = super::pairs(&json!({ "langsmith.trace.session_id": "a name" }));
    spans[5]["attributes"] = super::pairs(&json!({ "langsmith.trace.session_id": run_of(9) }));
    spans
}

#[tokio::test]
async fn spans_that_cannot_be_taken_are_told_of_and_cost_the_others_nothing() {
    let json = request(&mixed());
    let engine = Engine::start().await;
    let answer = engine.send(post(JSON, json.to_string())).await.expect(200).json();
    let told = &answer["partialSuccess"];
    assert_eq!(told["rejectedSpans"], "5");
    let message = told["errorMessage"].as_str().unwrap();
    for part in [
        "span 1: `traceId`",
        "span 2: `spanId`",
        "span 3: `start_time_unix_nano`",
        "`langsmith.trace.session_id` is not an id",
        "there is no project",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(engine.runs().await.len(), 2);

    let engine = Engine::start().await;
    let answer = engine.send(post(PROTOBUF, protobuf(&json).encode_to_vec())).await.expect(200);
    let told = ExportTraceServiceResponse::decode(answer.body).unwrap().partial_success.unwrap();
    assert_eq!(told.rejected_spans, 5);
    assert!(told.error_message.contains("span 1: `trace_id` has 2 bytes; it must have 16"), "{}", told.error_message);
    assert_eq!(engine.runs().await.len(), 2);
}

#[tokio::test]
async fn a_request_of_nothing_but_bad_spans_is_answered_like_any_other() {
    let engine = Engine::start().await;
    let bad = mixed().remove(1);
    let answer = send(&engine, &[bad]).await.expect(200).json();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1");
    assert_eq!(engine.send(post(JSON, "{}")).await.expect(200).json(), json!({}));
    assert!(engine.send(post(PROTOBUF, "")).await.expect(200).body.is_empty());
    assert!(engine.runs().await.is_empty());
}

#[tokio::test]
async fn bytes_that_are_no_text_cost_their_span_only() {
    let spans = [span(1, None, json!({ "mark": "XYXY" })), span(2, Some(1), json!({}))];
    let mut body = protobuf(&request(&spans)).encode_to_vec();
    let at = body.windows(4).position(|bytes| bytes == b"XYXY").unwrap();
    body[at] = 0xff;
    let engine = Engine::start().await;
    let answer = engine.send(post(PROTOBUF, body)).await.expect(200);
    let told = ExportTraceServiceResponse::decode(answer.body).unwrap().partial_success.unwrap();
    assert_eq!(told.rejected_spans, 1);
    assert!(engine.run(&root()).await.is_none() && engine.run(&run_of(2)).await.is_some());
}

#[tokio::test]
async fn what_cannot_be_read_is_400_with_a_status_in_its_own_encoding() {
    let engine = Engine::start().await;
    let depth = 5000;
    let deep = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"a","value":{}{}}}]}}}}]}}"#,
        r#"{"arrayValue":{"values":["#.repeat(depth),
        "]}}".repeat(depth),
    );
    for (content_type, body, part) in [
        (JSON, b"[]".to_vec(), "ExportTraceServiceRequest"),
        (JSON, b"{\"resourceSpans\":".to_vec(), "ExportTraceServiceRequest"),
        (JSON, br#"{"resourceSpans":[7]}"#.to_vec(), "ExportTraceServiceRequest"),
        (JSON, deep.into_bytes(), "recursion"),
        (PROTOBUF, b"{}".to_vec(), "ExportTraceServiceRequest"),
        (PROTOBUF, vec![0x0a, 0x7f, 0x01], "ExportTraceServiceRequest"),
        (PROTOBUF, [0x0a, 0x00].repeat(100_000), "empty messages"),
    ] {
        let answer = engine.send(post(content_type, body)).await.expect(400);
        let (code, message) = status(&answer);
        assert!(code == 3 && message.contains(part), "{code} {message}");
        assert_eq!(answer.header("content-type"), Some(content_type));
    }
    let mut broken = post(PROTOBUF, "no gzip");
    broken.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert!(status(&engine.send(broken).await.expect(400)).1.contains("gzip"));
}

#[tokio::test]
async fn encodings_that_are_not_read_are_415() {
    let engine = Engine::start().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let answer = engine.send(post(content_type, "{}")).await.expect(415);
        assert!(status(&answer).1.contains("application/x-protobuf"), "{content_type}");
    }
    engine.send(Request::post("/otel/v1/traces").body(Body::from("{}")).unwrap()).await.expect(415);
    let mut packed = post(JSON, "{}");
    packed.headers_mut().insert("content-encoding", "br".parse().unwrap());
    assert!(status(&engine.send(packed).await.expect(415)).1.contains("`br`"));
}

#[tokio::test]
async fn a_key_is_asked_for_before_anything_is_read() {
    let engine = Engine::start().await;
    engine.require_key("rh_secret").await;
    let (code, message) = status(&engine.send(post(PROTOBUF, "nonsense")).await.expect(401));
    assert!(code == 16 && message.contains("API key"), "{message}");
    let with = |key: &'static str| {
        let mut request = post(JSON, request(&[span(1, None, json!({}))]).to_string());
        request.headers_mut().insert("x-api-key", key.parse().unwrap());
        engine.send(request)
    };
    assert_eq!(status(&with("rh_wrong").await.expect(403)).0, 7);
    with("rh_secret").await.expect(200);
    assert_eq!(engine.runs().await.len(), 1);
}

#[tokio::test]
async fn every_address_an_exporter_may_be_given_is_the_same_place() {
    let engine = Engine::start().await;
    let prefixes = [
        "/otel/v1/traces",
        "/api/v1/otel/v1/traces",
        "/api/otel/v1/traces",
        "/v1/traces",
        "/api/v1/traces",
        "/api/v1/v1/traces",
        "/otel/v1/traces/",
    ];
    for (number, path) in (1..).zip(prefixes) {
        let body = request(&[span(number, Some(100), json!({}))]).to_string();
        let request = Request::post(path).header("content-type", JSON).body(Body::from(body)).unwrap();
        engine.send(request).await.expect(200);
        assert!(engine.run(&run_of(number)).await.is_some(), "{path}");
    }
    engine.get("/otel/v1/traces").await.expect(405);
}

#[tokio::test]
async fn limits_are_those_of_every_way_in() {
    let limits = Limits {
        runs_per_request: 3,
        request_bytes: 100_000,
        decompressed_bytes: 200_000,
        json_depth: 8,
        ..Limits::default()
    };
    let engine = Engine::with(limits).await;
    let spans: Vec<Value> = (1..=4).map(|number| span(number, None, json!({}))).collect();
    for request in super::every_way(&spans) {
        let answer = engine.send(request).await.expect(413);
        assert!(status(&answer).1.contains("more than 3 spans"));
    }
    let large = request(&[span(1, None, json!({ "input.value": "x".repeat(100_000) }))]).to_string();
    assert!(status(&engine.send(post(JSON, large)).await.expect(413)).1.contains("100000 bytes"));
    let mut bomb = post(JSON, gzip(&vec![b' '; 1_000_000]));
    bomb.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert!(status(&engine.send(bomb).await.expect(413)).1.contains("decompressed"));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(9), "]".repeat(9));
    let spans = [span(1, None, json!({ "input.value": deep })), span(2, Some(1), json!({}))];
    let answer = send(&engine, &spans).await.expect(200).json();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1");
    assert!(
        answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("`inputs` is nested more than 7 levels")
    );
    assert_eq!(engine.runs().await.len(), 1);
}

#[tokio::test]
async fn an_overload_says_when_to_come_back() {
    let limits = Limits { inflight_bytes: 0, request_bytes: 4096, decompressed_bytes: 4096, ..Limits::default() };
    let engine = Engine::with(limits).await;
    let held = || {
        let begun = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 4000]))]);
        Body::from_stream(futures_util::StreamExt::chain(begun, futures_util::stream::pending()))
    };
    let mut holding = [Box::pin(engine.send(post(JSON, held()))), Box::pin(engine.send(post(PROTOBUF, held())))];
    for held in &mut holding {
        assert!(futures_util::FutureExt::now_or_never(held).is_none());
    }
    let spans = [span(1, None, json!({}))];
    for request in super::every_way(&spans) {
        let answer = engine.send(request).await.expect(429);
        assert_eq!((answer.header("retry-after"), status(&answer).0), (Some("1"), 8));
    }
    drop(holding);
    send(&engine, &spans).await.expect(200);

    let engine = Engine::with_room(Room { queued_items: Some(1), ..Room::default() }).await;
    let several: Vec<Vec<Value>> = (0..8)
        .map(|number| vec![span(2 * number + 1, Some(200), json!({})), span(2 * number + 2, Some(200), json!({}))])
        .collect();
    let answers = futures_util::future::join_all(several.iter().map(|spans| send(&engine, spans))).await;
    let busy: Vec<&Answer> = answers.iter().filter(|answer| answer.status.as_u16() == 503).collect();
    assert!(!busy.is_empty());
    for answer in busy {
        assert!(answer.header("retry-after").is_some() && status(answer).0 == 14);
    }
    let accepted = answers.iter().filter(|answer| answer.status.as_u16() == 200).count();
    assert_eq!(engine.runs().await.len(), 2 * accepted, "what was acknowledged is there, and nothing else");
}

#[tokio::test]
async fn the_project_is_the_headers_or_the_spans_or_the_resources_or_the_default() {
    let engine = Engine::start().await;
    let session = |number: u8, name: &str| span(number, Some(100), json!({ "langsmith.trace.session_name": name }));
    let with = |header: Option<&str>, spans: &[Value], resource: Value| {
        let mut body = request(spans);
        body["resourceSpans"][0]["resource"]["attributes"] = super::pairs(&resource);
        let mut request = post(JSON, body.to_string());
        if let Some(name) = header {
            request.headers_mut().insert("Langsmith-Project", name.parse().unwrap());
        }
        engine.send(request)
    };
    with(Some("by header"), &[session(1, "by span")], json!({})).await.expect(200);
    let resource = json!({ "langsmith.trace.session_name": "by resource" });
    with(None, &[session(2, "by span"), span(3, Some(100), json!({}))], resource).await.expect(200);
    with(None, &[span(4, Some(100), json!({}))], json!({})).await.expect(200);
    let sessions = engine.get("/sessions").await.expect(200).json();
    let id = |name: &str| sessions.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()["id"].clone();
    let by_id = span(
        5,
        Some(100),
        json!({ "langsmith.trace.session_id": id("by span"), "langsmith.trace.session_name": "not this" }),
    );
    with(None, &[by_id], json!({})).await.expect(200);
    for (number, name) in [(1, "by header"), (2, "by span"), (3, "by resource"), (4, "default"), (5, "by span")] {
        let run = engine.run(&run_of(number)).await.unwrap().run;
        assert_eq!(run.project_id.to_string(), id(name).as_str().unwrap(), "{number}");
    }
}

#[tokio::test]
async fn attachments_are_kept_and_a_bad_one_costs_only_itself() {
    let engine = Engine::with(Limits { attachment_bytes: 5, ..Limits::default() }).await;
    let files = json!([
        { "name": "note", "content": "aGVsbG8=", "mime_type": "text/plain" },
        { "name": "bad", "content": "?" }, { "content": "aGVsbG8=" }, { "name": "long", "content": "aGVsbG8h" },
    ]);
    let spans = [span(1, None, json!({ "langsmith.attachments": files.to_string() }))];
    let answer = send(&engine, &spans).await.expect(200).json();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "0");
    let message = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    for part in [
        "attachment 1 was left out: `content` is not base64",
        "attachment 2",
        "attachment 3 was left out: it is larger than 5",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let run = engine.run(&root()).await.unwrap().run;
    let kept: Vec<_> =
        run.attachments.iter().map(|file| (file.name.as_str(), file.mime_type.as_str(), file.bytes)).collect();
    assert_eq!(kept, [("note", "text/plain", 5)]);
    assert_eq!(run.start_time.0, i64::try_from(NANOS / 1000).unwrap() + 1_000_000);
}
