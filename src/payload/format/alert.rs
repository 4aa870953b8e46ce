//! What alerts say. The stored body is the twelve keys of LangSmith's alert webhooks, with the state after them; a webhook
//! gets them laid over the body it asked for, or that body alone, and PagerDuty an event under one key for each alert, so
//! that what an alert opens is closed when it is over.

use std::borrow::Cow;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::model::endpoint::{Format, Laying};
use crate::model::id::AlertId;
use crate::payload::format::told::brief;
use crate::payload::format::{FormatError, Source, json, pagerduty, template};

/// The name of the secret with the body that a webhook asked for.
pub const BODY: &str = "body";

/// The name of the secret with the severity that PagerDuty is told.
pub const SEVERITY: &str = "severity";

/// Characters PagerDuty takes in a summary.
const SUMMARY: usize = 1024;

/// What of a body goes into an event.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    project_name: Cow<'a, str>,
    #[serde(borrow)]
    alert_rule_name: Cow<'a, str>,
    #[serde(borrow)]
    alert_rule_attribute: Cow<'a, str>,
    #[serde(borrow)]
    runs_url: Cow<'a, str>,
    #[serde(borrow)]
    triggered_metric_value: &'a RawValue,
    #[serde(borrow)]
    triggered_threshold: &'a RawValue,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    alert_rule_state: Cow<'a, str>,
}

#[derive(Serialize)]
struct Event<'a> {
    routing_key: &'a str,
    #[serde(rename = "event_action")]
    action: &'static str,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload<'a>>,
}

#[derive(Serialize)]
struct Payload<'a> {
    summary: String,
    source: String,
    severity: &'a str,
    timestamp: &'a str,
    component: &'a str,
    group: &'a str,
    class: &'a str,
    custom_details: &'a RawValue,
}

/// That a rule's message is for an alert's endpoint.
pub(super) fn foreign() -> FormatError {
    FormatError("the format alert is for what alerts say, and this is a rule's".to_owned())
}

pub(super) fn write(format: &Format, alert: AlertId, source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    match format {
        Format::Langsmith => Ok(source.body.to_vec()),
        Format::Alert(laying) => webhook(*laying, source),
        Format::Pagerduty => event(alert, source),
        other => Err(FormatError(format!("alerts do not speak the format {}", other.name()))),
    }
}

/// Whether a body can be asked for. What is wrong with one that is a template is said without its text.
pub fn check_body(laying: Laying, body: &str, told: &[u8]) -> Result<(), FormatError> {
    match laying {
        Laying::Merged => read(body).map(drop),
        Laying::Alone => {
            let message = crate::payload::sample::notification().map_err(|error| FormatError(error.to_string()))?.0;
            template::write(body, Source { message: &message, body: told, secrets: &[] }).map(drop)
        }
    }
}

fn read(body: &str) -> Result<Map<String, Value>, FormatError> {
    // What the parser says may quote a value, which may be a secret.
    serde_json::from_str(body)
        .map_err(|error| FormatError(format!("is no JSON object (line {}, column {})", error.line(), error.column())))
}

fn webhook(laying: Laying, source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let asked = source.secrets.iter().find(|(name, _)| name == BODY).map(|(_, body)| body.expose_secret());
    match (laying, asked) {
        (_, None) => Ok(source.body.to_vec()),
        (Laying::Alone, Some(body)) => template::write(body, Source { secrets: &[], ..source }),
        (Laying::Merged, Some(body)) => {
            let unreadable = |_| FormatError("its stored body is no JSON object".to_owned());
            let mut merged = read(body)?;
            merged.extend(serde_json::from_slice::<Map<String, Value>>(source.body).map_err(unreadable)?);
            json(&merged)
        }
    }
}

fn event(alert: AlertId, source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let secret = |wanted: &str| source.secrets.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let key = secret(pagerduty::KEY).ok_or_else(pagerduty::keyless)?.expose_secret();
    let unreadable = |_| FormatError("its stored body is not what an alert says".to_owned());
    let told: Told<'_> = serde_json::from_slice(source.body).map_err(unreadable)?;
    let dedup_key = format!("runhook/alert/{alert}");
    if told.alert_rule_state == "resolved" {
        let (client, client_url, payload) = (None, None, None);
        let action = "resolve";
        return json(&Event { routing_key: key, action, dedup_key, client, client_url, payload });
    }
    let (value, threshold) = (told.triggered_metric_value.get(), told.triggered_threshold.get());
    let (name, project) = (&told.alert_rule_name, &told.project_name);
    let summary = format!("{name}: {} is {value} in {project} (threshold {threshold})", told.alert_rule_attribute);
    json(&Event {
        routing_key: key,
        action: "trigger",
        dedup_key,
        client: Some("Runhook"),
        client_url: Some(&told.runs_url),
        payload: Some(Payload {
            summary: brief(&summary, SUMMARY),
            source: format!("runhook/{}", source.message.tenant_id),
            severity: secret(SEVERITY).map_or("critical", |severity| severity.expose_secret()),
            timestamp: &told.timestamp,
            component: &told.project_name,
            group: &told.alert_rule_name,
            class: &told.alert_rule_attribute,
            custom_details: serde_json::from_slice(source.body).map_err(unreadable)?,
        }),
    })
}
