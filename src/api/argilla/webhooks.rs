//! `/webhooks`: listeners that registered themselves.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::api::audit::By;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::api::request::{Whole, keys};
use crate::api::{Api, subscribing};
use crate::catalog::ARGILLA;
use crate::crypto;
use crate::delivery::send;
use crate::model::audit::Action;
use crate::model::endpoint::{Format, Target};
use crate::model::event::Subscription;
use crate::model::id::{ApplicationId, EndpointId, MessageId, TenantId};
use crate::model::message::{Body, Message, Source};
use crate::model::signing::{Signature, Signing};
use crate::store::catalog::{Handle, Page, Presence, Subscriber};

use super::Fault;

/// Listeners of one tenant that are listed.
const LISTED: u32 = 1000;

#[derive(Deserialize)]
pub(super) struct In {
    url: String,
    events: Vec<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Patch {
    url: Option<String>,
    events: Option<Vec<String>>,
    description: Option<String>,
    enabled: Option<bool>,
}

/// A listener, with the secret it verifies with. Not `Debug`: it would show it.
#[derive(Serialize)]
pub(super) struct Out {
    id: EndpointId,
    url: String,
    secret: String,
    events: Vec<String>,
    enabled: bool,
    description: Option<String>,
    inserted_at: String,
    updated_at: String,
}

#[derive(Serialize)]
pub(super) struct Items {
    items: Vec<Out>,
}

fn shown(api: &Api, Subscriber { endpoint, subscription }: Subscriber) -> Result<Out, Problem> {
    let target = subscribing::opened(api, &endpoint)?;
    let secret = target.signing.newest().map(|secret| secret.expose_secret().to_owned()).unwrap_or_default();
    Ok(Out {
        id: endpoint.id,
        url: target.url.expose_secret().to_owned(),
        // Argilla's secrets are base64 and nothing before it.
        secret: secret.strip_prefix("whsec_").unwrap_or(&secret).to_owned(),
        events: subscription.event_types.unwrap_or_default(),
        enabled: endpoint.disabled.is_none(),
        description: Some(subscription.description).filter(|text| !text.is_empty()),
        inserted_at: subscription.created_at.naive(),
        updated_at: subscription.updated_at.naive(),
    })
}

fn check_events(events: &[String]) -> Result<(), Problem> {
    let mut seen = Vec::new();
    for event in events {
        if !ARGILLA.contains(&event.as_str()) || seen.contains(&event) {
            let detail = format!("events are of {}, each once", ARGILLA.join(", "));
            return Err(Problem::invalid(detail).with("loc", json!(["body", "events"])));
        }
        seen.push(event);
    }
    if events.is_empty() {
        return Err(Problem::invalid("name one event at least").with("loc", json!(["body", "events"])));
    }
    Ok(())
}

async fn find(api: &Api, tenant: TenantId, id: &str) -> Result<Subscriber, Problem> {
    let missing = || Problem::not_found("webhook");
    let id: EndpointId = id.parse().map_err(|_| missing())?;
    let found = api.store.subscriber(tenant, ApplicationId::TENANT, &Handle::Id(id)).await?;
    found.ok_or_else(missing)
}

pub(super) async fn list(State(api): State<Api>, principal: Principal) -> Result<Json<Items>, Fault> {
    let page = Page { after: None, descending: false, limit: LISTED };
    let found = api.store.subscribers(principal.tenant_id, ApplicationId::TENANT, page).await?;
    let items = found.into_iter().map(|one| shown(&api, one)).collect::<Result<_, _>>()?;
    Ok(Json(Items { items }))
}

pub(super) async fn create(
    State(api): State<Api>,
    by: By,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<Out>), Fault> {
    let wanted: In = keys(&api, &body)?;
    check_events(&wanted.events)?;
    subscribing::check_url(&api, &wanted.url).await?;
    let _turn = subscribing::turn().await;
    let secret = format!("whsec_{}", STANDARD.encode(crypto::random::<32>()));
    let target = Target {
        url: wanted.url.into(),
        query: Vec::new(),
        headers: Vec::new(),
        secrets: Vec::new(),
        signing: Signing::with(secret.into(), Signature::Standard),
    };
    let endpoint = subscribing::made(&api, by.tenant_id, &target, Format::Argilla)?;
    let now = api.clock.now();
    let subscription = Subscription {
        endpoint_id: endpoint.id,
        application_id: ApplicationId::TENANT,
        uid: None,
        number: 0,
        event_types: Some(wanted.events),
        channels: None,
        description: wanted.description.unwrap_or_default(),
        metadata: BTreeMap::new(),
        version: 1,
        rate_limit: None,
        created_at: now,
        updated_at: now,
    };
    let told = subscribing::told(&api, &by, Action::CreateEndpoint, &subscription);
    let put = Subscriber { endpoint: endpoint.clone(), subscription };
    let subscription = subscribing::put(&api, put, Presence::New, told).await?;
    Ok((StatusCode::CREATED, Json(shown(&api, Subscriber { endpoint, subscription })?)))
}

pub(super) async fn update(
    State(api): State<Api>,
    by: By,
    Path(id): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Out>, Fault> {
    let patch: Patch = keys(&api, &body)?;
    let _turn = subscribing::turn().await;
    let Subscriber { mut endpoint, mut subscription } = find(&api, by.tenant_id, &id).await?;
    if let Some(url) = patch.url {
        subscribing::check_url(&api, &url).await?;
        let mut target = subscribing::opened(&api, &endpoint)?;
        target.url = url.into();
        endpoint = subscribing::retargeted(&api, endpoint, &target)?;
    }
    if let Some(events) = patch.events {
        check_events(&events)?;
        subscription.event_types = Some(events);
    }
    subscription.description = patch.description.unwrap_or(subscription.description);
    subscription.updated_at = api.clock.now();
    let told = subscribing::told(&api, &by, Action::UpdateEndpoint, &subscription);
    let mut put = Subscriber { endpoint, subscription };
    put.subscription = subscribing::put(&api, put.clone(), Presence::There, told).await?;
    if let Some(enabled) = patch.enabled {
        subscribing::set_disabled(&api, &by, &mut put, !enabled).await?;
    }
    Ok(Json(shown(&api, put)?))
}

pub(super) async fn delete(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<Json<Out>, Fault> {
    let _turn = subscribing::turn().await;
    let found = find(&api, by.tenant_id, &id).await?;
    subscribing::remove(&api, &by, &found).await?;
    Ok(Json(shown(&api, found)?))
}

/// Sends a `ping`, once, and does not ask what came of it: an unmodified listener that knows no such event answers 500.
pub(super) async fn ping(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<StatusCode, Fault> {
    let found = find(&api, by.tenant_id, &id).await?;
    let client = (api.client)().map_err(|error| Problem::internal(&error))?;
    let now = api.clock.now();
    let body = json!({ "agent": "runhook", "version": env!("CARGO_PKG_VERSION") });
    let message = Message {
        tenant_id: by.tenant_id,
        id: MessageId(Uuid::from_bytes(crypto::random())),
        source: Source::Application(ApplicationId::TENANT),
        window_id: None,
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json: body.to_string(), links: Vec::new() },
        created_at: now,
        event_type: Some("ping".to_owned()),
    };
    api.store.note(subscribing::told(&api, &by, Action::TestEndpoint, &found.subscription)).await?;
    let probe = send(&client, &api.keyring, &found.endpoint, &message, now).await;
    tracing::debug!(endpoint.id = %found.endpoint.id, result = ?probe.result, "a listener was sent a ping");
    Ok(StatusCode::NO_CONTENT)
}
