//! Event types and applications.

use crate::model::event::{Application, EventType};
use crate::model::id::{ApplicationId, TenantId};
use crate::model::time::Timestamp;
use crate::store::catalog::{Handle, Page, Presence};
use crate::store::failure::is_repeat;
use crate::store::row::{Cells, Columns, json_text, readable};
use crate::store::{Result, StoreError};

use super::{Connection, number, subscriptions};

pub(super) const EVENT_TYPE: &str = "SELECT body FROM event_types WHERE tenant_id = $1 AND name = $2";

const RISING: &str = "SELECT body FROM event_types WHERE tenant_id = $1 AND name > $2 AND (NOT archived OR $3) \
     ORDER BY name LIMIT $4";

const FALLING: &str = "SELECT body FROM event_types WHERE tenant_id = $1 AND ($2 = '' OR name < $2) \
     AND (NOT archived OR $3) ORDER BY name DESC LIMIT $4";

const ADD: &str = "INSERT INTO event_types (tenant_id, name, archived, body) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant_id, name) DO UPDATE SET archived = excluded.archived, body = excluded.body \
     WHERE event_types.archived";

const CHANGE: &str = "UPDATE event_types SET archived = $3, body = $4 WHERE tenant_id = $1 AND name = $2";

const REMOVE: &str = "DELETE FROM event_types WHERE tenant_id = $1 AND name = $2";

const APPLICATION: &str = "SELECT number, body FROM applications WHERE tenant_id = $1 AND application_id = $2";

const APPLICATION_OF_UID: &str = "SELECT number, body FROM applications WHERE tenant_id = $1 AND uid = $2";

const OLDEST: &str = "SELECT number, body FROM applications WHERE tenant_id = $1 AND number > $2 \
     ORDER BY number LIMIT $3";

const NEWEST: &str = "SELECT number, body FROM applications WHERE tenant_id = $1 AND number < $2 \
     ORDER BY number DESC LIMIT $3";

const ADD_APPLICATION: &str =
    "INSERT INTO applications (tenant_id, application_id, uid, number, body) VALUES ($1, $2, $3, $4, $5)";

const CHANGE_APPLICATION: &str = "UPDATE applications SET uid = $3, body = $4 \
     WHERE tenant_id = $1 AND application_id = $2 RETURNING number";

const REMOVE_APPLICATION: &str = "DELETE FROM applications WHERE tenant_id = $1 AND application_id = $2";

fn event_type_of(row: &impl Columns) -> Result<EventType> {
    Cells::of("event_types", row).json()
}

fn application_of(row: &impl Columns) -> Result<Application> {
    let mut cells = Cells::of("applications", row);
    let number = cells.take()?;
    Ok(Application { number, ..cells.json()? })
}

/// That a uid is taken, where that is what an error says.
pub(super) fn taken(error: sqlx::Error) -> StoreError {
    if is_repeat(&error) { StoreError::Conflict("something with this uid".to_owned()) } else { error.into() }
}

pub(in crate::store) async fn event_type(
    connection: &mut Connection,
    tenant: TenantId,
    name: &str,
) -> Result<Option<EventType>> {
    let row = sqlx::query(EVENT_TYPE).bind(tenant.0).bind(name.to_owned()).fetch_optional(connection).await?;
    row.as_ref().map(event_type_of).transpose()
}

pub(in crate::store) async fn event_types(
    connection: &mut Connection,
    tenant: TenantId,
    archived: bool,
    page: Page<String>,
) -> Result<Vec<EventType>> {
    let statement = if page.descending { FALLING } else { RISING };
    let query = sqlx::query(statement).bind(tenant.0).bind(page.after.unwrap_or_default()).bind(archived);
    readable(&query.bind(i64::from(page.limit)).fetch_all(connection).await?, event_type_of)
}

