//! Bodies that are too large, too deep or no bodies at all.

use axum::body::Body;
use axum::http::Request;
use runhook::config::Limits;
use serde_json::json;

use super::engine::{Engine, NOON, form, gzip, multipart_request, zstd};

const ID: &str = "01a2010f-fb2e-7c64-8ea0-e9d36097932f";
const OTHER: &str = "01a2010f-fb2e-7c64-8ea0-e9d36097932e";

fn encoded(path: &str, encoding: &str, body: Vec<u8>) -> Request<Body> {
    Request::post(path).header("content-encoding", encoding).body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn a_bomb_is_413_and_leaves_nothing() {
    let engine = Engine::start().await;
    let run = br#"{"name":"n","run_type":"chain","start_time":"2026-11-22T02:22:34Z"}"#;
    let bomb = vec![b' '; 101 * 1024 * 1024];
    let (good, inputs) = (format!("post.{ID}"), format!("post.{ID}.inputs"));
    let body = form(&[(&good, "application/json", run), (&inputs, "application/json", &bomb)]);
    for (encoding, body) in [("gzip", gzip(&body)), ("zstd", zstd(&body))] {
        assert!(body.len() < 200_000);
        let answer = engine.send(multipart_request(body, Some(encoding))).await.expect(413).json();
        assert!(answer["error"].as_str().unwrap().contains("decompressed"), "{answer}");
    }
    engine.send(encoded("/runs/batch", "zstd", zstd(&bomb))).await.expect(413);
    assert!(engine.runs().await.is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_by_its_header_or_by_its_bytes() {
    let engine = Engine::with(Limits { request_bytes: 1000, ..Limits::default() }).await;
    let announced = Request::post("/runs").header("content-length", "1001").body(Body::empty()).unwrap();
    engine.send(announced).await.expect(413);
    let chunks = (0..10).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 101])));
    let streamed = Body::from_stream(futures_util::stream::iter(chunks));
    engine.call("POST", "/runs", streamed).await.expect(413);
    engine.post("/feedback", &json!({"key": "k".repeat(1000)})).await.expect(413);
}

#[tokio::test]
async fn an_encoding_nobody_reads_is_415_and_a_broken_one_400() {
    let engine = Engine::start().await;
    engine.send(encoded("/runs", "br", b"{}".to_vec())).await.expect(415);
    engine.send(encoded("/runs/batch", "gzip", b"{}".to_vec())).await.expect(400);
    engine.send(encoded("/runs", "zstd", zstd(b"{}")[..5].to_vec())).await.expect(400);
}

