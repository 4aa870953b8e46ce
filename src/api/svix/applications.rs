//! `/app`: scopes of endpoints and messages within a tenant.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::audit::{Act, By};
use crate::api::request::{Whole, keys};
use crate::api::{Api, subscribing};
use crate::crypto;
use crate::model::audit::{Action, Entry, Object};
use crate::model::event::{Application, is_name};
use crate::model::id::{ApplicationId, TenantId};
use crate::store::StoreError;
use crate::store::catalog::{Handle, Presence};

use super::page::{Listed, Paging};
use super::{Answer, Asks, Caller, Fault, Manager};

/// Bytes of metadata of one thing.
const METADATA: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct In {
    name: String,
    uid: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(alias = "throttleRate")]
    rate_limit: Option<u32>,
}

/// An application as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Out {
    id: ApplicationId,
    uid: Option<String>,
    name: String,
    metadata: BTreeMap<String, String>,
    rate_limit: Option<u32>,
    throttle_rate: Option<u32>,
    created_at: String,
    updated_at: String,
}

impl From<Application> for Out {
    fn from(found: Application) -> Self {
        Self {
            id: found.id,
            uid: found.uid,
            name: found.name,
            metadata: found.metadata,
            rate_limit: found.rate_limit,
            throttle_rate: found.rate_limit,
            created_at: found.created_at.to_string(),
            updated_at: found.updated_at.to_string(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Creating {
    #[serde(default)]
    get_if_exists: bool,
}

/// The application that a path names.
pub(super) async fn find(api: &Api, tenant: TenantId, handle: &str) -> Answer<Application> {
    if let Some(found) = api.store.application(tenant, &Handle::Uid(handle.to_owned())).await? {
        return Ok(found);
    }
    let Ok(id) = handle.parse::<ApplicationId>() else { return Err(Fault::not_found()) };
    let found = api.store.application(tenant, &Handle::Id(id)).await?;
    found.ok_or_else(Fault::not_found)
}

/// A uid that can stand in a path.
pub(super) fn checked_uid(uid: Option<&str>) -> Answer<()> {
    if uid.is_none_or(is_name) {
        return Ok(());
    }
    Err(Fault::invalid(&["body", "uid"], "a uid is 1 to 256 letters, digits, `-`, `_` and `.`"))
}

pub(super) fn checked_metadata(metadata: &BTreeMap<String, String>) -> Answer<()> {
    let bytes: usize = metadata.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    if bytes <= METADATA {
        return Ok(());
    }
    Err(Fault::invalid(&["body", "metadata"], format!("metadata has at most {METADATA} bytes")))
}

fn checked(wanted: &In) -> Answer<()> {
    checked_uid(wanted.uid.as_deref())?;
    checked_metadata(wanted.metadata.as_ref().unwrap_or(&BTreeMap::new()))?;
    match wanted.name.chars().count() {
        1..=256 => Ok(()),
        _ => Err(Fault::invalid(&["body", "name"], "a name has 1 to 256 characters")),
    }
}

fn told(api: &Api, by: &By, action: Action, application: &Application) -> Entry {
    by.entry(api, Act::new(action, Object::new(&application.name, application.id.0)))
}

async fn add(api: &Api, by: &By, wanted: In) -> Result<Application, StoreError> {
    let now = api.clock.now();
    let application = Application {
        id: ApplicationId(Uuid::from_bytes(crypto::random())),
        uid: wanted.uid,
        number: 0,
        name: wanted.name,
        metadata: wanted.metadata.unwrap_or_default(),
        rate_limit: wanted.rate_limit,
        created_at: now,
        updated_at: now,
    };
    let told = told(api, by, Action::CreateApplication, &application);
    api.store.put_application(by.tenant_id, application, Presence::New, Some(told)).await
}

pub(super) async fn create(
    State(api): State<Api>,
    Manager(by): Manager,
    Asks(creating): Asks<Creating>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<Out>)> {
    let wanted: In = keys(&api, &body)?;
    checked(&wanted)?;
    let uid = wanted.uid.clone();
    match (add(&api, &by, wanted).await, uid) {
        (Ok(made), _) => Ok((StatusCode::CREATED, Json(made.into()))),
        (Err(StoreError::Conflict(_)), Some(uid)) if creating.get_if_exists => {
            let there = api.store.application(by.tenant_id, &Handle::Uid(uid)).await?;
            Ok((StatusCode::OK, Json(there.ok_or_else(Fault::not_found)?.into())))
        }
        (Err(StoreError::Conflict(_)), _) => {
            Err(Fault::exists("conflict", "An application with this uid already exists"))
        }
        (Err(error), _) => Err(error.into()),
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Asks(asked): Asks<Paging>,
) -> Answer<Json<Listed<Out>>> {
    let (page, cut) = asked.read()?;
    let found = api.store.applications(tenant, page).await?;
    Ok(cut.listed(found, |one| one.number.to_string(), Out::from))
}

pub(super) async fn show(State(api): State<Api>, Caller(tenant): Caller, Path(app): Path<String>) -> Answer<Json<Out>> {
    Ok(Json(find(&api, tenant, &app).await?.into()))
}

async fn replace(api: &Api, by: &By, there: Application, wanted: In) -> Answer<Json<Out>> {
    checked(&wanted)?;
    let put = Application {
        uid: wanted.uid,
        name: wanted.name,
        metadata: wanted.metadata.unwrap_or_default(),
        rate_limit: wanted.rate_limit,
        updated_at: api.clock.now(),
        ..there
    };
    let told = told(api, by, Action::UpdateApplication, &put);
    match api.store.put_application(by.tenant_id, put, Presence::There, Some(told)).await {
        Ok(put) => Ok(Json(put.into())),
        Err(StoreError::Conflict(_)) => Err(Fault::exists("conflict", "An application with this uid already exists")),
        Err(error) => Err(error.into()),
    }
}

/// Replaces an application, or makes it under the uid that the path names.
pub(super) async fn update(
    State(api): State<Api>,
    Manager(by): Manager,
    Path(app): Path<String>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<Out>)> {
    let wanted: In = keys(&api, &body)?;
    if let Ok(there) = find(&api, by.tenant_id, &app).await {
        let uid = wanted.uid.or_else(|| there.uid.clone());
        return Ok((StatusCode::OK, replace(&api, &by, there, In { uid, ..wanted }).await?));
    }
    let wanted = In { uid: wanted.uid.or(Some(app)), ..wanted };
    checked(&wanted)?;
    Ok((StatusCode::CREATED, Json(add(&api, &by, wanted).await?.into())))
}

pub(super) async fn patch(
    State(api): State<Api>,
    Manager(by): Manager,
    Path(app): Path<String>,
    Whole(body): Whole,
) -> Answer<Json<Out>> {
    let patch: serde_json::Map<String, Value> = keys(&api, &body)?;
    let there = find(&api, by.tenant_id, &app).await?;
    let members = json!({
        "name": there.name, "uid": there.uid, "metadata": there.metadata, "rateLimit": there.rate_limit,
    });
    let wanted = laid_over(members, patch)?;
    replace(&api, &by, there, wanted).await
}

/// Members that newer clients call otherwise.
const RENAMED: [(&str, &str); 2] = [("throttleRate", "rateLimit"), ("eventTypes", "filterTypes")];

/// A patch over the members there are.
pub(super) fn laid_over<T: for<'d> Deserialize<'d>>(
    mut members: Value,
    patch: serde_json::Map<String, Value>,
) -> Answer<T> {
    for (name, value) in patch {
        let name = RENAMED.iter().find(|(new, _)| *new == name).map_or(name.as_str(), |(_, old)| *old);
        if let Some(member) = members.get_mut(name) {
            *member = value;
        }
    }
    serde_json::from_value(members).map_err(|error| Fault::invalid(&["body"], error.to_string()))
}

pub(super) async fn delete(
    State(api): State<Api>,
    Manager(by): Manager,
    Path(app): Path<String>,
) -> Answer<StatusCode> {
    let _turn = subscribing::turn().await;
    let there = find(&api, by.tenant_id, &app).await?;
    let told = told(&api, &by, Action::DeleteApplication, &there);
    api.store.remove_application(by.tenant_id, there.id, api.clock.now(), Some(told)).await?;
    subscribing::drop_unheard_rules(&api, by.tenant_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
