//! Who calls, with refusals as Svix's clients read them.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::model::id::TenantId;

use super::Fault;

/// Whom a request speaks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(pub(super) TenantId);

impl FromRequestParts<Api> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Fault> {
        Ok(Self(Principal::from_request_parts(parts, api).await?.tenant_id))
    }
}
