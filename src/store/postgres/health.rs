//! What attempts tell of their endpoints: since when one fails, its circuit, that it is disabled, and who hears of it.
//!
//! Replicas record attempts at the same endpoints at the same time. What follows from them changes rows of endpoints, of
//! deliveries that wait for these, and of events that both would tell. So whoever records holds the endpoints that something
//! follows for before anything else, in the order of their ids: all the rest then comes to one after the other. What does
//! well holds nothing.

use crate::model::health::Turn;
use crate::model::id::EndpointId;
use crate::store::Result;
use crate::store::outbox::{Finished, Notice, Overdue};
use crate::store::postgres::audit;
use crate::store::postgres::either::notices;
use crate::store::postgres::outbox::{fail_endpoints, store_deliveries, store_messages};
use crate::store::postgres::session::Session;
use crate::store::postgres::text;
use crate::store::records::{ENDPOINT_DISABLED, End, Upshot, failure, notice_delivery, upshots};

/// Endpoints that something follows for, or that fail and may have recovered.
const HOLD: &str = "SELECT 1 FROM endpoints e \
     JOIN unnest($1::uuid[], $2::uuid[], $3::bool[]) AS f (tenant_id, endpoint_id, grave) \
     ON e.tenant_id = f.tenant_id AND e.endpoint_id = f.endpoint_id \
     WHERE f.grave OR e.failing_since IS NOT NULL ORDER BY e.endpoint_id FOR NO KEY UPDATE OF e";

/// Writes only where something changes.
const NOTE: &str = "UPDATE endpoints e SET failing_since = CASE WHEN f.recovered THEN f.since \
     ELSE coalesce(e.failing_since, f.since) END \
     FROM unnest($1::uuid[], $2::uuid[], $3::bool[], $4::bigint[]) AS f (tenant_id, endpoint_id, recovered, since) \
     WHERE e.tenant_id = f.tenant_id AND e.endpoint_id = f.endpoint_id \
     AND (f.recovered AND e.failing_since IS NOT NULL OR f.since IS NOT NULL AND (f.recovered OR e.failing_since IS NULL))";

const TURN: &str =
    "UPDATE endpoints SET circuit_until = $3, circuit_openings = $4 WHERE tenant_id = $1 AND endpoint_id = $2";

/// Once, and only if it has failed ever since.
const END: &str = "UPDATE endpoints SET disabled_at = $3, disabled_why = $4, failing_since = NULL, circuit_until = NULL, \
     circuit_openings = NULL WHERE tenant_id = $1 AND endpoint_id = $2 AND disabled_at IS NULL \
     AND ($5::bigint IS NULL OR failing_since = $5)";

const GIVE_UP: &str = "UPDATE deliveries SET state = 2, reason = $5, finished_at = $4, holder = NULL \
     WHERE state = 0 AND endpoint_id = $2 AND least(attempts, 1) IN (0, 1) AND ready_at <= $3 AND tenant_id = $1";

const RECEIVER: &str = "SELECT endpoint_id FROM endpoints WHERE tenant_id = $1 AND key = $2 AND disabled_at IS NULL";

/// Holds the endpoints that something follows for from attempts that are about to be recorded. Whether there are any.
pub(super) async fn hold(connection: &mut Session, finished: &[&Finished]) -> Result<bool> {
    let upshots = upshots(finished.iter().copied());
    let held: Vec<&Upshot> = upshots.iter().filter(|one| one.is_noted() || one.is_grave()).collect();
    if held.is_empty() {
        return Ok(false);
    }
    let query = sqlx::query(HOLD)
        .bind(held.iter().map(|one| one.tenant_id.0).collect::<Vec<_>>())
        .bind(held.iter().map(|one| one.endpoint_id.0).collect::<Vec<_>>())
        .bind(held.iter().map(|one| one.is_grave()).collect::<Vec<_>>());
    Ok(!query.fetch_all(connection).await?.is_empty())
}

