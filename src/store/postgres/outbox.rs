//! Messages, deliveries and attempts.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::delivery::{Attempt, Delivery, Lease};
use crate::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::body::pack;
use crate::store::outbox::{Claim, Claimant, DeliveryQuery, Finished, OutboxStore, Share, Waiting, record_apart};
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, Topic, audit, endpoints, failed, health, ids, text};
use crate::store::records::{
    LARGEST_CLAIMED, answers, attempt, attempt_text, claims, delivery, message, messages_of, recorded, state_columns,
    state_of_word, verdict, waiting_for, window_column, with_messages,
};
use crate::store::retention::links_of;
use crate::store::row::{json_text, readable};

const INSERT_MESSAGES: &str = "INSERT INTO messages (tenant_id, message_id, rule_id, source, window_id, part, parts, runs, \
     links, body, created_at, event_type) \
     SELECT $1, message_id, rule_id, source, window_id, part, parts, runs, links, body, created_at, event_type \
     FROM unnest($2::uuid[], $3::uuid[], $11::text[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], \
     $9::bytea[], $10::bigint[], $12::text[]) \
     AS put (message_id, rule_id, source, window_id, part, parts, runs, links, body, created_at, event_type)";

const INSERT_LINKS: &str = "INSERT INTO message_links (tenant_id, message_id, blob_key) \
     SELECT $1, message_id, blob_key FROM unnest($2::uuid[], $3::text[]) AS put (message_id, blob_key)";

const INSERT_DELIVERIES: &str = "INSERT INTO deliveries (tenant_id, delivery_id, message_id, endpoint_id, rule_id, \
     source, state, reason, attempts, due_at, ready_at, created_at, finished_at) \
     SELECT $1, delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, due_at, due_at, created_at, \
     finished_at \
     FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $12::text[], $6::bigint[], $7::text[], $8::bigint[], \
     $9::bigint[], $10::bigint[], $11::bigint[]) \
     AS put (delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, due_at, created_at, finished_at)";

const ONE: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE tenant_id = $1 AND delivery_id = $2";

const PAGE: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, due_at, \
     created_at, finished_at FROM deliveries WHERE tenant_id = ";

const MESSAGE: &str = "SELECT tenant_id, message_id, rule_id, source, window_id, part, parts, runs, links, body, created_at, \
     event_type FROM messages WHERE tenant_id = $1 AND message_id = $2";

const ATTEMPTS: &str = "SELECT number, started_at, duration_ms, result FROM attempts \
     WHERE tenant_id = $1 AND delivery_id = $2 ORDER BY number";

/// A body that is stored apart is not read for its length.
const MESSAGES: &str = "SELECT m.tenant_id, m.message_id, m.rule_id, m.source, m.window_id, m.part, m.parts, m.runs, m.links, \
     m.body, m.created_at, m.event_type FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, message_id) \
     JOIN messages m ON m.tenant_id = wanted.tenant_id AND m.message_id = wanted.message_id \
     WHERE octet_length(m.body) <= $3";

/// What an alert says reaches an endpoint in the order in which it was said, or PagerDuty would close an incident before it
/// opens: here and below a delivery of an alert is passed over while an earlier one is pending. Nothing is looked up for
/// what is no alert's.
const NEXT_READY: &str = "SELECT min(d.ready_at) FROM deliveries d WHERE d.state = 0 \
     AND (d.source IS DISTINCT FROM 'alert' OR NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.state = 0 \
     AND e.source = 'alert' AND e.endpoint_id = d.endpoint_id AND e.created_at < d.created_at))";

