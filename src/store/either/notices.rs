//! What the store tells of deliveries by itself, in the transaction in which it happens: those that failed, rules that fail by
//! them, and endpoints that were disabled. Nothing is told of what tells of these, so that no failure tells of its own
//! telling without end.
//!
//! A rule fails where a delivery of it failed for good and the endpoint has taken nothing since. Since when it takes nothing
//! is a column of the endpoint's row, and the id of the telling is made of it: so it is told once for each rule and endpoint,
//! however many deliveries fail, and again only after the endpoint has taken something.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use uuid::Uuid;

use crate::model::delivery::Delivery;
use crate::model::event::Event;
use crate::model::id::{ApplicationId, DeliveryId, EndpointId, MessageId, TenantId, derived};
use crate::model::message::{Body, Message, Source};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::events::Reach;
use crate::store::records::source;
use crate::store::row::{Cells, Columns, readable};

use super::{Connection, events, store_told};

const DELIVERY_FAILED: &str = "delivery.failed";
const ENDPOINT_DISABLED: &str = "endpoint.disabled";
const RULE_FAILING: &str = "rule.failing";

/// Deliveries, as far as it is told that they failed.
macro_rules! lost {
    ($which:literal) => {
        concat!(
            "SELECT d.delivery_id, d.message_id, d.endpoint_id, d.rule_id, d.source, d.attempts, m.event_type, \
             e.failing_since, r.key FROM deliveries d \
             LEFT JOIN messages m ON m.tenant_id = d.tenant_id AND m.message_id = d.message_id \
             LEFT JOIN endpoints e ON e.tenant_id = d.tenant_id AND e.endpoint_id = d.endpoint_id \
             LEFT JOIN rules r ON r.tenant_id = d.tenant_id AND r.rule_id = d.rule_id \
             WHERE ",
            $which
        )
    };
}

const FAILED: &str = lost!("d.tenant_id = $1 AND d.delivery_id = $2");

/// Found by the instant of its end: SQLite would take the tenant's key, and read all its deliveries.
const GIVEN_UP: &str = lost!(
    "coalesce(d.tenant_id, $1) = $1 AND d.endpoint_id = $2 AND d.finished_at = $3 AND d.state = 2 AND d.reason = $4"
);

/// A delivery that failed.
struct Lost {
    delivery: Uuid,
    message: Uuid,
    endpoint: Uuid,
    source: Source,
    attempts: i64,
    event_type: Option<String>,
    /// Since when its endpoint takes nothing.
    failing_since: Option<Timestamp>,
    /// The key of its rule.
    rule: Option<String>,
}

fn lost(row: &impl Columns) -> Result<Lost> {
    let mut cells = Cells::of("deliveries", row);
    Ok(Lost {
        delivery: cells.take()?,
        message: cells.take()?,
        endpoint: cells.take()?,
        source: source(&mut cells)?,
        attempts: cells.take()?,
        event_type: cells.take_or_none()?,
        failing_since: cells.instant_or_none()?,
        rule: cells.take_or_none()?,
    })
}

/// Who hears of deliveries that fail, and of rules that do by them.
struct Watchers {
    deliveries: Vec<EndpointId>,
    rules: Vec<EndpointId>,
}

async fn watchers(connection: &mut Connection, tenant: TenantId) -> Result<Option<Watchers>> {
    let deliveries = hearers(connection, tenant, DELIVERY_FAILED).await?;
    let rules = hearers(connection, tenant, RULE_FAILING).await?;
    let is_watched = !deliveries.is_empty() || !rules.is_empty();
    Ok(is_watched.then_some(Watchers { deliveries, rules }))
}

/// That a delivery failed: whose, which, why and when.
pub(in crate::store) type Failure<'a> = (TenantId, DeliveryId, &'a str, Timestamp);