#[tokio::test]
async fn json_that_is_nested_too_deeply_is_refused_alone() {
    let engine = Engine::start().await;
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let run = |id: &str, inputs: &str| {
        format!(
            r#"{{"id":"{id}","name":"n","run_type":"chain","start_time":"2026-11-22T02:22:34Z","inputs":{inputs}}}"#
        )
    };
    let answer = engine.call("POST", "/runs", run(ID, &deep)).await.expect(422).json();
    assert!(answer["error"].as_str().unwrap().contains("128 levels"), "{answer}");
    let batch = format!(r#"{{"post":[{},{}]}}"#, run(ID, &deep), run(OTHER, "{}"));
    let answer = engine.call("POST", "/runs/batch", batch).await.expect(202).json();
    assert_eq!(answer["refused"][0]["part"], "post[0]");
    assert!(engine.run(ID).await.is_none() && engine.run(OTHER).await.is_some());
    engine.call("POST", "/runs/batch", deep.clone()).await.expect(400);
    engine.call("POST", "/feedback", format!(r#"{{"key":"k","run_id":"{ID}","value":{deep}}}"#)).await.expect(422);
    engine.call("POST", "/sessions", format!(r#"{{"name":"k","extra":{deep}}}"#)).await.expect(422);
}

#[tokio::test]
async fn one_bad_run_of_a_batch_fails_alone() {
    let engine = Engine::start().await;
    let good = json!({"id": ID, "name": "n", "run_type": "chain", "start_time": "2026-11-22T02:22:34Z"});
    let body = json!({"post": [good, {"name": "no id"}, 7, null], "patch": [{"id": ID, "tags": {}}]});
    let answer = engine.post("/runs/batch", &body).await.expect(202).json();
    let parts: Vec<_> = answer["refused"].as_array().unwrap().iter().map(|refused| &refused["part"]).collect();
    assert_eq!(parts, ["post[1]", "post[2]", "post[3]", "patch[0]"]);
    assert!(engine.run(ID).await.is_some());
    engine.post("/runs/batch", &json!({"post": [{"name": "no id"}]})).await.expect(422);
    let empty = engine.post("/runs/batch", &json!({})).await.expect(422).json();
    assert!(empty["error"].as_str().unwrap().contains("`patch`: send {\"post\": [...]"), "{empty}");
}

#[tokio::test]
async fn a_run_whose_field_is_wrong_is_told_which() {
    let engine = Engine::start().await;
    let answer = engine.post("/runs", &json!({"id": ID, "start_time": []})).await.expect(422).json();
    assert!(answer["error"].as_str().unwrap().contains("`start_time`"));
    engine.call("POST", "/runs", "{").await.expect(400);
    engine.call("POST", "/runs", vec![0xff, 0xfe]).await.expect(400);
    engine.call("POST", "/runs", "7").await.expect(422);
    engine.patch("/runs/not-an-id", &json!({})).await.expect(422);
    engine.patch(&format!("/runs/{ID}"), &json!({"id": OTHER})).await.expect(422);
}

#[tokio::test]
async fn a_project_that_does_not_exist_refuses_its_run() {
    let engine = Engine::start().await;
    let run = json!({"id": ID, "name": "n", "run_type": "chain", "start_time": "2026-11-22T02:22:34Z",
                     "session_id": OTHER});
    engine.post("/runs", &run).await.expect(422);
    assert!(engine.run(ID).await.is_none());
}

#[tokio::test]
async fn a_post_that_would_never_be_seen_is_refused_and_told_what_is_missing() {
    let engine = Engine::start().await;
    for (run, missing) in [
        (json!({"id": ID, "run_type": "chain"}), "`name` is missing"),
        (json!({"id": ID, "name": "n", "run_type": ""}), "`run_type` is missing"),
    ] {
        let answer = engine.post("/runs", &run).await.expect(422).json();
        assert!(answer["error"].as_str().unwrap().starts_with(missing), "{answer}");
        let label = format!("post.{ID}");
        let text = run.to_string();
        let answer = engine.multipart(&[(&label, "application/json", text.as_bytes())]).await.expect(422).json();
        assert_eq!(answer["refused"][0]["part"], label.as_str());
        let batch = json!({"post": [run, {"id": OTHER, "name": "n", "run_type": "chain"}]});
        let answer = engine.post("/runs/batch", &batch).await.expect(202).json();
        assert_eq!((&answer["runs"], &answer["refused"][0]["part"]), (&json!(1), &json!("post[0]")));
        assert!(answer["refused"][0]["error"].as_str().unwrap().starts_with(missing), "{answer}");
    }
    assert!(engine.run(ID).await.is_none() && engine.run(OTHER).await.is_some());
}

#[tokio::test]
async fn a_post_whose_patch_in_the_same_request_brings_the_rest_is_taken() {
    let engine = Engine::start().await;
    let (post, patch) = (format!("post.{ID}"), format!("patch.{ID}"));
    let parts: [(&str, &str, &[u8]); 2] = [
        (&post, "application/json", br#"{"run_type":"chain","start_time":"2026-11-22T02:22:34Z"}"#),
        (&patch, "application/json", br#"{"name":"late","end_time":"2026-11-22T02:22:35Z"}"#),
    ];
    engine.multipart(&parts).await.expect(202);
    assert_eq!(engine.run(ID).await.unwrap().run.name, "late");
}

#[tokio::test]
async fn a_start_that_nobody_says_is_told_from_the_path_or_the_id_or_the_clock_once() {
    let engine = Engine::start().await;
    let random = "691753af-99d4-4de3-9b4b-678bffa9aa39";
    let post = |id: &str| json!({"id": id, "name": "n", "run_type": "chain"});
    let mut placed = post(OTHER);
    placed["dotted_order"] = format!("20261122T022234197283Z{OTHER}").into();
    for run in [&post(random), &post(ID), &placed] {
        engine.post("/runs", run).await.expect(202);
    }
    let clock = engine.run(random).await.unwrap();
    assert_eq!(clock.run.start_time, NOON);
    assert_eq!(engine.run(OTHER).await.unwrap().run.start_time.to_string(), "2026-11-22T02:22:34.197283Z");
    assert_eq!(engine.run(ID).await.unwrap().run.start_time.0 / 1000, 0x01a2_010f_fb2e);
    engine.clock.advance(std::time::Duration::from_mins(1));
    engine.post("/runs", &post(random)).await.expect(202);
    assert_eq!(engine.run(random).await.unwrap().changed_seq, clock.changed_seq, "a repeat");
    let mut more = post(random);
    more["tags"] = json!(["late"]);
    engine.post("/runs", &more).await.expect(202);
    let later = engine.run(random).await.unwrap().run;
    assert_eq!((later.start_time, later.tags.len()), (NOON, 1));
}
