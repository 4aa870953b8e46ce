//! `…/recover`, `…/bulk-replay` and `…/replay-missing`: what failed once more, what was sent once more, and what was never sent
//! because the endpoint was not there, or heard of other things. All is under way when it is answered: what is called a
//! task in the answer has ended.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::api::Api;
use crate::api::audit::By;
use crate::api::native::deliveries::act as replaying;
use crate::api::request::{Whole, keys};
use crate::api::svix::page::instant;
use crate::api::svix::{Answer, Fault, Manager, tasks};
use crate::model::delivery::Delivery;
use crate::model::event::{Subscription, Told};
use crate::model::id::{ApplicationId, DeliveryId, EndpointId, MessageId};
use crate::model::time::Timestamp;
use crate::store::catalog::Subscriber;
use crate::store::events::EventQuery;
use crate::store::failed::Statuses;
use crate::store::outbox::DeliveryQuery;

use super::find;

/// What is made pending in one transaction.
const BATCH: u32 = 500;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    since: Option<String>,
    until: Option<String>,
    event_types: Option<Vec<String>>,
    channel: Option<String>,
    tag: Option<String>,
    status: Option<u8>,
    status_code_class: Option<u16>,
}

impl Asked {
    fn since(&self) -> Answer<Timestamp> {
        let since = instant("since", self.since.as_deref())?;
        since.ok_or_else(|| Fault::invalid(&["body", "since"], "say since when: `since`"))
    }

    fn until(&self) -> Answer<Option<Timestamp>> {
        instant("until", self.until.as_deref())
    }

    /// Whether only some events are meant.
    fn is_about_events(&self) -> bool {
        self.event_types.is_some() || self.channel.is_some() || self.tag.is_some()
    }

    fn means(&self, Told { event, .. }: &Told) -> bool {
        self.event_types.as_ref().is_none_or(|types| types.contains(&event.event_type))
            && self.channel.as_ref().is_none_or(|channel| event.channels.contains(channel))
            && self.tag.as_ref().is_none_or(|tag| event.tags.contains(tag))
    }

    /// The word for the state that deliveries are in.
    fn state(&self) -> Answer<Option<&'static str>> {
        match self.status {
            None => Ok(None),
            Some(0) => Ok(Some("delivered")),
            Some(1 | 3) => Ok(Some("pending")),
            Some(2) => Ok(Some("failed")),
            Some(_) => Err(Fault::invalid(&["body", "status"], "a status is 0 (success), 1 (pending) or 2 (fail)")),
        }
    }

    fn statuses(&self) -> Answer<Option<Statuses>> {
        let Some(class) = self.status_code_class.filter(|class| *class != 0) else { return Ok(None) };
        if !(100..=500).contains(&class) || class % 100 != 0 {
            return Err(Fault::invalid(&["body", "statusCodeClass"], "a class is 100, 200, 300, 400 or 500"));
        }
        Ok(Some((class, class.saturating_add(99))))
    }
}

/// Notes that it is done.
async fn ended(api: &Api, by: &By, task: &str, count: u64) -> Answer<(StatusCode, Json<tasks::Out>)> {
    api.delivery.poke();
    Ok((StatusCode::ACCEPTED, tasks::ended(api, by.tenant_id, task, count).await?))
}

/// Sends anew what is as `query` says and is meant.
async fn again(api: &Api, by: &By, mut query: DeliveryQuery, asked: &Asked) -> Answer<u64> {
    let (tenant, now, mut count) = (by.tenant_id, api.clock.now(), 0_u64);
    loop {
        let found = api.store.list_deliveries(tenant, &query).await?;
        let ids = meant(api, by, asked, &found).await?;
        if !ids.is_empty() {
            count =
                count.saturating_add(api.store.replay(tenant, &ids, now, Some(by.entry(api, replaying(&ids)))).await?);
        }
        query.before = found.last().map(|last| (last.created_at, last.id));
        if found.len() < BATCH as usize {
            return Ok(count);
        }
    }
}