pub(in crate::store) async fn put_event_type(
    connection: &mut Connection,
    tenant: TenantId,
    put: &EventType,
    presence: Presence,
) -> Result<()> {
    let statement = if presence == Presence::New { ADD } else { CHANGE };
    let query = sqlx::query(statement).bind(tenant.0).bind(put.name.clone()).bind(put.archived).bind(json_text(put)?);
    match (query.execute(connection).await?.rows_affected(), presence) {
        (0, Presence::New) => Err(StoreError::Conflict(format!("an event type `{}`", put.name))),
        (0, Presence::There) => Err(StoreError::NotFound("event type")),
        _ => Ok(()),
    }
}

pub(in crate::store) async fn remove_event_type(
    connection: &mut Connection,
    tenant: TenantId,
    name: &str,
) -> Result<bool> {
    let query = sqlx::query(REMOVE).bind(tenant.0).bind(name.to_owned());
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

pub(in crate::store) async fn application(
    connection: &mut Connection,
    tenant: TenantId,
    handle: &Handle<ApplicationId>,
) -> Result<Option<Application>> {
    let query = match handle {
        Handle::Id(id) => sqlx::query(APPLICATION).bind(tenant.0).bind(id.0),
        Handle::Uid(uid) => sqlx::query(APPLICATION_OF_UID).bind(tenant.0).bind(uid.clone()),
    };
    query.fetch_optional(connection).await?.as_ref().map(application_of).transpose()
}

/// The number behind which a page begins.
pub(super) fn mark(page: &Page<i64>) -> i64 {
    page.after.unwrap_or(if page.descending { i64::MAX } else { 0 })
}

pub(in crate::store) async fn applications(
    connection: &mut Connection,
    tenant: TenantId,
    page: Page<i64>,
) -> Result<Vec<Application>> {
    let statement = if page.descending { NEWEST } else { OLDEST };
    let query = sqlx::query(statement).bind(tenant.0).bind(mark(&page)).bind(i64::from(page.limit));
    readable(&query.fetch_all(connection).await?, application_of)
}

pub(in crate::store) async fn put_application(
    connection: &mut Connection,
    tenant: TenantId,
    put: &Application,
    presence: Presence,
) -> Result<Application> {
    let body = json_text(put)?;
    let number = match presence {
        Presence::New => {
            let number = number(connection).await?;
            let query = sqlx::query(ADD_APPLICATION).bind(tenant.0).bind(put.id.0).bind(put.uid.clone());
            query.bind(number).bind(body).execute(connection).await.map_err(taken)?;
            number
        }
        Presence::There => {
            let query = sqlx::query_scalar(CHANGE_APPLICATION).bind(tenant.0).bind(put.id.0).bind(put.uid.clone());
            let found = query.bind(body).fetch_optional(connection).await.map_err(taken)?;
            found.ok_or(StoreError::NotFound("application"))?
        }
    };
    Ok(Application { number, ..put.clone() })
}

pub(in crate::store) async fn remove_application(
    connection: &mut Connection,
    tenant: TenantId,
    id: ApplicationId,
    now: Timestamp,
) -> Result<bool> {
    for endpoint in subscriptions::endpoints_of(connection, tenant, id).await? {
        subscriptions::unsubscribe(connection, tenant, endpoint, now).await?;
    }
    let query = sqlx::query(REMOVE_APPLICATION).bind(tenant.0).bind(id.0);
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Statements that requests run, each with the index it must use, or the table whose primary key.
#[cfg(test)]
pub(in crate::store) const PLANNED: &[(&str, &str)] =
    &[(EVENT_TYPE, "event_types"), (APPLICATION, "applications"), (APPLICATION_OF_UID, "applications_by_uid")];

/// Those that are read in the order of an index.
#[cfg(test)]
pub(in crate::store) const ORDERED: &[(&str, &str)] =
    &[(RISING, "event_types"), (OLDEST, "applications_by_number"), (NEWEST, "applications_by_number")];
