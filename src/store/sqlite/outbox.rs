//! Messages, deliveries and attempts.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::delivery::{Attempt, Delivery, Lease, Outcome};
use crate::model::endpoint::Disabled;
use crate::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::body::pack;
use crate::store::outbox::{Claim, Claimant, DeliveryQuery, OutboxStore};
use crate::store::records::{
    ENDPOINT_DISABLED, attempt, attempt_text, claims, delivery, gone, message, state_columns, state_of_word, verdict,
};
use crate::store::retention::links_of;
use crate::store::row::{json_text, readable};
use crate::store::sqlite::row::{Insert, id_list, insert};
use crate::store::sqlite::{SqliteStore, endpoints, failed};
use crate::store::{Result, StoreError};

const INSERT_MESSAGES: Insert = Insert {
    head: "INSERT INTO messages (tenant_id, message_id, rule_id, window_id, part, parts, runs, links, body, created_at) \
           VALUES",
    columns: 10,
    tail: "",
};

const INSERT_LINKS: Insert =
    Insert { head: "INSERT INTO message_links (tenant_id, message_id, blob_key) VALUES", columns: 3, tail: "" };

const INSERT_DELIVERIES: Insert = Insert {
    head: "INSERT INTO deliveries (tenant_id, delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, \
           due_at, ready_at, created_at, finished_at) VALUES",
    columns: 12,
    tail: "",
};

const ONE: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE tenant_id = $1 AND delivery_id = $2";

const LIST: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE tenant_id = ";

const MESSAGE: &str = "SELECT tenant_id, message_id, rule_id, window_id, part, parts, runs, links, body, created_at \
     FROM messages WHERE tenant_id = $1 AND message_id = $2";

const ATTEMPTS: &str = "SELECT number, started_at, duration_ms, result FROM attempts \
     WHERE tenant_id = $1 AND delivery_id = $2 ORDER BY number";

pub(super) const NEXT_READY: &str = "SELECT min(ready_at) FROM deliveries WHERE state = 0 \
     AND endpoint_id NOT IN (SELECT unhex(value) FROM json_each($1))";

pub(super) const CLAIM: &str = "UPDATE deliveries SET holder = $1, ready_at = $2 WHERE (tenant_id, delivery_id) IN \
     (SELECT tenant_id, delivery_id FROM deliveries WHERE state = 0 AND ready_at <= $3 \
     AND endpoint_id NOT IN (SELECT unhex(value) FROM json_each($5)) ORDER BY ready_at LIMIT $4) \
     RETURNING tenant_id, delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, due_at, created_at, \
     finished_at";

const RELEASE: &str = "UPDATE deliveries SET holder = NULL, ready_at = due_at WHERE state = 0 AND holder IS NOT NULL";

/// Records what follows an attempt, for the holder of the lease alone.
pub(super) const FINISH: &str = "UPDATE deliveries SET state = $3, reason = $4, attempts = max(attempts, $5), \
     due_at = coalesce($6, due_at), ready_at = coalesce($6, ready_at), finished_at = $7, holder = NULL \
     WHERE delivery_id = $1 AND state = 0 AND holder = $2 RETURNING tenant_id";

const INSERT_ATTEMPT: &str = "INSERT INTO attempts (tenant_id, delivery_id, number, started_at, duration_ms, result) \
     VALUES ($1, $2, $3, $4, $5, $6)";

const ENDPOINT: &str = "SELECT endpoint_id FROM deliveries WHERE tenant_id = $1 AND delivery_id = $2";

/// A delivery whose endpoint is gone has nowhere to go, and stays as it is.
const REPLAY: &str = "UPDATE deliveries SET state = 0, reason = NULL, due_at = $3, ready_at = $3, holder = NULL, \
     finished_at = NULL WHERE tenant_id = $1 AND delivery_id IN (SELECT unhex(value) FROM json_each($2)) AND state <> 0 \
     AND EXISTS (SELECT 1 FROM endpoints e WHERE e.tenant_id = deliveries.tenant_id \
     AND e.endpoint_id = deliveries.endpoint_id)";

