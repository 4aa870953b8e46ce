//! `DELETE /runs/rules/{id}`. What the rule matched and sent stays.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::native::rules::single;

use super::find_own;

pub(super) async fn delete(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let rule = find_own(&api, principal.tenant_id, &id).await?;
    single::remove(&api, principal.tenant_id, &rule).await?;
    Ok(Json(json!({ "message": "deleted" })).into_response())
}
