//! `/v1/api-keys`: the keys that callers present. A key is shown once, when it is made; what is kept is its hash.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::{Principal, hash};
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::crypto;
use crate::model::audit::{Action, Entry, Object};
use crate::model::id::{ApiKeyId, TenantId, derived};
use crate::model::scope::Scopes;
use crate::model::time::Timestamp;
use crate::store::keys::ApiKey;

/// Characters of the shortest key that is accepted.
pub const SHORTEST: usize = 16;

/// Characters of a key that are kept to tell keys apart.
const PREFIX: usize = 7;

const LONGEST_NAME: usize = 200;

/// The routes.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/v1/api-keys", get(list).post(create)).route("/v1/api-keys/{id}", delete(revoke))
}

/// The record of a key. Its id is a function of the key, so the same key given at every start is one record.
#[must_use]
pub fn record(tenant_id: TenantId, name: &str, scopes: Scopes, key: &str, now: Timestamp) -> ApiKey {
    let hash = hash(key);
    ApiKey {
        id: ApiKeyId(derived("api key", &[tenant_id.0.as_bytes(), &hash])),
        tenant_id,
        name: name.to_owned(),
        hash,
        prefix: key.chars().take(PREFIX).collect(),
        scopes,
        created_at: now,
        revoked_at: None,
    }
}

/// A new key: `rh_` and 256 random bits in base 62.
fn mint() -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number: [u8; 32] = crypto::random();
    let mut text = String::from("rh_");
    for _ in 0..43 {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or_default();
            rest = value % 62;
        }
        let digit = usize::try_from(rest).ok().and_then(|rest| DIGITS.get(rest));
        text.extend(digit.map(|digit| char::from(*digit)));
    }
    text
}

/// A key as it is shown.
#[derive(Serialize)]
struct Shown {
    id: ApiKeyId,
    name: String,
    prefix: String,
    scopes: Scopes,
    created_at: String,
    revoked_at: Option<String>,
}

impl From<&ApiKey> for Shown {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name.clone(),
            prefix: format!("{}…", key.prefix),
            scopes: key.scopes.clone(),
            created_at: key.created_at.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

async fn list(State(api): State<Api>, principal: Principal) -> Result<impl IntoResponse, Problem> {
    let keys = api.store.api_keys().await?;
    let keys = keys.iter().filter(|key| key.tenant_id == principal.tenant_id).map(Shown::from);
    Ok(Json(json!({"api_keys": keys.collect::<Vec<_>>()})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    name: String,
    /// Every scope when absent.
    #[serde(default = "Scopes::all")]
    scopes: Scopes,
}

/// What the audit log tells of a key that is made.
pub(crate) fn made(api: &Api, by: &By, record: &ApiKey) -> Entry {
    let act = Act::new(Action::CreateApiKey, Object::new(&record.name, record.id.0));
    by.entry(api, act.with(json!({"scopes": record.scopes})))
}

async fn create(State(api): State<Api>, by: By, Whole(body): Whole) -> Result<impl IntoResponse, Problem> {
    let request: Request = serde_json::from_slice(&body)
        .map_err(|error| Problem::malformed(format!("the body is not {{\"name\": …, \"scopes\": […]}}: {error}")))?;
    let name = request.name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(Problem::invalid(format!("a key's name has 1 to {LONGEST_NAME} characters")));
    }
    let key = mint();
    let record = record(by.tenant_id, name, request.scopes.clone(), &key, api.clock.now());
    let mut shown = serde_json::to_value(Shown::from(&record)).map_err(|error| Problem::internal(&error))?;
    let told = made(&api, &by, &record);
    api.store.put_api_key(record, Some(told)).await?;
    api.auth.reload(api.store.as_ref()).await?;
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("key".into(), key.into());
    }
    Ok((StatusCode::CREATED, Json(shown)))
}

async fn revoke(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    let id: ApiKeyId = id.parse().map_err(|_| Problem::not_found("API key"))?;
    let keys = api.store.api_keys().await?;
    let key = keys.iter().find(|key| key.id == id && key.tenant_id == by.tenant_id);
    let key = key.ok_or_else(|| Problem::not_found("API key"))?;
    api.auth.forget(&key.hash);
    let told = by.entry(&api, Act::new(Action::RevokeApiKey, Object::new(&key.name, id.0)));
    let revoked = api.store.revoke_api_key(id, api.clock.now(), Some(told)).await;
    // Also when it was not revoked: then it is valid again.
    api.auth.reload(api.store.as_ref()).await?;
    let revoked = revoked?;
    Ok(Json(json!({"id": id, "revoked": revoked})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_a_prefix_and_no_two_are_the_same() {
        let (one, two) = (mint(), mint());
        assert_ne!(one, two);
        assert!(one.starts_with("rh_") && one.len() == 46, "{one}");
    }

    #[test]
    fn a_record_never_holds_its_key() {
        let key = mint();
        let record = record(TenantId::DEFAULT, "ci", Scopes::all(), &key, Timestamp(0));
        assert!(!format!("{record:?}").contains(&key));
        assert_eq!(record.id, super::record(TenantId::DEFAULT, "other", Scopes::all(), &key, Timestamp(9)).id);
    }
}
