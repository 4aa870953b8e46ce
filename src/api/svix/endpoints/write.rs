//! Making endpoints and changing them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::audit::By;
use crate::api::request::{Whole, keys};
use crate::api::svix::applications::{self, checked_metadata, checked_uid, laid_over};
use crate::api::svix::{Answer, Fault, Manager};
use crate::api::{Api, subscribing};
use crate::model::audit::Action;
use crate::model::endpoint::{Endpoint, Format, Overrides, Target};
use crate::model::event::{MOST_CHANNELS, Subscription, is_channel, is_name};
use crate::model::id::{ApplicationId, EndpointId};
use crate::model::pace::{Pace, Rate};
use crate::model::signing::{Signature, Signing};
use crate::store::StoreError;
use crate::store::catalog::{Presence, Subscriber};

use super::{Out, find, find_in};

/// As many a second as are asked for; where nothing is asked, as many as the server's limits allow.
fn paced(endpoint: Endpoint, rate_limit: Option<u32>) -> Endpoint {
    let rate = rate_limit.and_then(NonZeroU32::new).map(Rate::per_second);
    let pace = Pace { rate, ..endpoint.overrides.pace };
    Endpoint { overrides: Overrides { pace, ..endpoint.overrides }, ..endpoint }
}

/// Event types of one endpoint at most.
const MOST_TYPES: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct In {
    url: String,
    uid: Option<String>,
    version: Option<u32>,
    description: Option<String>,
    #[serde(alias = "eventTypes")]
    filter_types: Option<Vec<String>>,
    channels: Option<Vec<String>>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(alias = "throttleRate")]
    rate_limit: Option<u32>,
    disabled: Option<bool>,
    secret: Option<String>,
    headers: Option<BTreeMap<String, String>>,
}

async fn checked(api: &Api, wanted: &In) -> Answer<()> {
    subscribing::check_url(api, &wanted.url).await?;
    checked_uid(wanted.uid.as_deref())?;
    checked_metadata(wanted.metadata.as_ref().unwrap_or(&BTreeMap::new()))?;
    subscribing::check_headers(api, wanted.headers.iter().flatten())?;
    if wanted.rate_limit.is_some_and(|rate| !(1..=Rate::MOST).contains(&rate)) {
        let detail = format!("`rateLimit` is 1 to {} messages a second; leave it out for no limit", Rate::MOST);
        return Err(Fault::invalid(&["body", "rateLimit"], detail));
    }
    let types = wanted.filter_types.as_deref();
    if types
        .is_some_and(|types| types.is_empty() || types.len() > MOST_TYPES || !types.iter().all(|name| is_name(name)))
    {
        let detail = format!("`filterTypes` are 1 to {MOST_TYPES} names of event types; leave it out for all");
        return Err(Fault::invalid(&["body", "filterTypes"], detail));
    }
    checked_channels(wanted.channels.as_deref())
}

/// Channels that messages can be on.
pub(in crate::api::svix) fn checked_channels(channels: Option<&[String]>) -> Answer<()> {
    let is_wrong =
        |all: &[String]| all.is_empty() || all.len() > MOST_CHANNELS || !all.iter().all(|one| is_channel(one));
    if channels.is_some_and(is_wrong) {
        let detail =
            format!("`channels` are 1 to {MOST_CHANNELS} of at most 128 letters, digits, `-`, `_`, `.` and `:`");
        return Err(Fault::invalid(&["body", "channels"], detail));
    }
    Ok(())
}

fn subscription(api: &Api, application_id: ApplicationId, endpoint_id: EndpointId, wanted: In) -> Subscription {
    let now = api.clock.now();
    Subscription {
        endpoint_id,
        application_id,
        uid: wanted.uid,
        number: 0,
        event_types: wanted.filter_types,
        channels: wanted.channels,
        description: wanted.description.unwrap_or_default(),
        metadata: wanted.metadata.unwrap_or_default(),
        version: wanted.version.unwrap_or(1),
        rate_limit: wanted.rate_limit,
        created_at: now,
        updated_at: now,
    }
}

