//! `GET|POST /examples`, `POST /examples/bulk`, `GET|PATCH|DELETE /examples/{id}`.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::Params;
use crate::api::langsmith::wire;
use crate::api::problem::Problem;
use crate::api::request;
use crate::crypto;
use crate::ingest::{Invalid, depth, value};
use crate::model::audit::{Action, Object};
use crate::model::collection::Example;
use crate::model::id::{DatasetId, ExampleId, RunId, TenantId};
use crate::model::json::RawJson;
use crate::model::run::Payload;
use crate::model::time::Timestamp;
use crate::store::collections::ExampleQuery;

/// A page when the client does not say how long.
const PAGE: u32 = 100;

/// Parameters that would narrow a list in ways this server does not.
const UNKNOWN_NARROWINGS: [&str; 5] = ["as_of", "metadata", "filter", "full_text_contains", "splits"];

type Keys<'a> = BTreeMap<String, &'a RawValue>;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/examples", get(list).post(create))
        .route("/examples/bulk", post(create_all))
        .route("/examples/{id}", get(read).patch(update).delete(delete))
}

#[derive(Serialize)]
struct Shown {
    id: ExampleId,
    dataset_id: DatasetId,
    inputs: Option<RawJson>,
    outputs: Option<RawJson>,
    metadata: Option<RawJson>,
    source_run_id: Option<RunId>,
    created_at: String,
    modified_at: String,
    name: String,
    attachment_urls: Option<RawJson>,
}

/// An example, with what of it is in blob storage.
async fn shown(api: &Api, example: Example) -> Result<Shown, Problem> {
    Ok(Shown {
        id: example.id,
        dataset_id: example.dataset_id,
        inputs: wire::whole(api, example.inputs.as_ref()).await?,
        outputs: wire::whole(api, example.outputs.as_ref()).await?,
        metadata: example.metadata,
        source_run_id: example.source_run_id,
        created_at: example.created_at.with_offset(),
        modified_at: example.modified_at.with_offset(),
        name: format!("#{}", example.id),
        attachment_urls: None,
    })
}

async fn list(State(api): State<Api>, principal: Principal, params: Params) -> Result<Response, Fault> {
    let asked = |name: &&&str| params.one(name).is_some_and(|value| !value.is_empty() && value != "latest");
    let asked: Vec<&str> = UNKNOWN_NARROWINGS.iter().filter(asked).copied().collect();
    params.refuse(&asked)?;
    let query = ExampleQuery {
        dataset_id: params.ids("dataset")?.first().copied(),
        ids: params.ids("id")?,
        limit: params.limit(PAGE)?,
        offset: params.offset()?,
    };
    let mut found = Vec::new();
    for example in api.store.list_examples(principal.tenant_id, &query).await? {
        found.push(shown(&api, example).await?);
    }
    Ok(Json(found).into_response())
}

/// The same id again is the same example again: clients repeat what they got no answer to.
async fn create(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    let example = made(&api, principal.tenant_id, &request::keys(&api, &body)?).await?;
    api.store.put_examples(principal.tenant_id, vec![example.clone()]).await?;
    api.delivery.poke();
    Ok(Json(shown(&api, example).await?).into_response())
}

async fn create_all(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    depth::check("body", &body, api.limits.json_depth).map_err(Problem::from)?;
    let all: Vec<Keys<'_>> = serde_json::from_slice(&body)
        .map_err(|error| Problem::malformed(format!("the body must be a list of examples: {error}")))?;
    let mut examples = Vec::with_capacity(all.len());
    for keys in &all {
        examples.push(made(&api, principal.tenant_id, keys).await?);
    }
    api.store.put_examples(principal.tenant_id, examples.clone()).await?;
    api.delivery.poke();
    let mut told = Vec::with_capacity(examples.len());
    for example in examples {
        told.push(shown(&api, example).await?);
    }
    Ok(Json(told).into_response())
}

