//! `/app/{app}/endpoint`: where an application's messages go.

mod example;
mod headers;
mod replay;
mod secret;
mod shown;
mod stats;
mod write;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::api::{Api, subscribing};
use crate::model::id::{ApplicationId, EndpointId, TenantId};
use crate::store::catalog::{Handle, Subscriber};

use super::applications;
use super::page::{Listed, Paging};
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
        .route("/app/{app}/endpoint/{endpoint}/attempt-stats", get(stats::attempts))
        .route("/app/{app}/endpoint/{endpoint}/recover", post(replay::recover))
        .route("/app/{app}/endpoint/{endpoint}/replay-missing", post(replay::missing))
        .route("/app/{app}/endpoint/{endpoint}/bulk-replay", post(replay::bulk))
        .route("/app/{app}/endpoint/{endpoint}/send-example", post(example::send))
        .route("/app/{app}/endpoint/{endpoint}/msg", get(attempts::messages))
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
    Asks(asked): Asks<Paging>,
) -> Answer<Json<Listed<Out>>> {
    let (page, cut) = asked.read()?;
    let application = applications::find(&api, tenant, &app).await?;
    let found = api.store.subscribers(tenant, application.id, page).await?;
    Ok(cut.listed(found, |one| one.subscription.number.to_string(), |one| Out::of(&api, one)))
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