const FAIL_RULES: &str = "UPDATE deliveries SET state = 2, reason = 'rule removed', finished_at = $3, holder = NULL \
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
    async fn claim_deliveries(&self, claimant: Claimant, limit: u32, crowded: &[EndpointId]) -> Result<Vec<Claim>> {
        // Looking costs no write; most of the time there is nothing to claim.
        if self.next_due(crowded).await?.is_none_or(|due| due > claimant.now) {
            return Ok(Vec::new());
        }
        let crowded = id_list(crowded.iter().map(|id| id.0));
        self.queue.write(move |connection| Box::pin(claim(connection, claimant, limit, crowded))).await
    }

    async fn finish_attempt(&self, lease: &Lease, attempt: Attempt, outcome: Outcome) -> Result<()> {
        let lease = lease.clone();
        self.queue.write(move |connection| Box::pin(finish(connection, lease, attempt, outcome))).await
    }

    async fn next_due(&self, crowded: &[EndpointId]) -> Result<Option<Timestamp>> {
        let crowded = id_list(crowded.iter().map(|id| id.0));
        let due: Option<i64> = sqlx::query_scalar(NEXT_READY).bind(crowded).fetch_one(&self.readers).await?;
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

    async fn replay(&self, tenant: TenantId, ids: &[DeliveryId], now: Timestamp) -> Result<u64> {
        let ids = id_list(ids.iter().map(|id| id.0));
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(REPLAY).bind(tenant.0).bind(ids).bind(now.0);
                    Ok(query.execute(connection).await?.rows_affected())
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

/// Stores the messages of a window.
pub(super) async fn store_messages(connection: &mut SqliteConnection, messages: &[Message]) -> Result<()> {
    let rows = messages
        .iter()
        .map(|message| Ok((message, json_text(&message.body.links)?, pack(message.body.json.as_bytes())?)))
        .collect::<Result<Vec<_>>>()?;
    insert(connection, &INSERT_MESSAGES, &rows, |values, (message, links, body)| {
        values.push(message.tenant_id.0).push(message.id.0).push(message.rule_id.0).push(message.window_id.0);
        values.push(message.part).push(message.parts).push(message.runs);
        values.push(links.as_str()).push(body.as_slice()).push(message.created_at.0);
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
        values.push(delivery.endpoint_id.0).push(delivery.rule_id.0).push(state).push(reason);
        values.push(delivery.attempts).push(delivery.due_at.0).push(delivery.due_at.0);
        values.push(delivery.created_at.0).push(delivery.finished_at.map(|at| at.0));
    })
    .await?;
    Ok(())
}

/// Ends the waiting deliveries of rules that are gone.
pub(super) async fn fail_rules(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    rules: &str,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(FAIL_RULES).bind(tenant.0).bind(rules).bind(now.0).execute(connection).await?;
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

async fn claim(
    connection: &mut SqliteConnection,
    claimant: Claimant,
    limit: u32,
    crowded: String,
) -> Result<Vec<Claim>> {
    let query = sqlx::query(CLAIM).bind(claimant.holder).bind(claimant.until.0).bind(claimant.now.0);
    let rows = query.bind(limit).bind(crowded).fetch_all(&mut *connection).await?;
    let deliveries = readable(&rows, delivery)?;
    let endpoints = endpoints::by_id(connection, deliveries.iter().map(|delivery| delivery.endpoint_id)).await?;
    let (claims, lost) = claims(claimant, deliveries, endpoints);
    for (tenant, endpoint, why) in lost {
        fail_endpoints(connection, tenant, &[endpoint], claimant.now, why).await?;
    }
    Ok(claims)
}

async fn finish(connection: &mut SqliteConnection, lease: Lease, attempt: Attempt, outcome: Outcome) -> Result<()> {
    let gone = gone(&attempt, &outcome);
    let verdict = verdict(&attempt, outcome);
    let tenant: Option<(uuid::Uuid,)> = sqlx::query_as(FINISH)
        .bind(lease.delivery_id.0)
        .bind(lease.holder)
        .bind(verdict.state)
        .bind(verdict.reason)
        .bind(attempt.number)
        .bind(verdict.due)
        .bind(verdict.finished)
        .fetch_optional(&mut *connection)
        .await?;
    let Some((tenant,)) = tenant else { return Err(StoreError::Stale("the lease is lost")) };
    sqlx::query(INSERT_ATTEMPT)
        .bind(tenant)
        .bind(lease.delivery_id.0)
        .bind(attempt.number)
        .bind(attempt.started_at.0)
        .bind(i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX))
        .bind(attempt_text(&attempt)?)
        .execute(&mut *connection)
        .await?;
    if let Some(disabled) = gone {
        disable(connection, TenantId(tenant), lease.delivery_id, &disabled).await?;
    }
    Ok(())
}

/// Disables the endpoint of a delivery, and ends what waits for it.
async fn disable(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    delivery: DeliveryId,
    disabled: &Disabled,
) -> Result<()> {
    let query = sqlx::query_scalar(ENDPOINT).bind(tenant.0).bind(delivery.0);
    let Some(endpoint) = query.fetch_optional(&mut *connection).await?.map(EndpointId) else { return Ok(()) };
    endpoints::set_disabled(connection, tenant, endpoint, Some(disabled)).await?;
    fail_endpoints(connection, tenant, &[endpoint], disabled.at, ENDPOINT_DISABLED).await
}

/// Further statements that requests and loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 5] = [
    (MESSAGE, "SEARCH messages USING INDEX sqlite_autoindex_messages_1 (tenant_id=? AND message_id=?)"),
    (ONE, "SEARCH deliveries USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
    (ATTEMPTS, "SEARCH attempts USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
    (REPLAY, "SEARCH deliveries USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
    (REPLAY, "SEARCH e USING COVERING INDEX endpoints_by_id (endpoint_id=?)"),
];
