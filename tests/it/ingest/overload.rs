//! More requests than there are places, more rows than there is room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use futures_util::stream;
use runhook::config::Limits;
use serde_json::json;

use super::engine::{Engine, multipart_request};
use crate::support::home::Room;

#[tokio::test]
async fn a_request_too_many_is_429_before_its_body_is_read() {
    let engine = Engine::with(Limits { concurrent_requests: 1, ..Limits::default() }).await;
    let endless = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let mut holding = Box::pin(engine.call("POST", "/runs", endless));
    assert!(futures_util::FutureExt::now_or_never(&mut holding).is_none());

    let touched = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&touched);
    let watched = Body::from_stream(stream::once(async move {
        seen.store(true, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from_static(b"{}"))
    }));
    let request = Request::post("/runs/multipart").body(watched).unwrap();
    let answer = engine.send(request).await.expect(429);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.json()["error"].is_string());
    assert!(!touched.load(Ordering::SeqCst));

    engine.get("/info").await.expect(200);
    drop(holding);
    engine.post("/runs", &json!({"name": "n", "run_type": "c", "start_time": 1})).await.expect(202);
}

#[tokio::test]
async fn a_body_that_does_not_fit_beside_the_others_is_429_on_every_surface() {
    let limits = Limits { inflight_bytes: 0, request_bytes: 4096, decompressed_bytes: 4096, ..Limits::default() };
    let engine = Engine::with(limits).await;
    let held = || {
        let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 4000]))]);
        Body::from_stream(futures_util::StreamExt::chain(begun, stream::pending()))
    };
    let mut first = Box::pin(engine.call("POST", "/runs", held()));
    assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
    let mut second = Box::pin(engine.send(multipart_request(held(), None)));
    assert!(futures_util::FutureExt::now_or_never(&mut second).is_none());

    for path in ["/runs", "/runs/batch", "/feedback", "/v1/rules/apply", "/v1/runs/import"] {
        let answer = engine.post(path, &json!({"files": []})).await.expect(429);
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
    }
    engine.get("/info").await.expect(200);
    drop(first);
    engine.post("/runs", &json!({"name": "n", "run_type": "c", "start_time": 1})).await.expect(202);
    engine.post("/v1/rules/apply", &json!({"files": []})).await.expect(200);
}

fn run(inputs: &str) -> serde_json::Value {
    json!({"name": "n", "run_type": "chain", "start_time": 1, "inputs": {"text": inputs}})
}

#[tokio::test]
async fn a_store_that_cannot_keep_up_is_503_with_the_time_to_come_back() {
    let engine = Engine::with_room(Room { queued_items: Some(1), ..Room::default() }).await;
    let batch = json!({"post": [run("a"), run("b")]});
    let mut requests = Vec::new();
    for id in 0..8_u128 {
        let mut batch = batch.clone();
        batch["post"][0]["id"] = uuid::Uuid::from_u128(2 * id + 1).to_string().into();
        batch["post"][1]["id"] = uuid::Uuid::from_u128(2 * id + 2).to_string().into();
        requests.push(batch);
    }
    let answers = futures_util::future::join_all(requests.iter().map(|batch| engine.post("/runs/batch", batch))).await;
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status.as_u16() == 503).collect();
    assert!(!busy.is_empty());
    for answer in busy {
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert!(answer.json()["error"].is_string());
    }
    let accepted = answers.iter().filter(|answer| answer.status.as_u16() == 202).count();
    assert_eq!(engine.runs().await.len(), 2 * accepted, "what was acknowledged is there, and nothing else");
}
