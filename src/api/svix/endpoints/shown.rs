//! Endpoints as Svix's clients read them, URL and all.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde::Serialize;

use crate::api::{Api, subscribing};
use crate::model::endpoint::Endpoint;
use crate::model::id::EndpointId;
use crate::store::catalog::Subscriber;

/// An endpoint as it is shown. What newer clients call otherwise is there under both names.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api::svix) struct Out {
    id: EndpointId,
    uid: Option<String>,
    url: String,
    version: u32,
    description: String,
    filter_types: Option<Vec<String>>,
    event_types: Option<Vec<String>>,
    channels: Option<Vec<String>>,
    metadata: BTreeMap<String, String>,
    rate_limit: Option<u32>,
    throttle_rate: Option<u32>,
    disabled: bool,
    created_at: String,
    updated_at: String,
}

/// The URL of an endpoint; what may be shown of it, where it does not open.
pub(in crate::api::svix) fn url(api: &Api, endpoint: &Endpoint) -> String {
    let opened = subscribing::opened(api, endpoint).map(|target| target.url.expose_secret().to_owned());
    opened.unwrap_or_else(|_| endpoint.shown.url.clone())
}

impl Out {
    pub(in crate::api::svix) fn of(api: &Api, Subscriber { endpoint, subscription }: Subscriber) -> Self {
        Self {
            id: endpoint.id,
            uid: subscription.uid,
            url: url(api, &endpoint),
            version: subscription.version,
            description: subscription.description,
            filter_types: subscription.event_types.clone(),
            event_types: subscription.event_types,
            channels: subscription.channels,
            metadata: subscription.metadata,
            rate_limit: subscription.rate_limit,
            throttle_rate: subscription.rate_limit,
            disabled: endpoint.disabled.is_some(),
            created_at: subscription.created_at.to_string(),
            updated_at: subscription.updated_at.to_string(),
        }
    }
}
