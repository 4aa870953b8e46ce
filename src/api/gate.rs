//! How many requests are taken in at a time. More are turned away before a byte of their body is read, with the time
//! to come back: clients drop what a server refuses without one.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::api::problem::Problem;

/// The places for requests that bring a body.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn new(places: u32) -> Self {
        Self(Arc::new(Semaphore::new(places as usize)))
    }
}

/// Lets a request in if there is a place for it. Requests that bring nothing need none.
pub(crate) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE) {
        return next.run(request).await;
    }
    let Ok(_place) = gate.0.try_acquire() else {
        metrics::counter!("runhook_requests_turned_away_total").increment(1);
        let detail = "the server is taking in as many requests as it may at a time";
        return Problem::turned_away("too-many-requests", detail)
            .hint("try again after the time in Retry-After; limits.concurrent_requests sets how many")
            .into_response();
    };
    next.run(request).await
}
