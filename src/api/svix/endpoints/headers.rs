//! `…/headers`: what is sent with every attempt. Values come in and are never shown: all count as sensitive.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::api::audit::By;
use crate::api::request::{Whole, keys};
use crate::api::svix::{Answer, Caller, Manager};
use crate::api::{Api, subscribing};
use crate::model::audit::Action;
use crate::store::catalog::{Presence, Subscriber};

use super::find;

type Headers = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct In {
    headers: Headers,
    #[serde(default)]
    delete_headers: Option<Vec<String>>,
}

#[derive(Serialize)]
pub(super) struct Out {
    headers: Headers,
    sensitive: Vec<String>,
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, endpoint)): Path<(String, String)>,
) -> Answer<Json<Out>> {
    let found = find(&api, tenant, &app, &endpoint).await?;
    Ok(Json(Out { headers: Headers::new(), sensitive: found.endpoint.shown.headers.into_keys().collect() }))
}

/// Lays headers over those that `keeps` keeps.
async fn put(
    api: &Api,
    by: &By,
    there: Subscriber,
    wanted: In,
    keeps: impl Fn(&str) -> bool + Send,
) -> Answer<StatusCode> {
    subscribing::check_headers(api, &wanted.headers)?;
    let Subscriber { endpoint, subscription } = there;
    let mut target = subscribing::opened(api, &endpoint)?;
    let is_given = |name: &str| wanted.headers.keys().any(|given| given.eq_ignore_ascii_case(name));
    target.headers.retain(|(name, _)| keeps(name) && !is_given(name));
    let given = wanted.headers.iter().map(|(name, value)| (name.clone(), SecretString::from(value.clone())));
    target.headers.extend(given);
    let most = api.limits.headers_per_endpoint as usize;
    if target.headers.len() > most {
        return Err(super::Fault::invalid(&["body", "headers"], format!("an endpoint has at most {most} headers")));
    }
    let endpoint = subscribing::retargeted(api, endpoint, &target)?;
    let told = subscribing::told(api, by, Action::UpdateEndpoint, &subscription);
    subscribing::put(api, Subscriber { endpoint, subscription }, Presence::There, told).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn replace(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<StatusCode> {
    let wanted: In = keys(&api, &body)?;
    let _turn = subscribing::turn().await;
    let there = find(&api, by.tenant_id, &app, &endpoint).await?;
    put(&api, &by, there, wanted, |_| false).await
}

pub(super) async fn patch(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<StatusCode> {
    let mut wanted: In = keys(&api, &body)?;
    let gone = wanted.delete_headers.take().unwrap_or_default();
    let _turn = subscribing::turn().await;
    let there = find(&api, by.tenant_id, &app, &endpoint).await?;
    put(&api, &by, there, wanted, move |name| !gone.iter().any(|one| one.eq_ignore_ascii_case(name))).await
}
