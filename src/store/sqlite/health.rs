//! What attempts tell of their endpoints: since when one fails, its circuit, that it is disabled, and who hears of it.

use sqlx::sqlite::SqliteConnection;

use crate::model::health::Turn;
use crate::model::id::EndpointId;
use crate::store::Result;
use crate::store::outbox::{Finished, Notice, Overdue};
use crate::store::records::{ENDPOINT_DISABLED, End, Upshot, failure, notice_delivery, upshots};
use crate::store::sqlite::audit;
use crate::store::sqlite::either::notices;
use crate::store::sqlite::outbox::{fail_endpoints, store_deliveries, store_messages};
use crate::store::sqlite::row::{Repeating, change};

/// Writes only where something changes: nothing, of endpoints that do well.
pub(super) const NOTE: Repeating = Repeating {
    head: "UPDATE endpoints SET failing_since = CASE WHEN f.column3 THEN f.column4 \
           ELSE coalesce(failing_since, f.column4) END FROM (VALUES ",
    row: "(?,?,?,?)",
    between: ",",
    tail: ") AS f WHERE endpoints.tenant_id = f.column1 AND endpoints.endpoint_id = f.column2 \
           AND (f.column3 AND failing_since IS NOT NULL OR f.column4 IS NOT NULL AND (f.column3 OR failing_since IS NULL))",
};

const TURN: &str =
    "UPDATE endpoints SET circuit_until = $3, circuit_openings = $4 WHERE tenant_id = $1 AND endpoint_id = $2";

/// Once, and only if it has failed ever since.
const END: &str = "UPDATE endpoints SET disabled_at = $3, disabled_why = $4, failing_since = NULL, circuit_until = NULL, \
     circuit_openings = NULL WHERE tenant_id = $1 AND endpoint_id = $2 AND disabled_at IS NULL \
     AND ($5 IS NULL OR failing_since = $5)";

const GIVE_UP: &str = "UPDATE deliveries SET state = 2, reason = $5, finished_at = $4, holder = NULL \
     WHERE state = 0 AND endpoint_id = $2 AND min(attempts, 1) IN (0, 1) AND ready_at <= $3 AND +tenant_id = $1";

const RECEIVER: &str = "SELECT endpoint_id FROM endpoints WHERE tenant_id = $1 AND key = $2 AND disabled_at IS NULL";

/// Follows what attempts that were recorded tell. Failures are told when it is known since when their endpoints fail, and
/// before these are disabled.
pub(super) async fn follow(connection: &mut SqliteConnection, recorded: &[&Finished]) -> Result<()> {
    let upshots = upshots(recorded.iter().copied());
    let noted: Vec<&Upshot> = upshots.iter().filter(|one| one.is_noted()).collect();
    change(&mut *connection, &NOTE, &noted, |values, one| {
        values.push(one.tenant_id.0).push(one.endpoint_id.0).push(one.recovered);
        values.push(one.failing_since.map(|at| at.0));
    })
    .await?;
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

async fn turned(connection: &mut SqliteConnection, one: &Upshot, turn: Turn) -> Result<()> {
    let circuit = if let Turn::Open(circuit) = turn { Some(circuit) } else { None };
    let query = sqlx::query(TURN).bind(one.tenant_id.0).bind(one.endpoint_id.0);
    let query = query.bind(circuit.map(|circuit| circuit.until.0)).bind(circuit.map(|circuit| circuit.openings));
    query.execute(connection).await?;
    Ok(())
}

/// Ends what has waited for too long, and tells it. What is under way is leased, and ready later.
async fn give_up(
    connection: &mut SqliteConnection,
    one: &Upshot,
    Overdue { ready_until, at, reason }: &Overdue,
) -> Result<()> {
    let query = sqlx::query(GIVE_UP).bind(one.tenant_id.0).bind(one.endpoint_id.0).bind(ready_until.0);
    if query.bind(at.0).bind(reason.clone()).execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(());
    }
    notices::given_up(connection, one.tenant_id, one.endpoint_id, (reason, *at)).await
}

/// Disables an endpoint, ends what waits for it, and tells it.
async fn disable(connection: &mut SqliteConnection, one: &Upshot, end: &End) -> Result<()> {
    let End { disabled, since, notice, told } = end;
    let query = sqlx::query(END).bind(one.tenant_id.0).bind(one.endpoint_id.0).bind(disabled.at.0);
    let query = query.bind(disabled.reason.clone()).bind(since.map(|since| since.0));
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

async fn tell(connection: &mut SqliteConnection, Notice { to, message }: &Notice) -> Result<()> {
    let query = sqlx::query_scalar(RECEIVER).bind(message.tenant_id.0).bind(to.clone());
    let Some(receiver) = query.fetch_optional(&mut *connection).await?.map(EndpointId) else { return Ok(()) };
    store_messages(connection, std::slice::from_ref(message)).await?;
    store_deliveries(connection, &[notice_delivery(message, receiver)]).await
}

/// Statements that loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 3] = [
    (GIVE_UP, "SEARCH deliveries USING INDEX deliveries_waiting (endpoint_id=? AND <expr>=? AND ready_at<?)"),
    (END, "SEARCH endpoints USING INDEX endpoints_by_id (endpoint_id=?"),
    (RECEIVER, "SEARCH endpoints USING INDEX endpoints_by_key (tenant_id=? AND key=?)"),
];
