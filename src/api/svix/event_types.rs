//! `/event-type`: the tenant's own event types. Those that every tenant has can be looked at by name; they are listed by the
//! native API, since clients of this one take a list for what they have made themselves.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::request::{Whole, keys};
use crate::catalog::{self, Schema};
use crate::model::audit::{Action, Entry, Object};
use crate::model::event::{EventType, is_name};
use crate::model::id::TenantId;
use crate::model::json::RawJson;
use crate::store::StoreError;
use crate::store::catalog::Presence;

use super::page::{Listed, Paging};
use super::{Answer, Asks, Caller, Fault, Manager};

type Schemas = BTreeMap<String, RawJson>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct In {
    name: Option<String>,
    description: Option<String>,
    schemas: Option<Schemas>,
    archived: Option<bool>,
    deprecated: Option<bool>,
    group_name: Option<String>,
    feature_flags: Option<Vec<String>>,
}

/// An event type as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Out {
    name: String,
    description: String,
    archived: bool,
    deprecated: bool,
    schemas: Option<Schemas>,
    group_name: Option<String>,
    feature_flags: Vec<String>,
    created_at: String,
    updated_at: String,
}

impl From<EventType> for Out {
    fn from(found: EventType) -> Self {
        Self {
            name: found.name,
            description: found.description,
            archived: found.archived,
            deprecated: found.deprecated,
            schemas: Some(found.schemas).filter(|schemas| !schemas.is_empty()),
            group_name: found.group_name,
            feature_flags: found.feature_flags,
            created_at: found.created_at.to_string(),
            updated_at: found.updated_at.to_string(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    include_archived: bool,
    #[serde(default)]
    with_content: bool,
}

#[derive(Deserialize)]
pub(super) struct Deleting {
    #[serde(default)]
    expunge: bool,
}

/// An event type that is there, archived or not: the tenant's own, or one that every tenant has.
pub(super) async fn known(api: &Api, tenant: TenantId, name: &str) -> Result<Option<EventType>, StoreError> {
    if catalog::is_own(name).is_some() {
        return Ok(catalog::built_in().into_iter().find(|own| own.name == name));
    }
    api.store.event_type(tenant, name).await
}

fn built_in(name: &str) -> Fault {
    Fault::exists("event_type_exists", format!("`{name}` is in every tenant's catalogue and stays as it is"))
}

/// The tenant's own event type of this name.
async fn own(api: &Api, tenant: TenantId, name: &str) -> Answer<EventType> {
    if catalog::is_own(name).is_some() {
        return Err(built_in(name));
    }
    api.store.event_type(tenant, name).await?.ok_or_else(Fault::not_found)
}

fn checked(name: &str, schemas: &Schemas) -> Answer<()> {
    if !is_name(name) {
        let detail = "an event type's name is 1 to 256 letters, digits, `-`, `_` and `.`";
        return Err(Fault::invalid(&["body", "name"], detail));
    }
    for (version, schema) in schemas {
        if let Err(invalid) = Schema::parse(schema.text()) {
            let place: Vec<&str> =
                ["body", "schemas", version].into_iter().chain(invalid.path.iter().map(String::as_str)).collect();
            return Err(Fault::invalid(&place, invalid.message));
        }
    }
    Ok(())
}

fn told(api: &Api, by: &By, action: Action, name: &str) -> Entry {
    by.entry(api, Act::new(action, Object::new(name, None)))
}

async fn put(api: &Api, by: &By, put: EventType, presence: Presence) -> Answer<Json<Out>> {
    checked(&put.name, &put.schemas)?;
    let action = if presence == Presence::New { Action::CreateEventType } else { Action::UpdateEventType };
    let told = told(api, by, action, &put.name);
    match api.store.put_event_type(by.tenant_id, put.clone(), presence, Some(told)).await {
        Ok(()) => Ok(Json(put.into())),
        Err(StoreError::Conflict(_)) => {
            Err(Fault::exists("event_type_exists", "An event type already exists with this name"))
        }
        Err(error) => Err(error.into()),
    }
}

fn made(api: &Api, name: String, wanted: In) -> EventType {
    let now = api.clock.now();
    EventType {
        name,
        description: wanted.description.unwrap_or_default(),
        schemas: wanted.schemas.unwrap_or_default(),
        archived: wanted.archived.unwrap_or(false),
        deprecated: wanted.deprecated.unwrap_or(false),
        group_name: wanted.group_name,
        feature_flags: wanted.feature_flags.unwrap_or_default(),
        created_at: now,
        updated_at: now,
    }
}

pub(super) async fn create(
    State(api): State<Api>,
    Manager(by): Manager,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<Out>)> {
    let mut wanted: In = keys(&api, &body)?;
    let name = wanted.name.take().unwrap_or_default();
    if catalog::is_own(&name).is_some() {
        return Err(built_in(&name));
    }
    Ok((StatusCode::CREATED, put(&api, &by, made(&api, name, wanted), Presence::New).await?))
}

pub(super) async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Asks(paging): Asks<Paging>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Listed<Out>>> {
    let (page, cut) = paging.read()?;
    let found = api.store.event_types(tenant, asked.include_archived, page).await?;
    let shown = |found: EventType| {
        let out = Out::from(found);
        if asked.with_content { out } else { Out { schemas: None, ..out } }
    };
    Ok(cut.listed(found, |one| one.name.clone(), shown))
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path(name): Path<String>,
) -> Answer<Json<Out>> {
    Ok(Json(known(&api, tenant, &name).await?.ok_or_else(Fault::not_found)?.into()))
}

/// Replaces an event type, or makes it.
pub(super) async fn update(
    State(api): State<Api>,
    Manager(by): Manager,
    Path(name): Path<String>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<Out>)> {
    let wanted: In = keys(&api, &body)?;
    match own(&api, by.tenant_id, &name).await {
        Ok(there) => {
            let archived = wanted.archived.unwrap_or(there.archived);
            let made = EventType { created_at: there.created_at, archived, ..made(&api, name, wanted) };
            Ok((StatusCode::OK, put(&api, &by, made, Presence::There).await?))
        }
        Err(_) if catalog::is_own(&name).is_some() => Err(built_in(&name)),
        Err(_) => Ok((StatusCode::CREATED, put(&api, &by, made(&api, name, wanted), Presence::New).await?)),
    }
}

pub(super) async fn patch(
    State(api): State<Api>,
    Manager(by): Manager,
    Path(name): Path<String>,
    Whole(body): Whole,
) -> Answer<Json<Out>> {
    let wanted: In = keys(&api, &body)?;
    let there = own(&api, by.tenant_id, &name).await?;
    let patched = EventType {
        description: wanted.description.unwrap_or(there.description),
        schemas: wanted.schemas.unwrap_or(there.schemas),
        archived: wanted.archived.unwrap_or(there.archived),
        deprecated: wanted.deprecated.unwrap_or(there.deprecated),
        group_name: wanted.group_name.or(there.group_name),
        feature_flags: wanted.feature_flags.unwrap_or(there.feature_flags),
        updated_at: api.clock.now(),
        ..there
    };
    put(&api, &by, patched, Presence::There).await
}

/// Archives an event type, or takes it out of the catalogue for good.
pub(super) async fn delete(
    State(api): State<Api>,
    Manager(by): Manager,
    Path(name): Path<String>,
    Asks(deleting): Asks<Deleting>,
) -> Answer<StatusCode> {
    let there = own(&api, by.tenant_id, &name).await?;
    if deleting.expunge {
        let told = told(&api, &by, Action::DeleteEventType, &name);
        api.store.remove_event_type(by.tenant_id, &name, Some(told)).await?;
    } else {
        let archived = EventType { archived: true, updated_at: api.clock.now(), ..there };
        let told = told(&api, &by, Action::UpdateEventType, &name);
        api.store.put_event_type(by.tenant_id, archived, Presence::There, Some(told)).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
