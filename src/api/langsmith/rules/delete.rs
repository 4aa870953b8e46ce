//! `DELETE /runs/rules/{id}`. What the rule matched and sent stays.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::api::Api;
use crate::api::audit::By;
use crate::api::langsmith::fault::Fault;
use crate::api::native::rules::single;

use super::find_own;

pub(super) async fn delete(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<Response, Fault> {
    let rule = find_own(&api, by.tenant_id, &id).await?;
    single::remove(&api, &by, &rule).await?;
    Ok(Json(json!({ "message": "deleted" })).into_response())
}
