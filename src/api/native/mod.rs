//! Runhook's own API, at `/v1`, and what operators look at.

mod deliveries;
mod health;

use axum::Router;

use crate::api::Api;

/// All routes of this surface.
pub(crate) fn routes() -> Router<Api> {
    Router::new().merge(deliveries::routes()).merge(health::routes())
}
