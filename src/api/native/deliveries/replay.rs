//! `/v1/deliveries/replay`: finished deliveries are sent again, with the same message and the same `webhook-id`.
//!
//! A request takes at most a page and says where it stopped, so replaying a great many is a sequence of short requests
//! that shows its progress and can be broken off at any point.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::model::audit::{Action, Object};
use crate::model::delivery::{Delivery, DeliveryState};
use crate::model::id::{DeliveryId, TenantId};

use super::LARGEST;
use super::selection::{self, Found, Selection};
use super::shown::Names;

/// Ids that the audit log tells of one request.
const TOLD: usize = 20;

/// What to send again: these, or what is selected.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    ids: Vec<DeliveryId>,
    /// `failed`, unless said otherwise.
    state: Option<String>,
    rule: Option<String>,
    endpoint: Option<String>,
    status: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// Failed since, whenever they were made: what an endpoint missed while it was down.
    failed_since: Option<String>,
    /// Only says what would be done.
    dry_run: bool,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    /// How many were, or would be, sent again.
    replayed: u64,
    ids: Vec<DeliveryId>,
    skipped: Vec<Skipped>,
    /// What to send as `cursor` to go on.
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Skipped {
    id: DeliveryId,
    reason: &'static str,
}

/// Sends again.
pub(super) async fn replay(State(api): State<Api>, by: By, Whole(body): Whole) -> Result<Response, Problem> {
    let asked: Asked = serde_json::from_slice(&body).map_err(|error| {
        Problem::malformed(format!("the body cannot be read: {error}"))
            .hint("known here: ids, state, rule, endpoint, status, since, until, failed_since, dry_run, limit, cursor")
    })?;
    let tenant = by.tenant_id;
    let dry_run = asked.dry_run;
    let mut skipped = Vec::new();
    let found = find(&api, tenant, asked, &mut skipped).await?;
    let names = Names::of(&api, tenant, &found.deliveries).await?;
    let mut ids = Vec::new();
    for delivery in &found.deliveries {
        match obstacle(&names, delivery) {
            None => ids.push(delivery.id),
            Some(reason) => skipped.push(Skipped { id: delivery.id, reason }),
        }
    }
    let replayed = if dry_run || ids.is_empty() {
        u64::try_from(ids.len()).unwrap_or(u64::MAX)
    } else {
        let told = by.entry(&api, act(&ids));
        let replayed = api.store.replay(tenant, &ids, api.clock.now(), Some(told)).await?;
        api.delivery.poke();
        replayed
    };
    Ok(Json(Answer { dry_run, replayed, ids, skipped, next: found.next }).into_response())
}

/// What the audit log tells of a page: how many there were, and the first of them.
pub(in crate::api) fn act(ids: &[DeliveryId]) -> Act {
    let object = match ids {
        [id] => Object::of_id(id.0),
        ids => Object::new(&format!("{} deliveries", ids.len()), None),
    };
    let named: Vec<DeliveryId> = ids.iter().take(TOLD).copied().collect();
    Act::new(Action::ReplayDeliveries, object).with(json!({"count": ids.len(), "ids": named}))
}

async fn find(api: &Api, tenant: TenantId, asked: Asked, skipped: &mut Vec<Skipped>) -> Result<Found, Problem> {
    let Asked { ids, state, rule, endpoint, status, since, until, failed_since, limit, cursor, .. } = asked;
    let selection = Selection { state, rule, endpoint, status, since, until, failed_since };
    if !ids.is_empty() {
        if !selection.is_open() {
            return Err(Problem::invalid("name deliveries by `ids`, or select them; not both"));
        }
        return by_ids(api, tenant, ids, skipped).await;
    }
    if selection.is_open() {
        return Err(Problem::invalid("nothing says which deliveries to send again").hint(
            "give `ids`, or select by state, rule, endpoint, status or time; {\"state\":\"failed\"} is all that failed",
        ));
    }
    let state = selection.state.clone().or_else(|| Some("failed".to_owned()));
    let wanted = Selection { state, ..selection }.wanted(api, tenant).await?;
    selection::page(api, tenant, &wanted, limit.unwrap_or(LARGEST).clamp(1, LARGEST), cursor.as_deref()).await
}

async fn by_ids(
    api: &Api,
    tenant: TenantId,
    ids: Vec<DeliveryId>,
    skipped: &mut Vec<Skipped>,
) -> Result<Found, Problem> {
    if ids.len() > usize::try_from(LARGEST).unwrap_or(usize::MAX) {
        return Err(Problem::invalid(format!("more than {LARGEST} ids in one request")));
    }
    let mut deliveries = Vec::with_capacity(ids.len());
    for id in ids {
        match api.store.delivery(tenant, id).await? {
            Some((delivery, _)) => deliveries.push(delivery),
            None => skipped.push(Skipped { id, reason: "not found" }),
        }
    }
    Ok(Found { deliveries, next: None })
}

/// Why a delivery is not sent again.
fn obstacle(names: &Names, delivery: &Delivery) -> Option<&'static str> {
    if delivery.state == DeliveryState::Pending {
        Some("it is pending already")
    } else if names.is_disabled(delivery.endpoint_id) {
        Some("its endpoint is disabled")
    } else if names.has_endpoint(delivery.endpoint_id) {
        None
    } else {
        Some("its endpoint was removed")
    }
}
