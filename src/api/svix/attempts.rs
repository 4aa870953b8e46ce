//! Attempts: what was tried, by endpoint and by message, and trying again.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::native::deliveries::act as replaying;
use crate::model::delivery::{AttemptResult, DeliveryState};
use crate::model::id::{DeliveryId, EndpointId, MessageId, TenantId};
use crate::model::time::Timestamp;
use crate::store::catalog::Handle;
use crate::store::events::{AttemptQuery, AttemptsOf, Made};
use crate::store::outbox::DeliveryQuery;

use super::endpoints::{self, url};
use super::messages::{self, types};
use super::page::{Listed, Mark, Narrowed, Start, instant, iterator, limit, narrowed, onward};
use super::{Answer, Asks, Caller, Fault, Manager, applications};

/// An attempt as it is shown. Its id is that of its delivery with its number.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Out {
    id: String,
    endpoint_id: EndpointId,
    msg_id: MessageId,
    url: String,
    response: String,
    response_status_code: u16,
    response_duration_ms: u64,
    status: u8,
    status_text: &'static str,
    trigger_type: u8,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<messages::Out>,
}

#[derive(Default, Deserialize)]
pub(super) struct Asked {
    limit: Option<u32>,
    iterator: Option<String>,
    before: Option<String>,
    after: Option<String>,
    status: Option<u8>,
    status_code_class: Option<u16>,
    event_types: Option<String>,
    channel: Option<String>,
    tag: Option<String>,
    endpoint_id: Option<String>,
    with_content: Option<bool>,
    #[serde(default)]
    with_msg: bool,
}

const SUCCESS: (u8, &str) = (0, "success");
const PENDING: (u8, &str) = (1, "pending");
const FAIL: (u8, &str) = (2, "fail");

/// The status that the endpoint answered with; 0 when it did not answer.
fn code(made: &Made) -> u16 {
    if let AttemptResult::Answered { status, .. } = made.attempt.result { status } else { 0 }
}

fn status(made: &Made) -> (u8, &'static str) {
    if (200..300).contains(&code(made)) { SUCCESS } else { FAIL }
}

fn status_of(state: &DeliveryState) -> (u8, &'static str) {
    match state {
        DeliveryState::Delivered => SUCCESS,
        DeliveryState::Pending => PENDING,
        DeliveryState::Failed(_) => FAIL,
    }
}

/// What the endpoint said, or why it said nothing.
fn response(result: &AttemptResult) -> String {
    match result {
        AttemptResult::Answered { excerpt, .. } => excerpt.clone(),
        AttemptResult::TimedOut => "no answer in time".to_owned(),
        AttemptResult::NotConnected { reason }
        | AttemptResult::Broken { reason }
        | AttemptResult::Refused { reason } => reason.clone(),
    }
}

/// URLs of endpoints, each opened once.
#[derive(Default)]
struct Urls(HashMap<EndpointId, String>);

impl Urls {
    async fn of(&mut self, api: &Api, tenant: TenantId, made: &Made) -> Answer<String> {
        if let Some(url) = self.0.get(&made.endpoint_id) {
            return Ok(url.clone());
        }
        let found = api.store.endpoints(tenant, &[made.endpoint_id]).await?.pop();
        let sent = made.attempt.request.as_ref().map(|request| request.url.clone());
        let url = found.map_or(sent.unwrap_or_default(), |endpoint| url(api, &endpoint));
        self.0.insert(made.endpoint_id, url.clone());
        Ok(url)
    }
}

fn shown(made: &Made, url: String, msg: Option<messages::Out>) -> Out {
    let (status, status_text) = status(made);
    Out {
        id: format!("{}-{}", made.delivery_id.0.simple(), made.attempt.number),
        endpoint_id: made.endpoint_id,
        msg_id: made.message_id,
        url,
        response: response(&made.attempt.result),
        response_status_code: code(made),
        response_duration_ms: made.attempt.duration_ms,
        status,
        status_text,
        trigger_type: 0,
        timestamp: made.attempt.started_at.to_string(),
        msg,
    }
}

