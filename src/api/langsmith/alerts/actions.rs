//! The actions of an alert: whom it tells. Each becomes an endpoint like those of rules, read and checked by the same
//! reader.
//!
//! A masked value stands for what is stored of the same alert under the same URL, and for nothing else: otherwise whoever
//! may write alerts could have a stored secret sent to a place of their own.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::alert::judge::Turn;
use crate::alert::notice::{self, Place};
use crate::api::Api;
use crate::api::native::rules::single;
use crate::api::problem::Problem;
use crate::crypto::{self, open_target, seal_target};
use crate::ingest::Invalid;
use crate::model::alert::{Action, Alert, Spelling, State, Target as Kind, minute_of};
use crate::model::endpoint::{self, Endpoint, Format, Laying, MASK, Overrides, Policy};
use crate::model::health::Health;
use crate::model::id::EndpointId;
use crate::payload::format::{BODY, SEVERITY, check_body};
use crate::rule_file::literal;

use super::wish::Keys;

/// Where PagerDuty takes events.
pub(super) const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// The name of the secret with PagerDuty's key.
const ROUTING_KEY: &str = "routing_key";

/// The severities PagerDuty knows.
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// Actions of one alert, at most.
const MOST: usize = 10;

/// An action that is stored, with what is secret of it.
pub(super) struct Stored {
    pub(super) action: Action,
    endpoint: Endpoint,
    target: endpoint::Target,
}

/// An action as it is wanted.
pub(super) struct Wanted {
    kind: Kind,
    spelling: Spelling,
    url: SecretString,
    headers: Vec<(String, SecretString)>,
    secrets: Vec<(String, SecretString)>,
    format: Format,
    severity: Option<String>,
    /// The endpoint it replaces.
    replaces: Option<EndpointId>,
}

#[derive(Deserialize)]
struct Given<'a> {
    target: String,
    #[serde(borrow)]
    config: &'a RawValue,
}

/// What is stored of an alert's actions. One whose secrets do not open is not among them.
pub(super) async fn stored(api: &Api, alert: &Alert) -> Result<Vec<Stored>, Problem> {
    let ids: Vec<EndpointId> = alert.actions.iter().map(|action| action.endpoint_id).collect();
    let endpoints = api.store.endpoints(alert.tenant_id, &ids).await?;
    let found = alert.actions.iter().filter_map(|action| {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.id == action.endpoint_id)?;
        let target = open_target(&api.keyring, endpoint.id, &endpoint.target).ok()?;
        Some(Stored { action: action.clone(), endpoint: endpoint.clone(), target })
    });
    Ok(found.collect())
}

/// Reads a list of actions.
pub(super) fn read(raw: &RawValue, stored: &[Stored]) -> Result<Vec<Wanted>, Invalid> {
    // What the parser says may quote a value.
    let given: Vec<Given<'_>> = serde_json::from_str(raw.get())
        .map_err(|_| Invalid::new("actions", "must be a list of {\"target\": text, \"config\": {…}}"))?;
    if given.len() > MOST {
        return Err(Invalid::new("actions", format!("has more than {MOST} entries")));
    }
    let each = given.into_iter().enumerate().map(|(at, given)| Reader { at, stored }.action(&given));
    each.collect()
}

/// Reads the action at a place.
struct Reader<'a> {
    at: usize,
    stored: &'a [Stored],
}

