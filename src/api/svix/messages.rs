//! `/app/{app}/msg`: events, as they are sent and as they were.

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::request::{Whole, keys};
use crate::catalog::{self, Schema};
use crate::crypto;
use crate::model::event::{Event, Told, is_name};
use crate::model::id::{ApplicationId, MessageId, TenantId};
use crate::model::json::RawJson;
use crate::model::message::{Body, Message, Source};
use crate::model::time::Timestamp;
use crate::store::events::{EventQuery, Reach, Sending};

use super::endpoints::checked_channels;
use super::page::{Listed, Mark, Narrowed, Start, instant, iterator, limit, narrowed};
use super::{Answer, Asks, Caller, Fault, applications, event_types};

/// Characters of the longest idempotency key.
const LONGEST_KEY: usize = 256;

/// Tags of one message at most.
const MOST_TAGS: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct In {
    event_type: String,
    payload: RawJson,
    event_id: Option<String>,
    channels: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    deliver_at: Option<String>,
    #[serde(default)]
    transformations_params: Option<Value>,
}

/// A message as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Out {
    id: MessageId,
    event_id: Option<String>,
    event_type: String,
    payload: RawJson,
    channels: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_at: Option<String>,
    timestamp: String,
}

impl In {
    /// A message of a type that says nothing else.
    pub(super) fn plain(event_type: String, payload: RawJson) -> Self {
        let (event_id, channels, tags) = (None, None, None);
        Self { event_type, payload, event_id, channels, tags, deliver_at: None, transformations_params: None }
    }
}

impl Out {
    /// A message, with its payload or without.
    pub(super) fn of(Told { event, message }: Told, with_content: bool) -> Answer<Self> {
        let some = |all: Vec<String>| Some(all).filter(|all| !all.is_empty());
        let text = if with_content { message.body.json } else { "{}".to_owned() };
        Ok(Self {
            id: message.id,
            event_id: event.event_id,
            event_type: event.event_type,
            payload: RawJson::parse(text).map_err(|error| Problem::internal(&error))?,
            channels: some(event.channels),
            tags: some(event.tags),
            deliver_at: event.deliver_at.map(|at| at.to_string()),
            timestamp: message.created_at.to_string(),
        })
    }
}

/// Whether payloads are wanted: so it is unless a client says otherwise.
#[derive(Deserialize)]
pub(super) struct Content {
    with_content: Option<bool>,
}

impl Content {
    fn is_wanted(&self) -> bool {
        self.with_content.unwrap_or(true)
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    limit: Option<u32>,
    iterator: Option<String>,
    before: Option<String>,
    after: Option<String>,
    channel: Option<String>,
    tag: Option<String>,
    event_types: Option<String>,
    with_content: Option<bool>,
}

/// Refuses a payload that is not as the newest version of its type says. A type that nobody has described is anything.
pub(super) async fn checked(api: &Api, tenant: TenantId, wanted: &In) -> Answer<()> {
    if !is_name(&wanted.event_type) {
        let detail = "an event type's name is 1 to 256 letters, digits, `-`, `_` and `.`";
        return Err(Fault::invalid(&["body", "eventType"], detail));
    }
    if catalog::is_reserved(&wanted.event_type) {
        let detail = format!("`{}` is told by Runhook itself", wanted.event_type);
        return Err(Fault::invalid(&["body", "eventType"], detail));
    }
    if !wanted.payload.text().trim_start().starts_with('{') {
        return Err(Fault::invalid(&["body", "payload"], "a payload is a JSON object"));
    }
    if wanted.transformations_params.as_ref().is_some_and(|params| !params.is_null()) {
        return Err(Fault::invalid(&["body", "transformationsParams"], "there are no transformations here"));
    }
    let Some(event_type) = event_types::known(api, tenant, &wanted.event_type).await? else { return Ok(()) };
    if event_type.archived {
        let detail = format!("the event type `{}` is archived: nothing of it is sent", event_type.name);
        return Err(Fault::invalid(&["body", "eventType"], detail));
    }
    let Some((_, schema)) = event_type.newest_schema() else { return Ok(()) };
    let schema = Schema::parse(schema.text()).map_err(|error| Problem::internal(&error))?;
    let failures = schema.failures(&wanted.payload);
    if failures.is_empty() {
        return Ok(());
    }
    let place =
        |path: Vec<String>| ["body".to_owned(), "payload".to_owned()].into_iter().chain(path).collect::<Vec<_>>();
    let failures: Vec<Value> =
        failures.into_iter().map(|failure| json!({ "loc": place(failure.path), "msg": failure.message })).collect();
    Err(Problem::invalid("the payload is not as its event type says").with("failures", failures.into()).into())
}

/// What makes sending again the same as sending once.
fn idempotency_key(wanted: &In, headers: &HeaderMap) -> Answer<Option<String>> {
    let header = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).filter(|key| !key.is_empty());
    let (place, key) = match (&wanted.event_id, header) {
        (Some(id), _) => (["body", "eventId"], Some(format!("id {id}"))),
        (None, Some(key)) => (["header", "idempotency-key"], Some(format!("key {key}"))),
        (None, None) => return Ok(None),
    };
    if wanted.event_id.as_deref().is_some_and(|id| !is_name(id)) {
        return Err(Fault::invalid(&place, "an event id is 1 to 256 letters, digits, `-`, `_` and `.`"));
    }
    if key.as_ref().is_some_and(|key| key.len() > LONGEST_KEY) {
        return Err(Fault::invalid(&place, "an idempotency key has at most 250 characters"));
    }
    Ok(key)
}

