//! What endpoints subscribe to.

use uuid::Uuid;

use crate::model::event::Subscription;
use crate::model::id::{ApplicationId, EndpointId, TenantId};
use crate::model::time::Timestamp;
use crate::store::catalog::{Handle, Page, Presence, Subscriber};
use crate::store::records::{ENDPOINT_REMOVED, endpoint};
use crate::store::revision::EndpointRow;
use crate::store::row::{Cells, Columns, json_text, readable};
use crate::store::{Result, StoreError};

use super::catalog::{mark, taken};
use super::{Connection, endpoints, fail_endpoints, number};

/// Columns of an endpoint, which come first.
const ENDPOINT_COLUMNS: usize = 16;

const OF_ID: &str = "SELECT e.tenant_id, e.endpoint_id, e.key, e.rule_id, e.target_sealed, e.shown, e.format, e.policy, \
     e.overrides, e.origin, e.disabled_at, e.disabled_why, e.failing_since, e.circuit_until, e.circuit_openings, e.alert_id, s.number, s.body FROM subscriptions s \
     CROSS JOIN endpoints e \
     WHERE e.tenant_id = s.tenant_id AND e.endpoint_id = s.endpoint_id AND s.tenant_id = $1 AND s.application_id = $2 AND s.endpoint_id = $3";

const OF_UID: &str = "SELECT e.tenant_id, e.endpoint_id, e.key, e.rule_id, e.target_sealed, e.shown, e.format, e.policy, \
     e.overrides, e.origin, e.disabled_at, e.disabled_why, e.failing_since, e.circuit_until, e.circuit_openings, e.alert_id, s.number, s.body FROM subscriptions s \
     CROSS JOIN endpoints e \
     WHERE e.tenant_id = s.tenant_id AND e.endpoint_id = s.endpoint_id AND s.tenant_id = $1 AND s.application_id = $2 AND s.uid = $3";

const OLDEST: &str = "SELECT e.tenant_id, e.endpoint_id, e.key, e.rule_id, e.target_sealed, e.shown, e.format, e.policy, \
     e.overrides, e.origin, e.disabled_at, e.disabled_why, e.failing_since, e.circuit_until, e.circuit_openings, e.alert_id, s.number, s.body FROM subscriptions s \
     CROSS JOIN endpoints e \
     WHERE e.tenant_id = s.tenant_id AND e.endpoint_id = s.endpoint_id AND s.tenant_id = $1 AND s.application_id = $2 AND s.number > $3 ORDER BY s.number LIMIT $4";

const NEWEST: &str = "SELECT e.tenant_id, e.endpoint_id, e.key, e.rule_id, e.target_sealed, e.shown, e.format, e.policy, \
     e.overrides, e.origin, e.disabled_at, e.disabled_why, e.failing_since, e.circuit_until, e.circuit_openings, e.alert_id, s.number, s.body FROM subscriptions s \
     CROSS JOIN endpoints e \
     WHERE e.tenant_id = s.tenant_id AND e.endpoint_id = s.endpoint_id AND s.tenant_id = $1 AND s.application_id = $2 AND s.number < $3 ORDER BY s.number DESC LIMIT $4";

const ONE: &str = "SELECT number, body FROM subscriptions WHERE tenant_id = $1 AND endpoint_id = $2";

const ENDPOINTS: &str = "SELECT endpoint_id FROM subscriptions WHERE tenant_id = $1 AND application_id = $2";

const ADD: &str = "INSERT INTO subscriptions (tenant_id, endpoint_id, application_id, uid, number, body) \
     VALUES ($1, $2, $3, $4, $5, $6)";

const CHANGE: &str = "UPDATE subscriptions SET uid = $3, body = $4 WHERE tenant_id = $1 AND endpoint_id = $2 \
     RETURNING number";

const REMOVE: &str = "DELETE FROM subscriptions WHERE tenant_id = $1 AND endpoint_id = $2";

const ADD_TYPE: &str = "INSERT INTO subscribed_types (tenant_id, endpoint_id, event_type, application_id) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (tenant_id, endpoint_id, event_type) DO NOTHING";

const REMOVE_TYPES: &str = "DELETE FROM subscribed_types WHERE tenant_id = $1 AND endpoint_id = $2";

fn subscription_of(row: &impl Columns, behind: usize) -> Result<Subscription> {
    let mut cells = Cells::behind("subscriptions", row, behind);
    let number = cells.take()?;
    Ok(Subscription { number, ..cells.json()? })
}

fn subscriber_of(row: &impl Columns) -> Result<Subscriber> {
    Ok(Subscriber { endpoint: endpoint(row)?, subscription: subscription_of(row, ENDPOINT_COLUMNS)? })
}