impl Reader<'_> {
    fn wrong(&self, key: &str, why: impl Into<String>) -> Invalid {
        Invalid::new(&format!("actions[{}].{key}", self.at), why)
    }

    fn action(&self, given: &Given<'_>) -> Result<Wanted, Invalid> {
        let kind = match given.target.as_str() {
            "webhook" => Kind::Webhook,
            "pagerduty" => Kind::Pagerduty,
            "dynatrace" => {
                let why = "`dynatrace` is not supported by this server: name a webhook with its events URL, an \
                           `Authorization` header, a body and `\"merge_alert_fields\": false`";
                return Err(self.wrong("target", why));
            }
            _ => return Err(self.wrong("target", "must be webhook or pagerduty")),
        };
        let text = text_of(given.config);
        let config = text.as_deref().unwrap_or(given.config.get());
        let config: Keys<'_> = serde_json::from_str(config)
            .map_err(|_| self.wrong("config", "must be an object, or text that holds one in JSON"))?;
        let mut wanted = match kind {
            Kind::Webhook => self.webhook(&config)?,
            Kind::Pagerduty => self.pagerduty(&config)?,
        };
        wanted.spelling.whole = text.is_some();
        Ok(wanted)
    }

    /// The stored action that a URL means, given in full or as it is shown. Those that look alike go by their places.
    fn meant(&self, kind: Kind, url: &str) -> Option<&Stored> {
        let means = |stored: &&Stored| {
            let same = stored.endpoint.shown.url == url || stored.target.url.expose_secret() == url;
            stored.action.target == kind && same
        };
        self.stored.get(self.at).filter(means).or_else(|| self.stored.iter().find(means))
    }

    fn webhook(&self, config: &Keys<'_>) -> Result<Wanted, Invalid> {
        self.known(config, &["url", "headers", "body", "merge_alert_fields"])?;
        let url = self.text(config, "url")?.ok_or_else(|| self.wrong("config.url", "is missing"))?;
        let meant = self.meant(Kind::Webhook, &url);
        if meant.is_none() && (url.contains('…') || url == MASK) {
            return Err(self.wrong("config.url", "is masked and none of the alert's: give it in full"));
        }
        let (headers, inside) = self.headers(config, meant)?;
        let (body, is_text) = self.body(config, meant)?;
        let laying = match config.get("merge_alert_fields").map(|raw| raw.get().trim_matches('"')) {
            None | Some("null" | "true") => Laying::Merged,
            Some("false") if body.is_none() => {
                return Err(self.wrong("config.merge_alert_fields", "is false, and there is no `body` to send instead"));
            }
            Some("false") => Laying::Alone,
            Some(_) => return Err(self.wrong("config.merge_alert_fields", "must be true or false")),
        };
        Ok(Wanted {
            kind: Kind::Webhook,
            spelling: Spelling { whole: false, inside: inside || is_text },
            url: meant.map_or_else(|| url.into(), |stored| stored.target.url.clone()),
            headers,
            secrets: body.map(|body| (BODY.to_owned(), body)).into_iter().collect(),
            format: Format::Alert(laying),
            severity: None,
            replaces: self.replaces(Kind::Webhook),
        })
    }

    fn pagerduty(&self, config: &Keys<'_>) -> Result<Wanted, Invalid> {
        self.known(config, &["integration_key", "routing_key", "severity", "url"])?;
        let url = self.text(config, "url")?.unwrap_or_else(|| PAGERDUTY.to_owned());
        let meant = self.meant(Kind::Pagerduty, &url).or_else(|| {
            let url = config.get("url").is_none();
            self.stored.get(self.at).filter(|stored| url && stored.action.target == Kind::Pagerduty)
        });
        let mut key = None;
        for name in ["integration_key", ROUTING_KEY] {
            key = key.or(self.text(config, name)?);
        }
        let key = key.ok_or_else(|| self.wrong("config.integration_key", "is missing"))?;
        let key: SecretString = if key == MASK {
            let known = meant.and_then(|stored| secret(stored, ROUTING_KEY));
            known
                .ok_or_else(|| self.wrong("config.integration_key", "is masked, and none is stored: give it in full"))?
        } else if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(self.wrong("config.integration_key", "is no integration key of PagerDuty's Events API v2"));
        } else {
            key.into()
        };
        let severity = self.text(config, "severity")?;
        if severity.as_deref().is_some_and(|severity| !SEVERITIES.contains(&severity)) {
            return Err(self.wrong("config.severity", format!("must be one of {}", SEVERITIES.join(", "))));
        }
        let told = severity.as_deref().map(|severity| (SEVERITY.to_owned(), severity.into()));
        Ok(Wanted {
            kind: Kind::Pagerduty,
            spelling: Spelling::default(),
            url: meant.map_or_else(|| url.into(), |stored| stored.target.url.clone()),
            headers: Vec::new(),
            secrets: std::iter::once((ROUTING_KEY.to_owned(), key)).chain(told).collect(),
            format: Format::Pagerduty,
            severity,
            replaces: self.replaces(Kind::Pagerduty),
        })
    }

    /// The endpoint that goes on under another configuration.
    fn replaces(&self, kind: Kind) -> Option<EndpointId> {
        let stored = self.stored.get(self.at).filter(|stored| stored.action.target == kind);
        stored.map(|stored| stored.endpoint.id)
    }

    fn known(&self, config: &Keys<'_>, known: &[&str]) -> Result<(), Invalid> {
        let Some(unknown) = config.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
        let why = format!("is unknown; known here: {}", known.join(", "));
        let shown: String = unknown.chars().take(64).collect();
        Err(self.wrong(&format!("config.{shown}"), why))
    }

    fn text(&self, config: &Keys<'_>, key: &str) -> Result<Option<String>, Invalid> {
        let given = config.get(key).filter(|raw| raw.get() != "null");
        let read = |raw: &&RawValue| text_of(raw).ok_or_else(|| self.wrong(&format!("config.{key}"), "must be text"));
        given.map(read).transpose()
    }

    /// Headers, and whether they were text.
    fn headers(
        &self,
        config: &Keys<'_>,
        meant: Option<&Stored>,
    ) -> Result<(Vec<(String, SecretString)>, bool), Invalid> {
        let Some(raw) = config.get("headers").filter(|raw| raw.get() != "null") else { return Ok((Vec::new(), false)) };
        let text = text_of(raw);
        let json = text.as_deref().unwrap_or(raw.get()).trim();
        let given: BTreeMap<String, String> = if json.is_empty() {
            BTreeMap::new()
        } else {
            serde_json::from_str(json)
                .map_err(|_| self.wrong("config.headers", "must be {name: text}, or text that holds that in JSON"))?
        };
        let header = |(name, value): (String, String)| {
            if value != MASK {
                return Ok((name, value.into()));
            }
            let known = meant.and_then(|stored| stored.target.headers.iter().find(|(known, _)| *known == name));
            known.cloned().ok_or_else(|| {
                let why = format!("has no stored value for {name} under this URL: give it in full");
                self.wrong("config.headers", why)
            })
        };
        Ok((given.into_iter().map(header).collect::<Result<_, _>>()?, text.is_some()))
    }

    /// The body, and whether it was text.
    fn body(&self, config: &Keys<'_>, meant: Option<&Stored>) -> Result<(Option<SecretString>, bool), Invalid> {
        let Some(raw) = config.get("body").filter(|raw| raw.get() != "null") else { return Ok((None, false)) };
        let text = text_of(raw);
        if text.as_deref() == Some(MASK) {
            let known = meant.and_then(|stored| secret(stored, BODY));
            let known =
                known.ok_or_else(|| self.wrong("config.body", "is masked, and none is stored under this URL"))?;
            return Ok((Some(known), meant.is_some_and(|stored| stored.action.spelling.inside)));
        }
        let is_text = text.is_some();
        let body = text.unwrap_or_else(|| raw.get().to_owned());
        Ok((Some(body).filter(|body| !body.trim().is_empty()).map(SecretString::from), is_text))
    }
}