async fn meant(api: &Api, by: &By, asked: &Asked, found: &[Delivery]) -> Answer<Vec<DeliveryId>> {
    let mut ids = Vec::with_capacity(found.len());
    for delivery in found {
        let is_meant = !asked.is_about_events()
            || api.store.event(by.tenant_id, delivery.message_id).await?.is_some_and(|told| asked.means(&told));
        if is_meant {
            ids.push(delivery.id);
        }
    }
    Ok(ids)
}

/// Sends anew what failed.
pub(super) async fn recover(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<tasks::Out>)> {
    let asked: Asked = keys(&api, &body)?;
    let (since, until) = (Some(asked.since()?), asked.until()?);
    let found = find(&api, by.tenant_id, &app, &endpoint).await?;
    let (state, endpoint_id) = (Some("failed".to_owned()), Some(found.endpoint.id));
    let query = DeliveryQuery { state, endpoint_id, since, until, limit: BATCH, ..DeliveryQuery::default() };
    let count = again(&api, &by, query, &asked).await?;
    ended(&api, &by, "endpoint.recover", count).await
}

/// Sends anew what was sent, whatever became of it. What is still on its way stays on it.
pub(super) async fn bulk(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<tasks::Out>)> {
    let asked: Asked = keys(&api, &body)?;
    let (since, until, statuses) = (Some(asked.since()?), asked.until()?, asked.statuses()?);
    let state = asked.state()?.map(str::to_owned);
    let found = find(&api, by.tenant_id, &app, &endpoint).await?;
    let endpoint_id = Some(found.endpoint.id);
    let query = DeliveryQuery { state, endpoint_id, since, until, statuses, limit: BATCH, ..DeliveryQuery::default() };
    let count = again(&api, &by, query, &asked).await?;
    ended(&api, &by, "endpoint.bulk-replay", count).await
}

/// Sends what the endpoint hears of now and was never sent.
pub(super) async fn missing(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<tasks::Out>)> {
    let asked: Asked = keys(&api, &body)?;
    let (since, before) = (asked.since()?, asked.until()?);
    let _turn = crate::api::subscribing::turn().await;
    let Subscriber { endpoint, subscription } = find(&api, by.tenant_id, &app, &endpoint).await?;
    if endpoint.disabled.is_some() {
        return Err(Fault::invalid(&["path", "endpoint_id"], "the endpoint is disabled: enable it first"));
    }
    let after = Some(Timestamp(since.0.saturating_sub(1)));
    let mut count = 0;
    for (application, event_type) in heard(&subscription) {
        let query =
            EventQuery { application_id: Some(application), event_type, after, before, ..EventQuery::default() };
        count += send_missing(&api, &by, endpoint.id, &subscription, query).await?;
    }
    ended(&api, &by, "endpoint.replay", count).await
}

/// Where events are that an endpoint hears of: all of its application, or those of its types, and what happens in the tenant
/// of these.
fn heard(subscription: &Subscription) -> Vec<(ApplicationId, Option<String>)> {
    let own = subscription.application_id;
    let Some(types) = &subscription.event_types else { return vec![(own, None)] };
    let both = [own, ApplicationId::TENANT];
    types.iter().flat_map(|name| both.map(|application| (application, Some(name.clone())))).collect()
}

async fn send_missing(
    api: &Api,
    by: &By,
    endpoint: EndpointId,
    subscription: &Subscription,
    mut query: EventQuery,
) -> Answer<u64> {
    let (tenant, now, mut count) = (by.tenant_id, api.clock.now(), 0_u64);
    query.limit = BATCH;
    loop {
        let found = api.store.events(tenant, &query).await?;
        let wanted = found.iter().filter(|told| subscription.hears(&told.event.channels));
        let events: Vec<MessageId> = wanted.map(|told| told.message.id).collect();
        if !events.is_empty() {
            let ids: Vec<DeliveryId> = events.iter().map(|event| DeliveryId::of(*event, endpoint)).collect();
            let told = Some(by.entry(api, replaying(&ids)));
            count = count.saturating_add(api.store.send_missing(tenant, endpoint, &events, now, told).await?);
        }
        query.behind = found.last().map(|last| (last.message.created_at, last.message.id));
        if found.len() < BATCH as usize {
            return Ok(count);
        }
    }
}
