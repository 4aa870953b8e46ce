//! `/app/{app}/endpoint`: where an application's messages go.

mod headers;
mod secret;
mod shown;
mod stats;
mod write;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::api::{Api, subscribing};
use crate::model::id::{ApplicationId, EndpointId, TenantId};
use crate::store::catalog::{Handle, Page, Subscriber};

use super::applications;
use super::page::{self, Listed, Order};
use super::{Answer, Asks, Caller, Fault, Manager, attempts};

pub(super) use shown::{Out, url};
pub(super) use write::checked_channels;

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/app/{app}/endpoint", get(list).post(write::create))
        .route("/app/{app}/endpoint/{endpoint}", get(show).put(write::update).patch(write::patch).delete(delete))
        .route("/app/{app}/endpoint/{endpoint}/headers", get(headers::show).put(headers::replace).patch(headers::patch))
        .route("/app/{app}/endpoint/{endpoint}/secret", get(secret::show))
        .route("/app/{app}/endpoint/{endpoint}/secret/rotate", post(secret::rotate))
        .route("/app/{app}/endpoint/{endpoint}/stats", get(stats::stats))
        .route("/app/{app}/endpoint/{endpoint}/recover", post(stats::recover))
        .route("/app/{app}/endpoint/{endpoint}/msg", get(attempts::messages))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    limit: Option<u32>,
    iterator: Option<String>,
    order: Option<Order>,
}

/// The endpoint that a path names, in its application.
pub(super) async fn find(api: &Api, tenant: TenantId, app: &str, handle: &str) -> Answer<Subscriber> {
    let application = applications::find(api, tenant, app).await?;
    find_in(api, tenant, application.id, handle).await
}

pub(super) async fn find_in(
    api: &Api,
    tenant: TenantId,
    application: ApplicationId,
    handle: &str,
) -> Answer<Subscriber> {
    let uid = Handle::Uid(handle.to_owned());
    if let Some(found) = api.store.subscriber(tenant, application, &uid).await? {
        return Ok(found);
    }
    let Ok(id) = handle.parse::<EndpointId>() else { return Err(Fault::not_found()) };
    api.store.subscriber(tenant, application, &Handle::Id(id)).await?.ok_or_else(Fault::not_found)
}

async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path(app): Path<String>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Listed<Out>>> {
    let limit = page::limit(asked.limit)?;
    let after = page::iterator(asked.iterator.as_deref())?;
    let descending = asked.order == Some(Order::Descending);
    let application = applications::find(&api, tenant, &app).await?;
    let wanted = Page { after, descending, limit: limit.saturating_add(1) };
    let found = api.store.subscribers(tenant, application.id, wanted).await?;
    let mark = |one: &Subscriber| one.subscription.number.to_string();
    Ok(Json(Listed::cut(found, limit, mark, |one| Out::of(&api, one))))
}

async fn show(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, endpoint)): Path<(String, String)>,
) -> Answer<Json<Out>> {
    let found = find(&api, tenant, &app, &endpoint).await?;
    Ok(Json(Out::of(&api, found)))
}

async fn delete(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
) -> Answer<StatusCode> {
    let _turn = subscribing::turn().await;
    let found = find(&api, by.tenant_id, &app, &endpoint).await?;
    if !subscribing::remove(&api, &by, &found).await? {
        return Err(Fault::not_found());
    }
    Ok(StatusCode::NO_CONTENT)
}