pub(in crate::store) async fn subscriber(
    connection: &mut Connection,
    tenant: TenantId,
    application: ApplicationId,
    handle: &Handle<EndpointId>,
) -> Result<Option<Subscriber>> {
    let query = match handle {
        Handle::Id(id) => sqlx::query(OF_ID).bind(tenant.0).bind(application.0).bind(id.0),
        Handle::Uid(uid) => sqlx::query(OF_UID).bind(tenant.0).bind(application.0).bind(uid.clone()),
    };
    query.fetch_optional(connection).await?.as_ref().map(subscriber_of).transpose()
}

pub(in crate::store) async fn subscribers(
    connection: &mut Connection,
    tenant: TenantId,
    application: ApplicationId,
    page: Page<i64>,
) -> Result<Vec<Subscriber>> {
    let statement = if page.descending { NEWEST } else { OLDEST };
    let query = sqlx::query(statement).bind(tenant.0).bind(application.0).bind(mark(&page));
    readable(&query.bind(i64::from(page.limit)).fetch_all(connection).await?, subscriber_of)
}

pub(in crate::store) async fn subscriptions(
    connection: &mut Connection,
    tenant: TenantId,
    endpoints: &[EndpointId],
) -> Result<Vec<Subscription>> {
    let mut found = Vec::new();
    for endpoint in endpoints {
        let row = sqlx::query(ONE).bind(tenant.0).bind(endpoint.0).fetch_optional(&mut *connection).await?;
        found.extend(row.as_ref().map(|row| subscription_of(row, 0)).transpose()?);
    }
    Ok(found)
}

pub(super) async fn endpoints_of(
    connection: &mut Connection,
    tenant: TenantId,
    application: ApplicationId,
) -> Result<Vec<EndpointId>> {
    let query = sqlx::query_scalar::<_, Uuid>(ENDPOINTS).bind(tenant.0).bind(application.0);
    Ok(query.fetch_all(connection).await?.into_iter().map(EndpointId).collect())
}

pub(in crate::store) async fn subscribe(
    connection: &mut Connection,
    tenant: TenantId,
    put: &Subscriber,
    presence: Presence,
) -> Result<Subscription> {
    let Subscriber { endpoint, subscription } = put;
    let (id, body) = (endpoint.id.0, json_text(subscription)?);
    let number = match presence {
        Presence::New => {
            let number = number(connection).await?;
            let query = sqlx::query(ADD).bind(tenant.0).bind(id).bind(subscription.application_id.0);
            let query = query.bind(subscription.uid.clone()).bind(number).bind(body);
            query.execute(&mut *connection).await.map_err(taken)?;
            number
        }
        Presence::There => {
            let query = sqlx::query_scalar(CHANGE).bind(tenant.0).bind(id).bind(subscription.uid.clone());
            let found = query.bind(body).fetch_optional(&mut *connection).await.map_err(taken)?;
            found.ok_or(StoreError::NotFound("endpoint"))?
        }
    };
    endpoints::put(&mut *connection, tenant, &[EndpointRow::of(endpoint)?]).await?;
    sqlx::query(REMOVE_TYPES).bind(tenant.0).bind(id).execute(&mut *connection).await?;
    let all = vec![String::new()];
    for event_type in subscription.event_types.as_ref().unwrap_or(&all) {
        let query = sqlx::query(ADD_TYPE).bind(tenant.0).bind(id).bind(event_type.clone());
        query.bind(subscription.application_id.0).execute(&mut *connection).await?;
    }
    Ok(Subscription { number, ..subscription.clone() })
}

pub(in crate::store) async fn unsubscribe(
    connection: &mut Connection,
    tenant: TenantId,
    endpoint: EndpointId,
    now: Timestamp,
) -> Result<bool> {
    let removed = sqlx::query(REMOVE).bind(tenant.0).bind(endpoint.0).execute(&mut *connection).await?;
    if removed.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(REMOVE_TYPES).bind(tenant.0).bind(endpoint.0).execute(&mut *connection).await?;
    endpoints::remove(&mut *connection, tenant, &[endpoint]).await?;
    fail_endpoints(connection, tenant, &[endpoint], now, ENDPOINT_REMOVED).await?;
    Ok(true)
}

/// Statements that requests run, each with the index it must use, or the table whose primary key.
#[cfg(test)]
pub(in crate::store) const PLANNED: &[(&str, &str)] = &[
    (OF_ID, "subscriptions"),
    (OF_UID, "subscriptions_by_uid"),
    (ONE, "subscriptions"),
    (ENDPOINTS, "subscriptions_by_number"),
];

/// Those that are read in the order of an index.
#[cfg(test)]
pub(in crate::store) const ORDERED: &[(&str, &str)] =
    &[(OLDEST, "subscriptions_by_number"), (NEWEST, "subscriptions_by_number")];
