//! Endpoints that subscribe to events, as the surfaces make them that other services' clients call: their targets checked
//! as files' are, and sealed before they reach the store.

use std::time::Duration;

use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::sync::MutexGuard;
use url::Url;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::native::rules::TURN;
use crate::api::problem::Problem;
use crate::catalog::built_in::{RUN_COMPLETED, RUN_FAILED};
use crate::crypto::{self, WebhookKey, open_target, seal_target, shown};
use crate::delivery::Guard;
use crate::model::audit::{Action, Entry, Object};
use crate::model::endpoint::{Disabled, Endpoint, Format, Overrides, Policy, Target, is_reserved};
use crate::model::event::{Event, Subscription};
use crate::model::health::Health;
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::model::rule::{Actions, BatchLimits, Cadence, Rule, RuleState};
use crate::model::signing::SignatureKind;
use crate::store::StoreError;
use crate::store::catalog::{Presence, Subscriber};
use crate::store::events::Reach;
use crate::store::rules::RuleChanges;

/// What the origin of such an endpoint is: no file changes it.
pub(crate) const ORIGIN: &str = "the API of subscriptions";

/// Event types that tell what becomes of runs, and which runs they are.
const OF_RUNS: [(&str, &str); 2] = [(RUN_COMPLETED, "eq(status, \"success\")"), (RUN_FAILED, "eq(status, \"error\")")];

/// How long a target's name is asked for.
const PATIENCE: Duration = Duration::from_secs(3);

/// One change of endpoints at a time: what is read and written back must not be sealed anew in between.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Puts an endpoint with what it subscribes to. Where it asks for what becomes of runs, there is a rule that looks for it
/// before; the rule is gone again when nobody asks.
pub(crate) async fn put(
    api: &Api,
    put: Subscriber,
    presence: Presence,
    told: Entry,
) -> Result<Subscription, StoreError> {
    let tenant = put.endpoint.tenant_id;
    for (event_type, filter) in OF_RUNS {
        let asks = put.subscription.event_types.iter().flatten().any(|name| name == event_type);
        let rule = rule(tenant, event_type, filter);
        if asks && api.store.rule_keys(tenant, &[rule.id]).await?.is_empty() {
            let changes = RuleChanges { put_rules: vec![rule], ..RuleChanges::default() };
            api.store.apply_rules(tenant, changes, api.clock.now()).await?;
            api.scheduler.poke();
        }
    }
    let stored = api.store.subscribe(tenant, put, presence, Some(told)).await?;
    if presence == Presence::There {
        drop_unheard_rules(api, tenant).await?;
    }
    Ok(stored)
}

/// What the audit log tells of an endpoint that subscribes.
pub(crate) fn told(api: &Api, by: &By, action: Action, subscription: &Subscription) -> Entry {
    by.entry(api, Act::new(action, object(subscription)))
}

fn object(subscription: &Subscription) -> Object {
    let id = subscription.endpoint_id.0;
    subscription.uid.as_deref().map_or_else(|| Object::of_id(id), |uid| Object::new(uid, id))
}

/// Removes a subscriber. Whether it was there.
pub(crate) async fn remove(api: &Api, by: &By, there: &Subscriber) -> Result<bool, StoreError> {
    let (endpoint, told) = (&there.endpoint, told(api, by, Action::DeleteEndpoint, &there.subscription));
    let was_there = api.store.unsubscribe(endpoint.tenant_id, endpoint.id, api.clock.now(), Some(told)).await?;
    drop_unheard_rules(api, endpoint.tenant_id).await?;
    Ok(was_there)
}

/// Removes the rules that look for what nobody asks for.
pub(crate) async fn drop_unheard_rules(api: &Api, tenant: TenantId) -> Result<(), StoreError> {
    let rules = OF_RUNS.map(|(event_type, filter)| rule(tenant, event_type, filter));
    let ids = rules.each_ref().map(|rule| rule.id);
    for (id, _) in api.store.rule_keys(tenant, &ids).await? {
        let event_type = rules.iter().find(|rule| rule.id == id).and_then(|rule| rule.event.clone());
        let event = Event::of_tenant(event_type.as_deref().unwrap_or_default());
        if api.store.hearers(tenant, &event, Reach::Tenant).await?.is_empty() {
            let changes = RuleChanges { remove_rules: vec![id], ..RuleChanges::default() };
            api.store.apply_rules(tenant, changes, api.clock.now()).await?;
            api.scheduler.poke();
        }
    }
    Ok(())
}

/// The rule that looks for what becomes of runs. No file has a key with a blank.
fn rule(tenant_id: TenantId, event_type: &str, filter: &str) -> Rule {
    let key = format!("event {event_type}");
    Rule {
        tenant_id,
        id: RuleId::of_key(tenant_id, &key),
        key,
        name: event_type.to_owned(),
        project: "*".to_owned(),
        filter: Some(filter.to_owned()),
        trace_filter: None,
        tree_filter: None,
        sampling_rate: 1.0,
        cadence: Cadence::Immediate,
        settle: Duration::ZERO,
        backfill_from: None,
        batch: BatchLimits::default(),
        endpoints: Vec::new(),
        state: RuleState::Active,
        origin: None,
        actions: Actions::default(),
        group_by: None,
        registration: None,
        event: Some(event_type.to_owned()),
    }
}

