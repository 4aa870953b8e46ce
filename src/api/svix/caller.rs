//! Who calls and what is asked, with refusals as Svix's clients read them.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use serde::de::DeserializeOwned;

use crate::api::Api;
use crate::api::audit::By;
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

/// Who manages, for the audit log.
#[derive(Debug)]
pub(super) struct Manager(pub(super) By);

impl FromRequestParts<Api> for Manager {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Fault> {
        Ok(Self(By::from_request_parts(parts, api).await?))
    }
}

/// What a query asks.
#[derive(Debug)]
pub(super) struct Asks<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Asks<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Fault> {
        let read = Query::<T>::from_request_parts(parts, api).await;
        read.map(|Query(asked)| Self(asked)).map_err(|error| Fault::invalid(&["query"], error.body_text()))
    }
}
