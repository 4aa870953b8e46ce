//! The second version of LangSmith's API for runs: names in capitals, only what was selected, and RFC 9457 problems.

mod fields;
mod query;
mod read;

use axum::Router;
use axum::routing::{get, post};

use crate::api::Api;

/// The routes of this folder.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/v2/runs/query", post(query::query)).route("/v2/runs/{id}", get(read::read))
}