/// An endpoint under a new id, with its target sealed.
pub(crate) fn made(api: &Api, tenant: TenantId, target: &Target, format: Format) -> Result<Endpoint, Problem> {
    let id = EndpointId(uuid::Uuid::from_bytes(crypto::random()));
    Ok(Endpoint {
        tenant_id: tenant,
        id,
        key: None,
        rule_id: None,
        alert_id: None,
        target: seal_target(&api.keyring, id, target).map_err(|error| Problem::internal(&error))?,
        shown: shown(target),
        format,
        policy: Policy::Standard,
        overrides: Overrides::default(),
        origin: Some(ORIGIN.to_owned()),
        disabled: None,
        health: Health::default(),
    })
}

/// The same endpoint with another target.
pub(crate) fn retargeted(api: &Api, endpoint: Endpoint, target: &Target) -> Result<Endpoint, Problem> {
    let sealed = seal_target(&api.keyring, endpoint.id, target).map_err(|error| Problem::internal(&error))?;
    Ok(Endpoint { target: sealed, shown: shown(target), ..endpoint })
}

/// What is sealed of an endpoint.
pub(crate) fn opened(api: &Api, endpoint: &Endpoint) -> Result<Target, Problem> {
    open_target(&api.keyring, endpoint.id, &endpoint.target).map_err(|error| Problem::internal(&error))
}

fn at(place: &str, detail: impl Into<String>) -> Problem {
    Problem::invalid(detail).with("loc", json!(["body", place]))
}

/// Whether something may be sent to a URL.
pub(crate) async fn check_url(api: &Api, text: &str) -> Result<(), Problem> {
    if text.len() > api.limits.url_bytes as usize {
        return Err(at("url", format!("the URL is longer than {} bytes", api.limits.url_bytes)));
    }
    let refused = |forbidden: crate::delivery::Forbidden| {
        tracing::warn!(reason = forbidden.exact, "a target is not allowed: it was not saved");
        at("url", forbidden.to_string())
    };
    let url = Guard::parse(text).map_err(refused)?;
    if text.contains(' ') || url.host_str().is_none_or(str::is_empty) {
        return Err(at("url", "the URL holds a blank, or names no host"));
    }
    api.vetting.check_url(&url).map_err(refused)?;
    // A name that says nothing in time is asked again whenever something is sent there.
    tokio::time::timeout(PATIENCE, api.vetting.check_name(&url)).await.unwrap_or(Ok(())).map_err(refused)
}

/// Whether an endpoint may send these headers.
pub(crate) fn check_headers<'h>(
    api: &Api,
    headers: impl IntoIterator<Item = (&'h String, &'h String)>,
) -> Result<(), Problem> {
    let mut count = 0_u32;
    for (name, value) in headers {
        count = count.saturating_add(1);
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(at("headers", "a header's name is letters, digits and any of !#$%&'*+-.^_`|~"));
        }
        if is_reserved(name) {
            return Err(at("headers", format!("the header {name} is set by Runhook")));
        }
        if value.len() > api.limits.header_bytes as usize {
            let detail = format!("the value of the header {name} is longer than {} bytes", api.limits.header_bytes);
            return Err(at("headers", detail));
        }
        if !value.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) || value.trim() != value {
            let detail = format!("the value of the header {name} is not visible ASCII without blanks around it");
            return Err(at("headers", detail));
        }
    }
    if count > api.limits.headers_per_endpoint {
        return Err(at("headers", format!("an endpoint has at most {} headers", api.limits.headers_per_endpoint)));
    }
    Ok(())
}

/// A signing secret: the given one, with its prefix, or a new one.
pub(crate) fn secret(given: Option<&str>, place: &str) -> Result<SecretString, Problem> {
    let Some(given) = given else {
        let made = WebhookKey::generate(SignatureKind::V1, &crypto::random());
        return made.map_err(|error| Problem::internal(&error));
    };
    let given = if given.starts_with("whs") { given.to_owned() } else { format!("whsec_{given}") };
    let given = SecretString::from(given);
    WebhookKey::parse(&given).map_err(|error| at(place, error.to_string()))?;
    Ok(given)
}

/// Refuses to take stored headers to another server: whoever may change a URL need not know what is sent there.
pub(crate) fn keep_headers(target: &Target, url: &str) -> Result<(), Problem> {
    let origin = |url: &str| Url::parse(url).map(|url| url.origin()).ok();
    if target.headers.is_empty() || origin(url) == origin(target.url.expose_secret()) {
        return Ok(());
    }
    Err(at("url", "the URL leads to another server, and the endpoint's headers do not go there")
        .hint("take its headers away first, and give them again afterwards"))
}

/// Disables an endpoint, or enables it, if it is not so already.
pub(crate) async fn set_disabled(
    api: &Api,
    by: &By,
    Subscriber { endpoint, subscription }: &mut Subscriber,
    disabled: bool,
) -> Result<(), Problem> {
    if endpoint.disabled.is_some() == disabled {
        return Ok(());
    }
    let now = api.clock.now();
    let state = disabled.then(|| Disabled { at: now, reason: "disabled through the API".to_owned() });
    let action = if disabled { Action::DisableEndpoint } else { Action::EnableEndpoint };
    let told = Some(told(api, by, action, subscription));
    if !api.store.set_endpoint_state(endpoint.tenant_id, endpoint.id, state.clone(), now, told).await? {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "Entity not found"));
    }
    endpoint.disabled = state;
    Ok(())
}
