//! Messages, deliveries and attempts.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::delivery::{Attempt, Delivery, Lease};
use crate::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::body::pack;
use crate::store::outbox::{Claim, Claimant, DeliveryQuery, Finished, OutboxStore, Share, Waiting, record_apart};
use crate::store::records::{
    LARGEST_CLAIMED, answers, attempt, attempt_text, claims, delivery, message, messages_of, recorded, state_columns,
    state_of_word, verdict, waiting_for, window_column, with_messages,
};
use crate::store::retention::links_of;
use crate::store::row::{json_text, readable};
use crate::store::sqlite::row::{Insert, Repeating, Values, change, id_list, insert, repeat};
use crate::store::sqlite::{SqliteStore, audit, endpoints, failed, health};
use crate::store::{Result, StoreError};

const INSERT_MESSAGES: Insert = Insert {
    head: "INSERT INTO messages (tenant_id, message_id, rule_id, source, window_id, part, parts, runs, links, body, \
           created_at, event_type) VALUES",
    columns: 12,
    tail: "",
};

const INSERT_LINKS: Insert =
    Insert { head: "INSERT INTO message_links (tenant_id, message_id, blob_key) VALUES", columns: 3, tail: "" };

const INSERT_DELIVERIES: Insert = Insert {
    head: "INSERT INTO deliveries (tenant_id, delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, \
           due_at, ready_at, created_at, finished_at) VALUES",
    columns: 13,
    tail: "",
};

const ONE: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE tenant_id = $1 AND delivery_id = $2";

const LIST: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE tenant_id = ";

const MESSAGE: &str = "SELECT tenant_id, message_id, rule_id, source, window_id, part, parts, runs, links, body, created_at, \
     event_type FROM messages WHERE tenant_id = $1 AND message_id = $2";

const ATTEMPTS: &str = "SELECT number, started_at, duration_ms, result FROM attempts \
     WHERE tenant_id = $1 AND delivery_id = $2 ORDER BY number";

/// `CROSS JOIN` keeps the order of the tables. A body's length is known without reading it.
pub(super) const MESSAGES: &str = "SELECT m.tenant_id, m.message_id, m.rule_id, m.source, m.window_id, m.part, m.parts, m.runs, \
     m.links, m.body, m.created_at, m.event_type FROM json_each($1) pair CROSS JOIN messages m \
     ON m.tenant_id = unhex(pair.value ->> 0) AND m.message_id = unhex(pair.value ->> 1) WHERE length(m.body) <= $2";

/// That a delivery `d` need not wait for another: what an alert says reaches an endpoint in the order in which it was said, or
/// PagerDuty would close an incident before it opens. Nothing is looked up for what is no alert's.
macro_rules! in_turn {
    () => {
        "(d.source IS DISTINCT FROM 'alert' OR NOT EXISTS (SELECT 1 FROM deliveries e INDEXED BY deliveries_of_alerts \
         WHERE e.state = 0 AND e.source = 'alert' AND e.endpoint_id = d.endpoint_id AND e.created_at < d.created_at))"
    };
}

pub(super) const NEXT_READY: &str =
    concat!("SELECT min(d.ready_at) FROM deliveries d WHERE d.state = 0 AND ", in_turn!());

/// From endpoint to endpoint, however much waits for each.
pub(super) const WAITING: &str = concat!(
    "WITH RECURSIVE hop (endpoint_id) AS (\
     SELECT min(endpoint_id) FROM deliveries WHERE state = 0 AND endpoint_id > $1 \
     UNION ALL SELECT (SELECT min(d.endpoint_id) FROM deliveries d WHERE d.state = 0 AND d.endpoint_id > hop.endpoint_id) \
     FROM hop WHERE hop.endpoint_id IS NOT NULL LIMIT $2 + 0) \
     SELECT hop.endpoint_id, \
     (SELECT tenant_id FROM deliveries d WHERE d.state = 0 AND d.endpoint_id = hop.endpoint_id LIMIT 1), \
     (SELECT min(d.ready_at) FROM deliveries d \
     WHERE d.state = 0 AND d.endpoint_id = hop.endpoint_id AND min(d.attempts, 1) = 0 AND ",
    in_turn!(),
    "), (SELECT min(d.ready_at) FROM deliveries d \
     WHERE d.state = 0 AND d.endpoint_id = hop.endpoint_id AND min(d.attempts, 1) = 1 AND ",
    in_turn!(),
    "), e.overrides, e.circuit_until, e.circuit_openings \
     FROM hop LEFT JOIN endpoints e ON e.endpoint_id = hop.endpoint_id WHERE hop.endpoint_id IS NOT NULL"
);

