//! What the store tells of by itself, in the transaction in which it happens: deliveries that failed, rules that fail by
//! them, and endpoints that were disabled. Nothing is told of what tells of these, so that no failure tells of its own
//! telling without end.
//!
//! A rule fails where a delivery of it failed for good and the endpoint has taken nothing since. Since when it takes nothing
//! is a column of the endpoint's row, and the id of the telling is made of it: so it is told once for each rule and endpoint,
//! however many deliveries fail, and again only after the endpoint has taken something.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::delivery::Delivery;
use crate::model::event::Event;
use crate::model::id::{ApplicationId, DeliveryId, EndpointId, MessageId, TenantId, derived};
use crate::model::message::{Body, Message, Source};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::events::Reach;
use crate::store::records::source;
use crate::store::row::{Cells, Columns};

use super::{Connection, events, store_told};

const DELIVERY_FAILED: &str = "delivery.failed";
const ENDPOINT_DISABLED: &str = "endpoint.disabled";
const RULE_FAILING: &str = "rule.failing";

const FAILED: &str = "SELECT d.message_id, d.endpoint_id, d.rule_id, d.source, d.attempts, m.event_type, e.failing_since, r.key \
     FROM deliveries d \
     LEFT JOIN messages m ON m.tenant_id = d.tenant_id AND m.message_id = d.message_id \
     LEFT JOIN endpoints e ON e.tenant_id = d.tenant_id AND e.endpoint_id = d.endpoint_id \
     LEFT JOIN rules r ON r.tenant_id = d.tenant_id AND r.rule_id = d.rule_id \
     WHERE d.tenant_id = $1 AND d.delivery_id = $2";

/// A delivery that failed.
struct Lost {
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
        message: cells.take()?,
        endpoint: cells.take()?,
        source: source(&mut cells)?,
        attempts: cells.take()?,
        event_type: cells.take_or_none()?,
        failing_since: cells.instant_or_none()?,
        rule: cells.take_or_none()?,
    })
}

/// Tells that a delivery failed, and that its rule does, after its endpoint's row says so.
pub(in crate::store) async fn failed(
    connection: &mut Connection,
    tenant: TenantId,
    delivery: DeliveryId,
    (reason, at): (&str, Timestamp),
) -> Result<()> {
    let to = hearers(connection, tenant, DELIVERY_FAILED).await?;
    let of_rules = hearers(connection, tenant, RULE_FAILING).await?;
    if to.is_empty() && of_rules.is_empty() {
        return Ok(());
    }
    let row = sqlx::query(FAILED).bind(tenant.0).bind(delivery.0).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(()) };
    let lost = lost(&row)?;
    let is_telling = |told: &str| [DELIVERY_FAILED, ENDPOINT_DISABLED, RULE_FAILING].contains(&told);
    if lost.event_type.as_deref().is_some_and(is_telling) {
        return Ok(());
    }
    failing(connection, tenant, delivery, &lost, (reason, at), of_rules).await?;
    let Lost { message, endpoint, source, attempts, event_type, .. } = lost;
    let body = json!({
        "delivery_id": delivery, "message_id": message, "endpoint_id": endpoint, "rule_id": source.rule(), "attempts": attempts,
        "event_type": event_type.as_deref().unwrap_or("rule.matched"), "reason": reason, "failed_at": at.to_string(),
    });
    let id = MessageId(derived(DELIVERY_FAILED, &[delivery.0.as_bytes(), &attempts.to_be_bytes()]));
    tell(connection, tenant, (id, DELIVERY_FAILED, at), &body, without(to, EndpointId(endpoint))).await
}

/// Tells that what a rule found does not arrive at an endpoint any more.
async fn failing(
    connection: &mut Connection,
    tenant: TenantId,
    delivery: DeliveryId,
    lost: &Lost,
    (reason, at): (&str, Timestamp),
    to: Vec<EndpointId>,
) -> Result<()> {
    // What becomes of runs is told by rules that nobody wrote: their messages have a type.
    let (None, Some(rule), Some(since)) = (&lost.event_type, lost.source.rule(), lost.failing_since) else {
        return Ok(());
    };
    let body = json!({
        "rule_id": rule, "rule": lost.rule, "endpoint_id": lost.endpoint, "delivery_id": delivery,
        "message_id": lost.message, "reason": reason, "failing_since": since.to_string(), "failed_at": at.to_string(),
    });
    let id = [rule.0.as_bytes().as_slice(), lost.endpoint.as_bytes(), &since.0.to_be_bytes()];
    let id = MessageId(derived(RULE_FAILING, &id));
    tell(connection, tenant, (id, RULE_FAILING, at), &body, without(to, EndpointId(lost.endpoint))).await
}

/// Tells that an endpoint was disabled.
pub(in crate::store) async fn disabled(
    connection: &mut Connection,
    tenant: TenantId,
    endpoint: EndpointId,
    (reason, at): (&str, Timestamp),
) -> Result<()> {
    let to = without(hearers(connection, tenant, ENDPOINT_DISABLED).await?, endpoint);
    let body = json!({ "endpoint_id": endpoint, "reason": reason, "disabled_at": at.to_string() });
    let id = MessageId(derived(ENDPOINT_DISABLED, &[endpoint.0.as_bytes(), &at.0.to_be_bytes()]));
    tell(connection, tenant, (id, ENDPOINT_DISABLED, at), &body, to).await
}

async fn hearers(connection: &mut Connection, tenant: TenantId, event_type: &str) -> Result<Vec<EndpointId>> {
    events::hearers(connection, tenant, &Event::of_tenant(event_type), Reach::Tenant).await
}

fn without(mut endpoints: Vec<EndpointId>, one: EndpointId) -> Vec<EndpointId> {
    endpoints.retain(|endpoint| *endpoint != one);
    endpoints
}

async fn tell(
    connection: &mut Connection,
    tenant_id: TenantId,
    (id, event_type, at): (MessageId, &str, Timestamp),
    body: &Value,
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
        body: Body { json: body.to_string(), links: Vec::new() },
        created_at: at,
        event_type: Some(event_type.to_owned()),
    };
    let deliveries: Vec<Delivery> = to.into_iter().map(|endpoint| events::delivery(&message, endpoint, at)).collect();
    store_told(connection, tenant_id, std::slice::from_ref(&message), &deliveries).await
}
