//! More requests than there are places.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use futures_util::stream;
use runhook::config::Limits;
use serde_json::json;

use super::engine::Engine;

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