pub(super) const CLAIM: Repeating = Repeating {
    head: "UPDATE deliveries SET holder = ?, ready_at = ? FROM (",
    row: concat!(
        "SELECT * FROM (SELECT d.tenant_id AS owner, d.delivery_id AS id FROM deliveries d WHERE d.state = 0 \
         AND d.endpoint_id = ? AND min(d.attempts, 1) = ? AND d.ready_at <= ? AND ",
        in_turn!(),
        " ORDER BY d.ready_at LIMIT ? + 0)"
    ),
    between: " UNION ALL ",
    tail: ") AS due WHERE tenant_id = due.owner AND delivery_id = due.id RETURNING tenant_id, delivery_id, message_id, \
           endpoint_id, rule_id, source, state, reason, attempts, due_at, created_at, finished_at",
};

const RELEASE: &str = "UPDATE deliveries SET holder = NULL, ready_at = due_at WHERE state = 0 AND holder IS NOT NULL";

/// Records what follows attempts, for the holders of the leases alone.
/// The sign before `state` keeps the index of what is pending out: deliveries are found by their ids.
pub(super) const FINISH: Repeating = Repeating {
    head: "UPDATE deliveries SET state = f.column4, reason = f.column5, attempts = max(attempts, f.column6), \
           due_at = coalesce(f.column7, due_at), ready_at = coalesce(f.column7, ready_at), finished_at = f.column8, \
           holder = NULL FROM (VALUES ",
    row: "(?,?,?,?,?,?,?,?)",
    between: ",",
    tail: ") AS f WHERE deliveries.tenant_id = f.column1 AND deliveries.delivery_id = f.column2 \
           AND deliveries.holder = f.column3 AND +deliveries.state = 0",
};

/// The same where some lease is lost: what was recorded comes back row by row.
pub(super) const FINISH_SOME: Repeating = Repeating {
    tail: ") AS f WHERE deliveries.tenant_id = f.column1 AND deliveries.delivery_id = f.column2 \
           AND deliveries.holder = f.column3 AND +deliveries.state = 0 RETURNING delivery_id",
    ..FINISH
};

/// Those of these endpoints that subscribe to something.
const SUBSCRIBED: &str = "SELECT s.endpoint_id FROM json_each($1) pair CROSS JOIN subscriptions s \
     ON s.tenant_id = unhex(pair.value ->> 0) AND s.endpoint_id = unhex(pair.value ->> 1)";

/// Gives leases up.
pub(super) const PUT_BACK: Repeating = Repeating {
    head: "UPDATE deliveries SET holder = NULL, ready_at = due_at FROM (VALUES ",
    row: "(?,?,?)",
    between: ",",
    tail: ") AS f WHERE deliveries.tenant_id = f.column1 AND deliveries.delivery_id = f.column2 \
           AND deliveries.holder = f.column3 AND +deliveries.state = 0",
};

const INSERT_ATTEMPTS: Insert = Insert {
    head: "INSERT INTO attempts (tenant_id, delivery_id, number, started_at, duration_ms, result, endpoint_id) VALUES",
    columns: 7,
    tail: "",
};

/// A delivery whose endpoint is gone has nowhere to go, and stays as it is.
const REPLAY: &str = "UPDATE deliveries SET state = 0, reason = NULL, due_at = $3, ready_at = $3, holder = NULL, \
     finished_at = NULL WHERE tenant_id = $1 AND delivery_id IN (SELECT unhex(value) FROM json_each($2)) AND state <> 0 \
     AND EXISTS (SELECT 1 FROM endpoints e WHERE e.tenant_id = deliveries.tenant_id \
     AND e.endpoint_id = deliveries.endpoint_id)";

const FAIL_SOURCES: &str = "UPDATE deliveries SET state = 2, reason = $4, finished_at = $3, holder = NULL \
     WHERE state = 0 AND tenant_id = $1 AND rule_id IN (SELECT unhex(value) FROM json_each($2))";

const FAIL_ENDPOINTS: &str = "UPDATE deliveries SET state = 2, reason = $4, finished_at = $3, \
     holder = NULL WHERE state = 0 AND tenant_id = $1 AND endpoint_id IN (SELECT unhex(value) FROM json_each($2))";

