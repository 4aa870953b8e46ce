//! `/v1/endpoints/{key}/disable` and `…/enable`: whether anything is sent there. A file says nothing of this, so it is for
//! every endpoint. Either way its failures are forgotten.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::Value;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::model::audit::Action;
use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::health::Health;

use super::shown::shown;
use super::{find, read};

/// Characters of the longest reason that is kept.
const LONGEST_REASON: usize = 300;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reason {
    reason: Option<String>,
}

pub(super) async fn disable(
    State(api): State<Api>,
    by: By,
    Path(key): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let asked: Reason = read(&body, "{\"reason\": …}, or nothing")?;
    let reason: String = asked.reason.unwrap_or_else(|| "on request".to_owned()).chars().take(LONGEST_REASON).collect();
    let disabled = Disabled { at: api.clock.now(), reason };
    set_state(&api, &by, &key, Some(disabled)).await
}

pub(super) async fn enable(State(api): State<Api>, by: By, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    set_state(&api, &by, &key, None).await
}

async fn set_state(api: &Api, by: &By, key: &str, disabled: Option<Disabled>) -> Result<Json<Value>, Problem> {
    let endpoint = find(api, by.tenant_id, key).await?;
    let action = if disabled.is_some() { Action::DisableEndpoint } else { Action::EnableEndpoint };
    let told = Some(by.entry(api, Act::new(action, endpoint.object())));
    let now = api.clock.now();
    let there = api.store.set_endpoint_state(by.tenant_id, endpoint.id, disabled.clone(), now, told).await?;
    if !there {
        return Err(Problem::not_found("endpoint"));
    }
    // What an open circuit held back may go now.
    api.delivery.poke();
    Ok(Json(shown(&Endpoint { disabled, health: Health::default(), ..endpoint })))
}
