//! `pagerduty`: an event of Events API v2. What a rule finds in one project is one incident for as long as that is open:
//! the key that PagerDuty drops repeats by is made of the two.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::payload::format::told::{Run, brief};
use crate::payload::format::{FormatError, Source, json};

/// The name of the secret with the integration key.
pub(super) const KEY: &str = "routing_key";

/// Runs that are told; the rest are counted. PagerDuty takes 512 KiB.
const TOLD: usize = 20;

/// Characters PagerDuty takes in a summary.
const SUMMARY: usize = 1024;

#[derive(Serialize)]
struct Event<'a> {
    routing_key: &'a str,
    #[serde(rename = "event_action")]
    action: &'static str,
    dedup_key: String,
    client: &'static str,
    payload: Payload<'a>,
}

#[derive(Serialize)]
struct Payload<'a> {
    summary: String,
    source: String,
    severity: &'static str,
    timestamp: String,
    component: &'a str,
    group: &'a str,
    class: &'static str,
    custom_details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    message_id: String,
    rule_id: &'a str,
    start_time: &'a str,
    end_time: &'a str,
    part: u32,
    parts: u32,
    run_count: usize,
    runs: Vec<Brief<'a>>,
}

#[derive(Serialize)]
struct Brief<'a> {
    id: &'a str,
    name: &'a str,
    run_type: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    feedback: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_path: Option<&'a str>,
}

/// That there is no integration key.
pub(super) fn keyless() -> FormatError {
    FormatError(format!("the format pagerduty needs the secret `{KEY}`: the integration key of the service"))
}

/// The integration key.
pub(super) fn routing_key(secrets: &[(String, SecretString)]) -> Result<&str, FormatError> {
    let key = secrets.iter().find(|(name, _)| name == KEY);
    key.map(|(_, key)| key.expose_secret()).ok_or_else(keyless)
}

pub(super) fn write(source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let (told, message) = (source.told()?, source.message);
    json(&Event {
        routing_key: routing_key(source.secrets)?,
        action: "trigger",
        dedup_key: format!("runhook/{}/{}", told.rule_id, told.project_id()),
        client: "Runhook",
        payload: Payload {
            summary: brief(&told.headline(), SUMMARY),
            source: format!("runhook/{}", message.tenant_id),
            severity: if told.has_errors() { "error" } else { "warning" },
            timestamp: message.created_at.to_string(),
            component: &told.project,
            group: &told.rule_name,
            class: super::standard::TYPE,
            custom_details: Details {
                message_id: message.id.to_string(),
                rule_id: &told.rule_id,
                start_time: &told.start_time,
                end_time: &told.end_time,
                part: told.part,
                parts: told.parts,
                run_count: told.runs.len(),
                runs: told.runs.iter().take(TOLD).map(told_of).collect(),
            },
        },
    })
}

fn told_of<'a>(run: &'a Run<'_>) -> Brief<'a> {
    Brief {
        id: &run.id,
        name: &run.name,
        run_type: &run.run_type,
        status: &run.status,
        error: run.error_text(),
        feedback: run.feedback(),
        app_path: run.app_path.as_deref(),
    }
}