/// Ends every lease: what was being sent can be claimed at once.
pub(super) async fn release_leases(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query(RELEASE).execute(connection).await?;
    Ok(())
}

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn waiting(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<Waiting>> {
        let after = after.map_or_else(Vec::new, |id| id.0.as_bytes().to_vec());
        let rows = sqlx::query(WAITING).bind(after).bind(limit).fetch_all(&self.readers).await?;
        rows.iter().map(waiting_for).collect()
    }

    async fn claim_deliveries(&self, claimant: Claimant, shares: &[Share]) -> Result<Vec<Claim>> {
        let lanes: Vec<Lane> = shares.iter().flat_map(lanes_of).collect();
        let (claims, messages) =
            self.queue.write(move |connection| Box::pin(claim(connection, claimant, lanes))).await?;
        // Unpacked here, and not while others wait for the writer.
        Ok(with_messages(claims, readable(&messages, message)?))
    }

    async fn finish_attempts(&self, finished: &[Finished]) -> Result<Vec<Result<()>>> {
        record_apart(finished, |finished| self.finish(finished)).await
    }

    async fn put_back(&self, leases: &[Lease]) -> Result<()> {
        let leases = leases.to_vec();
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let bind = |values: &mut Values, lease: &Lease| {
                        values.push(lease.tenant_id.0).push(lease.delivery_id.0).push(lease.holder);
                    };
                    change(connection, &PUT_BACK, &leases, bind).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let due: Option<i64> = sqlx::query_scalar(NEXT_READY).fetch_one(&self.readers).await?;
        Ok(due.map(Timestamp))
    }

    async fn message(&self, tenant: TenantId, id: MessageId) -> Result<Option<Message>> {
        let row = sqlx::query(MESSAGE).bind(tenant.0).bind(id.0).fetch_optional(&self.readers).await?;
        row.as_ref().map(message).transpose()
    }

    async fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Result<Option<(Delivery, Vec<Attempt>)>> {
        let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(&self.readers).await?;
        let Some(row) = row else { return Ok(None) };
        let attempts = sqlx::query(ATTEMPTS).bind(tenant.0).bind(id.0).fetch_all(&self.readers).await?;
        Ok(Some((delivery(&row)?, attempts.iter().map(attempt).collect::<Result<_>>()?)))
    }

    async fn list_deliveries(&self, tenant: TenantId, query: &DeliveryQuery) -> Result<Vec<Delivery>> {
        page(tenant, query).build().fetch_all(&self.readers).await?.iter().map(delivery).collect()
    }

    async fn replay(&self, tenant: TenantId, ids: &[DeliveryId], now: Timestamp, told: Option<Entry>) -> Result<u64> {
        let ids = id_list(ids.iter().map(|id| id.0));
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(REPLAY).bind(tenant.0).bind(ids).bind(now.0);
                    let replayed = query.execute(&mut *connection).await?.rows_affected();
                    if replayed > 0 {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(replayed)
                })
            })
            .await
    }
}

pub(super) fn page(tenant: TenantId, query: &DeliveryQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(LIST);
    sql.push_bind(tenant.0);
    if let Some(state) = &query.state {
        sql.push(" AND state = ").push_bind(state_of_word(state));
    }
    if let Some(rule) = query.rule_id {
        sql.push(" AND rule_id = ").push_bind(rule.0);
    }
    if let Some(endpoint) = query.endpoint_id {
        sql.push(" AND endpoint_id = ").push_bind(endpoint.0);
    }
    if let Some(since) = query.since {
        sql.push(" AND created_at >= ").push_bind(since.0);
    }
    if let Some(until) = query.until {
        sql.push(" AND created_at < ").push_bind(until.0);
    }
    if let Some(statuses) = query.statuses {
        failed::answered(&mut sql, statuses);
    }
    if let Some((created, id)) = query.before {
        sql.push(" AND (created_at, delivery_id) < (").push_bind(created.0).push(", ").push_bind(id.0).push(")");
    }
    sql.push(" ORDER BY created_at DESC, delivery_id DESC LIMIT ").push_bind(query.limit);
    sql
}

/// The bodies of messages as they are stored.
pub(super) fn packed(messages: &[Message]) -> Result<Vec<Vec<u8>>> {
    messages.iter().map(|message| pack(message.body.json.as_bytes())).collect()
}

/// Stores messages.
pub(super) async fn store_messages(connection: &mut SqliteConnection, messages: &[Message]) -> Result<()> {
    store_packed(connection, messages, &packed(messages)?).await
}

