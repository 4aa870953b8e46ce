//! Messages, deliveries and attempts.

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::model::delivery::{Attempt, Delivery, Lease, Outcome};
use crate::model::endpoint::Disabled;
use crate::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::body::pack;
use crate::store::outbox::{Claim, Claimant, DeliveryQuery, OutboxStore};
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, Topic, endpoints, failed, ids, text};
use crate::store::records::{
    ENDPOINT_DISABLED, attempt, attempt_text, claims, delivery, gone, message, state_columns, state_of_word, verdict,
};
use crate::store::retention::links_of;
use crate::store::row::{json_text, readable};
use crate::store::{Result, StoreError};

const INSERT_MESSAGES: &str = "INSERT INTO messages (tenant_id, message_id, rule_id, window_id, part, parts, runs, \
     links, body, created_at) \
     SELECT $1, message_id, rule_id, window_id, part, parts, runs, links, body, created_at \
     FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], \
     $9::bytea[], $10::bigint[]) \
     AS put (message_id, rule_id, window_id, part, parts, runs, links, body, created_at)";

const INSERT_LINKS: &str = "INSERT INTO message_links (tenant_id, message_id, blob_key) \
     SELECT $1, message_id, blob_key FROM unnest($2::uuid[], $3::text[]) AS put (message_id, blob_key)";

const INSERT_DELIVERIES: &str = "INSERT INTO deliveries (tenant_id, delivery_id, message_id, endpoint_id, rule_id, \
     state, reason, attempts, due_at, ready_at, created_at, finished_at) \
     SELECT $1, delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, due_at, due_at, created_at, \
     finished_at \
     FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bigint[], $7::text[], $8::bigint[], \
     $9::bigint[], $10::bigint[], $11::bigint[]) \
     AS put (delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, due_at, created_at, finished_at)";

const ONE: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE tenant_id = $1 AND delivery_id = $2";

const PAGE: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE tenant_id = ";

const MESSAGE: &str = "SELECT tenant_id, message_id, rule_id, window_id, part, parts, runs, links, body, created_at \
     FROM messages WHERE tenant_id = $1 AND message_id = $2";

const ATTEMPTS: &str = "SELECT number, started_at, duration_ms, result FROM attempts \
     WHERE tenant_id = $1 AND delivery_id = $2 ORDER BY number";

const NEXT_READY: &str = "SELECT min(ready_at) FROM deliveries WHERE state = 0 AND endpoint_id <> ALL($1::uuid[])";

/// Claimants that come at the same time take different deliveries, and none waits.
const CLAIM: &str = "WITH due AS MATERIALIZED (SELECT tenant_id, delivery_id FROM deliveries \
     WHERE state = 0 AND ready_at <= $3 AND endpoint_id <> ALL($5::uuid[]) \
     ORDER BY ready_at LIMIT $4 FOR UPDATE SKIP LOCKED) \
     UPDATE deliveries d SET holder = $1, ready_at = $2 FROM due \
     WHERE d.tenant_id = due.tenant_id AND d.delivery_id = due.delivery_id \
     RETURNING d.tenant_id, d.delivery_id, d.message_id, d.endpoint_id, d.rule_id, d.state, d.reason, d.attempts, \
     d.due_at, d.created_at, d.finished_at";

/// What a claim that may have been committed took.
const CLAIMED: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, state, reason, attempts, \
     due_at, created_at, finished_at FROM deliveries WHERE state = 0 AND holder = $1";

/// Records what follows an attempt, for the holder of the lease alone.
const FINISH: &str = "UPDATE deliveries SET state = $3, reason = $4, attempts = greatest(attempts, $5), \
     due_at = coalesce($6, due_at), ready_at = coalesce($6, ready_at), finished_at = $7, holder = NULL \
     WHERE delivery_id = $1 AND state = 0 AND holder = $2 RETURNING tenant_id";

const INSERT_ATTEMPT: &str = "INSERT INTO attempts (tenant_id, delivery_id, number, started_at, duration_ms, result) \
     VALUES ($1, $2, $3, $4, $5, $6)";

