//! What rules and endpoints are called, looked up one by one: a page of anything names a few of them, and there may be
//! very many.

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::endpoint::Endpoint;
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::store::Result;

/// Behind which endpoint a page begins: named ones come first, by their keys, then the others by their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointMark {
    /// The named one with this key.
    Key(String),
    /// The unnamed one with this id.
    Id(EndpointId),
}

impl EndpointMark {
    /// Where this endpoint stands.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Self {
        endpoint.key.clone().map_or(Self::Id(endpoint.id), Self::Key)
    }

    /// Behind which key the named ones are read; not at all once the others are.
    pub(super) fn key_before(after: Option<&Self>) -> Option<&str> {
        match after {
            None => Some(""),
            Some(Self::Key(key)) => Some(key),
            Some(Self::Id(_)) => None,
        }
    }

    /// Behind which id the others are read.
    pub(super) fn id_before(after: Option<&Self>) -> EndpointId {
        match after {
            Some(Self::Id(id)) => *id,
            _ => EndpointId(Uuid::nil()),
        }
    }
}

/// Names of rules and endpoints.
#[async_trait]
pub trait NameStore: Send + Sync {
    /// The keys of those of these rules that are there, in no order.
    async fn rule_keys(&self, tenant: TenantId, ids: &[RuleId]) -> Result<Vec<(RuleId, String)>>;

    /// Those of these endpoints that are there, in no order.
    async fn endpoints(&self, tenant: TenantId, ids: &[EndpointId]) -> Result<Vec<Endpoint>>;

    /// The endpoint with this key.
    async fn endpoint_of_key(&self, tenant: TenantId, key: &str) -> Result<Option<Endpoint>>;

    /// Up to `limit` endpoints behind this one: first the named ones by key, then the others by id.
    async fn endpoint_page(&self, tenant: TenantId, after: Option<&EndpointMark>, limit: u32) -> Result<Vec<Endpoint>>;
}
