//! Endpoints. Their targets come and go sealed.

use uuid::Uuid;

use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::id::{EndpointId, TenantId};
use crate::model::sealed::Sealed;
use crate::store::failure::is_repeat;
use crate::store::postgres::session::Session;
use crate::store::postgres::{ids, text};
use crate::store::records::{endpoint, sealed_target};
use crate::store::revision::EndpointRow;
use crate::store::row::readable;
use crate::store::{Result, StoreError};

const LIST: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE tenant_id = $1";

const BY_ID: &str = "SELECT tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, \
     origin, disabled_at, disabled_why, failing_since, circuit_until, circuit_openings, alert_id FROM endpoints \
     WHERE endpoint_id = ANY($1::uuid[])";

const UPSERT: &str = "INSERT INTO endpoints (tenant_id, endpoint_id, key, rule_id, target_sealed, shown, format, policy, \
     overrides, origin, alert_id) \
     SELECT $1, endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, origin, alert_id \
     FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::text[], \
     $10::text[], $11::uuid[]) \
     AS put (endpoint_id, key, rule_id, target_sealed, shown, format, policy, overrides, origin, alert_id) \
     ON CONFLICT (tenant_id, endpoint_id) DO UPDATE SET key = excluded.key, rule_id = excluded.rule_id, \
     target_sealed = excluded.target_sealed, shown = excluded.shown, format = excluded.format, \
     policy = excluded.policy, overrides = excluded.overrides, origin = excluded.origin, \
     alert_id = excluded.alert_id, failing_since = NULL, circuit_until = NULL, circuit_openings = NULL";

const DELETE: &str = "DELETE FROM endpoints WHERE tenant_id = $1 AND endpoint_id = ANY($2::uuid[])";

const DELETE_OF_RULES: &str = "DELETE FROM endpoints WHERE tenant_id = $1 AND rule_id = ANY($2::uuid[])";

const SEALED: &str = "SELECT endpoint_id, target_sealed FROM endpoints WHERE $1::uuid IS NULL OR endpoint_id > $1 \
     ORDER BY endpoint_id LIMIT $2";

const RESEAL: &str = "UPDATE endpoints SET target_sealed = $3 WHERE endpoint_id = $1 AND target_sealed = $2";

const SEALED_AS: &str = "SELECT 1 FROM endpoints WHERE endpoint_id = $1 AND target_sealed = $2";

const SET_DISABLED: &str = "UPDATE endpoints SET disabled_at = $3, disabled_why = $4, failing_since = NULL, \
     circuit_until = NULL, circuit_openings = NULL WHERE tenant_id = $1 AND endpoint_id = $2";

const THERE: &str = "SELECT endpoint_id FROM endpoints WHERE tenant_id = $1 AND endpoint_id = ANY($2::uuid[])";

pub(super) async fn list(connection: &mut Session, tenant: TenantId) -> Result<Vec<Endpoint>> {
    readable(&sqlx::query(LIST).bind(tenant.0).fetch_all(connection).await?, endpoint)
}

/// Those of these endpoints that are there and decode.
pub(super) async fn by_id(connection: &mut Session, ids: Vec<Uuid>) -> Result<Vec<Endpoint>> {
    readable(&sqlx::query(BY_ID).bind(ids).fetch_all(connection).await?, endpoint)
}

pub(super) async fn put(connection: &mut Session, tenant: TenantId, rows: &[EndpointRow<'_>]) -> Result<()> {
    let put = sqlx::query(UPSERT)
        .bind(tenant.0)
        .bind(rows.iter().map(|row| row.endpoint.id.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.endpoint.key.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.endpoint.rule_id.map(|rule| rule.0)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.endpoint.target.0.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.shown.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.format.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.policy.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.overrides.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.endpoint.origin.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.endpoint.alert_id.map(|alert| alert.0)).collect::<Vec<_>>())
        .execute(connection)
        .await;
    match put {
        Ok(_) => Ok(()),
        Err(error) if is_repeat(&error) => Err(StoreError::Conflict("an endpoint with one of these keys".to_owned())),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn remove(connection: &mut Session, tenant: TenantId, endpoints: &[EndpointId]) -> Result<()> {
    let endpoints = ids(endpoints, |endpoint| endpoint.0);
    sqlx::query(DELETE).bind(tenant.0).bind(endpoints).execute(connection).await?;
    Ok(())
}

/// Disables an endpoint, or enables it. Whether it was there.
pub(super) async fn set_disabled(
    connection: &mut Session,
    tenant: TenantId,
    id: EndpointId,
    disabled: Option<&Disabled>,
) -> Result<bool> {
    let (at, why) = (disabled.map(|disabled| disabled.at.0), disabled.map(|disabled| text(&disabled.reason)));
    let query = sqlx::query(SET_DISABLED).bind(tenant.0).bind(id.0).bind(at).bind(why);
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Those of these endpoints that are there.
pub(super) async fn there(
    connection: &mut Session,
    tenant: TenantId,
    endpoints: &[EndpointId],
) -> Result<Vec<EndpointId>> {
    let query = sqlx::query_scalar(THERE).bind(tenant.0).bind(ids(endpoints, |endpoint| endpoint.0));
    Ok(query.fetch_all(connection).await?.into_iter().map(EndpointId).collect())
}

/// Removes the endpoints that are written in these rules.
pub(super) async fn remove_of_rules(connection: &mut Session, tenant: TenantId, rules: &[Uuid]) -> Result<()> {
    sqlx::query(DELETE_OF_RULES).bind(tenant.0).bind(rules).execute(connection).await?;
    Ok(())
}

pub(super) async fn sealed(
    connection: &mut Session,
    after: Option<EndpointId>,
    limit: u32,
) -> Result<Vec<(EndpointId, Sealed)>> {
    let query = sqlx::query(SEALED).bind(after.map(|id| id.0)).bind(i64::from(limit));
    query.fetch_all(connection).await?.iter().map(sealed_target).collect()
}

pub(super) async fn reseal(connection: &mut Session, id: EndpointId, old: &Sealed, new: &Sealed) -> Result<bool> {
    let query = sqlx::query(RESEAL).bind(id.0).bind(old.0.as_slice()).bind(new.0.as_slice());
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Whether the target is sealed exactly so.
pub(super) async fn is_sealed_as(connection: &mut Session, id: EndpointId, sealed: &Sealed) -> Result<bool> {
    let query = sqlx::query(SEALED_AS).bind(id.0).bind(sealed.0.as_slice());
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[(BY_ID, &["endpoints_by_id"]), (RESEAL, &["endpoints_by_id"])];
