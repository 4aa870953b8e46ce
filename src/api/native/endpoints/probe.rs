//! `/v1/endpoints/{key}/test`: a real, signed request, and what came of it. Nothing of it is recorded but that it
//! was asked for.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::native::deliveries::said;
use crate::api::problem::Problem;
use crate::crypto;
use crate::delivery::{Probe, probe};
use crate::model::audit::Action;
use crate::model::delivery::AttemptResult;
use crate::model::id::MessageId;

use super::find;

pub(super) async fn test(State(api): State<Api>, by: By, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    let endpoint = find(&api, by.tenant_id, &key).await?;
    let message = MessageId(Uuid::from_bytes(crypto::random()));
    let client = (api.client)().map_err(|error| Problem::internal(&error))?;
    api.store.note(by.entry(&api, Act::new(Action::TestEndpoint, endpoint.object()))).await?;
    let started_at = api.clock.now();
    let Probe { sent, result, duration_ms } = probe(&client, &api.keyring, &endpoint, message, started_at).await;
    let is_taken = matches!(result, AttemptResult::Answered { status: 200..=299, .. });
    Ok(Json(json!({
        "endpoint": endpoint.key,
        "endpoint_id": endpoint.id,
        "ok": is_taken,
        "message_id": message,
        "started_at": started_at.to_string(),
        "duration_ms": duration_ms,
        "request": sent,
        "result": result,
        "said": said(&result),
    })))
}
