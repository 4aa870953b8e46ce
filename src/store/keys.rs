//! API keys, and the state of the database as a whole.

use async_trait::async_trait;

use crate::model::audit::Entry;
use crate::model::id::{ApiKeyId, TenantId};
use crate::model::scope::Scopes;
use crate::model::time::Timestamp;
use crate::store::Result;

/// An API key's record. The key itself is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whom it speaks for.
    pub tenant_id: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// Its first characters, to tell keys apart.
    pub prefix: String,
    /// What it is for.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// API keys, and the state of the database as a whole.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a key's record; a record with the same hash is left as it is. One with another hash and the same id is a
    /// conflict.
    async fn put_api_key(&self, key: ApiKey, told: Option<Entry>) -> Result<()>;

    /// All records, oldest first.
    async fn api_keys(&self) -> Result<Vec<ApiKey>>;

    /// Revokes a key. Whether it was there and valid.
    async fn revoke_api_key(&self, id: ApiKeyId, now: Timestamp, told: Option<Entry>) -> Result<bool>;

    /// A value sealed or hashed under this name at the first start, to tell whether the key file is the right one.
    async fn marker(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// Sets a marker.
    async fn set_marker(&self, name: &str, value: &[u8]) -> Result<()>;

    /// Proves that a write can be made durable now.
    async fn check_writable(&self, now: Timestamp) -> Result<()>;

    /// That this binary may still use the schema, which a newer one may have migrated meanwhile. `Unusable` when not.
    async fn check_schema(&self) -> Result<()>;

    /// Removes all data of every tenant; API keys, markers and the audit log stay.
    async fn wipe(&self, told: Option<Entry>) -> Result<()>;

    /// Removes all data of one tenant; its API keys and its audit log stay.
    async fn wipe_tenant(&self, tenant: TenantId, told: Option<Entry>) -> Result<()>;

    /// Finishes what is queued and closes the database.
    async fn close(&self);
}