/// Whether an attempt is one that was asked for.
async fn is_wanted(api: &Api, tenant: TenantId, asked: &Asked, made: &Made) -> Answer<bool> {
    let class = |code: u16| code / 100 * 100;
    let is_plain = asked.status.is_none_or(|wanted| wanted == status(made).0)
        && asked.status_code_class.is_none_or(|wanted| wanted == class(code(made)))
        && asked.endpoint_id.as_ref().is_none_or(|wanted| *wanted == made.endpoint_id.to_string());
    if !is_plain || (asked.event_types.is_none() && asked.channel.is_none() && asked.tag.is_none()) {
        return Ok(is_plain);
    }
    let Some(told) = api.store.event(tenant, made.message_id).await? else { return Ok(false) };
    let (types, event) = (types(asked.event_types.as_deref()), told.event);
    let is_on = asked.channel.as_ref().is_none_or(|channel| event.channels.contains(channel));
    let is_tagged = asked.tag.as_ref().is_none_or(|tag| event.tags.contains(tag));
    Ok(is_on && is_tagged && (types.is_empty() || types.contains(&event.event_type)))
}

/// Attempts that were made, of which some are wanted.
struct Tried<'a> {
    api: &'a Api,
    tenant: TenantId,
    query: AttemptQuery,
    asked: &'a Asked,
}

#[async_trait]
impl Narrowed for Tried<'_> {
    type Item = Made;

    async fn fetch(&self, from: Start<Mark>, limit: u32) -> crate::store::Result<Vec<Made>> {
        let behind = from.at.map(|Mark(at, id, number)| (at, DeliveryId(id), number));
        let query = AttemptQuery { behind, newer: from.back, limit, ..self.query.clone() };
        self.api.store.attempts(self.tenant, &query).await
    }

    fn mark(&self, made: &Made) -> Mark {
        Mark(made.attempt.started_at, made.delivery_id.0, made.attempt.number)
    }

    async fn passes(&self, made: &Made) -> Answer<bool> {
        is_wanted(self.api, self.tenant, self.asked, made).await
    }
}

async fn list(api: &Api, tenant: TenantId, of: AttemptsOf, asked: &Asked) -> Answer<Json<Listed<Out>>> {
    let (limit, from) = (limit(asked.limit)?, iterator::<Mark>(asked.iterator.as_deref())?);
    let (after, before) = (instant("after", asked.after.as_deref())?, instant("before", asked.before.as_deref())?);
    let query = AttemptQuery { of, after, before, behind: None, newer: false, limit };
    let tried = Tried { api, tenant, query, asked };
    let page = narrowed(&tried, limit, from).await?;
    let (mut urls, mut data) = (Urls::default(), Vec::with_capacity(page.found.len()));
    for made in &page.found {
        let msg = if asked.with_msg { api.store.event(tenant, made.message_id).await? } else { None };
        let msg = msg.map(|told| messages::Out::of(told, asked.with_content.unwrap_or(true))).transpose()?;
        data.push(shown(made, urls.of(api, tenant, made).await?, msg));
    }
    Ok(Json(page.listed(data)))
}

pub(super) async fn at_endpoint(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Listed<Out>>> {
    let found = endpoints::find(&api, tenant, &app, &endpoint).await?;
    list(&api, tenant, AttemptsOf::Endpoint(found.endpoint.id), &asked).await
}

pub(super) async fn of_message(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, msg)): Path<(String, String)>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Listed<Out>>> {
    let application = applications::find(&api, tenant, &app).await?;
    let told = messages::find(&api, tenant, application.id, &msg).await?;
    list(&api, tenant, AttemptsOf::Message(told.message.id), &asked).await
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, msg, attempt)): Path<(String, String, String)>,
) -> Answer<Json<Out>> {
    let application = applications::find(&api, tenant, &app).await?;
    let told = messages::find(&api, tenant, application.id, &msg).await?;
    let read = |text: &str| {
        let (delivery, number) = text.rsplit_once('-')?;
        Some((delivery.parse::<DeliveryId>().ok()?, number.parse::<u32>().ok()?))
    };
    let (id, number) = read(&attempt).ok_or_else(Fault::not_found)?;
    let (delivery, attempts) = api.store.delivery(tenant, id).await?.ok_or_else(Fault::not_found)?;
    let attempt = attempts.into_iter().find(|attempt| attempt.number == number);
    let Some(attempt) = attempt.filter(|_| delivery.message_id == told.message.id) else {
        return Err(Fault::not_found());
    };
    let made = Made {
        delivery_id: delivery.id,
        message_id: delivery.message_id,
        endpoint_id: delivery.endpoint_id,
        state: delivery.state,
        attempt,
    };
    let url = Urls::default().of(&api, tenant, &made).await?;
    Ok(Json(shown(&made, url, None)))
}

