//! The LangSmith-compatible surface, at the root and under its prefixes: what the SDKs call to trace, to give feedback
//! and to read back. Names on the wire are LangSmith's: a project is a session here.

pub(in crate::api) mod alerts;
mod batch;
mod datasets;
mod delete;
mod examples;
mod fault;
mod feedback;
mod feedback_tokens;
mod info;
mod multipart;
mod params;
mod queues;
mod rules;
mod runs;
mod search;
mod sessions;
mod settings;
mod v2;
mod wire;

use axum::Router;

use crate::api::Api;

/// All routes of this surface.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .merge(info::routes())
        .merge(runs::routes())
        .merge(delete::routes())
        .merge(batch::routes())
        .merge(multipart::routes())
        .merge(sessions::routes())
        .merge(settings::routes())
        .merge(feedback::routes())
        .merge(feedback_tokens::routes())
        .merge(rules::routes())
        .merge(alerts::routes())
        .merge(datasets::routes())
        .merge(examples::routes())
        .merge(queues::routes())
        .merge(search::routes())
        .merge(v2::routes())
}