/// Tells that deliveries failed, and that their rules do, after the rows of their endpoints say so.
pub(in crate::store) async fn failed(connection: &mut Connection, failures: &[Failure<'_>]) -> Result<()> {
    let mut watched = HashMap::new();
    for (tenant, delivery, reason, at) in failures {
        if !watched.contains_key(tenant) {
            watched.insert(*tenant, watchers(connection, *tenant).await?);
        }
        let Some(Some(to)) = watched.get(tenant) else { continue };
        let rows = sqlx::query(FAILED).bind(tenant.0).bind(delivery.0).fetch_all(&mut *connection).await?;
        tell_all(connection, *tenant, readable(&rows, lost)?, (reason, *at), to).await?;
    }
    Ok(())
}

/// Tells the same of all deliveries to an endpoint that have just ended for this reason.
pub(in crate::store) async fn given_up(
    connection: &mut Connection,
    tenant: TenantId,
    endpoint: EndpointId,
    (reason, at): (&str, Timestamp),
) -> Result<()> {
    let Some(to) = watchers(connection, tenant).await? else { return Ok(()) };
    let query = sqlx::query(GIVEN_UP).bind(tenant.0).bind(endpoint.0).bind(at.0).bind(reason.to_owned());
    let rows = query.fetch_all(&mut *connection).await?;
    tell_all(connection, tenant, readable(&rows, lost)?, (reason, at), &to).await
}

/// Tells of deliveries to one endpoint.
async fn tell_all(
    connection: &mut Connection,
    tenant: TenantId,
    all: Vec<Lost>,
    (reason, at): (&str, Timestamp),
    to: &Watchers,
) -> Result<()> {
    let mut rules = HashSet::new();
    for lost in all {
        let is_telling = |told: &str| [DELIVERY_FAILED, ENDPOINT_DISABLED, RULE_FAILING].contains(&told);
        if lost.event_type.as_deref().is_some_and(is_telling) {
            continue;
        }
        if lost.source.rule().is_some_and(|rule| rules.insert(rule)) {
            failing(connection, tenant, &lost, (reason, at), &to.rules).await?;
        }
        let Lost { delivery, message, endpoint, source, attempts, event_type, .. } = lost;
        let body = json!({
            "delivery_id": delivery, "message_id": message, "endpoint_id": endpoint, "rule_id": source.rule(),
            "attempts": attempts, "event_type": event_type.as_deref().unwrap_or("rule.matched"), "reason": reason,
            "failed_at": at.to_string(),
        });
        let id = [delivery.as_bytes().as_slice(), &attempts.to_be_bytes(), &at.0.to_be_bytes()];
        let id = MessageId(derived(DELIVERY_FAILED, &id));
        tell(connection, tenant, (id, DELIVERY_FAILED, at), body.to_string(), without(&to.deliveries, endpoint))
            .await?;
    }
    Ok(())
}

/// Tells that what a rule found does not arrive at an endpoint any more.
async fn failing(
    connection: &mut Connection,
    tenant: TenantId,
    lost: &Lost,
    (reason, at): (&str, Timestamp),
    to: &[EndpointId],
) -> Result<()> {
    // What becomes of runs is told by rules that nobody wrote: their messages have a type.
    let (None, Some(rule), Some(since)) = (&lost.event_type, lost.source.rule(), lost.failing_since) else {
        return Ok(());
    };
    let body = json!({
        "rule_id": rule, "rule": lost.rule, "endpoint_id": lost.endpoint, "delivery_id": lost.delivery,
        "message_id": lost.message, "reason": reason, "failing_since": since.to_string(), "failed_at": at.to_string(),
    });
    let id = [rule.0.as_bytes().as_slice(), lost.endpoint.as_bytes(), &since.0.to_be_bytes()];
    let id = MessageId(derived(RULE_FAILING, &id));
    tell(connection, tenant, (id, RULE_FAILING, at), body.to_string(), without(to, lost.endpoint)).await
}

/// Tells that an endpoint was disabled.
pub(in crate::store) async fn disabled(
    connection: &mut Connection,
    tenant: TenantId,
    endpoint: EndpointId,
    (reason, at): (&str, Timestamp),
) -> Result<()> {
    let to = without(&hearers(connection, tenant, ENDPOINT_DISABLED).await?, endpoint.0);
    let body = json!({ "endpoint_id": endpoint, "reason": reason, "disabled_at": at.to_string() });
    let id = MessageId(derived(ENDPOINT_DISABLED, &[endpoint.0.as_bytes(), &at.0.to_be_bytes()]));
    tell(connection, tenant, (id, ENDPOINT_DISABLED, at), body.to_string(), to).await
}

pub(super) async fn hearers(
    connection: &mut Connection,
    tenant: TenantId,
    event_type: &str,
) -> Result<Vec<EndpointId>> {
    events::hearers(connection, tenant, &Event::of_tenant(event_type), Reach::Tenant).await
}

fn without(endpoints: &[EndpointId], one: Uuid) -> Vec<EndpointId> {
    endpoints.iter().copied().filter(|endpoint| endpoint.0 != one).collect()
}

/// Stores what is told, with a delivery for everyone who hears it; nothing, if it was told before.
pub(super) async fn tell(
    connection: &mut Connection,
    tenant_id: TenantId,
    (id, event_type, at): (MessageId, &str, Timestamp),
    json: String,
    to: Vec<EndpointId>,
) -> Result<()> {
    if to.is_empty() || !events::note(connection, tenant_id, id, &Event::of_tenant(event_type), at).await? {
        return Ok(());
    }
    let message = Message {
        tenant_id,
        id,
        source: Source::Application(ApplicationId::TENANT),
        window_id: None,
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json, links: Vec::new() },
        created_at: at,
        event_type: Some(event_type.to_owned()),
    };
    let deliveries: Vec<Delivery> = to.into_iter().map(|endpoint| events::delivery(&message, endpoint, at)).collect();
    store_told(connection, tenant_id, std::slice::from_ref(&message), &deliveries).await
}

/// Statements that loops run, each with the index it must use, or the table whose primary key.
#[cfg(test)]
pub(in crate::store) const PLANNED: &[(&str, &str)] = &[(FAILED, "deliveries"), (GIVEN_UP, "deliveries_by_end")];