const RECORDED: &str = "SELECT 1 FROM attempts WHERE delivery_id = $1 AND number = $2 AND started_at = $3";

const ENDPOINT: &str = "SELECT endpoint_id FROM deliveries WHERE tenant_id = $1 AND delivery_id = $2";

/// A delivery whose endpoint is gone has nowhere to go, and stays as it is.
const REPLAY: &str = "UPDATE deliveries SET state = 0, reason = NULL, due_at = $3, ready_at = $3, holder = NULL, \
     finished_at = NULL WHERE tenant_id = $1 AND delivery_id = ANY($2::uuid[]) AND state <> 0 \
     AND EXISTS (SELECT 1 FROM endpoints e WHERE e.tenant_id = deliveries.tenant_id \
     AND e.endpoint_id = deliveries.endpoint_id)";

const REPLAYED: &str = "SELECT count(*) FROM deliveries \
     WHERE tenant_id = $1 AND delivery_id = ANY($2::uuid[]) AND state = 0 AND due_at = $3";

const FAIL_RULES: &str = "UPDATE deliveries SET state = 2, reason = 'rule removed', finished_at = $3, holder = NULL \
     WHERE state = 0 AND tenant_id = $1 AND rule_id = ANY($2::uuid[])";

const FAIL_ENDPOINTS: &str = "UPDATE deliveries SET state = 2, reason = $4, finished_at = $3, \
     holder = NULL WHERE state = 0 AND tenant_id = $1 AND endpoint_id = ANY($2::uuid[])";

#[async_trait]
impl OutboxStore for PgStore {
    async fn claim_deliveries(&self, claimant: Claimant, limit: u32, crowded: &[EndpointId]) -> Result<Vec<Claim>> {
        // Looking costs no write; most of the time there is nothing to claim.
        if self.next_due(crowded).await?.is_none_or(|due| due > claimant.now) {
            return Ok(Vec::new());
        }
        self.run("claim_deliveries", |mut this| {
            Box::pin(async move {
                let in_doubt = this.in_doubt;
                let claimed = claim(&mut this, claimant, limit, crowded, in_doubt).await?;
                Ok(this.done(claimed))
            })
        })
        .await
    }

