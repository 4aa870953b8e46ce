//! `…/secret`: what an endpoint's messages are signed with. Its receiver has it too, and asks for it here.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::api::request::{Whole, keys};
use crate::api::svix::{Answer, Caller, Fault, Manager};
use crate::api::{Api, subscribing};
use crate::model::audit::Action;
use crate::model::signing::{GRACE, LONGEST_GRACE};
use crate::store::catalog::{Presence, Subscriber};

use super::find;

/// The secret, for whoever may manage. Not `Debug`: it would show it.
#[derive(Serialize)]
pub(super) struct Out {
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct In {
    key: Option<String>,
    grace_period_seconds: Option<u64>,
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, endpoint)): Path<(String, String)>,
) -> Answer<Json<Out>> {
    let found = find(&api, tenant, &app, &endpoint).await?;
    let target = subscribing::opened(&api, &found.endpoint)?;
    let key = target.signing.newest().ok_or_else(Fault::not_found)?.expose_secret().to_owned();
    Ok(Json(Out { key }))
}

/// Older clients look at nothing of the answer, newer ones read the new secret in it.
pub(super) async fn rotate(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<Json<Out>> {
    let wanted: In = keys(&api, &body)?;
    let grace = wanted.grace_period_seconds.map_or(GRACE, Duration::from_secs);
    if grace > LONGEST_GRACE {
        return Err(Fault::invalid(&["body", "gracePeriodSeconds"], "a grace period is 0 to 604800 seconds"));
    }
    let secret = subscribing::secret(wanted.key.as_deref(), "key")?;
    let _turn = subscribing::turn().await;
    let Subscriber { endpoint, subscription } = find(&api, by.tenant_id, &app, &endpoint).await?;
    let mut target = subscribing::opened(&api, &endpoint)?;
    target.signing = target.signing.rotated(&secret, api.clock.now(), grace);
    let endpoint = subscribing::retargeted(&api, endpoint, &target)?;
    let told = subscribing::told(&api, &by, Action::RotateEndpoint, &subscription);
    subscribing::put(&api, Subscriber { endpoint, subscription }, Presence::There, told).await?;
    Ok(Json(Out { key: secret.expose_secret().to_owned() }))
}
