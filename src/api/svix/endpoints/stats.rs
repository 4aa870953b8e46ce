//! `…/stats` and `…/attempt-stats`: how deliveries to an endpoint stand, and how attempts at it ended.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::svix::page::instant;
use crate::api::svix::{Answer, Asks, Caller};
use crate::model::time::Timestamp;

use super::find;

/// How far back statistics go, unless asked otherwise.
const BACK: Duration = Duration::from_hours(28 * 24);

#[derive(Deserialize)]
pub(super) struct Asked {
    since: Option<String>,
    until: Option<String>,
}

impl Asked {
    fn range(&self, now: Timestamp) -> Answer<(Timestamp, Timestamp)> {
        let since = instant("since", self.since.as_deref())?.unwrap_or(now.before(BACK));
        Ok((since, instant("until", self.until.as_deref())?.unwrap_or(now.after(Duration::from_secs(1)))))
    }
}

pub(super) async fn stats(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Value>> {
    let found = find(&api, tenant, &app, &endpoint).await?;
    let (since, until) = asked.range(api.clock.now())?;
    let tally = api.store.tally(tenant, found.endpoint.id, since, until).await?;
    Ok(Json(json!({
        "success": tally.delivered, "pending": tally.pending, "sending": 0, "fail": tally.failed, "canceled": 0,
    })))
}

pub(super) async fn attempts(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Value>> {
    let found = find(&api, tenant, &app, &endpoint).await?;
    let (since, until) = asked.range(api.clock.now())?;
    let tries = api.store.tries(tenant, found.endpoint.id, since, until).await?;
    Ok(Json(json!({ "success": tries.taken, "fail": tries.failed, "canceled": 0 })))
}