pub(super) fn message(
    tenant_id: TenantId,
    id: MessageId,
    of: ApplicationId,
    wanted: &In,
    created_at: Timestamp,
) -> Message {
    Message {
        tenant_id,
        id,
        source: Source::Application(of),
        window_id: None,
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json: wanted.payload.text().to_owned(), links: Vec::new() },
        created_at,
        event_type: Some(wanted.event_type.clone()),
    }
}

pub(super) async fn create(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path(app): Path<String>,
    Asks(content): Asks<Content>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<Out>)> {
    let wanted: In = keys(&api, &body)?;
    checked_channels(wanted.channels.as_deref().filter(|channels| !channels.is_empty()))?;
    if wanted.tags.as_ref().is_some_and(|tags| tags.len() > MOST_TAGS || tags.iter().any(|tag| tag.len() > 128)) {
        return Err(Fault::invalid(&["body", "tags"], format!("at most {MOST_TAGS} tags of at most 128 bytes")));
    }
    let deliver_at = instant("deliverAt", wanted.deliver_at.as_deref())?;
    let application = applications::find(&api, tenant, &app).await?.id;
    checked(&api, tenant, &wanted).await?;
    let now = api.clock.now();
    let id = match idempotency_key(&wanted, &headers)? {
        Some(key) => MessageId::of_event(tenant, application, &key),
        None => MessageId::of_unnamed(now, crypto::random()),
    };
    let message = message(tenant, id, application, &wanted, now);
    let event = Event {
        application_id: application,
        event_type: wanted.event_type,
        channels: wanted.channels.unwrap_or_default(),
        event_id: wanted.event_id,
        tags: wanted.tags.unwrap_or_default(),
        deliver_at,
    };
    let told = match api.store.send_event(message.clone(), event.clone(), Reach::Application).await? {
        Sending::Sent(deliveries) => {
            if deliveries > 0 {
                api.delivery.poke();
            }
            Told { event, message }
        }
        Sending::There(told) if told.event == event && told.message.body == message.body => *told,
        Sending::There(_) => {
            return Err(Fault::exists("conflict", "Another message was sent under this event id or idempotency key"));
        }
    };
    Ok((StatusCode::ACCEPTED, Json(Out::of(told, content.is_wanted())?)))
}

/// The message that a path names by its id or its event id. What happens in the tenant as a whole is seen from every
/// application.
pub(super) async fn find(api: &Api, tenant: TenantId, of: ApplicationId, handle: &str) -> Answer<Told> {
    let id = handle.parse().unwrap_or_else(|_| MessageId::of_event(tenant, of, &format!("id {handle}")));
    let found = api.store.event(tenant, id).await?;
    let is_seen = |told: &Told| [of, ApplicationId::TENANT].contains(&told.event.application_id);
    found.filter(is_seen).ok_or_else(Fault::not_found)
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, msg)): Path<(String, String)>,
    Asks(content): Asks<Content>,
) -> Answer<Json<Out>> {
    let application = applications::find(&api, tenant, &app).await?;
    let told = find(&api, tenant, application.id, &msg).await?;
    Ok(Json(Out::of(told, content.is_wanted())?))
}

/// Event types as a query names them.
pub(super) fn types(text: Option<&str>) -> Vec<String> {
    text.into_iter().flat_map(|text| text.split(',')).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Messages that were sent, of which some are wanted.
struct Sent<'a> {
    api: &'a Api,
    tenant: TenantId,
    query: EventQuery,
    types: &'a [String],
    asked: &'a Asked,
}

#[async_trait]
impl Narrowed for Sent<'_> {
    type Item = Told;

    async fn fetch(&self, from: Start<Mark>, limit: u32) -> crate::store::Result<Vec<Told>> {
        let behind = from.at.map(|Mark(at, id, _)| (at, MessageId(id)));
        let query = EventQuery { behind, newer: from.back, limit, ..self.query.clone() };
        self.api.store.events(self.tenant, &query).await
    }

    fn mark(&self, told: &Told) -> Mark {
        Mark(told.message.created_at, told.message.id.0, 0)
    }

    async fn passes(&self, Told { event, .. }: &Told) -> Answer<bool> {
        let is_of_type = self.types.is_empty() || self.types.contains(&event.event_type);
        let is_on = self.asked.channel.as_ref().is_none_or(|channel| event.channels.contains(channel));
        Ok(is_of_type && is_on && self.asked.tag.as_ref().is_none_or(|tag| event.tags.contains(tag)))
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path(app): Path<String>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Listed<Out>>> {
    let (limit, from) = (limit(asked.limit)?, iterator::<Mark>(asked.iterator.as_deref())?);
    let (after, before) = (instant("after", asked.after.as_deref())?, instant("before", asked.before.as_deref())?);
    let types = types(asked.event_types.as_deref());
    let application = applications::find(&api, tenant, &app).await?;
    // What Runhook tells of happens in the tenant as a whole.
    let is_of_all = !types.is_empty() && types.iter().all(|name| catalog::is_reserved(name));
    let application_id = Some(if is_of_all { ApplicationId::TENANT } else { application.id });
    let event_type = if types.len() == 1 { types.first().cloned() } else { None };
    let query = EventQuery { application_id, event_type, after, before, ..EventQuery::default() };
    let sent = Sent { api: &api, tenant, query, types: &types, asked: &asked };
    let mut page = narrowed(&sent, limit, from).await?;
    let (found, with_content) = (std::mem::take(&mut page.found), asked.with_content.unwrap_or(true));
    let data = found.into_iter().map(|told| Out::of(told, with_content)).collect::<Answer<Vec<_>>>()?;
    Ok(Json(page.listed(data)))
}