/// Stores messages whose bodies were packed before, while nobody waited for the writer.
pub(super) async fn store_packed(
    connection: &mut SqliteConnection,
    messages: &[Message],
    bodies: &[Vec<u8>],
) -> Result<()> {
    let rows = messages.iter().zip(bodies);
    let rows = rows.map(|(message, body)| Ok((message, json_text(&message.body.links)?, body)));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    insert(connection, &INSERT_MESSAGES, &rows, |values, (message, links, body)| {
        values.push(message.tenant_id.0).push(message.id.0);
        values.push(message.source.id()).push(message.source.word()).push(window_column(message.window_id));
        values.push(message.part).push(message.parts).push(message.runs);
        values.push(links.as_str()).push(body.as_slice()).push(message.created_at.0);
        values.push(message.event_type.as_deref());
    })
    .await?;
    insert(connection, &INSERT_LINKS, &links_of(messages), |values, (message, key)| {
        values.push(message.tenant_id.0).push(message.id.0).push(*key);
    })
    .await?;
    Ok(())
}

/// Stores the deliveries of a window.
pub(super) async fn store_deliveries(connection: &mut SqliteConnection, deliveries: &[Delivery]) -> Result<()> {
    insert(connection, &INSERT_DELIVERIES, deliveries, |values, delivery| {
        let (state, reason) = state_columns(&delivery.state);
        values.push(delivery.tenant_id.0).push(delivery.id.0).push(delivery.message_id.0);
        values.push(delivery.endpoint_id.0).push(delivery.source.id()).push(delivery.source.word());
        values.push(state).push(reason);
        values.push(delivery.attempts).push(delivery.due_at.0).push(delivery.due_at.0);
        values.push(delivery.created_at.0).push(delivery.finished_at.map(|at| at.0));
    })
    .await?;
    Ok(())
}

/// Ends the waiting deliveries of rules, or of alerts, that are gone.
pub(super) async fn fail_sources(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    sources: &str,
    now: Timestamp,
    reason: &str,
) -> Result<()> {
    let query = sqlx::query(FAIL_SOURCES).bind(tenant.0).bind(sources).bind(now.0).bind(reason);
    query.execute(connection).await?;
    Ok(())
}

/// Ends the waiting deliveries to endpoints that cannot be sent to.
pub(super) async fn fail_endpoints(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    endpoints: &[EndpointId],
    now: Timestamp,
    reason: &str,
) -> Result<()> {
    let ids = id_list(endpoints.iter().map(|id| id.0));
    sqlx::query(FAIL_ENDPOINTS).bind(tenant.0).bind(ids).bind(now.0).bind(reason).execute(connection).await?;
    Ok(())
}

/// Deliveries to one endpoint that are claimed together: those never tried (0), or those tried (1).
struct Lane {
    endpoint: EndpointId,
    tried: i64,
    take: u32,
}

fn lanes_of(share: &Share) -> impl Iterator<Item = Lane> {
    let endpoint = share.endpoint_id;
    let lanes = [(0, share.firsts), (1, share.retries)].map(|(tried, take)| Lane { endpoint, tried, take });
    lanes.into_iter().filter(|lane| lane.take > 0)
}

/// Claims, and the rows of their messages.
async fn claim(
    connection: &mut SqliteConnection,
    claimant: Claimant,
    lanes: Vec<Lane>,
) -> Result<(Vec<Claim>, Vec<SqliteRow>)> {
    let lease = |values: &mut Values| {
        values.push(claimant.holder).push(claimant.until.0);
    };
    let rows = repeat(connection, &CLAIM, &lanes, lease, |values, lane| {
        values.push(lane.endpoint.0).push(lane.tried).push(claimant.now.0).push(lane.take);
    });
    let deliveries = readable(&rows.await?, delivery)?;
    let endpoints: HashSet<EndpointId> = lanes.iter().map(|lane| lane.endpoint).collect();
    let endpoints = endpoints::by_id(connection, endpoints).await?;
    let messages = messages(connection, &deliveries).await?;
    let (claims, lost) = claims(claimant, deliveries, endpoints);
    for (tenant, endpoint, why) in lost {
        fail_endpoints(connection, tenant, &[endpoint], claimant.now, why).await?;
    }
    Ok((claims, messages))
}

/// The messages of deliveries, save the large ones.
async fn messages(connection: &mut SqliteConnection, deliveries: &[Delivery]) -> Result<Vec<SqliteRow>> {
    let wanted = pairs(messages_of(deliveries).into_iter().map(|(tenant, message)| (tenant.0, message.0)))?;
    Ok(sqlx::query(MESSAGES).bind(wanted).bind(LARGEST_CLAIMED).fetch_all(connection).await?)
}

/// Tenants with ids of theirs, as one parameter.
fn pairs(ids: impl IntoIterator<Item = (Uuid, Uuid)>) -> Result<String> {
    let hex = |id: Uuid| id.simple().to_string();
    json_text(&ids.into_iter().map(|(tenant, id)| [hex(tenant), hex(id)]).collect::<Vec<_>>())
}

