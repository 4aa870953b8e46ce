//! `/annotation-queues`: queues of runs for people to look at, and the runs in them.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Principal;
use crate::api::langsmith::datasets;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::Params;
use crate::api::langsmith::wire::{Select, Sheet};
use crate::api::problem::Problem;
use crate::api::request;
use crate::model::audit::{Action, Object};
use crate::model::collection::{Collection, CollectionKind};
use crate::model::id::{QueueId, RunId, TenantId};
use crate::model::time::Timestamp;

/// A page when the client does not say how long.
const PAGE: u32 = 100;

/// Keys that are kept as they were sent.
const DETAILS: [&str; 2] = ["rubric_instructions", "rubric_items"];

const KIND: CollectionKind = CollectionKind::Queue;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/annotation-queues", get(list).post(create))
        .route("/annotation-queues/{id}", get(read).patch(update).delete(delete))
        .route("/annotation-queues/{id}/runs", get(runs).post(add))
        .route("/annotation-queues/{id}/runs/by-key", post(add))
        .route("/annotation-queues/{id}/runs/{run_id}", axum::routing::delete(take_out))
        .route("/annotation-queues/{id}/run/{index}", get(run))
}

async fn list(State(api): State<Api>, principal: Principal, params: Params) -> Result<Response, Fault> {
    params.refuse(&["dataset_id", "queue_type", "tag_value_id"])?;
    let query = datasets::query(&params, "ids", PAGE)?;
    let found = api.store.list_collections(principal.tenant_id, KIND, &query).await?;
    Ok(Json(found.iter().map(shown).collect::<Vec<_>>()).into_response())
}

async fn create(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    let keys = request::keys(&api, &body)?;
    let queue = datasets::made(&keys, KIND, principal.tenant_id, api.clock.now(), &DETAILS)?;
    api.store.create_collection(queue.clone()).await?;
    Ok(Json(shown(&(queue, 0))).into_response())
}

async fn read(State(api): State<Api>, principal: Principal, Path(id): Path<String>) -> Result<Response, Fault> {
    Ok(Json(shown(&datasets::find(&api, principal.tenant_id, KIND, &id).await?)).into_response())
}

async fn update(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let (mut known, count) = datasets::find(&api, principal.tenant_id, KIND, &id).await?;
    let body = request::body(&api, request).await?;
    datasets::say(&mut known, &request::keys(&api, &body)?, &DETAILS)?;
    known.modified_at = api.clock.now();
    api.store.update_collection(known.clone()).await?;
    Ok(Json(shown(&(known, count))).into_response())
}

async fn delete(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<Response, Fault> {
    datasets::remove(&api, &by, KIND, &id).await
}

/// Puts runs into the queue: a list of ids, or of objects that name a run as `run_id`.
async fn add(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let (tenant, queue) = (principal.tenant_id, QueueId(request::id::<RunId>("queue_id", &id)?.0));
    let body = request::body(&api, request).await?;
    let runs = named(&body)?;
    let there: Vec<RunId> = api.store.runs(tenant, &runs).await?.into_iter().map(|stored| stored.run.id).collect();
    if let Some(missing) = runs.iter().find(|run| !there.contains(run)) {
        return Err(Problem::not_found(&format!("run {missing}")).into());
    }
    if !api.store.enqueue(tenant, queue, &runs, api.clock.now()).await? {
        return Err(Problem::not_found("annotation queue").into());
    }
    let added: Vec<Value> = runs.iter().map(|run| json!({ "run_id": run, "queue_id": queue })).collect();
    Ok(Json(added).into_response())
}

fn named(body: &[u8]) -> Result<Vec<RunId>, Problem> {
    #[derive(serde::Deserialize)]
    struct ByKey {
        run_id: RunId,
    }
    let wrong = || Problem::malformed("the body must be a list of ids of runs, or of objects with `run_id`");
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|_| wrong())?;
    let read = |raw: &&RawValue| {
        let by_key = || serde_json::from_str::<ByKey>(raw.get()).map(|named| named.run_id);
        serde_json::from_str::<RunId>(raw.get()).or_else(|_| by_key()).map_err(|_| wrong())
    };
    items.iter().map(read).collect()
}

async fn runs(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Fault> {
    if params.one("status").is_some_and(|status| !status.is_empty()) {
        params.refuse(&["status"])?;
    }
    let tenant = principal.tenant_id;
    let (queue, _) = datasets::find(&api, tenant, KIND, &id).await?;
    let (limit, offset) = (params.limit(PAGE)?, params.offset()?);
    let mut found = Vec::new();
    for (run, added_at) in api.store.queued_runs(tenant, QueueId(queue.id), limit, offset).await? {
        found.extend(waiting(&api, tenant, run, added_at).await?);
    }
    Ok(Json(found).into_response())
}

async fn run(
    State(api): State<Api>,
    principal: Principal,
    Path((id, index)): Path<(String, u32)>,
) -> Result<Response, Fault> {
    let tenant = principal.tenant_id;
    let (queue, _) = datasets::find(&api, tenant, KIND, &id).await?;
    let found = api.store.queued_runs(tenant, QueueId(queue.id), 1, index).await?;
    let (run, added_at) = *found.first().ok_or_else(|| Problem::not_found("run"))?;
    let shown = waiting(&api, tenant, run, added_at).await?.ok_or_else(|| Problem::not_found("run"))?;
    Ok(Json(shown).into_response())
}

async fn take_out(
    State(api): State<Api>,
    by: By,
    Path((id, run_id)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let queue = QueueId(request::id::<RunId>("queue_id", &id)?.0);
    let run: RunId = request::id("run_id", &run_id)?;
    let act = Act::new(Action::DequeueRun, Object::of_id(queue.0)).with(json!({"run_id": run}));
    if !api.store.dequeue(by.tenant_id, queue, run, Some(by.entry(&api, act))).await? {
        return Err(Problem::not_found("run").into());
    }
    Ok(Json(json!({ "message": "deleted" })).into_response())
}

/// A run in a queue, as it is read anywhere else, with when it came.
async fn waiting(
    api: &Api,
    tenant: TenantId,
    run: RunId,
    at: Timestamp,
) -> Result<Option<Map<String, Value>>, Problem> {
    let Some(stored) = api.store.run(tenant, run).await? else { return Ok(None) };
    let sheet = Sheet::of(api, tenant, vec![stored], &Select::all()).await?;
    let Some(document) = sheet.documents().into_iter().next() else { return Ok(None) };
    let json = serde_json::to_vec(&document).map_err(|error| Problem::internal(&error))?;
    let mut shown: Map<String, Value> = serde_json::from_slice(&json).map_err(|error| Problem::internal(&error))?;
    shown.insert("added_at".to_owned(), json!(at.with_offset()));
    shown.insert("last_reviewed_time".to_owned(), Value::Null);
    Ok(Some(shown))
}

fn shown((queue, count): &(Collection, u64)) -> Value {
    let mut shown: BTreeMap<String, Value> =
        datasets::details_of(queue).into_iter().map(|(name, value)| (name, json!(value))).collect();
    shown.insert("id".to_owned(), json!(queue.id));
    shown.insert("tenant_id".to_owned(), json!(queue.tenant_id));
    shown.insert("name".to_owned(), json!(queue.name));
    shown.insert("description".to_owned(), json!(queue.description));
    shown.insert("created_at".to_owned(), json!(queue.created_at.with_offset()));
    shown.insert("updated_at".to_owned(), json!(queue.modified_at.with_offset()));
    shown.insert("total_runs".to_owned(), json!(count));
    json!(shown)
}