    async fn finish_attempt(&self, lease: &Lease, attempt: Attempt, outcome: Outcome) -> Result<()> {
        let (attempt, outcome) = (&attempt, &outcome);
        self.run("finish_attempt", |mut this| {
            Box::pin(async move {
                if !(this.in_doubt && is_recorded(&mut this, lease, attempt).await?) {
                    finish(&mut this, lease, attempt, outcome.clone()).await?;
                }
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn next_due(&self, crowded: &[EndpointId]) -> Result<Option<Timestamp>> {
        self.read(async {
            let query = sqlx::query_scalar(NEXT_READY).bind(ids(crowded, |endpoint| endpoint.0));
            let due: Option<i64> = query.fetch_one(&mut *self.reader().await?).await?;
            Ok(due.map(Timestamp))
        })
        .await
    }

    async fn message(&self, tenant: TenantId, id: MessageId) -> Result<Option<Message>> {
        self.read(async {
            let query = sqlx::query(MESSAGE).bind(tenant.0).bind(id.0);
            query.fetch_optional(&mut *self.reader().await?).await?.as_ref().map(message).transpose()
        })
        .await
    }

    async fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Result<Option<(Delivery, Vec<Attempt>)>> {
        self.read(async {
            let mut reader = self.reader().await?;
            let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(&mut *reader).await?;
            let Some(row) = row else { return Ok(None) };
            let attempts = sqlx::query(ATTEMPTS).bind(tenant.0).bind(id.0).fetch_all(&mut *reader).await?;
            Ok(Some((delivery(&row)?, attempts.iter().map(attempt).collect::<Result<_>>()?)))
        })
        .await
    }

    async fn list_deliveries(&self, tenant: TenantId, query: &DeliveryQuery) -> Result<Vec<Delivery>> {
        self.read(async {
            let mut reader = self.reader().await?;
            page(tenant, query).build().fetch_all(&mut *reader).await?.iter().map(delivery).collect()
        })
        .await
    }

    async fn replay(&self, tenant: TenantId, deliveries: &[DeliveryId], now: Timestamp) -> Result<u64> {
        let replayed = self
            .run("replay", |mut this| {
                Box::pin(async move {
                    let deliveries = ids(deliveries, |delivery| delivery.0);
                    let query = sqlx::query(REPLAY).bind(tenant.0).bind(&deliveries).bind(now.0);
                    let mut replayed = query.execute(&mut *this).await?.rows_affected();
                    if this.in_doubt {
                        let query = sqlx::query_scalar(REPLAYED).bind(tenant.0).bind(&deliveries).bind(now.0);
                        replayed = query.fetch_one(&mut *this).await.map(i64::cast_unsigned)?;
                    }
                    Ok(this.done(replayed))
                })
            })
            .await?;
        self.poke(Topic::Deliveries);
        Ok(replayed)
    }
}

pub(super) fn page(tenant: TenantId, query: &DeliveryQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(PAGE);
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
    sql.push(" ORDER BY created_at DESC, delivery_id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql
}

/// Stores the messages of a window.
pub(super) async fn store_messages(connection: &mut Session, tenant: TenantId, messages: &[Message]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let links = messages.iter().map(|message| json_text(&message.body.links)).collect::<Result<Vec<_>>>()?;
    let bodies = messages.iter().map(|message| pack(message.body.json.as_bytes())).collect::<Result<Vec<_>>>()?;
    sqlx::query(INSERT_MESSAGES)
        .bind(tenant.0)
        .bind(messages.iter().map(|message| message.id.0).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.rule_id.0).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.window_id.0).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| i64::from(message.part)).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| i64::from(message.parts)).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| i64::from(message.runs)).collect::<Vec<_>>())
        .bind(links)
        .bind(bodies)
        .bind(messages.iter().map(|message| message.created_at.0).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    let (of, keys): (Vec<Uuid>, Vec<&str>) =
        links_of(messages).into_iter().map(|(message, key)| (message.id.0, key)).unzip();
    if !of.is_empty() {
        sqlx::query(INSERT_LINKS).bind(tenant.0).bind(of).bind(keys).execute(connection).await?;
    }
    Ok(())
}

/// Stores the deliveries of a window.
pub(super) async fn store_deliveries(
    connection: &mut Session,
    tenant: TenantId,
    deliveries: &[Delivery],
) -> Result<()> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let (states, reasons): (Vec<i64>, Vec<Option<String>>) =
        deliveries.iter().map(|delivery| state_columns(&delivery.state)).unzip();
    sqlx::query(INSERT_DELIVERIES)
        .bind(tenant.0)
        .bind(deliveries.iter().map(|delivery| delivery.id.0).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.message_id.0).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.endpoint_id.0).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.rule_id.0).collect::<Vec<_>>())
        .bind(states)
        .bind(reasons)
        .bind(deliveries.iter().map(|delivery| i64::from(delivery.attempts)).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.due_at.0).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.created_at.0).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.finished_at.map(|at| at.0)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends the waiting deliveries of rules that are gone.
pub(super) async fn fail_rules(
    connection: &mut Session,
    tenant: TenantId,
    rules: &[Uuid],
    now: Timestamp,
) -> Result<()> {
    sqlx::query(FAIL_RULES).bind(tenant.0).bind(rules).bind(now.0).execute(connection).await?;
    Ok(())
}

/// Ends the waiting deliveries to endpoints that cannot be sent to.
pub(super) async fn fail_endpoints(
    connection: &mut Session,
    tenant: TenantId,
    endpoints: &[EndpointId],
    now: Timestamp,
    reason: &str,
) -> Result<()> {
    let endpoints = ids(endpoints, |endpoint| endpoint.0);
    sqlx::query(FAIL_ENDPOINTS).bind(tenant.0).bind(endpoints).bind(now.0).bind(reason).execute(connection).await?;
    Ok(())
}