/// Puts an endpoint, disabled or not.
async fn put(api: &Api, by: &By, mut put: Subscriber, disabled: bool, presence: Presence) -> Answer<Out> {
    let action = if presence == Presence::New { Action::CreateEndpoint } else { Action::UpdateEndpoint };
    let told = subscribing::told(api, by, action, &put.subscription);
    match subscribing::put(api, put.clone(), presence, told).await {
        Ok(subscription) => {
            put.subscription = subscription;
            subscribing::set_disabled(api, by, &mut put, disabled).await?;
            Ok(Out::of(api, put))
        }
        Err(StoreError::Conflict(_)) => Err(Fault::exists("conflict", "An endpoint with this uid already exists")),
        Err(StoreError::NotFound(_)) => Err(Fault::not_found()),
        Err(error) => Err(error.into()),
    }
}

async fn add(api: &Api, by: &By, application: ApplicationId, mut wanted: In) -> Answer<Out> {
    checked(api, &wanted).await?;
    let secret = subscribing::secret(wanted.secret.as_deref(), "secret")?;
    let target = Target {
        url: wanted.url.clone().into(),
        query: Vec::new(),
        headers: wanted.headers.take().into_iter().flatten().map(|(name, value)| (name, value.into())).collect(),
        secrets: Vec::new(),
        signing: Signing::with(secret, Signature::Standard),
    };
    let endpoint = paced(subscribing::made(api, by.tenant_id, &target, Format::Event)?, wanted.rate_limit);
    let disabled = wanted.disabled.unwrap_or(false);
    let subscription = subscription(api, application, endpoint.id, wanted);
    put(api, by, Subscriber { endpoint, subscription }, disabled, Presence::New).await
}

pub(super) async fn create(
    State(api): State<Api>,
    Manager(by): Manager,
    Path(app): Path<String>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<Out>)> {
    let wanted: In = keys(&api, &body)?;
    let _turn = subscribing::turn().await;
    let application = applications::find(&api, by.tenant_id, &app).await?;
    Ok((StatusCode::CREATED, Json(add(&api, &by, application.id, wanted).await?)))
}

/// Stores an endpoint as it is wanted, over what there is. Its secret and its headers stay.
async fn replace(api: &Api, by: &By, there: Subscriber, wanted: In) -> Answer<Out> {
    checked(api, &wanted).await?;
    let Subscriber { mut endpoint, subscription: before } = there;
    let mut target = subscribing::opened(api, &endpoint)?;
    if target.url.expose_secret() != wanted.url {
        subscribing::keep_headers(&target, &wanted.url)?;
        target.url = wanted.url.clone().into();
        endpoint = subscribing::retargeted(api, endpoint, &target)?;
    }
    endpoint = paced(endpoint, wanted.rate_limit);
    let disabled = wanted.disabled.unwrap_or(false);
    let now = subscription(api, before.application_id, endpoint.id, wanted);
    let subscription = Subscription { created_at: before.created_at, ..now };
    put(api, by, Subscriber { endpoint, subscription }, disabled, Presence::There).await
}

/// Replaces an endpoint, or makes it under the uid that the path names.
pub(super) async fn update(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<(StatusCode, Json<Out>)> {
    let wanted: In = keys(&api, &body)?;
    let _turn = subscribing::turn().await;
    let application = applications::find(&api, by.tenant_id, &app).await?;
    if let Ok(there) = find_in(&api, by.tenant_id, application.id, &endpoint).await {
        let wanted = In { uid: wanted.uid.or_else(|| there.subscription.uid.clone()), ..wanted };
        return Ok((StatusCode::OK, Json(replace(&api, &by, there, wanted).await?)));
    }
    let wanted = In { uid: wanted.uid.or(Some(endpoint)), ..wanted };
    Ok((StatusCode::CREATED, Json(add(&api, &by, application.id, wanted).await?)))
}

pub(super) async fn patch(
    State(api): State<Api>,
    Manager(by): Manager,
    Path((app, endpoint)): Path<(String, String)>,
    Whole(body): Whole,
) -> Answer<Json<Out>> {
    let patch: Map<String, Value> = keys(&api, &body)?;
    let _turn = subscribing::turn().await;
    let there = find(&api, by.tenant_id, &app, &endpoint).await?;
    let (own, target) = (&there.subscription, subscribing::opened(&api, &there.endpoint)?);
    let members = json!({
        "url": target.url.expose_secret(), "uid": own.uid, "version": own.version, "description": own.description,
        "filterTypes": own.event_types, "channels": own.channels, "metadata": own.metadata,
        "rateLimit": own.rate_limit, "disabled": there.endpoint.disabled.is_some(),
    });
    let wanted: In = laid_over(members, patch)?;
    Ok(Json(replace(&api, &by, there, wanted).await?))
}
