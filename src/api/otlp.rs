//! `POST /otel/v1/traces`, `/v1/traces`: where OpenTelemetry exporters send. `/traces` is where those find themselves that
//! were told an address ending in `/api`, whose `/api/v1` is taken off.
//!
//! Answers are in the encoding of the request, as exporters want them; what of a request was refused is in the answer to
//! a request that was done.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::api::request::incoming;
use crate::ingest::otlp::{self, Encoding, Traced};

/// The header that names the project of all spans.
const PROJECT: &str = "langsmith-project";

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/otel/v1/traces", post(traces))
        .route("/v1/traces", post(traces))
        .route("/traces", post(traces))
}

async fn traces(State(api): State<Api>, principal: Result<Principal, Problem>, request: Request) -> Response {
    let encoding = Encoding::named(content_type(request.headers()).as_deref());
    // Who names no encoding that is known is told so in JSON.
    let answered = encoding.as_ref().map_or(Encoding::Json, |encoding| *encoding);
    let taken = async {
        let tenant = principal?.tenant_id;
        let project = project(request.headers());
        Ok::<_, Problem>(api.intake().traces(tenant, encoding?, project, incoming(request)).await?)
    };
    match taken.await {
        Ok(traced) => done(&traced, answered),
        Err(problem) => failed(&problem, answered),
    }
}

fn done(traced: &Traced, encoding: Encoding) -> Response {
    written(otlp::done(traced, encoding), encoding)
}

fn failed(problem: &Problem, encoding: Encoding) -> Response {
    let message = match &problem.hint {
        Some(hint) => format!("{}; {hint}", problem.detail),
        None => problem.detail.clone(),
    };
    problem.finish(written(otlp::failed(problem.status.as_u16(), &message, encoding), encoding))
}

fn written(body: Vec<u8>, encoding: Encoding) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()))], body).into_response()
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(header::CONTENT_TYPE)?.as_bytes()).into_owned())
}

fn project(headers: &HeaderMap) -> Option<String> {
    let name = String::from_utf8_lossy(headers.get(PROJECT)?.as_bytes()).trim().to_owned();
    (!name.is_empty()).then_some(name)
}
