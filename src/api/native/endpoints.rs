//! `/v1/endpoints`: where notifications go. They are written in rule files; here they are looked at, disabled and enabled,
//! and their signing secrets are replaced. A secret is shown once, by the answer to the request that made it.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::native::rules::{self, TURN};
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::crypto::{self, WebhookKey, open_target, seal_target, shown};
use crate::model::amount::duration;
use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::id::{EndpointId, TenantId};
use crate::model::signing::{GRACE, LONGEST_GRACE, Signature, SignatureKind};
use crate::store::rules::RuleChanges;

/// Characters of the longest reason that is kept.
const LONGEST_REASON: usize = 300;

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/endpoints", get(list))
        .route("/v1/endpoints/{key}", get(show))
        .route("/v1/endpoints/{key}/disable", post(disable))
        .route("/v1/endpoints/{key}/enable", post(enable))
        .route("/v1/endpoints/{key}/rotate-secret", post(rotate_secret))
}

async fn list(State(api): State<Api>, principal: Principal) -> Result<Json<Value>, Problem> {
    let mut endpoints = api.store.list_endpoints(principal.tenant_id).await?;
    endpoints.sort_by(|a, b| (a.key.is_none(), &a.key, a.id).cmp(&(b.key.is_none(), &b.key, b.id)));
    let endpoints: Vec<Value> = endpoints.iter().map(shown_endpoint).collect();
    Ok(Json(json!({ "endpoints": endpoints })))
}

async fn show(State(api): State<Api>, principal: Principal, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(shown_endpoint(&find(&api, principal.tenant_id, &key).await?)))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reason {
    reason: Option<String>,
}

async fn disable(
    State(api): State<Api>,
    principal: Principal,
    Path(key): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let asked: Reason = read(&body, "{\"reason\": …}, or nothing")?;
    let reason: String = asked.reason.unwrap_or_else(|| "on request".to_owned()).chars().take(LONGEST_REASON).collect();
    let disabled = Disabled { at: api.clock.now(), reason };
    set_state(&api, principal.tenant_id, &key, Some(disabled)).await
}

async fn enable(State(api): State<Api>, principal: Principal, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    set_state(&api, principal.tenant_id, &key, None).await
}

async fn set_state(api: &Api, tenant: TenantId, key: &str, disabled: Option<Disabled>) -> Result<Json<Value>, Problem> {
    let endpoint = find(api, tenant, key).await?;
    let there = api.store.set_endpoint_state(tenant, endpoint.id, disabled.clone(), api.clock.now()).await?;
    if !there {
        return Err(Problem::not_found("endpoint"));
    }
    Ok(Json(shown_endpoint(&Endpoint { disabled, ..endpoint })))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rotation {
    /// `v1` or `v1a`; as it was when absent.
    kind: Option<SignatureKind>,
    /// How long the secret before it goes on signing.
    grace: Option<String>,
}

async fn rotate_secret(
    State(api): State<Api>,
    principal: Principal,
    Path(key): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let asked: Rotation = read(&body, "{\"kind\": \"v1\" | \"v1a\", \"grace\": \"24h\"}, or nothing")?;
    let grace = match asked.grace.as_deref() {
        None => GRACE,
        Some(text) => duration(text)
            .filter(|grace| *grace <= LONGEST_GRACE)
            .ok_or_else(|| Problem::invalid("`grace` is a duration from 0s to 7d"))?,
    };
    let _turn = TURN.lock().await;
    let endpoint = find(&api, principal.tenant_id, &key).await?;
    let mut target = open_target(&api.keyring, endpoint.id, &endpoint.target).map_err(|e| Problem::internal(&e))?;
    let kind = asked.kind.or_else(|| newest_kind(&endpoint)).unwrap_or(SignatureKind::V1);
    if kind == SignatureKind::V1a && target.signing.headers != Signature::Standard {
        return Err(Problem::invalid("X-LangSmith-Signature is made with a shared secret, not with a private key"));
    }
    let made = WebhookKey::generate(kind, &crypto::random()).map_err(|error| Problem::internal(&error))?;
    let now = api.clock.now();
    target.signing = target.signing.rotated(&made, now, grace);
    let sealed = seal_target(&api.keyring, endpoint.id, &target).map_err(|error| Problem::internal(&error))?;
    let endpoint = Endpoint { target: sealed, shown: shown(&target), ..endpoint };
    let changes = RuleChanges { put_endpoints: vec![endpoint.clone()], ..RuleChanges::default() };
    api.store.apply_rules(principal.tenant_id, changes, now).await?;
    let mut answer = shown_endpoint(&endpoint);
    if let Some(answer) = answer.as_object_mut() {
        // Of a pair, receivers need the public half alone, and nobody needs the other.
        let public = WebhookKey::parse(&made).ok().and_then(|key| key.public());
        let (name, value) = public.map_or(("secret", made.expose_secret().to_owned()), |public| ("public_key", public));
        answer.insert(name.to_owned(), value.into());
    }
    Ok(Json(answer))
}

fn newest_kind(endpoint: &Endpoint) -> Option<SignatureKind> {
    endpoint.shown.signing.as_ref().and_then(|signing| signing.secrets.first()).and_then(|secret| secret.kind)
}

fn read<'b, T: Default + Deserialize<'b>>(body: &'b [u8], shape: &str) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| Problem::malformed(format!("the body is not {shape}: {error}")))
}

fn shown_endpoint(endpoint: &Endpoint) -> Value {
    let mut shown = rules::webhook(endpoint);
    if let Some(members) = shown.as_object_mut() {
        members.insert("rule_id".to_owned(), json!(endpoint.rule_id));
        members.insert("origin".to_owned(), json!(endpoint.origin));
    }
    shown
}

async fn find(api: &Api, tenant: TenantId, key: &str) -> Result<Endpoint, Problem> {
    let id = key.parse::<EndpointId>().ok();
    let endpoints = api.store.list_endpoints(tenant).await?;
    let found = endpoints.into_iter().find(|endpoint| endpoint.key.as_deref() == Some(key) || Some(endpoint.id) == id);
    found
        .ok_or_else(|| Problem::not_found("endpoint").hint("`runhook endpoints list` shows the keys and ids there are"))
}
