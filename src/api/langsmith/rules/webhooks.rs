//! The webhooks of a rule, whose URLs and headers are secrets: they are shown masked, and a masked value that comes back
//! means "as it is".
//!
//! A masked value stands for what is stored under the same URL, and for nothing else: otherwise whoever may write rules
//! could have a stored secret sent to a place of their own.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::ingest::Invalid;
use crate::model::endpoint::{Endpoint, MASK, Target};
use crate::model::rule::Rule;
use crate::rule_file::literal;
use crate::rule_file::plan::Current;

/// A URL and what is sent with it.
#[derive(Debug, Clone)]
pub(super) struct Webhook {
    url: SecretString,
    headers: Vec<(String, SecretString)>,
}

/// The webhooks a rule has, in its order, each with its target.
pub(super) struct Stored<'a>(Vec<(&'a Endpoint, &'a Target)>);

#[derive(Deserialize)]
struct Given {
    url: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
}

impl<'a> Stored<'a> {
    /// Of a rule that is not there yet.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Of this rule.
    pub(super) fn of(rule: &Rule, current: &'a Current) -> Self {
        let find = |id| current.endpoints.iter().find(|(endpoint, _)| endpoint.id == id);
        let found = rule.endpoints.iter().filter_map(|id| find(*id));
        Self(found.filter_map(|(endpoint, target)| Some((endpoint, target.as_ref()?))).collect())
    }

    /// The webhooks, as they are.
    pub(super) fn webhooks(&self) -> Vec<Webhook> {
        let webhook = |target: &Target| Webhook { url: target.url.clone(), headers: target.headers.clone() };
        self.0.iter().map(|(_, target)| webhook(target)).collect()
    }

    /// The stored webhook that a URL means, given in full or as it is shown. Those that look alike go by their places.
    fn meant(&self, url: &str, place: usize) -> Option<&'a Target> {
        let means = |(endpoint, target): &&(&Endpoint, &'a Target)| {
            endpoint.shown.url == url || target.url.expose_secret() == url
        };
        let at_its_place = self.0.get(place).filter(means);
        at_its_place.or_else(|| self.0.iter().find(means)).map(|(_, target)| *target)
    }
}

/// Reads a list of webhooks.
pub(super) fn read(raw: &RawValue, stored: &Stored<'_>) -> Result<Vec<Webhook>, Invalid> {
    // What the parser says may quote a value.
    let given: Vec<Given> = serde_json::from_str(raw.get())
        .map_err(|_| Invalid::new("webhooks", "must be a list of {\"url\": text, \"headers\": {name: text}}"))?;
    given.into_iter().enumerate().map(|(place, given)| webhook(given, stored, place)).collect()
}

fn webhook(given: Given, stored: &Stored<'_>, place: usize) -> Result<Webhook, Invalid> {
    let meant = stored.meant(&given.url, place);
    if meant.is_none() && (given.url.contains('…') || given.url == MASK) {
        let message = format!("has a masked URL at place {place} that is none of the rule's: give it in full");
        return Err(Invalid::new("webhooks", message));
    }
    let headers = given.headers.unwrap_or_default().into_iter().map(|(name, value)| {
        if value != MASK {
            return Ok((name, value.into()));
        }
        let known = meant.and_then(|target| target.headers.iter().find(|(known, _)| *known == name));
        known.cloned().ok_or_else(|| {
            let message = format!("has no stored value for the header {name} of this URL: give it in full");
            Invalid::new("webhooks", message)
        })
    });
    let headers = headers.collect::<Result<_, _>>()?;
    Ok(Webhook { url: meant.map_or_else(|| given.url.into(), |target| target.url.clone()), headers })
}

impl Webhook {
    /// As a file would have it.
    pub(super) fn document(&self) -> Value {
        let mut document = Map::new();
        document.insert("url".to_owned(), literal(self.url.expose_secret()).into());
        let header = |(name, value): &(String, SecretString)| (name.clone(), literal(value.expose_secret()).into());
        let headers: Map<String, Value> = self.headers.iter().map(header).collect();
        if !headers.is_empty() {
            document.insert("headers".to_owned(), Value::Object(headers));
        }
        Value::Object(document)
    }
}

/// A webhook as it is shown.
pub(super) fn shown(endpoint: &Endpoint) -> Value {
    json!({ "url": endpoint.shown.url, "headers": endpoint.shown.headers })
}