/// From endpoint to endpoint, however much waits for each.
const WAITING: &str = "WITH RECURSIVE hop (endpoint_id) AS (\
     (SELECT endpoint_id FROM deliveries WHERE state = 0 AND endpoint_id > $1 ORDER BY endpoint_id LIMIT 1) \
     UNION ALL SELECT (SELECT d.endpoint_id FROM deliveries d WHERE d.state = 0 AND d.endpoint_id > hop.endpoint_id \
     ORDER BY d.endpoint_id LIMIT 1) FROM hop WHERE hop.endpoint_id IS NOT NULL) \
     SELECT hop.endpoint_id, \
     (SELECT tenant_id FROM deliveries d WHERE d.state = 0 AND d.endpoint_id = hop.endpoint_id LIMIT 1), \
     (SELECT d.ready_at FROM deliveries d WHERE d.state = 0 AND d.endpoint_id = hop.endpoint_id \
     AND least(d.attempts, 1) = 0 \
     AND (d.source IS DISTINCT FROM 'alert' OR NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.state = 0 \
     AND e.source = 'alert' AND e.endpoint_id = d.endpoint_id AND e.created_at < d.created_at)) \
     ORDER BY d.ready_at LIMIT 1), \
     (SELECT d.ready_at FROM deliveries d WHERE d.state = 0 AND d.endpoint_id = hop.endpoint_id \
     AND least(d.attempts, 1) = 1 \
     AND (d.source IS DISTINCT FROM 'alert' OR NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.state = 0 \
     AND e.source = 'alert' AND e.endpoint_id = d.endpoint_id AND e.created_at < d.created_at)) \
     ORDER BY d.ready_at LIMIT 1), e.overrides, e.circuit_until, e.circuit_openings \
     FROM hop LEFT JOIN LATERAL (SELECT overrides, circuit_until, circuit_openings FROM endpoints \
     WHERE endpoints.endpoint_id = hop.endpoint_id LIMIT 1) AS e ON true WHERE hop.endpoint_id IS NOT NULL LIMIT $2";

/// Claimants that come at the same time take different deliveries, and none waits.
const CLAIM: &str = "WITH due AS MATERIALIZED (SELECT due.tenant_id, due.delivery_id \
     FROM unnest($4::uuid[], $5::bigint[], $6::bigint[]) AS lane (endpoint_id, tried, take) \
     CROSS JOIN LATERAL (SELECT d.tenant_id, d.delivery_id FROM deliveries d WHERE d.state = 0 \
     AND d.endpoint_id = lane.endpoint_id AND least(d.attempts, 1) = lane.tried AND d.ready_at <= $3 \
     AND (d.source IS DISTINCT FROM 'alert' OR NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.state = 0 \
     AND e.source = 'alert' AND e.endpoint_id = d.endpoint_id AND e.created_at < d.created_at)) \
     ORDER BY d.ready_at LIMIT lane.take FOR UPDATE OF d SKIP LOCKED) AS due) \
     UPDATE deliveries d SET holder = $1, ready_at = $2 FROM due \
     WHERE d.tenant_id = due.tenant_id AND d.delivery_id = due.delivery_id \
     RETURNING d.tenant_id, d.delivery_id, d.message_id, d.endpoint_id, d.rule_id, d.source, d.state, d.reason, d.attempts, \
     d.due_at, d.created_at, d.finished_at";

/// What a claim that may have been committed took.
const CLAIMED: &str = "SELECT tenant_id, delivery_id, message_id, endpoint_id, rule_id, source, state, reason, attempts, \
     due_at, created_at, finished_at FROM deliveries WHERE state = 0 AND endpoint_id = ANY($2::uuid[]) AND holder = $1";

/// Records attempts and what follows them, for the holders of the leases alone.
const FINISH: &str = "WITH f AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], \
     $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[]) \
     AS f (tenant_id, delivery_id, holder, state, reason, number, due, finished, started_at, duration_ms, result)), \
     done AS (UPDATE deliveries d SET state = f.state, reason = f.reason, attempts = greatest(d.attempts, f.number), \
     due_at = coalesce(f.due, d.due_at), ready_at = coalesce(f.due, d.ready_at), finished_at = f.finished, \
     holder = NULL FROM f WHERE d.tenant_id = f.tenant_id AND d.delivery_id = f.delivery_id AND d.state = 0 \
     AND d.holder = f.holder RETURNING f.*, d.endpoint_id) \
     INSERT INTO attempts (tenant_id, delivery_id, number, started_at, duration_ms, result, endpoint_id) \
     SELECT tenant_id, delivery_id, number, started_at, duration_ms, result, (SELECT s.endpoint_id FROM subscriptions s \
     WHERE s.tenant_id = done.tenant_id AND s.endpoint_id = done.endpoint_id) FROM done RETURNING delivery_id";

