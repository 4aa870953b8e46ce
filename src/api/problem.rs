//! Errors of the native API: RFC 9457 problems with a stable code, what to do next, and a request id.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::blob::BlobError;
use crate::ingest::{IngestError, Invalid};
use crate::store::StoreError;

/// How long a client waits after an overload whose end nobody knows.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a request was not done, as its sender sees it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable name.
    pub code: &'static str,
    /// What happened, in a sentence. Never a secret, never an internal.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Further members of the document.
    pub more: Map<String, Value>,
}

impl Problem {
    /// A problem with a code and a sentence.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), hint: None, retry_after: None, more: Map::new() }
    }

    /// 400: the request cannot be read.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// 404: nothing has this id.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("{what} not found"))
    }

    /// 422: it can be read, but not done.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a further member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// 429: more is under way than may be.
    #[must_use]
    pub fn turned_away(code: &'static str, detail: &str) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).with("error", detail.into());
        problem.retry_after = Some(PAUSE);
        problem
    }

    fn overloaded(code: &'static str, detail: &str, retry_after: Duration) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        problem.retry_after = Some(retry_after.max(PAUSE));
        problem
    }

    /// 503: the database is away. Logged once with its cause; the sender comes again.
    fn unavailable(cause: &dyn std::error::Error) -> Self {
        tracing::warn!(error = chain(cause), "the database does not answer");
        Self::overloaded("unavailable", "the server's database does not answer; try again", PAUSE)
    }

    /// 500: logged once with its cause; the sender sees only that it happened.
    #[must_use]
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = chain(cause), "internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something failed inside the server")
            .hint("the server's log has the cause under this request's id")
    }

    /// The members that every surface shows.
    #[must_use]
    pub fn document(&self) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("type".into(), "about:blank".into());
        document.insert("title".into(), self.status.canonical_reason().unwrap_or("error").into());
        document.insert("status".into(), self.status.as_u16().into());
        document.insert("code".into(), self.code.into());
        document.insert("detail".into(), self.detail.clone().into());
        if let Some(hint) = &self.hint {
            document.insert("hint".into(), hint.clone().into());
        }
        document.extend(self.more.clone());
        document
    }

    /// Sets the headers that do not depend on the surface.
    pub fn finish(&self, mut response: Response) -> Response {
        *response.status_mut() = self.status;
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

/// An error with what caused it.
fn chain(cause: &dyn std::error::Error) -> String {
    let mut chain = cause.to_string();
    let mut source = cause.source();
    while let Some(inner) = source {
        chain.push_str(": ");
        chain.push_str(&inner.to_string());
        source = inner.source();
    }
    chain
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Value::Object(self.document()).to_string();
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        self.finish((headers, body).into_response())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy { retry_after } => Self::overloaded("busy", "the server is busy; try again", retry_after),
            StoreError::Full => Self::overloaded("full", "the server's disk is full; nothing was stored", PAUSE)
                .hint("free space on the disk that holds the data directory; the server recovers by itself"),
            error @ StoreError::Unavailable(_) => Self::unavailable(&error),
            StoreError::Stale(what) => Self::new(StatusCode::CONFLICT, "stale", format!("{what} changed meanwhile")),
            StoreError::Conflict(what) => Self::new(StatusCode::CONFLICT, "conflict", format!("{what} exists already")),
            StoreError::NotFound(what) => Self::not_found(what),
            error @ (StoreError::Unusable(_) | StoreError::Corrupt { .. } | StoreError::Internal(_)) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        tracing::warn!(error = %error, "blob storage failed");
        Self::overloaded("blobs-unavailable", "the storage for large values does not answer; nothing was stored", PAUSE)
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let place = serde_json::json!(["body", invalid.field]);
        Self::invalid(invalid.to_string()).with("loc", place)
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        let detail = error.to_string();
        match error {
            IngestError::TooLarge { what, .. } => {
                metrics::counter!("runhook_limit_refusals_total", "limit" => what).increment(1);
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
                    .hint("send smaller requests, or raise the limit in the server's configuration")
            }
            IngestError::TooMany { what, .. } => {
                metrics::counter!("runhook_limit_refusals_total", "limit" => what).increment(1);
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many", detail)
                    .hint("send fewer in one request, or raise limits.runs_per_request")
            }
            IngestError::Unsupported(_) => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", detail),
            IngestError::Malformed(_) => Self::malformed(detail),
            IngestError::Interrupted => Self::new(StatusCode::REQUEST_TIMEOUT, "interrupted", detail),
            IngestError::Invalid(invalid) => invalid.into(),
            IngestError::Nothing(refused) => {
                Self::invalid(detail).with("refused", serde_json::to_value(refused).unwrap_or_default())
            }
            IngestError::Crowded => {
                metrics::counter!("runhook_limit_refusals_total", "limit" => "bytes in flight").increment(1);
                Self::turned_away("too-many-bytes", &detail)
                    .hint("try again after the time in Retry-After; limits.inflight_bytes sets how many")
            }
            IngestError::Store(error) => error.into(),
            IngestError::Blob(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_says_when_to_come_back() {
        let busy = StoreError::Busy { retry_after: Duration::from_secs(3) };
        let away = StoreError::Unavailable("connection refused".into());
        for (error, seconds) in [(busy, "3"), (StoreError::Full, "1"), (away, "1")] {
            let response = Problem::from(error).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[RETRY_AFTER], seconds);
        }
        let blobs = Problem::from(BlobError::Unavailable("down".to_owned())).into_response();
        assert_eq!((blobs.status().as_u16(), &blobs.headers()[RETRY_AFTER]), (503, &HeaderValue::from_static("1")));
    }

    #[test]
    fn what_broke_inside_is_not_told() {
        let cause = StoreError::Corrupt { table: "runs", reason: "secret detail".to_owned() };
        let document = Problem::from(cause).document();
        assert!(!Value::Object(document).to_string().contains("secret"));
    }
}
