//! `/v1/status`: what the server is and what its loops do.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::native::premises::{FolderState, Home};
use crate::api::problem::Problem;
use crate::task::Status;

/// The routes.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/v1/status", get(status))
}

async fn status(State(api): State<Api>, _principal: Principal, Home(home): Home) -> Result<impl IntoResponse, Problem> {
    let next_due = api.store.next_due().await?.map(|at| at.to_string());
    let scheduler = shown(&api.scheduler_status.borrow());
    let delivery = shown(&api.delivery_status.borrow());
    let retention = shown(&api.retention_status.borrow());
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "data_dir": home.data_dir().map(|dir| dir.display().to_string()),
        "database": home.database(),
        "roles": home.roles().split(',').collect::<Vec<_>>(),
        "started_at": home.started_at().to_string(),
        "now": api.clock.now().to_string(),
        "asks_for_api_keys": !api.auth.is_open(),
        "rules_version": api.store.rules_version().await?,
        "projects_behind": api.store.stirred_projects().await?.len(),
        "next_delivery_due_at": next_due,
        "scheduler": scheduler,
        "delivery": delivery,
        "retention": retention,
        "rules_folder": home.rules_folder().as_ref().map(folder),
    })))
}

fn folder(state: &FolderState) -> Value {
    json!({
        "path": state.path.display().to_string(),
        "looked_at": state.looked_at.to_string(),
        "applied_at": state.applied_at.map(|at| at.to_string()),
        "files": state.files,
        "problems": state.problems,
        "error": state.error,
    })
}

fn shown(status: &Status) -> Value {
    json!({
        "passes": status.passes,
        "failures_in_a_row": status.failures,
        "last_error": status.last_error,
        "last_pass_at": status.last_pass_at.map(|at| at.to_string()),
    })
}