/// What text holds; nothing where it is none.
fn text_of(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn secret(stored: &Stored, name: &str) -> Option<SecretString> {
    stored.target.secrets.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

/// Actions with their endpoints, checked and sealed. `alert` is what they are of, its actions aside.
pub(super) async fn sealed(
    api: &Api,
    alert: &Alert,
    project: &str,
    wanted: Vec<Wanted>,
) -> Result<(Vec<Action>, Vec<Endpoint>), Problem> {
    let mut sealed = (Vec::new(), Vec::new());
    for (at, wanted) in wanted.into_iter().enumerate() {
        let place =
            |problem: Problem| Problem { detail: format!("`actions[{at}].config`: {}", problem.detail), ..problem };
        check_told(api, alert, project, &wanted).map_err(place)?;
        let endpoint = endpoint(api, alert, &wanted).await.map_err(place)?;
        let (target, endpoint_id, severity) = (wanted.kind, endpoint.id, wanted.severity);
        sealed.0.push(Action { target, endpoint_id, spelling: wanted.spelling, severity });
        sealed.1.push(endpoint);
    }
    Ok(sealed)
}

/// Whether what an alert will say can be said so.
fn check_told(api: &Api, alert: &Alert, project: &str, wanted: &Wanted) -> Result<(), Problem> {
    let Format::Alert(laying) = wanted.format else { return Ok(()) };
    let Some((_, body)) = wanted.secrets.iter().find(|(name, _)| name == BODY) else { return Ok(()) };
    let sample = sample(api, alert, project);
    check_body(laying, body.expose_secret(), sample.as_bytes())
        .map_err(|error| Problem::invalid(format!("`body` {error}")))
}

/// What an alert would say now.
fn sample(api: &Api, alert: &Alert, project: &str) -> String {
    notice::body(alert, &Place { public_url: &api.public_url, project }, &turn(api))
}

/// A change of state that nobody found.
pub(super) fn turn(api: &Api) -> Turn {
    let minute = minute_of(api.clock.now());
    Turn { minute, state: State::Firing, value: 0.into(), threshold: 0.into() }
}

async fn endpoint(api: &Api, alert: &Alert, wanted: &Wanted) -> Result<Endpoint, Problem> {
    let mut entry = Map::new();
    entry.insert("key".to_owned(), "action".into());
    entry.insert("url".to_owned(), literal(wanted.url.expose_secret()).into());
    if !wanted.headers.is_empty() {
        let header = |(name, value): &(String, SecretString)| (name.clone(), literal(value.expose_secret()).into());
        entry.insert("headers".to_owned(), Value::Object(wanted.headers.iter().map(header).collect()));
    }
    let entry = Value::Object(entry);
    let mut loaded = single::check(api, &json!({ "version": 1, "endpoints": [entry] }), &entry).await?;
    let draft = loaded.endpoints.pop().ok_or_else(|| Problem::invalid("is no endpoint"))?;
    let target = endpoint::Target { secrets: wanted.secrets.clone(), ..draft.target.target };
    let id = wanted.replaces.unwrap_or_else(|| EndpointId(Uuid::from_bytes(crypto::random())));
    Ok(Endpoint {
        tenant_id: alert.tenant_id,
        id,
        key: None,
        rule_id: None,
        alert_id: Some(alert.id),
        target: seal_target(&api.keyring, id, &target).map_err(|error| Problem::internal(&error))?,
        shown: crypto::shown(&target),
        format: wanted.format.clone(),
        policy: Policy::Standard,
        overrides: Overrides::default(),
        origin: None,
        disabled: None,
        health: Health::default(),
    })
}