/// Attempts of these that are recorded.
const RECORDED: &str = "SELECT a.delivery_id FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) \
     AS f (tenant_id, delivery_id, number, started_at) JOIN attempts a ON a.tenant_id = f.tenant_id \
     AND a.delivery_id = f.delivery_id AND a.number = f.number AND a.started_at = f.started_at";

/// Gives leases up.
const PUT_BACK: &str = "UPDATE deliveries d SET holder = NULL, ready_at = due_at \
     FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS f (tenant_id, delivery_id, holder) \
     WHERE d.tenant_id = f.tenant_id AND d.delivery_id = f.delivery_id AND d.state = 0 AND d.holder = f.holder";

/// A delivery whose endpoint is gone has nowhere to go, and stays as it is.
const REPLAY: &str = "UPDATE deliveries SET state = 0, reason = NULL, due_at = $3, ready_at = $3, holder = NULL, \
     finished_at = NULL WHERE tenant_id = $1 AND delivery_id = ANY($2::uuid[]) AND state <> 0 \
     AND EXISTS (SELECT 1 FROM endpoints e WHERE e.tenant_id = deliveries.tenant_id \
     AND e.endpoint_id = deliveries.endpoint_id)";

const REPLAYED: &str = "SELECT count(*) FROM deliveries \
     WHERE tenant_id = $1 AND delivery_id = ANY($2::uuid[]) AND state = 0 AND due_at = $3";

const FAIL_SOURCES: &str = "UPDATE deliveries SET state = 2, reason = $4, finished_at = $3, holder = NULL \
     WHERE state = 0 AND tenant_id = $1 AND rule_id = ANY($2::uuid[])";

const FAIL_ENDPOINTS: &str = "UPDATE deliveries SET state = 2, reason = $4, finished_at = $3, \
     holder = NULL WHERE state = 0 AND tenant_id = $1 AND endpoint_id = ANY($2::uuid[])";

