//! `…/send-example`: an event of a type, as its schema shows one, to one endpoint.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::api::problem::Problem;
use crate::api::request::{Whole, keys};
use crate::api::svix::messages::{self, In as Message};
use crate::api::svix::{Answer, Fault, Manager, event_types};
use crate::api::{Api, subscribing};
use crate::crypto;
use crate::model::audit::Action;
use crate::model::event::{Event, Told};
use crate::model::id::{MessageId, TenantId};
use crate::model::json::RawJson;
use crate::store::events::Reach;

use super::find;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct In {
    event_type: String,
    example_index: Option<usize>,
    payload: Option<RawJson>,
}

/// The example in the newest schema of a type: its `example`, or one of its `examples`.
async fn example(api: &Api, tenant: TenantId, wanted: &In) -> Answer<RawJson> {
    let event_type = event_types::known(api, tenant, &wanted.event_type).await?.ok_or_else(Fault::not_found)?;
    let schema = event_type.newest_schema().map(|(_, schema)| serde_json::from_str::<Value>(schema.text()));
    let schema = schema.transpose().map_err(|error| Problem::internal(&error))?.unwrap_or_default();
    let all = schema.get("examples").and_then(Value::as_array);
    let found = match all.filter(|all| !all.is_empty()) {
        Some(all) => all.get(wanted.example_index.unwrap_or(0)),
        None => schema.get("example"),
    };
    let Some(found) = found else {
        let detail = "the newest schema of this type has no such example: give it `examples`, or send a `payload`";
        return Err(Fault::invalid(&["body", "eventType"], detail));
    };
    Ok(RawJson::of(found).map_err(|error| Problem::internal(&error))?)
}

pub(super) async fn send(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<messages::Out>)> {
    let mut wanted: In = keys(&api, &body)?;
    let tenant = by.tenant_id;
    let found = find(&api, tenant, &app, &endpoint).await?;
    if found.endpoint.disabled.is_some() {
        return Err(Fault::invalid(&["path", "endpoint_id"], "the endpoint is disabled: enable it first"));
    }
    let payload = match wanted.payload.take() {
        Some(payload) => payload,
        None => example(&api, tenant, &wanted).await?,
    };
    let wanted = Message::plain(wanted.event_type, payload);
    messages::checked(&api, tenant, &wanted).await?;
    let (now, application_id) = (api.clock.now(), found.subscription.application_id);
    let id = MessageId::of_unnamed(now, crypto::random());
    let message = messages::message(tenant, id, application_id, &wanted, now);
    let event_type = message.event_type.clone().unwrap_or_default();
    let event = Event { application_id, ..Event::of_tenant(&event_type) };
    api.store.note(subscribing::told(&api, &by, Action::TestEndpoint, &found.subscription)).await?;
    api.store.send_event(message.clone(), event.clone(), Reach::One(found.endpoint.id)).await?;
    api.delivery.poke();
    Ok((StatusCode::ACCEPTED, Json(messages::Out::of(Told { event, message }, true)?)))
}
