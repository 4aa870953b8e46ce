//! `/v1/endpoints/{key}/rotate-secret`: a new signing secret, which this answer shows and no other.

use axum::Json;
use axum::extract::{Path, State};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::native::rules::TURN;
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::crypto::{self, WebhookKey, open_target, seal_target};
use crate::model::amount::duration;
use crate::model::audit::Action;
use crate::model::endpoint::Endpoint;
use crate::model::health::Health;
use crate::model::signing::{GRACE, LONGEST_GRACE, Signature, SignatureKind};
use crate::store::rules::{Demand, RuleChanges};

use super::shown::shown;
use super::{find, read};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rotation {
    /// `v1` or `v1a`; as it was when absent.
    kind: Option<SignatureKind>,
    /// How long the secret before it goes on signing.
    grace: Option<String>,
}

pub(super) async fn rotate_secret(
    State(api): State<Api>,
    by: By,
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
    let endpoint = find(&api, by.tenant_id, &key).await?;
    let mut target = open_target(&api.keyring, endpoint.id, &endpoint.target).map_err(|e| Problem::internal(&e))?;
    let kind = asked.kind.or_else(|| newest_kind(&endpoint)).unwrap_or(SignatureKind::V1);
    if kind == SignatureKind::V1a && target.signing.headers != Signature::Standard {
        return Err(Problem::invalid("X-LangSmith-Signature is made with a shared secret, not with a private key"));
    }
    let made = WebhookKey::generate(kind, &crypto::random()).map_err(|error| Problem::internal(&error))?;
    let now = api.clock.now();
    target.signing = target.signing.rotated(&made, now, grace);
    let sealed = seal_target(&api.keyring, endpoint.id, &target).map_err(|error| Problem::internal(&error))?;
    let (shown_target, health) = (crypto::shown(&target), Health::default());
    let endpoint = Endpoint { target: sealed, shown: shown_target, health, ..endpoint };
    let demands = vec![(endpoint.id, Demand::There)];
    let told = vec![by.entry(&api, Act::new(Action::RotateEndpoint, endpoint.object()))];
    let changes = RuleChanges { put_endpoints: vec![endpoint.clone()], demands, told, ..RuleChanges::default() };
    api.store.apply_rules(by.tenant_id, changes, now).await?;
    let mut answer = shown(&endpoint);
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