async fn claim(
    connection: &mut Session,
    claimant: Claimant,
    limit: u32,
    crowded: &[EndpointId],
    in_doubt: bool,
) -> Result<Vec<Claim>> {
    let mut rows = Vec::new();
    if in_doubt {
        rows = sqlx::query(CLAIMED).bind(claimant.holder).fetch_all(&mut *connection).await?;
    }
    if rows.is_empty() {
        let query = sqlx::query(CLAIM).bind(claimant.holder).bind(claimant.until.0).bind(claimant.now.0);
        let query = query.bind(i64::from(limit)).bind(ids(crowded, |endpoint| endpoint.0));
        rows = query.fetch_all(&mut *connection).await?;
    }
    let deliveries = readable(&rows, delivery)?;
    let wanted = deliveries.iter().map(|delivery| delivery.endpoint_id.0).collect();
    let endpoints = endpoints::by_id(connection, wanted).await?;
    let (claims, lost) = claims(claimant, deliveries, endpoints);
    for (tenant, endpoint, why) in lost {
        fail_endpoints(connection, tenant, &[endpoint], claimant.now, why).await?;
    }
    Ok(claims)
}

/// Whether an earlier try has recorded this attempt.
async fn is_recorded(connection: &mut Session, lease: &Lease, attempt: &Attempt) -> Result<bool> {
    let query = sqlx::query(RECORDED).bind(lease.delivery_id.0).bind(i64::from(attempt.number));
    Ok(query.bind(attempt.started_at.0).fetch_optional(connection).await?.is_some())
}

async fn finish(connection: &mut Session, lease: &Lease, attempt: &Attempt, outcome: Outcome) -> Result<()> {
    let gone = gone(attempt, &outcome);
    let verdict = verdict(attempt, outcome);
    let tenant: Option<(Uuid,)> = sqlx::query_as(FINISH)
        .bind(lease.delivery_id.0)
        .bind(lease.holder)
        .bind(verdict.state)
        .bind(verdict.reason.as_deref().map(text))
        .bind(i64::from(attempt.number))
        .bind(verdict.due)
        .bind(verdict.finished)
        .fetch_optional(&mut *connection)
        .await?;
    let Some((tenant,)) = tenant else { return Err(StoreError::Stale("the lease is lost")) };
    sqlx::query(INSERT_ATTEMPT)
        .bind(tenant)
        .bind(lease.delivery_id.0)
        .bind(i64::from(attempt.number))
        .bind(attempt.started_at.0)
        .bind(i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX))
        .bind(attempt_text(attempt)?)
        .execute(&mut *connection)
        .await?;
    if let Some(disabled) = gone {
        disable(connection, TenantId(tenant), lease.delivery_id, &disabled).await?;
    }
    Ok(())
}

/// Disables the endpoint of a delivery, and ends what waits for it.
async fn disable(connection: &mut Session, tenant: TenantId, delivery: DeliveryId, disabled: &Disabled) -> Result<()> {
    let query = sqlx::query_scalar(ENDPOINT).bind(tenant.0).bind(delivery.0);
    let Some(endpoint) = query.fetch_optional(&mut *connection).await?.map(EndpointId) else { return Ok(()) };
    endpoints::set_disabled(connection, tenant, endpoint, Some(disabled)).await?;
    fail_endpoints(connection, tenant, &[endpoint], disabled.at, ENDPOINT_DISABLED).await
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (NEXT_READY, &["deliveries_ready"]),
    (CLAIM, &["deliveries_ready", "deliveries_pkey"]),
    (FINISH, &["deliveries_pending"]),
    (MESSAGE, &["messages_pkey"]),
    (ONE, &["deliveries_pkey"]),
    (ATTEMPTS, &["attempts_pkey"]),
    (REPLAY, &["deliveries_pkey"]),
];

/// Those that are read in the order of an index.
#[cfg(test)]
pub(super) const ORDERED: &[(&str, &str)] = &[(CLAIM, "deliveries_ready"), (NEXT_READY, "deliveries_ready")];
