//! Runhook's own API, at `/v1`, and what operators look at.

mod alerts;
pub mod api_keys;
mod audit;
pub(in crate::api) mod deliveries;
mod endpoints;
mod event_types;
mod filter;
mod health;
pub mod keys;
pub mod premises;
pub mod rules;
mod runs;
mod status;
mod wipe;

use axum::Router;

use crate::api::Api;

pub(in crate::api) use deliveries::said;
pub(crate) use health::routes as health;

/// All routes of this surface, but for those that every replica answers.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .merge(alerts::routes())
        .merge(api_keys::routes())
        .merge(audit::routes())
        .merge(deliveries::routes())
        .merge(endpoints::routes())
        .merge(event_types::routes())
        .merge(filter::routes())
        .merge(keys::routes())
        .merge(rules::routes())
        .merge(runs::routes())
        .merge(status::routes())
        .merge(wipe::routes())
}
