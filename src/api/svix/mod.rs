//! The Svix-compatible surface: event types, applications, endpoints, messages and attempts, as Svix's clients ask for them.
//! Names on the wire are Svix's; what they name are Runhook's own messages, endpoints and deliveries.
//!
//! Whoever reads an endpoint here reads its whole URL, and may ask for its signing secret, as these clients do: such routes
//! need `manage` (docs/adr/0026). Values of headers are shown to nobody.

mod applications;
mod attempts;
mod caller;
mod endpoints;
mod event_types;
mod fault;
mod messages;
mod page;
mod tasks;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::api::Api;

use caller::{Asks, Caller, Manager};
use fault::{Answer, Fault};

/// All routes of this surface.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/health", get(health))
        .route("/event-type", get(event_types::list).post(event_types::create))
        .route(
            "/event-type/{name}",
            get(event_types::show).put(event_types::update).patch(event_types::patch).delete(event_types::delete),
        )
        .route("/app", get(applications::list).post(applications::create))
        .route(
            "/app/{app}",
            get(applications::show).put(applications::update).patch(applications::patch).delete(applications::delete),
        )
        .route("/app/{app}/msg", get(messages::list).post(messages::create))
        .route("/app/{app}/msg/{msg}", get(messages::show))
        .route("/app/{app}/msg/{msg}/endpoint", get(attempts::destinations))
        .route("/app/{app}/msg/{msg}/endpoint/{endpoint}/resend", post(attempts::resend))
        .route("/app/{app}/msg/{msg}/attempt/{attempt}", get(attempts::show))
        .route("/app/{app}/attempt/msg/{msg}", get(attempts::of_message))
        .route("/app/{app}/attempt/endpoint/{endpoint}", get(attempts::at_endpoint))
        .route("/background-task", get(tasks::list))
        .route("/background-task/{task}", get(tasks::show))
        .merge(endpoints::routes())
}

async fn health() -> StatusCode {
    StatusCode::NO_CONTENT
}
