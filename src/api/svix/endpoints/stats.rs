//! `…/stats` and `…/recover`: how deliveries to an endpoint stand, and those that failed once more.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Api;
use crate::api::native::deliveries::act as replaying;
use crate::api::request::{Whole, keys};
use crate::api::svix::page::instant;
use crate::api::svix::{Answer, Asks, Caller, Fault, Manager};
use crate::crypto;
use crate::store::outbox::DeliveryQuery;

use super::find;

/// How far back statistics go, unless asked otherwise.
const BACK: Duration = Duration::from_hours(28 * 24);

/// Deliveries that are made pending again in one transaction.
const BATCH: u32 = 500;

#[derive(Deserialize)]
pub(super) struct Asked {
    since: Option<String>,
    until: Option<String>,
}

pub(super) async fn stats(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Value>> {
    let found = find(&api, tenant, &app, &endpoint).await?;
    let now = api.clock.now();
    let since = instant("since", asked.since.as_deref())?.unwrap_or(now.before(BACK));
    let until = instant("until", asked.until.as_deref())?.unwrap_or(now.after(Duration::from_secs(1)));
    let tally = api.store.tally(tenant, found.endpoint.id, since, until).await?;
    Ok(Json(json!({
        "success": tally.delivered, "pending": tally.pending, "sending": 0, "fail": tally.failed, "canceled": 0,
    })))
}

/// Sends anew what failed. It is done when this is answered.
pub(super) async fn recover(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<Value>)> {
    let wanted: Asked = keys(&api, &body)?;
    let tenant = by.tenant_id;
    let since = instant("since", wanted.since.as_deref())?;
    let Some(since) = since else { return Err(Fault::invalid(&["body", "since"], "say since when: `since`")) };
    let until = instant("until", wanted.until.as_deref())?;
    let found = find(&api, tenant, &app, &endpoint).await?;
    let mut query = DeliveryQuery {
        state: Some("failed".to_owned()),
        endpoint_id: Some(found.endpoint.id),
        since: Some(since),
        until,
        limit: BATCH,
        ..DeliveryQuery::default()
    };
    let now = api.clock.now();
    loop {
        let failed = api.store.list_deliveries(tenant, &query).await?;
        let ids: Vec<_> = failed.iter().map(|delivery| delivery.id).collect();
        if !ids.is_empty() {
            api.store.replay(tenant, &ids, now, Some(by.entry(&api, replaying(&ids)))).await?;
        }
        query.before = failed.last().map(|last| (last.created_at, last.id));
        if ids.len() < BATCH as usize {
            break;
        }
    }
    api.delivery.poke();
    let task = json!({
        "id": Uuid::from_bytes(crypto::random()), "status": "finished", "task": "endpoint.recover",
        "updatedAt": now.to_string(),
    });
    Ok((StatusCode::ACCEPTED, Json(task)))
}
