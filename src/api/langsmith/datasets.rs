//! `GET|POST /datasets`, `GET|PATCH|DELETE /datasets/{id}`: datasets, as far as rules fill them and receivers name them.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::Params;
use crate::api::problem::Problem;
use crate::api::request;
use crate::crypto;
use crate::ingest::{Invalid, value};
use crate::model::audit::{Action, Object};
use crate::model::collection::{Collection, CollectionKind};
use crate::model::id::{DatasetId, TenantId};
use crate::model::json::RawJson;
use crate::model::time::Timestamp;
use crate::store::collections::CollectionQuery;

/// A page when the client does not say how long.
const PAGE: u32 = 100;

/// Keys that are kept as they were sent.
const DETAILS: [&str; 5] =
    ["data_type", "extra", "inputs_schema_definition", "outputs_schema_definition", "transformations"];

type Keys<'a> = BTreeMap<String, &'a RawValue>;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/datasets", get(list).post(create))
        .route("/datasets/{id}", get(read).patch(update).delete(delete))
}

async fn list(State(api): State<Api>, principal: Principal, params: Params) -> Result<Response, Fault> {
    params.refuse(&["metadata", "data_type", "tag_value_id"])?;
    let query = query(&params, "id", PAGE)?;
    let found = api.store.list_collections(principal.tenant_id, CollectionKind::Dataset, &query).await?;
    Ok(Json(found.iter().map(shown).collect::<Vec<_>>()).into_response())
}

/// What a list of collections is narrowed by.
pub(super) fn query(params: &Params, ids: &str, page: u32) -> Result<CollectionQuery, Problem> {
    let given = |name| params.one(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(CollectionQuery {
        ids: params.ids::<DatasetId>(ids)?.into_iter().map(|id| id.0).collect(),
        name: given("name"),
        name_contains: given("name_contains"),
        limit: params.limit(page)?,
        offset: params.offset()?,
    })
}

async fn create(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    let collection = made(&keys, CollectionKind::Dataset, principal.tenant_id, api.clock.now(), &DETAILS)?;
    api.store.create_collection(collection.clone()).await?;
    api.delivery.poke();
    Ok(Json(shown(&(collection, 0))).into_response())
}

/// The collection that a body asks for.
pub(super) fn made(
    keys: &Keys<'_>,
    kind: CollectionKind,
    tenant: TenantId,
    now: Timestamp,
    details: &[&str],
) -> Result<Collection, Problem> {
    let id: Option<DatasetId> = said(keys, "id").map(|raw| value::id("id", raw)).transpose()?;
    let mut collection = Collection {
        tenant_id: tenant,
        kind,
        id: id.map_or_else(|| uuid::Builder::from_random_bytes(crypto::random()).into_uuid(), |id| id.0),
        name: String::new(),
        description: None,
        details: None,
        created_at: now,
        modified_at: now,
    };
    said(keys, "name").ok_or_else(|| Invalid::new("name", "is missing"))?;
    say(&mut collection, keys, details)?;
    Ok(collection)
}

/// Applies what a body says of a collection; `null` and absent say nothing.
pub(super) fn say(collection: &mut Collection, keys: &Keys<'_>, details: &[&str]) -> Result<(), Problem> {
    if let Some(raw) = said(keys, "name") {
        collection.name = value::string("name", raw)?;
        if collection.name.trim().is_empty() {
            return Err(Invalid::new("name", "must not be empty").into());
        }
    }
    if let Some(raw) = said(keys, "description") {
        collection.description = Some(value::string("description", raw)?);
    }
    let mut kept = details_of(collection);
    for name in details {
        if let Some(raw) = said(keys, name) {
            kept.insert((*name).to_owned(), value::any(raw));
        }
    }
    collection.details = RawJson::of(&kept).ok().filter(|_| !kept.is_empty());
    Ok(())
}

fn said<'a>(keys: &Keys<'a>, name: &str) -> Option<&'a RawValue> {
    keys.get(name).copied().filter(|raw| raw.get() != "null")
}

/// Further keys of a collection.
pub(super) fn details_of(collection: &Collection) -> BTreeMap<String, RawJson> {
    collection.details.as_ref().and_then(|details| details.read().ok()).unwrap_or_default()
}

/// The collection of this kind with this id.
pub(super) async fn find(
    api: &Api,
    tenant: TenantId,
    kind: CollectionKind,
    id: &str,
) -> Result<(Collection, u64), Problem> {
    let id: DatasetId = request::id("id", id)?;
    let query = CollectionQuery { ids: vec![id.0], limit: 1, ..CollectionQuery::default() };
    let found = api.store.list_collections(tenant, kind, &query).await?;
    found.into_iter().next().ok_or_else(|| {
        Problem::not_found(match kind {
            CollectionKind::Dataset => "dataset",
            CollectionKind::Queue => "annotation queue",
        })
    })
}

async fn read(State(api): State<Api>, principal: Principal, Path(id): Path<String>) -> Result<Response, Fault> {
    Ok(Json(shown(&find(&api, principal.tenant_id, CollectionKind::Dataset, &id).await?)).into_response())
}

async fn update(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let (mut known, count) = find(&api, principal.tenant_id, CollectionKind::Dataset, &id).await?;
    let body = request::body(&api, request).await?;
    say(&mut known, &request::keys(&api, &body)?, &DETAILS)?;
    known.modified_at = api.clock.now();
    api.store.update_collection(known.clone()).await?;
    api.delivery.poke();
    Ok(Json(shown(&(known, count))).into_response())
}

async fn delete(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<Response, Fault> {
    remove(&api, &by, CollectionKind::Dataset, &id).await
}

/// Removes a collection with all it holds.
pub(super) async fn remove(api: &Api, by: &By, kind: CollectionKind, id: &str) -> Result<Response, Fault> {
    let (known, _) = find(api, by.tenant_id, kind, id).await?;
    let action = match kind {
        CollectionKind::Dataset => Action::DeleteDataset,
        CollectionKind::Queue => Action::DeleteQueue,
    };
    let told = by.entry(api, Act::new(action, Object::new(&known.name, known.id)));
    api.store.delete_collection(by.tenant_id, kind, known.id, Some(told)).await?;
    api.delivery.poke();
    Ok(Json(json!({ "message": "deleted" })).into_response())
}

fn shown((dataset, count): &(Collection, u64)) -> Value {
    let mut shown = Map::new();
    let details = details_of(dataset);
    let metadata =
        details.get("extra").and_then(|extra| extra.read::<BTreeMap<String, RawJson>>().ok()?.remove("metadata"));
    shown.extend(details.into_iter().map(|(name, value)| (name, json!(value))));
    shown.entry("data_type").or_insert_with(|| "kv".into());
    shown.insert("id".to_owned(), json!(dataset.id));
    shown.insert("tenant_id".to_owned(), json!(dataset.tenant_id));
    shown.insert("name".to_owned(), json!(dataset.name));
    shown.insert("description".to_owned(), json!(dataset.description));
    shown.insert("created_at".to_owned(), json!(dataset.created_at.with_offset()));
    shown.insert("modified_at".to_owned(), json!(dataset.modified_at.with_offset()));
    shown.insert("example_count".to_owned(), json!(count));
    shown.insert("session_count".to_owned(), json!(0));
    shown.insert("last_session_start_time".to_owned(), Value::Null);
    shown.insert("metadata".to_owned(), json!(metadata));
    Value::Object(shown)
}
