//! Runhook's own API, at `/v1`, and what operators look at.

mod health;
pub mod rules;

use axum::Router;

use crate::api::Api;

/// All routes of this surface.
pub(crate) fn routes() -> Router<Api> {
    Router::new().merge(health::routes()).merge(rules::routes())
}