/// The example that a body asks for. Its inputs and outputs may be those of the run it is made of.
async fn made(api: &Api, tenant: TenantId, keys: &Keys<'_>) -> Result<Example, Problem> {
    let now = api.clock.now();
    let dataset = said(keys, "dataset_id").ok_or_else(|| Invalid::new("dataset_id", "is missing"))?;
    let fresh = || ExampleId(uuid::Builder::from_random_bytes(crypto::random()).into_uuid());
    let id: Option<ExampleId> = said(keys, "id").map(|raw| value::id("id", raw)).transpose()?;
    let created_at: Option<Timestamp> =
        said(keys, "created_at").map(|raw| value::time("created_at", raw)).transpose()?;
    let mut example = Example {
        tenant_id: tenant,
        id: id.unwrap_or_else(fresh),
        dataset_id: value::id("dataset_id", dataset)?,
        inputs: None,
        outputs: None,
        metadata: None,
        source_run_id: said(keys, "source_run_id").map(|raw| value::id("source_run_id", raw)).transpose()?,
        created_at: created_at.unwrap_or(now),
        modified_at: now,
    };
    if said(keys, "use_source_run_io").is_some_and(|raw| raw.get() == "true") {
        let run = example.source_run_id.ok_or_else(|| Invalid::new("source_run_id", "is missing"))?;
        let stored = api.store.run(tenant, run).await?.ok_or_else(|| Problem::not_found("source run"))?;
        (example.inputs, example.outputs) = (stored.run.inputs, stored.run.outputs);
    }
    say(&mut example, keys)?;
    if example.inputs.is_none() {
        return Err(Invalid::new("inputs", "are missing: give them, or a source_run_id with use_source_run_io").into());
    }
    Ok(example)
}

/// Applies what a body says of an example; `null` and absent say nothing.
fn say(example: &mut Example, keys: &Keys<'_>) -> Result<(), Invalid> {
    if let Some(raw) = said(keys, "inputs") {
        example.inputs = Some(Payload::Inline(value::object("inputs", raw)?));
    }
    if let Some(raw) = said(keys, "outputs") {
        example.outputs = Some(Payload::Inline(value::object("outputs", raw)?));
    }
    if let Some(raw) = said(keys, "metadata") {
        example.metadata = Some(value::object("metadata", raw)?);
    }
    let Some(raw) = said(keys, "split") else { return Ok(()) };
    let splits = match value::string("split", raw) {
        Ok(split) => vec![split],
        Err(_) => value::strings("split", raw)?,
    };
    // Upstream keeps them where everything else about an example is.
    let metadata = example.metadata.as_ref().and_then(|metadata| metadata.read().ok());
    let mut metadata: BTreeMap<String, RawJson> = metadata.unwrap_or_default();
    let unwritable = |_| Invalid::new("split", "cannot be written");
    metadata.insert("dataset_split".to_owned(), RawJson::of(&splits).map_err(unwritable)?);
    example.metadata = Some(RawJson::of(&metadata).map_err(unwritable)?);
    Ok(())
}

fn said<'a>(keys: &Keys<'a>, name: &str) -> Option<&'a RawValue> {
    keys.get(name).copied().filter(|raw| raw.get() != "null")
}

async fn find(api: &Api, tenant: TenantId, id: &str) -> Result<Example, Problem> {
    let query = ExampleQuery { ids: vec![request::id("example_id", id)?], limit: 1, ..ExampleQuery::default() };
    let found = api.store.list_examples(tenant, &query).await?;
    found.into_iter().next().ok_or_else(|| Problem::not_found("example"))
}

async fn read(State(api): State<Api>, principal: Principal, Path(id): Path<String>) -> Result<Response, Fault> {
    let example = find(&api, principal.tenant_id, &id).await?;
    Ok(Json(shown(&api, example).await?).into_response())
}

async fn update(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let mut example = find(&api, principal.tenant_id, &id).await?;
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    say(&mut example, &keys)?;
    if let Some(raw) = said(&keys, "dataset_id") {
        example.dataset_id = value::id("dataset_id", raw)?;
    }
    example.modified_at = api.clock.now();
    api.store.put_examples(principal.tenant_id, vec![example.clone()]).await?;
    api.delivery.poke();
    Ok(Json(shown(&api, example).await?).into_response())
}

async fn delete(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<Response, Fault> {
    let id: ExampleId = request::id("example_id", &id)?;
    let told = by.entry(&api, Act::new(Action::DeleteExample, Object::of_id(id.0)));
    if !api.store.delete_example(by.tenant_id, id, Some(told)).await? {
        return Err(Problem::not_found("example").into());
    }
    api.delivery.poke();
    Ok(Json(json!({ "message": "deleted" })).into_response())
}
