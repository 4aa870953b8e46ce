//! Endpoints. Their targets come and go sealed.

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::id::{EndpointId, TenantId};
use crate::model::sealed::Sealed;
use crate::store::failure::is_repeat;
use crate::store::records::{endpoint, sealed_target};
use crate::store::revision::EndpointRow;
use crate::store::row::readable;
use crate::store::sqlite::row::{Insert, id_list, insert};
use crate::store::{Result, StoreError};

const LIST: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1";

pub(super) const BY_ID: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE endpoint_id IN (SELECT unhex(value) FROM json_each($1))";

const UPSERT: Insert = Insert {
    head: "INSERT INTO endpoints (tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
           origin, alert_id) VALUES",
    columns: 11,
    tail: "ON CONFLICT (tenant_id, endpoint_id) DO UPDATE SET key = excluded.key, rule_id = excluded.rule_id, \
           target_sealed = excluded.target_sealed, shown = excluded.shown, format = excluded.format, \
           policy = excluded.policy, overrides = excluded.overrides, origin = excluded.origin, \
     alert_id = excluded.alert_id, failing_since = NULL, circuit_until = NULL, circuit_openings = NULL",
};

const DELETE: &str =
    "DELETE FROM endpoints WHERE tenant_id = $1 AND endpoint_id IN (SELECT unhex(value) FROM json_each($2))";

const DELETE_OF_RULES: &str =
    "DELETE FROM endpoints WHERE tenant_id = $1 AND rule_id IN (SELECT unhex(value) FROM json_each($2))";

const SEALED: &str = "SELECT endpoint_id, target_sealed FROM endpoints WHERE endpoint_id > $1 \
     ORDER BY endpoint_id LIMIT $2";

const RESEAL: &str = "UPDATE endpoints SET target_sealed = $3 WHERE endpoint_id = $1 AND target_sealed = $2";

const SET_DISABLED: &str = "UPDATE endpoints SET disabled_at = $3, disabled_why = $4, failing_since = NULL, \
     circuit_until = NULL, circuit_openings = NULL WHERE tenant_id = $1 AND endpoint_id = $2";

const THERE: &str = "SELECT endpoint_id FROM endpoints \
     WHERE tenant_id = $1 AND endpoint_id IN (SELECT unhex(value) FROM json_each($2))";

pub(super) async fn list(readers: &SqlitePool, tenant: TenantId) -> Result<Vec<Endpoint>> {
    readable(&sqlx::query(LIST).bind(tenant.0).fetch_all(readers).await?, endpoint)
}

/// Those of these endpoints that are there and decode.
pub(super) async fn by_id(
    connection: &mut SqliteConnection,
    ids: impl IntoIterator<Item = EndpointId>,
) -> Result<Vec<Endpoint>> {
    let ids = id_list(ids.into_iter().map(|id| id.0));
    readable(&sqlx::query(BY_ID).bind(ids).fetch_all(connection).await?, endpoint)
}

pub(super) async fn put(connection: &mut SqliteConnection, tenant: TenantId, rows: &[EndpointRow<'_>]) -> Result<()> {
    let written = insert(connection, &UPSERT, rows, |values, row| {
        let endpoint = row.endpoint;
        values.push(tenant.0).push(endpoint.id.0).push(endpoint.key.as_deref());
        values.push(endpoint.rule_id.map(|rule| rule.0)).push(endpoint.target.0.as_slice());
        values.push(row.shown.as_str()).push(row.format.as_str()).push(row.policy.as_str());
        values.push(row.overrides.as_deref()).push(endpoint.origin.as_deref());
        values.push(endpoint.alert_id.map(|alert| alert.0));
    })
    .await;
    match written {
        Ok(_) => Ok(()),
        Err(error) if is_repeat(&error) => Err(StoreError::Conflict("an endpoint with one of these keys".to_owned())),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn remove(connection: &mut SqliteConnection, tenant: TenantId, ids: &[EndpointId]) -> Result<()> {
    let ids = id_list(ids.iter().map(|id| id.0));
    sqlx::query(DELETE).bind(tenant.0).bind(ids).execute(connection).await?;
    Ok(())
}

/// Disables an endpoint, or enables it. Whether it was there.
pub(super) async fn set_disabled(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    id: EndpointId,
    disabled: Option<&Disabled>,
) -> Result<bool> {
    let (at, why) = (disabled.map(|disabled| disabled.at.0), disabled.map(|disabled| disabled.reason.as_str()));
    let query = sqlx::query(SET_DISABLED).bind(tenant.0).bind(id.0).bind(at).bind(why.map(str::to_owned));
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Those of these endpoints that are there.
pub(super) async fn there(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    ids: &[EndpointId],
) -> Result<Vec<EndpointId>> {
    let ids = id_list(ids.iter().map(|id| id.0));
    let there = sqlx::query_scalar(THERE).bind(tenant.0).bind(ids).fetch_all(connection).await?;
    Ok(there.into_iter().map(EndpointId).collect())
}

/// Removes the endpoints that are written in these rules.
pub(super) async fn remove_of_rules(connection: &mut SqliteConnection, tenant: TenantId, rules: &str) -> Result<()> {
    sqlx::query(DELETE_OF_RULES).bind(tenant.0).bind(rules).execute(connection).await?;
    Ok(())
}

pub(super) async fn sealed(
    readers: &SqlitePool,
    after: Option<EndpointId>,
    limit: u32,
) -> Result<Vec<(EndpointId, Sealed)>> {
    let after = after.map_or_else(Vec::new, |id| id.0.as_bytes().to_vec());
    let rows = sqlx::query(SEALED).bind(after).bind(limit).fetch_all(readers).await?;
    rows.iter().map(sealed_target).collect()
}

pub(super) async fn reseal(
    connection: &mut SqliteConnection,
    id: EndpointId,
    old: Sealed,
    new: Sealed,
) -> Result<bool> {
    let done = sqlx::query(RESEAL).bind(id.0).bind(old.0).bind(new.0).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}
