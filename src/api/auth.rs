//! Who calls: API keys to tenants, and whether the key is for what is asked (`needs`).

use std::collections::HashMap;

use arc_swap::ArcSwap;
use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::api::problem::Problem;
use crate::api::{Api, needs};
use crate::model::audit::Actor;
use crate::model::id::{ApiKeyId, TenantId};
use crate::model::scope::{Scope, Scopes};
use crate::store::keys::ApiKey;
use crate::store::{KeyStore, Result};

/// Whom a request speaks for. As an extractor it answers 401 or 403 when the key is missing or wrong, or lacks the scope
/// that the route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The tenant.
    pub tenant_id: TenantId,
}

/// Someone who may do what concerns the whole server and not one tenant's data. As an extractor it answers 403 to others.
#[derive(Debug, Clone, Copy)]
pub struct Operator;

/// Marks a request that was made inside this process by the owner of its data directory, who needs no key. Only code can
/// set it: nothing that arrives on a socket carries extensions.
#[derive(Debug, Clone, Copy)]
pub struct InProcess;

/// The valid API keys, by hash. Open when none was ever made: then everyone is the default tenant.
#[derive(Debug, Default)]
pub struct Auth {
    known: ArcSwap<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    any_made: bool,
    valid: HashMap<[u8; 32], Holder>,
}

/// What is known of whoever holds a key.
#[derive(Debug, Clone)]
struct Holder {
    id: ApiKeyId,
    name: String,
    tenant_id: TenantId,
    scopes: Scopes,
}

impl From<&ApiKey> for Holder {
    fn from(key: &ApiKey) -> Self {
        Self { id: key.id, name: key.name.clone(), tenant_id: key.tenant_id, scopes: key.scopes.clone() }
    }
}

/// What is stored of a key.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

impl Auth {
    /// Reads the keys anew. Called at start and after every change to them.
    pub async fn reload(&self, store: &(impl KeyStore + ?Sized)) -> Result<()> {
        let keys = store.api_keys().await?;
        let valid = keys.iter().filter(|key| key.revoked_at.is_none()).map(|key| (key.hash, key.into()));
        self.known.store(Known { any_made: !keys.is_empty(), valid: valid.collect() }.into());
        Ok(())
    }

    /// Lets a key in no more, at once. To be called before it is revoked in the store: whoever asks for that may leave
    /// before the keys are read anew.
    pub fn forget(&self, hash: &[u8; 32]) {
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            known.valid.remove(hash);
            known
        });
    }

    /// Whether everyone is let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.known.load().any_made
    }

    /// Whom a request with these headers speaks for, which needs this scope.
    pub fn principal(&self, headers: &HeaderMap, needed: Scope) -> std::result::Result<Principal, Problem> {
        let tenant_of = |holder: Option<&Holder>| holder.map_or(TenantId::DEFAULT, |holder| holder.tenant_id);
        self.judged(headers, needed, |holder| Principal { tenant_id: tenant_of(holder) })
    }

    /// The same with who it is.
    pub(super) fn actor(&self, headers: &HeaderMap, needed: Scope) -> std::result::Result<(TenantId, Actor), Problem> {
        self.judged(headers, needed, |holder| match holder {
            Some(Holder { id, name, tenant_id, .. }) => (*tenant_id, Actor::ApiKey { id: *id, name: name.clone() }),
            None => (TenantId::DEFAULT, Actor::Anyone),
        })
    }

    /// What is said of the holder of a request's key; of nobody when none is asked for.
    fn judged<T>(
        &self,
        headers: &HeaderMap,
        needed: Scope,
        say: impl FnOnce(Option<&Holder>) -> T,
    ) -> std::result::Result<T, Problem> {
        let known = self.known.load();
        if !known.any_made {
            return Ok(say(None));
        }
        let Some(key) = presented(headers) else {
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "no-api-key", "this server asks for an API key")
                .hint("send it as x-api-key or as Authorization: Bearer"));
        };
        // The lookup is by the key's SHA-256, so its timing tells nothing about the key.
        let holder = known.valid.get(&hash(key)).ok_or_else(|| {
            Problem::new(StatusCode::FORBIDDEN, "wrong-api-key", "the API key is unknown or revoked")
                .hint("`runhook api-keys list` shows the valid ones")
        })?;
        if holder.scopes.has(needed) {
            return Ok(say(Some(holder)));
        }
        Err(lacking(needed, &holder.scopes))
    }
}

fn lacking(needed: Scope, has: &Scopes) -> Problem {
    let detail = format!("this needs an API key with the scope `{needed}`, and this key has `{has}`");
    Problem::new(StatusCode::FORBIDDEN, "missing-scope", detail)
        .hint(format!("whoever has a key with `manage` makes one: `runhook api-keys create NAME --scope {needed}`"))
        .with("scope", needed.name().into())
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let plain = ["x-api-key", "x-argilla-api-key"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
    plain.or_else(|| bearer(headers)).map(str::trim)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

impl FromRequestParts<Api> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> std::result::Result<Self, Problem> {
        if parts.extensions.get::<InProcess>().is_some() {
            return Ok(Self { tenant_id: TenantId::DEFAULT });
        }
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        api.auth.principal(&parts.headers, needs::scope(&parts.method, route))
    }
}

impl FromRequestParts<Api> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> std::result::Result<Self, Problem> {
        let principal = Principal::from_request_parts(parts, api).await?;
        if principal.tenant_id == TenantId::DEFAULT {
            return Ok(Self);
        }
        let detail = "this concerns the whole server, and the API key is a tenant's";
        Err(Problem::new(StatusCode::FORBIDDEN, "not-the-operator", detail)
            .hint("use an API key that was made on the server's machine"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_that_is_forgotten_lets_nobody_in_and_opens_nothing() {
        let auth = Auth::default();
        let holder = Holder {
            id: ApiKeyId(uuid::Uuid::nil()),
            name: "ci".to_owned(),
            tenant_id: TenantId::DEFAULT,
            scopes: "read".parse().unwrap(),
        };
        let valid = ["one", "two"].map(|key| (hash(key), holder.clone())).into();
        auth.known.store(Known { any_made: true, valid }.into());
        auth.forget(&hash("one"));
        let with =
            |key| HeaderMap::from_iter([(header::HeaderName::from_static("x-api-key"), HeaderValue::from_static(key))]);
        assert_eq!(auth.principal(&with("one"), Scope::Read).unwrap_err().status, StatusCode::FORBIDDEN);
        assert!(auth.principal(&with("two"), Scope::Read).is_ok());
        let lacking = auth.principal(&with("two"), Scope::Manage).unwrap_err();
        assert_eq!((lacking.status, lacking.more["scope"].as_str()), (StatusCode::FORBIDDEN, Some("manage")));
        auth.forget(&hash("two"));
        assert_eq!(auth.principal(&HeaderMap::new(), Scope::Read).unwrap_err().status, StatusCode::UNAUTHORIZED);
        assert!(!auth.is_open());
    }
}