/// A message's delivery to an endpoint once more. One that is on its way stays on it.
pub(super) async fn resend(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, msg, endpoint)): Path<(String, String, String)>,
) -> Answer<(StatusCode, Json<Value>)> {
    let tenant = by.tenant_id;
    let application = applications::find(&api, tenant, &app).await?;
    let told = messages::find(&api, tenant, application.id, &msg).await?;
    let found = endpoints::find_in(&api, tenant, application.id, &endpoint).await?;
    let id = DeliveryId::of(told.message.id, found.endpoint.id);
    if api.store.delivery(tenant, id).await?.is_none() {
        return Err(Fault::not_found());
    }
    api.store.replay(tenant, &[id], api.clock.now(), Some(by.entry(&api, replaying(&[id])))).await?;
    api.delivery.poke();
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}

/// Adds members to a thing that is shown.
fn with(shown: &impl Serialize, more: Value) -> Value {
    let mut members = serde_json::to_value(shown).unwrap_or_default();
    if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
        members.extend(more);
    }
    members
}

/// `…/endpoint/{endpoint}/msg`: messages that were sent to an endpoint, newest first.
pub(super) async fn messages(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Listed<Value>>> {
    let (limit, from) = (limit(asked.limit)?, onward::<Mark>(asked.iterator.as_deref())?);
    let found = endpoints::find(&api, tenant, &app, &endpoint).await?;
    let query = DeliveryQuery {
        endpoint_id: Some(found.endpoint.id),
        since: instant("after", asked.after.as_deref())?.map(|at| Timestamp(at.0.saturating_add(1))),
        until: instant("before", asked.before.as_deref())?,
        before: from.map(|Mark(at, id, _)| (at, DeliveryId(id))),
        limit: limit.saturating_add(1),
        ..DeliveryQuery::default()
    };
    let mut deliveries = api.store.list_deliveries(tenant, &query).await?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let done = deliveries.len() <= size;
    deliveries.truncate(size);
    let iterator = deliveries.last().map(|last| Mark(last.created_at, last.id.0, 0).to_string());
    let mut data = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let Some(told) = api.store.event(tenant, delivery.message_id).await? else { continue };
        let (status, text) = status_of(&delivery.state);
        let next = (delivery.state == DeliveryState::Pending).then(|| delivery.due_at.to_string());
        let message = messages::Out::of(told, asked.with_content.unwrap_or(true))?;
        data.push(with(&message, json!({ "status": status, "statusText": text, "nextAttempt": next })));
    }
    Ok(Json(Listed::new(data, iterator, done)))
}

/// `…/msg/{msg}/endpoint`: the endpoints of the application at which a message was tried.
pub(super) async fn destinations(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path((app, msg)): Path<(String, String)>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Listed<Value>>> {
    let limit = limit(asked.limit)?;
    let application = applications::find(&api, tenant, &app).await?;
    let told = messages::find(&api, tenant, application.id, &msg).await?;
    let mut query = AttemptQuery {
        of: AttemptsOf::Message(told.message.id),
        after: None,
        before: None,
        behind: None,
        newer: false,
        limit: 500,
    };
    let mut tried: BTreeMap<EndpointId, DeliveryState> = BTreeMap::new();
    loop {
        let found = api.store.attempts(tenant, &query).await?;
        let is_last = found.len() < 500;
        query.behind = found.last().map(Made::mark);
        tried.extend(found.into_iter().map(|made| (made.endpoint_id, made.state)));
        if is_last {
            break;
        }
    }
    let after: Option<EndpointId> = onward(asked.iterator.as_deref())?;
    let rest: Vec<_> = tried.into_iter().filter(|(id, _)| after.is_none_or(|after| *id > after)).collect();
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let (done, mut data, mut last) = (rest.len() <= size, Vec::new(), None);
    for (id, state) in rest.into_iter().take(size) {
        last = Some(id.to_string());
        let found = api.store.subscriber(tenant, application.id, &Handle::Id(id)).await?;
        let Some(found) = found else { continue };
        let (status, text) = status_of(&state);
        let more = json!({ "status": status, "statusText": text, "nextAttempt": null });
        data.push(with(&endpoints::Out::of(&api, found), more));
    }
    Ok(Json(Listed::new(data, last, done)))
}
