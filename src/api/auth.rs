//! Who calls: API keys to tenants.

use crate::model::id::TenantId;

/// Whom a request speaks for. As an extractor it answers 401 or 403 when the key is missing or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The tenant.
    pub tenant_id: TenantId,
}

/// The API keys, by hash. Open when none was ever made: then everyone is the default tenant.
#[derive(Debug, Default)]
pub struct Auth {}
