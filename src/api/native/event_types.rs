//! `/v1/event-types`: the whole catalogue, with what every tenant has.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::catalog::{self, Origin};
use crate::model::event::EventType;
use crate::store::catalog::Page;

/// Event types read at a time.
const BATCH: u32 = 500;

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v1/event-types", get(list))
}

async fn list(State(api): State<Api>, principal: Principal) -> Result<Json<Value>, Problem> {
    let mut all = catalog::built_in();
    let mut after = None;
    loop {
        let page = Page { after, descending: false, limit: BATCH };
        let found = api.store.event_types(principal.tenant_id, true, page).await?;
        let is_last = found.len() < BATCH as usize;
        after = found.last().map(|last| last.name.clone());
        all.extend(found);
        if is_last {
            break;
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Json(json!({ "event_types": all.iter().map(shown).collect::<Vec<_>>() })))
}

fn shown(event_type: &EventType) -> Value {
    let origin = match catalog::is_own(&event_type.name) {
        Some(Origin::Runhook) => "runhook",
        Some(Origin::Argilla) => "argilla",
        None => "tenant",
    };
    json!({
        "name": event_type.name,
        "description": event_type.description,
        "origin": origin,
        "versions": event_type.schemas.keys().collect::<Vec<_>>(),
        "archived": event_type.archived,
        "deprecated": event_type.deprecated,
    })
}
