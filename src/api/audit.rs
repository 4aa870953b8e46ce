//! Who acts, for the audit log.
//!
//! A handler that does what `manage` is for takes [`By`] instead of a principal, and gives the store an entry with the
//! change. The address is the other end of the connection, or what a trusted proxy there says ([`forwarded`]): what a header
//! says otherwise anyone can write.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use serde_json::Value;
use uuid::Uuid;

use crate::api::auth::InProcess;
use crate::api::observe::REQUEST_ID;
use crate::api::problem::Problem;
use crate::api::{Api, forwarded, needs};
use crate::crypto;
use crate::model::audit::{Action, Actor, Entry, Object};
use crate::model::id::{AuditId, TenantId};

/// Characters of the longest id of a request that is kept; clients may send their own.
const LONGEST_ID: usize = 64;

/// Who asks, and from where. As an extractor it answers 401 or 403 like [`crate::api::auth::Principal`].
#[derive(Debug, Clone)]
pub struct By {
    /// The tenant whose things are changed.
    pub tenant_id: TenantId,
    actor: Actor,
    address: Option<IpAddr>,
    request_id: Option<String>,
}

/// One thing that is done.
pub(crate) struct Act {
    pub(crate) action: Action,
    pub(crate) object: Object,
    pub(crate) detail: Option<Value>,
}

impl Act {
    pub(crate) fn new(action: Action, object: Object) -> Self {
        Self { action, object, detail: None }
    }

    pub(crate) fn with(self, detail: Value) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

impl By {
    /// The server itself, as its configuration asks.
    #[must_use]
    pub fn server() -> Self {
        Self { tenant_id: TenantId::DEFAULT, actor: Actor::Server, address: None, request_id: None }
    }

    /// The entry of an act.
    pub(crate) fn entry(&self, api: &Api, act: Act) -> Entry {
        self.entry_at(api, act, Uuid::from_bytes(crypto::random()))
    }

    /// The entries of acts that are done together, in this order.
    pub(crate) fn entries(&self, api: &Api, acts: impl IntoIterator<Item = Act>) -> Vec<Entry> {
        let first = u128::from_be_bytes(crypto::random()) >> 32 << 32;
        let number = |(act, index): (Act, u128)| self.entry_at(api, act, Uuid::from_u128(first | index));
        acts.into_iter().zip(0..).map(number).collect()
    }

    fn entry_at(&self, api: &Api, act: Act, id: Uuid) -> Entry {
        Entry {
            tenant_id: self.tenant_id,
            id: AuditId(id),
            at: api.clock.now(),
            actor: self.actor.clone(),
            address: self.address,
            request_id: self.request_id.clone(),
            action: act.action,
            object: act.object,
            detail: act.detail,
        }
    }
}

impl FromRequestParts<Api> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let (tenant_id, actor) = if parts.extensions.get::<InProcess>().is_some() {
            (TenantId::DEFAULT, Actor::CommandLine)
        } else {
            let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
            api.auth.actor(&parts.headers, needs::scope(&parts.method, route))?
        };
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let id = parts.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        Ok(Self {
            tenant_id,
            actor,
            address: peer.map(|ConnectInfo(peer)| forwarded::client(peer.ip(), &parts.headers, &api.trusted_proxies)),
            request_id: id.map(|id| id.chars().take(LONGEST_ID).collect()),
        })
    }
}