/// Follows what attempts that were recorded tell, where their endpoints are held. Failures are told when it is known since
/// when their endpoints fail, and before these are disabled.
pub(super) async fn follow(connection: &mut Session, recorded: &[&Finished]) -> Result<()> {
    let upshots = upshots(recorded.iter().copied());
    let noted: Vec<&Upshot> = upshots.iter().filter(|one| one.is_noted()).collect();
    if !noted.is_empty() {
        sqlx::query(NOTE)
            .bind(noted.iter().map(|one| one.tenant_id.0).collect::<Vec<_>>())
            .bind(noted.iter().map(|one| one.endpoint_id.0).collect::<Vec<_>>())
            .bind(noted.iter().map(|one| one.recovered).collect::<Vec<_>>())
            .bind(noted.iter().map(|one| one.failing_since.map(|at| at.0)).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let failed = recorded.iter().filter_map(|one| {
        let (reason, at) = failure(&one.attempt, &one.outcome)?;
        Some((one.lease.tenant_id, one.lease.delivery_id, reason, at))
    });
    notices::failed(connection, &failed.collect::<Vec<_>>()).await?;
    for one in &upshots {
        if let Some(turn) = one.turn {
            turned(connection, one, turn).await?;
        }
        if let Some(overdue) = &one.overdue {
            give_up(connection, one, overdue).await?;
        }
        if let Some(end) = &one.end {
            disable(connection, one, end).await?;
        }
    }
    Ok(())
}

async fn turned(connection: &mut Session, one: &Upshot, turn: Turn) -> Result<()> {
    let circuit = if let Turn::Open(circuit) = turn { Some(circuit) } else { None };
    let query = sqlx::query(TURN).bind(one.tenant_id.0).bind(one.endpoint_id.0);
    let query = query.bind(circuit.map(|circuit| circuit.until.0));
    query.bind(circuit.map(|circuit| i64::from(circuit.openings))).execute(connection).await?;
    Ok(())
}

/// Ends what has waited for too long, and tells it. What is under way is leased, and ready later.
async fn give_up(connection: &mut Session, one: &Upshot, Overdue { ready_until, at, reason }: &Overdue) -> Result<()> {
    let query = sqlx::query(GIVE_UP).bind(one.tenant_id.0).bind(one.endpoint_id.0).bind(ready_until.0);
    if query.bind(at.0).bind(text(reason)).execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(());
    }
    notices::given_up(connection, one.tenant_id, one.endpoint_id, (&text(reason), *at)).await
}

/// Disables an endpoint, ends what waits for it, and tells it.
async fn disable(connection: &mut Session, one: &Upshot, end: &End) -> Result<()> {
    let End { disabled, since, notice, told } = end;
    let query = sqlx::query(END).bind(one.tenant_id.0).bind(one.endpoint_id.0).bind(disabled.at.0);
    let query = query.bind(text(&disabled.reason)).bind(since.map(|since| since.0));
    if query.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(());
    }
    fail_endpoints(connection, one.tenant_id, &[one.endpoint_id], disabled.at, ENDPOINT_DISABLED).await?;
    notices::disabled(connection, one.tenant_id, one.endpoint_id, (&disabled.reason, disabled.at)).await?;
    audit::write(connection, told.as_slice()).await?;
    match notice {
        Some(notice) => tell(connection, notice).await,
        None => Ok(()),
    }
}

async fn tell(connection: &mut Session, Notice { to, message }: &Notice) -> Result<()> {
    let query = sqlx::query_scalar(RECEIVER).bind(message.tenant_id.0).bind(text(to));
    let Some(receiver) = query.fetch_optional(&mut *connection).await?.map(EndpointId) else { return Ok(()) };
    store_messages(connection, message.tenant_id, std::slice::from_ref(message)).await?;
    store_deliveries(connection, message.tenant_id, &[notice_delivery(message, receiver)]).await
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (HOLD, &["endpoints_by_id"]),
    (NOTE, &["endpoints_by_id"]),
    (RECEIVER, &["endpoints_by_key"]),
    (GIVE_UP, &["deliveries_waiting"]),
];
