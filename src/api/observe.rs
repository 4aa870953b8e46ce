//! What is recorded of every request: its route, never its address line, for that may hold secrets.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

/// Where the request's id is.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Logs and counts a request.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!("request", %method, path, id);
    let began = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), began.elapsed());
    span.in_scope(|| tracing::debug!(status = status.as_u16(), ms = took.as_secs_f64() * 1000.0, "answered"));
    metrics::counter!(
        "runhook_http_requests_total",
        "method" => known(&method), "path" => path.clone(), "status" => status.as_u16().to_string()
    )
    .increment(1);
    metrics::histogram!("runhook_http_request_seconds", "path" => path).record(took.as_secs_f64());
    response
}

/// A method as a label. Anyone may send any word for one, and every label is kept for good.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    methods.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_method_makes_no_label() {
        assert_eq!(known(&Method::PATCH), "PATCH");
        assert_eq!(known(&Method::from_bytes(b"X1").unwrap()), "other");
    }
}
