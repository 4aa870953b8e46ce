//! Runhook's own API, at `/v1`.

pub mod api_keys;
pub mod keys;
pub mod premises;
pub mod runs;
pub mod status;
pub mod wipe;

use axum::Router;

use crate::api::Api;

/// All routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .merge(api_keys::routes())
        .merge(keys::routes())
        .merge(runs::routes())
        .merge(status::routes())
        .merge(wipe::routes())
}
