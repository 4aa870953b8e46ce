//! Events, and what became of them.

use uuid::Uuid;

use crate::model::delivery::{Delivery, DeliveryState};
use crate::model::event::{Event, Subscription, Told};
use crate::model::id::{ApplicationId, DeliveryId, EndpointId, MessageId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::events::{AttemptQuery, AttemptsOf, EventQuery, Made, Reach, Sending, Tally, Tries};
use crate::store::records::{attempt, message, state_of_columns};
use crate::store::retention::Dropped;
use crate::store::row::{Cells, Columns, json_text, readable};
use crate::store::{Result, StoreError};

use super::{Connection, store_told};

/// Columns of a message, which come first.
const MESSAGE_COLUMNS: usize = 12;

const ADD: &str = "INSERT INTO events (tenant_id, message_id, application_id, event_type, created_at, body) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, message_id) DO NOTHING";

/// Who hears of what happens in an application: its own endpoints that ask for this type or for all, and those of the
/// tenant as a whole that ask for this type.
const HEARERS: &str = "SELECT s.endpoint_id, s.body FROM (\
     SELECT endpoint_id FROM subscribed_types WHERE tenant_id = $1 AND event_type = $2 AND application_id = $3 \
     UNION SELECT endpoint_id FROM subscribed_types WHERE tenant_id = $1 AND event_type = '' AND application_id = $3 \
     UNION SELECT endpoint_id FROM subscribed_types WHERE tenant_id = $1 AND event_type = $2 AND application_id = $4) t \
     JOIN subscriptions s ON s.tenant_id = $1 AND s.endpoint_id = t.endpoint_id \
     JOIN endpoints e ON e.tenant_id = $1 AND e.endpoint_id = t.endpoint_id \
     WHERE e.disabled_at IS NULL ORDER BY s.number";

/// Every endpoint that asks for this very type, whosever it is.
const HEARERS_OF_ALL: &str = "SELECT s.endpoint_id, s.body FROM subscribed_types t \
     JOIN subscriptions s ON s.tenant_id = t.tenant_id AND s.endpoint_id = t.endpoint_id \
     JOIN endpoints e ON e.tenant_id = t.tenant_id AND e.endpoint_id = t.endpoint_id \
     WHERE t.tenant_id = $1 AND t.event_type = $2 AND e.disabled_at IS NULL ORDER BY s.number";

const ONE: &str = "SELECT m.tenant_id, m.message_id, m.rule_id, m.source, m.window_id, m.part, m.parts, m.runs, m.links, m.body, \
     m.created_at, m.event_type, e.body FROM events e \
     CROSS JOIN messages m \
     WHERE m.tenant_id = e.tenant_id AND m.message_id = e.message_id AND e.tenant_id = $1 AND e.message_id = $2";

/// Pages of events: of an application, and what else is demanded, on one side of a place.
macro_rules! events_page {
    ($and:literal, $side:literal, $way:literal) => {
        concat!(
            "SELECT m.tenant_id, m.message_id, m.rule_id, m.source, m.window_id, m.part, m.parts, m.runs, m.links, m.body, \
             m.created_at, m.event_type, e.body FROM events e \
             CROSS JOIN messages m \
             WHERE m.tenant_id = e.tenant_id AND m.message_id = e.message_id AND e.tenant_id = $1 \
             AND e.application_id = $2 AND e.created_at > $3 AND e.created_at < $4 AND (e.created_at, e.message_id) ",
            $side, " ($5, $6)", $and, " ORDER BY e.created_at ", $way, ", e.message_id ", $way, " LIMIT $7"
        )
    };
}

const OF_APPLICATION: &str = events_page!("", "<", "DESC");
const OF_APPLICATION_NEWER: &str = events_page!("", ">", "ASC");
const OF_TYPE: &str = events_page!(" AND e.event_type = $8", "<", "DESC");
const OF_TYPE_NEWER: &str = events_page!(" AND e.event_type = $8", ">", "ASC");

/// Pages of attempts: what they are found by, on one side of a place.
macro_rules! attempts_page {
    ($found:literal, $side:literal, $way:literal) => {
        concat!(
            "SELECT a.number, a.started_at, a.duration_ms, a.result, d.delivery_id, d.message_id, d.endpoint_id, d.state, \
             d.reason FROM ",
            $found,
            " AND d.tenant_id = a.tenant_id AND d.delivery_id = a.delivery_id AND a.started_at > $3 AND a.started_at < $4 \
             AND (a.started_at, a.delivery_id, a.number) ",
            $side, " ($5, $6, $7) ORDER BY a.started_at ", $way, ", a.delivery_id ", $way, ", a.number ", $way, " LIMIT $8"
        )
    };
}

const AT_ENDPOINT: &str =
    attempts_page!("attempts a CROSS JOIN deliveries d WHERE a.tenant_id = $1 AND a.endpoint_id = $2", "<", "DESC");
const AT_ENDPOINT_NEWER: &str =
    attempts_page!("attempts a CROSS JOIN deliveries d WHERE a.tenant_id = $1 AND a.endpoint_id = $2", ">", "ASC");
const OF_MESSAGE: &str =
    attempts_page!("deliveries d CROSS JOIN attempts a WHERE d.tenant_id = $1 AND d.message_id = $2", "<", "DESC");
const OF_MESSAGE_NEWER: &str =
    attempts_page!("deliveries d CROSS JOIN attempts a WHERE d.tenant_id = $1 AND d.message_id = $2", ">", "ASC");

/// An event's message, where it was never sent.
const MISSING: &str = "SELECT m.tenant_id, m.message_id, m.rule_id, m.source, m.window_id, m.part, m.parts, m.runs, m.links, \
     m.body, m.created_at, m.event_type FROM messages m WHERE m.tenant_id = $1 AND m.message_id = $2 \
     AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.tenant_id = $1 AND d.delivery_id = $3)";

const TALLY: &str = "SELECT state, count(*) FROM deliveries \
     WHERE tenant_id = $1 AND endpoint_id = $2 AND created_at >= $3 AND created_at < $4 GROUP BY state";

/// What an attempt's text begins with if it was answered with 200 to 299.
const TRIES: &str = "SELECT count(CASE WHEN result LIKE '{\"kind\":\"answered\",\"status\":2__%' THEN 1 END), count(*) \
     FROM attempts WHERE tenant_id = $1 AND endpoint_id = $2 AND started_at >= $3 AND started_at < $4";

/// A subquery that gives a value is asked for each event: one that says whether there is any would be joined to all deliveries.
pub(in crate::store) const UNHEARD: &str = "SELECT e.tenant_id, e.message_id FROM events e WHERE e.created_at < $1 AND \
     (SELECT d.message_id FROM deliveries d WHERE d.tenant_id = e.tenant_id AND d.message_id = e.message_id LIMIT 1) IS NULL \
     ORDER BY e.created_at LIMIT $2";

const DROP: [&str; 2] = [
    "DELETE FROM events WHERE tenant_id = $1 AND message_id = $2",
    "DELETE FROM messages WHERE tenant_id = $1 AND message_id = $2",
];

fn told(row: &impl Columns) -> Result<Told> {
    Ok(Told { message: message(row)?, event: Cells::behind("events", row, MESSAGE_COLUMNS).json()? })
}

/// A tenant and a message.
fn pair(row: &impl Columns) -> Result<(Uuid, Uuid)> {
    let mut cells = Cells::of("events", row);
    Ok((cells.take()?, cells.take()?))
}

fn made(row: &impl Columns) -> Result<Made> {
    let attempt = attempt(row)?;
    let mut cells = Cells::behind("deliveries", row, 4);
    Ok(Made {
        delivery_id: DeliveryId(cells.take()?),
        message_id: MessageId(cells.take()?),
        endpoint_id: EndpointId(cells.take()?),
        state: state_of_columns(cells.take()?, cells.take_or_none()?)?,
        attempt,
    })
}

/// Notes that a message tells of an event. Whether it did not yet.
pub(in crate::store) async fn note(
    connection: &mut Connection,
    tenant: TenantId,
    message: MessageId,
    event: &Event,
    at: Timestamp,
) -> Result<bool> {
    let query = sqlx::query(ADD).bind(tenant.0).bind(message.0).bind(event.application_id.0);
    let query = query.bind(event.event_type.clone()).bind(at.0).bind(json_text(event)?);
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

pub(in crate::store) async fn send(
    connection: &mut Connection,
    message: &Message,
    event: &Event,
    reach: Reach,
) -> Result<Sending> {
    let tenant = message.tenant_id;
    if !note(connection, tenant, message.id, event, message.created_at).await? {
        let there = one(connection, tenant, message.id).await?;
        return there.map(|told| Sending::There(Box::new(told))).ok_or(StoreError::Stale("the event"));
    }
    let hearers = hearers(connection, tenant, event, reach).await?;
    let due_at = event.deliver_at.unwrap_or(message.created_at).max(message.created_at);
    let deliveries: Vec<Delivery> = hearers.into_iter().map(|endpoint| delivery(message, endpoint, due_at)).collect();
    store_told(connection, tenant, std::slice::from_ref(message), &deliveries).await?;
    Ok(Sending::Sent(deliveries.len()))
}

pub(in crate::store) async fn send_missing(
    connection: &mut Connection,
    tenant: TenantId,
    endpoint: EndpointId,
    events: &[MessageId],
    now: Timestamp,
) -> Result<u64> {
    let mut deliveries = Vec::new();
    for event in events {
        let query = sqlx::query(MISSING).bind(tenant.0).bind(event.0).bind(DeliveryId::of(*event, endpoint).0);
        if let Some(row) = query.fetch_optional(&mut *connection).await? {
            deliveries.push(delivery(&message(&row)?, endpoint, now));
        }
    }
    store_told(connection, tenant, &[], &deliveries).await?;
    Ok(deliveries.len() as u64)
}

pub(super) fn delivery(message: &Message, endpoint_id: EndpointId, due_at: Timestamp) -> Delivery {
    Delivery {
        tenant_id: message.tenant_id,
        id: DeliveryId::of(message.id, endpoint_id),
        message_id: message.id,
        endpoint_id,
        source: message.source,
        state: DeliveryState::Pending,
        attempts: 0,
        due_at,
        created_at: message.created_at,
        finished_at: None,
    }
}

pub(in crate::store) async fn hearers(
    connection: &mut Connection,
    tenant: TenantId,
    event: &Event,
    reach: Reach,
) -> Result<Vec<EndpointId>> {
    if let Reach::One(endpoint) = reach {
        return Ok(vec![endpoint]);
    }
    let rows = if reach == Reach::Tenant {
        sqlx::query(HEARERS_OF_ALL).bind(tenant.0).bind(event.event_type.clone()).fetch_all(connection).await?
    } else {
        let query = sqlx::query(HEARERS).bind(tenant.0).bind(event.event_type.clone());
        query.bind(event.application_id.0).bind(ApplicationId::TENANT.0).fetch_all(connection).await?
    };
    let read = |row: &_| {
        let mut cells = Cells::of("subscriptions", row);
        Ok((EndpointId(cells.take()?), cells.json::<Subscription>()?))
    };
    let found = readable(&rows, read)?;
    Ok(found.into_iter().filter(|(_, one)| one.hears(&event.channels)).map(|(endpoint, _)| endpoint).collect())
}

pub(in crate::store) async fn one(
    connection: &mut Connection,
    tenant: TenantId,
    id: MessageId,
) -> Result<Option<Told>> {
    let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(told).transpose()
}

/// The instants a page lies between, and behind which place it begins.
fn bounds(after: Option<Timestamp>, before: Option<Timestamp>) -> (i64, i64) {
    (after.map_or(i64::MIN, |at| at.0), before.map_or(i64::MAX, |at| at.0))
}

pub(in crate::store) async fn page(
    connection: &mut Connection,
    tenant: TenantId,
    query: &EventQuery,
) -> Result<Vec<Told>> {
    let (after, before) = bounds(query.after, query.before);
    let (instant, id) = query.behind.map_or((i64::MAX, Uuid::nil()), |(at, id)| (at.0, id.0));
    let application = query.application_id.unwrap_or(ApplicationId::TENANT);
    let statement = match (query.event_type.is_some(), query.newer) {
        (true, false) => OF_TYPE,
        (true, true) => OF_TYPE_NEWER,
        (false, false) => OF_APPLICATION,
        (false, true) => OF_APPLICATION_NEWER,
    };
    let mut found = sqlx::query(statement).bind(tenant.0).bind(application.0).bind(after).bind(before);
    found = found.bind(instant).bind(id).bind(i64::from(query.limit));
    if let Some(event_type) = &query.event_type {
        found = found.bind(event_type.clone());
    }
    readable(&found.fetch_all(connection).await?, told)
}

pub(in crate::store) async fn attempts(
    connection: &mut Connection,
    tenant: TenantId,
    query: &AttemptQuery,
) -> Result<Vec<Made>> {
    let (statement, of) = match (query.of, query.newer) {
        (AttemptsOf::Endpoint(endpoint), false) => (AT_ENDPOINT, endpoint.0),
        (AttemptsOf::Endpoint(endpoint), true) => (AT_ENDPOINT_NEWER, endpoint.0),
        (AttemptsOf::Message(message), false) => (OF_MESSAGE, message.0),
        (AttemptsOf::Message(message), true) => (OF_MESSAGE_NEWER, message.0),
    };
    let (after, before) = bounds(query.after, query.before);
    let behind = query.behind.map_or((i64::MAX, Uuid::nil(), 0), |(at, id, number)| (at.0, id.0, i64::from(number)));
    let found = sqlx::query(statement).bind(tenant.0).bind(of).bind(after).bind(before);
    let found = found.bind(behind.0).bind(behind.1).bind(behind.2).bind(i64::from(query.limit));
    readable(&found.fetch_all(connection).await?, made)
}

pub(in crate::store) async fn tally(
    connection: &mut Connection,
    tenant: TenantId,
    endpoint: EndpointId,
    (since, until): (Timestamp, Timestamp),
) -> Result<Tally> {
    let query = sqlx::query(TALLY).bind(tenant.0).bind(endpoint.0).bind(since.0).bind(until.0);
    let mut tally = Tally::default();
    for row in query.fetch_all(connection).await? {
        let mut cells = Cells::of("deliveries", &row);
        let (state, count) = (state_of_columns(cells.take()?, None)?, cells.take::<i64>()?.cast_unsigned());
        match state {
            DeliveryState::Delivered => tally.delivered = count,
            DeliveryState::Pending => tally.pending = count,
            DeliveryState::Failed(_) => tally.failed = count,
        }
    }
    Ok(tally)
}

pub(in crate::store) async fn tries(
    connection: &mut Connection,
    tenant: TenantId,
    endpoint: EndpointId,
    (since, until): (Timestamp, Timestamp),
) -> Result<Tries> {
    let query = sqlx::query(TRIES).bind(tenant.0).bind(endpoint.0).bind(since.0).bind(until.0);
    let row = query.fetch_one(connection).await?;
    let mut cells = Cells::of("attempts", &row);
    let (taken, all) = (cells.take::<i64>()?.cast_unsigned(), cells.take::<i64>()?.cast_unsigned());
    Ok(Tries { taken, failed: all.saturating_sub(taken) })
}

pub(in crate::store) async fn drop_unheard(
    connection: &mut Connection,
    before: Timestamp,
    limit: u32,
) -> Result<Dropped> {
    let rows = sqlx::query(UNHEARD).bind(before.0).bind(i64::from(limit)).fetch_all(&mut *connection).await?;
    for row in &rows {
        let (tenant, message) = pair(row)?;
        for statement in DROP {
            sqlx::query(statement).bind(tenant).bind(message).execute(&mut *connection).await?;
        }
    }
    let rows = rows.len() as u64;
    Ok(Dropped { rows, more: rows >= u64::from(limit) })
}

/// Statements that requests and loops run, each with the index it must use, or the table whose primary key.
#[cfg(test)]
pub(in crate::store) const PLANNED: &[(&str, &str)] = &[
    (HEARERS, "subscribed_types_by_type"),
    (HEARERS_OF_ALL, "subscribed_types_by_type"),
    (ONE, "events"),
    (OF_MESSAGE, "deliveries_by_message"),
    (OF_MESSAGE_NEWER, "deliveries_by_message"),
    (MISSING, "messages"),
    (TALLY, "deliveries_by_endpoint"),
    (TRIES, "attempts_by_endpoint"),
    (UNHEARD, "events_by_age"),
];

/// Those that are read in the order of an index.
#[cfg(test)]
pub(in crate::store) const ORDERED: &[(&str, &str)] = &[
    (OF_APPLICATION, "events_by_application"),
    (OF_APPLICATION_NEWER, "events_by_application"),
    (OF_TYPE, "events_by_type"),
    (OF_TYPE_NEWER, "events_by_type"),
    (AT_ENDPOINT, "attempts_by_endpoint"),
    (AT_ENDPOINT_NEWER, "attempts_by_endpoint"),
];
