//! `POST /runs/delete`: whole traces of a session, at once. What has been told of them is not called back.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::langsmith::fault::Fault;
use crate::api::problem::Problem;
use crate::api::request;
use crate::ingest::{Invalid, value};
use crate::model::audit::{Action, Object};
use crate::model::id::{ProjectId, TraceId};

/// Traces of one request.
const MOST: usize = 1000;

/// Traces that are dropped in one transaction.
const TOGETHER: usize = 50;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/runs/delete", post(delete))
}

/// The keys of a body that are read.
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    trace_ids: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
}

/// What is not there is no error: a request may be repeated.
async fn delete(State(api): State<Api>, by: By, request: Request) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    if keys.metadata.is_some() {
        let message = "is not supported by this server: ask `/runs/query` for the traces and give `trace_ids`";
        return Err(Invalid::new("metadata", message).into());
    }
    let missing = |name: &str| Invalid::new(name, "is missing");
    let session: ProjectId = value::id("session_id", keys.session_id.ok_or_else(|| missing("session_id"))?)?;
    let traces = traces(keys.trace_ids.ok_or_else(|| missing("trace_ids"))?)?;
    let project = api.store.project(by.tenant_id, session).await?.ok_or_else(|| Problem::not_found("session"))?;
    let act = Act::new(Action::DeleteTraces, Object::new(&project.name, session.0));
    let mut told = Some(by.entry(&api, act.with(json!({ "traces": traces.len() }))));
    let mut runs = 0_u64;
    for some in traces.chunks(TOGETHER) {
        let dropped = api.store.drop_traces(by.tenant_id, session, some, api.clock.now(), told.clone()).await?;
        // It is one act, however many transactions it takes.
        told = told.filter(|_| dropped == 0);
        runs = runs.saturating_add(dropped);
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "message": "deleted", "runs": runs }))).into_response())
}

fn traces(raw: &RawValue) -> Result<Vec<TraceId>, Invalid> {
    let name = "trace_ids";
    let texts = value::strings(name, raw)?;
    if texts.is_empty() || texts.len() > MOST {
        return Err(Invalid::new(name, format!("must name between 1 and {MOST} traces")));
    }
    let read = |text: &String| {
        text.parse::<TraceId>().map_err(|error| Invalid::new(name, format!("is no list of ids: {error}")))
    };
    texts.iter().map(read).collect()
}