#[async_trait]
impl OutboxStore for PgStore {
    async fn waiting(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<Waiting>> {
        self.read(async {
            let after = after.map_or(Uuid::nil(), |id| id.0);
            let query = sqlx::query(WAITING).bind(after).bind(i64::from(limit));
            query.fetch_all(&mut *self.reader().await?).await?.iter().map(waiting_for).collect()
        })
        .await
    }

    async fn claim_deliveries(&self, claimant: Claimant, shares: &[Share]) -> Result<Vec<Claim>> {
        self.run("claim_deliveries", |mut this| {
            Box::pin(async move {
                let in_doubt = this.in_doubt;
                let claimed = claim(&mut this, claimant, shares, in_doubt).await?;
                Ok(this.done(claimed))
            })
        })
        .await
    }

    async fn finish_attempts(&self, finished: &[Finished]) -> Result<Vec<Result<()>>> {
        record_apart(finished, |finished| self.finish(finished)).await
    }

    async fn put_back(&self, leases: &[Lease]) -> Result<()> {
        self.run("put_back", |mut this| {
            Box::pin(async move {
                let query = sqlx::query(PUT_BACK)
                    .bind(leases.iter().map(|lease| lease.tenant_id.0).collect::<Vec<_>>())
                    .bind(leases.iter().map(|lease| lease.delivery_id.0).collect::<Vec<_>>())
                    .bind(leases.iter().map(|lease| lease.holder).collect::<Vec<_>>());
                query.execute(&mut *this).await?;
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.read(async {
            let due: Option<i64> = sqlx::query_scalar(NEXT_READY).fetch_one(&mut *self.reader().await?).await?;
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

    async fn replay(
        &self,
        tenant: TenantId,
        deliveries: &[DeliveryId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64> {
        let told = told.as_slice();
        let replayed = self
            .run("replay", |mut this| {
                Box::pin(async move {
                    let deliveries = ids(deliveries, |delivery| delivery.0);
                    let query = sqlx::query(REPLAY).bind(tenant.0).bind(&deliveries).bind(now.0);
                    let mut replayed = query.execute(&mut *this).await?.rows_affected();
                    if replayed > 0 {
                        audit::write(&mut this, told).await?;
                    }
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
        .bind(messages.iter().map(|message| message.source.id()).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| window_column(message.window_id)).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| i64::from(message.part)).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| i64::from(message.parts)).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| i64::from(message.runs)).collect::<Vec<_>>())
        .bind(links)
        .bind(bodies)
        .bind(messages.iter().map(|message| message.created_at.0).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.source.word()).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.event_type.as_deref()).collect::<Vec<_>>())
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
        .bind(deliveries.iter().map(|delivery| delivery.source.id()).collect::<Vec<_>>())
        .bind(states)
        .bind(reasons)
        .bind(deliveries.iter().map(|delivery| i64::from(delivery.attempts)).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.due_at.0).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.created_at.0).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.finished_at.map(|at| at.0)).collect::<Vec<_>>())
        .bind(deliveries.iter().map(|delivery| delivery.source.word()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends the waiting deliveries of rules, or of alerts, that are gone.
pub(super) async fn fail_sources(
    connection: &mut Session,
    tenant: TenantId,
    sources: &[Uuid],
    now: Timestamp,
    reason: &str,
) -> Result<()> {
    let query = sqlx::query(FAIL_SOURCES).bind(tenant.0).bind(sources).bind(now.0).bind(reason);
    query.execute(connection).await?;
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

async fn claim(connection: &mut Session, claimant: Claimant, shares: &[Share], in_doubt: bool) -> Result<Vec<Claim>> {
    let endpoints: Vec<Uuid> = shares.iter().map(|share| share.endpoint_id.0).collect();
    let mut rows = Vec::new();
    if in_doubt {
        rows = sqlx::query(CLAIMED).bind(claimant.holder).bind(&endpoints).fetch_all(&mut *connection).await?;
    }
    if rows.is_empty() {
        let lanes: Vec<(Uuid, i64, i64)> = shares.iter().flat_map(lanes_of).collect();
        let query = sqlx::query(CLAIM).bind(claimant.holder).bind(claimant.until.0).bind(claimant.now.0);
        let query = query.bind(lanes.iter().map(|lane| lane.0).collect::<Vec<_>>());
        let query = query.bind(lanes.iter().map(|lane| lane.1).collect::<Vec<_>>());
        rows = query.bind(lanes.iter().map(|lane| lane.2).collect::<Vec<_>>()).fetch_all(&mut *connection).await?;
    }
    let deliveries = readable(&rows, delivery)?;
    let endpoints = endpoints::by_id(connection, endpoints).await?;
    let messages = messages(connection, &deliveries).await?;
    let (claims, lost) = claims(claimant, deliveries, endpoints);
    for (tenant, endpoint, why) in lost {
        fail_endpoints(connection, tenant, &[endpoint], claimant.now, why).await?;
    }
    Ok(with_messages(claims, messages))
}

/// An endpoint, whether its deliveries were tried, and how many of them are taken.
fn lanes_of(share: &Share) -> impl Iterator<Item = (Uuid, i64, i64)> {
    let endpoint = share.endpoint_id.0;
    let lanes = [(endpoint, 0, i64::from(share.firsts)), (endpoint, 1, i64::from(share.retries))];
    lanes.into_iter().filter(|(_, _, take)| *take > 0)
}

/// The messages of deliveries, save the large ones.
async fn messages(connection: &mut Session, deliveries: &[Delivery]) -> Result<Vec<Message>> {
    let wanted = messages_of(deliveries).into_iter().map(|(tenant, message)| (tenant.0, message.0));
    let (tenants, messages): (Vec<Uuid>, Vec<Uuid>) = wanted.unzip();
    let query = sqlx::query(MESSAGES).bind(tenants).bind(messages).bind(LARGEST_CLAIMED);
    readable(&query.fetch_all(connection).await?, message)
}

impl PgStore {
    /// Records attempts, all or none.
    async fn finish(&self, finished: &[Finished]) -> Result<Vec<Result<()>>> {
        self.run("finish_attempts", |mut this| {
            Box::pin(async move {
                let mut recorded = HashSet::new();
                if this.in_doubt {
                    recorded = recorded_before(&mut this, finished).await?;
                }
                let left: Vec<&Finished> =
                    finished.iter().filter(|one| !recorded.contains(&one.lease.delivery_id)).collect();
                recorded.extend(finish(&mut this, &left).await?);
                Ok(this.done(answers(finished, &recorded)))
            })
        })
        .await
    }
}

/// Those that an earlier try has recorded.
async fn recorded_before(connection: &mut Session, finished: &[Finished]) -> Result<HashSet<DeliveryId>> {
    let query = sqlx::query(RECORDED)
        .bind(finished.iter().map(|one| one.lease.tenant_id.0).collect::<Vec<_>>())
        .bind(finished.iter().map(|one| one.lease.delivery_id.0).collect::<Vec<_>>())
        .bind(finished.iter().map(|one| i64::from(one.attempt.number)).collect::<Vec<_>>())
        .bind(finished.iter().map(|one| one.attempt.started_at.0).collect::<Vec<_>>());
    query.fetch_all(connection).await?.iter().map(recorded).collect()
}

async fn finish(connection: &mut Session, finished: &[&Finished]) -> Result<HashSet<DeliveryId>> {
    let is_held = health::hold(connection, finished).await?;
    let verdicts: Vec<_> = finished.iter().map(|one| verdict(&one.attempt, &one.outcome)).collect();
    let results = finished.iter().map(|one| attempt_text(&one.attempt)).collect::<Result<Vec<_>>>()?;
    let query = sqlx::query(FINISH)
        .bind(finished.iter().map(|one| one.lease.tenant_id.0).collect::<Vec<_>>())
        .bind(finished.iter().map(|one| one.lease.delivery_id.0).collect::<Vec<_>>())
        .bind(finished.iter().map(|one| one.lease.holder).collect::<Vec<_>>())
        .bind(verdicts.iter().map(|verdict| verdict.state).collect::<Vec<_>>())
        .bind(verdicts.iter().map(|verdict| verdict.reason.as_deref().map(text)).collect::<Vec<_>>())
        .bind(finished.iter().map(|one| i64::from(one.attempt.number)).collect::<Vec<_>>())
        .bind(verdicts.iter().map(|verdict| verdict.due).collect::<Vec<_>>())
        .bind(verdicts.iter().map(|verdict| verdict.finished).collect::<Vec<_>>())
        .bind(finished.iter().map(|one| one.attempt.started_at.0).collect::<Vec<_>>())
        .bind(finished.iter().map(|one| i64::try_from(one.attempt.duration_ms).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .bind(results);
    let rows = query.fetch_all(&mut *connection).await?;
    let recorded: HashSet<DeliveryId> = rows.iter().map(recorded).collect::<Result<_>>()?;
    let kept: Vec<&Finished> =
        finished.iter().copied().filter(|one| recorded.contains(&one.lease.delivery_id)).collect();
    if is_held {
        health::follow(connection, &kept).await?;
    }
    Ok(recorded)
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] = &[
    (NEXT_READY, &["deliveries_ready"]),
    (WAITING, &["deliveries_waiting", "deliveries_of_alerts", "endpoints_by_id"]),
    (CLAIM, &["deliveries_waiting", "deliveries_of_alerts", "deliveries_pkey"]),
    (CLAIMED, &["deliveries_waiting"]),
    (MESSAGES, &["messages_pkey"]),
    (FINISH, &["deliveries_pending"]),
    (PUT_BACK, &["deliveries_pending"]),
    (RECORDED, &["attempts_pkey"]),
    (MESSAGE, &["messages_pkey"]),
    (ONE, &["deliveries_pkey"]),
    (ATTEMPTS, &["attempts_pkey"]),
    (REPLAY, &["deliveries_pkey"]),
];

/// Those that are read in the order of an index.
#[cfg(test)]
pub(super) const ORDERED: &[(&str, &str)] =
    &[(CLAIM, "deliveries_waiting"), (WAITING, "deliveries_waiting"), (NEXT_READY, "deliveries_ready")];