impl SqliteStore {
    /// Records attempts, all or none.
    async fn finish(&self, finished: &[Finished]) -> Result<Vec<Result<()>>> {
        let all = finished.to_vec();
        match self.queue.write(move |connection| Box::pin(finish_all(connection, all))).await {
            Err(StoreError::Stale(_)) => {
                let some = finished.to_vec();
                self.queue.write(move |connection| Box::pin(finish_some(connection, some))).await
            }
            answered => answered,
        }
    }
}

fn bind_finished(values: &mut Values, Finished { lease, attempt, outcome, .. }: &Finished) {
    let verdict = verdict(attempt, outcome);
    values.push(lease.tenant_id.0).push(lease.delivery_id.0).push(lease.holder);
    values.push(verdict.state).push(verdict.reason).push(attempt.number);
    values.push(verdict.due).push(verdict.finished);
}

/// Records attempts of which no lease is lost.
async fn finish_all(connection: &mut SqliteConnection, finished: Vec<Finished>) -> Result<Vec<Result<()>>> {
    let changed = change(&mut *connection, &FINISH, &finished, bind_finished).await?;
    if usize::try_from(changed).ok() != Some(finished.len()) {
        return Err(StoreError::Stale("a lease is lost"));
    }
    keep(connection, &finished.iter().collect::<Vec<_>>()).await?;
    Ok(finished.iter().map(|_| Ok(())).collect())
}

/// Records those of which the lease is not lost.
async fn finish_some(connection: &mut SqliteConnection, finished: Vec<Finished>) -> Result<Vec<Result<()>>> {
    let rows = repeat(&mut *connection, &FINISH_SOME, &finished, |_| {}, bind_finished).await?;
    let held: HashSet<DeliveryId> = rows.iter().map(recorded).collect::<Result<_>>()?;
    let kept: Vec<&Finished> = finished.iter().filter(|one| held.contains(&one.lease.delivery_id)).collect();
    keep(connection, &kept).await?;
    Ok(answers(&finished, &held))
}

/// Stores attempts that count, and what follows for their endpoints.
async fn keep(connection: &mut SqliteConnection, kept: &[&Finished]) -> Result<()> {
    let of = kept.iter().map(|one| (one.lease.tenant_id.0, one.lease.endpoint_id.0)).collect::<HashSet<_>>();
    let rows = sqlx::query_scalar(SUBSCRIBED).bind(pairs(of)?).fetch_all(&mut *connection).await?;
    let subscribed: HashSet<Uuid> = rows.into_iter().collect();
    let texts = kept.iter().map(|one| Ok((*one, attempt_text(&one.attempt)?))).collect::<Result<Vec<_>>>()?;
    insert(&mut *connection, &INSERT_ATTEMPTS, &texts, |values, (Finished { lease, attempt, .. }, result)| {
        values.push(lease.tenant_id.0).push(lease.delivery_id.0).push(attempt.number).push(attempt.started_at.0);
        values.push(i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX)).push(result.as_str());
        values.push(Some(lease.endpoint_id.0).filter(|endpoint| subscribed.contains(endpoint)));
    })
    .await?;
    health::follow(connection, kept).await
}

/// Further statements that requests and loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 12] = [
    (SUBSCRIBED, "SEARCH s USING PRIMARY KEY (tenant_id=? AND endpoint_id=?)"),
    (NEXT_READY, "SEARCH d USING INDEX deliveries_ready"),
    (NEXT_READY, "INDEX deliveries_of_alerts (endpoint_id=? AND created_at<?)"),
    (WAITING, "INDEX deliveries_of_alerts (endpoint_id=? AND created_at<?)"),
    (WAITING, "SEARCH d USING COVERING INDEX deliveries_waiting (endpoint_id>?)"),
    (WAITING, "SEARCH d USING INDEX deliveries_waiting (endpoint_id=? AND <expr>=?)"),
    (WAITING, "SEARCH e USING INDEX endpoints_by_id (endpoint_id=?) LEFT-JOIN"),
    (MESSAGE, "SEARCH messages USING INDEX sqlite_autoindex_messages_1 (tenant_id=? AND message_id=?)"),
    (ONE, "SEARCH deliveries USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
    (ATTEMPTS, "SEARCH attempts USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
    (REPLAY, "SEARCH deliveries USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
    (REPLAY, "SEARCH e USING COVERING INDEX endpoints_by_id (endpoint_id=?)"),
];
