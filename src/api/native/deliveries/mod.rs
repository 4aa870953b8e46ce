//! `/v1/deliveries`: pages of deliveries, one with its attempts, what failed, and sending again.

mod failed;
mod replay;
mod selection;
mod shown;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::model::id::DeliveryId;

use selection::Selection;
use shown::Names;

pub(in crate::api) use replay::act;
pub(super) use selection::instant;
pub(in crate::api) use shown::said;

/// Deliveries on a page, unless asked otherwise.
const PAGE: u32 = 50;

/// Deliveries on the largest page.
const LARGEST: u32 = 1000;

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/deliveries", get(list))
        .route("/v1/deliveries/failed", get(failed::failed))
        .route("/v1/deliveries/replay", post(replay::replay))
        .route("/v1/deliveries/{id}", get(show))
}

/// The query of a page. Its selection is written out, because query strings do not read into flattened numbers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    state: Option<String>,
    rule: Option<String>,
    endpoint: Option<String>,
    status: Option<String>,
    since: Option<String>,
    until: Option<String>,
    failed_since: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Page {
    deliveries: Vec<shown::Line>,
    /// What to ask for as `cursor` to get the next page.
    next: Option<String>,
}

async fn list(
    State(api): State<Api>,
    principal: Principal,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked.map_err(|error| {
        let known = "known here: state, rule, endpoint, status, since, until, failed_since, limit, cursor";
        Problem::malformed(error.body_text()).hint(known)
    })?;
    let Asked { state, rule, endpoint, status, since, until, failed_since, limit, cursor } = asked;
    let selection = Selection { state, rule, endpoint, status, since, until, failed_since };
    let wanted = selection.wanted(&api, principal.tenant_id).await?;
    let limit = limit.unwrap_or(PAGE).clamp(1, LARGEST);
    let found = selection::page(&api, principal.tenant_id, &wanted, limit, cursor.as_deref()).await?;
    let names = Names::of(&api, principal.tenant_id, &found.deliveries).await?;
    let deliveries = found.deliveries.iter().map(|delivery| names.line(delivery)).collect();
    Ok(Json(Page { deliveries, next: found.next }).into_response())
}

async fn show(State(api): State<Api>, principal: Principal, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: DeliveryId = id.parse().map_err(unreadable)?;
    let found = api.store.delivery(principal.tenant_id, id).await?;
    let (delivery, attempts) = found.ok_or_else(|| Problem::not_found("delivery"))?;
    let message = api.store.message(principal.tenant_id, delivery.message_id).await?;
    let names = Names::of(&api, principal.tenant_id, std::slice::from_ref(&delivery)).await?;
    Ok(Json(names.full(&delivery, &attempts, message.as_ref())).into_response())
}

fn unreadable(error: impl std::fmt::Display) -> Problem {
    Problem::malformed(error.to_string())
}
