//! Formats: what a message looks like to its receiver. One file for each.
//!
//! A message is stored once, as the documented payload of LangSmith, which says all there is to say. Every other format is
//! a pure function of that body, of the message's own fields and of the endpoint, applied when an attempt is made: the same
//! message gives the same bytes at every attempt and every replay, but for its links. Nothing here reads a clock.

mod alert;
mod argilla;
mod huggingface;
mod notice;
mod pagerduty;
mod sandbox;
mod slack;
mod standard;
mod template;
mod told;

pub use alert::{BODY, SEVERITY, check_body};

use bytes::Bytes;
use secrecy::SecretString;
use serde::Serialize;

use crate::model::endpoint::{Format, MASK};
use crate::model::message::{self, Message};
use crate::payload::format::told::Told;

/// Why a message has no body in a format. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(pub(super) String);

/// What a format works with.
#[derive(Clone, Copy)]
struct Source<'a> {
    /// The message.
    message: &'a Message,
    /// Its body with its links: one JSON object.
    body: &'a [u8],
    /// What goes into the body and is secret, by name.
    secrets: &'a [(String, SecretString)],
}

/// A message's body in a format. `body` is the message's own, with its links.
pub fn write(
    format: &Format,
    message: &Message,
    body: Bytes,
    secrets: &[(String, SecretString)],
) -> Result<Bytes, FormatError> {
    let source = Source { message, body: &body, secrets };
    match message.source {
        message::Source::Rule(_) | message::Source::Application(_) => {}
        message::Source::Alert(alert) => return alert::write(format, alert, source).map(Bytes::from),
        message::Source::Endpoint(_) => return notice::write(format, source).map(Bytes::from),
    }
    match format {
        Format::Langsmith | Format::Event => return Ok(body),
        Format::Standard => standard::write(source),
        Format::Argilla => argilla::write(source),
        Format::Huggingface => huggingface::write(source),
        Format::Slack => slack::write(source),
        Format::Pagerduty => pagerduty::write(source),
        Format::Template(text) => template::write(text, source),
        Format::Alert(_) => Err(alert::foreign()),
    }
    .map(Bytes::from)
}

/// Whether a format can be used: a template must render what a notification holds. `secrets` are the names it may use.
pub fn check(format: &Format, secrets: &[String]) -> Result<(), FormatError> {
    match format {
        Format::Template(text) => template::check(text, secrets),
        Format::Pagerduty if !secrets.iter().any(|name| name == pagerduty::KEY) => Err(pagerduty::keyless()),
        _ => Ok(()),
    }
}

/// What a message would be in a format: its body as far as there is one, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The body.
    pub body: Bytes,
    /// Why it would not be sent.
    pub problem: Option<FormatError>,
}

/// A message's body in a format, to be looked at: secrets are masked, and what a template gives is there although it is no
/// JSON. `secrets` are the names a template may use.
pub fn preview(format: &Format, message: &Message, body: Bytes, secrets: &[String]) -> Preview {
    let secrets: Vec<_> = secrets.iter().map(|name| (name.clone(), SecretString::from(MASK))).collect();
    let rendered = match format {
        Format::Template(text) => template::render(text, Source { message, body: &body, secrets: &secrets }),
        other => write(other, message, body, &secrets).map(Vec::from),
    };
    match rendered {
        Err(problem) => Preview { body: Bytes::new(), problem: Some(problem) },
        Ok(body) => Preview { problem: template::check_json(&body).err(), body: body.into() },
    }
}

impl<'a> Source<'a> {
    fn told(&self) -> Result<Told<'a>, FormatError> {
        serde_json::from_slice(self.body).map_err(|_| FormatError("its stored body is not a notification".to_owned()))
    }

    /// An object of these members and then those of the body.
    fn with_body(&self, head: &impl Serialize) -> Result<Vec<u8>, FormatError> {
        let mut out = json(head)?;
        let members = self.body.strip_prefix(b"{").unwrap_or_default();
        if out.pop() == Some(b'}') && !members.is_empty() {
            out.push(b',');
            out.extend_from_slice(members);
        }
        Ok(out)
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, FormatError> {
    serde_json::to_vec(value).map_err(|error| FormatError(format!("it has no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::payload::sample;

    fn written(format: &Format, secrets: &[(String, SecretString)]) -> Result<Value, FormatError> {
        let (message, body) = sample::notification().unwrap();
        let once = write(format, &message, body.clone(), secrets)?;
        assert_eq!(write(format, &message, body, secrets), Ok(once.clone()), "the same message gives the same bytes");
        Ok(serde_json::from_slice(&once).unwrap())
    }

    fn plain(format: &Format) -> Value {
        written(format, &[]).unwrap()
    }

    #[test]
    fn the_documented_payload_is_told_as_it_is_stored() {
        let (message, body) = sample::notification().unwrap();
        assert_eq!(write(&Format::Langsmith, &message, body.clone(), &[]), Ok(body.clone()));
        let standard = plain(&Format::Standard);
        assert_eq!(
            (&standard["type"], &standard["timestamp"]),
            (&json!("runs.matched"), &json!("2026-01-02T03:04:05.000000Z"))
        );
        assert_eq!(standard["data"], serde_json::from_slice::<Value>(&body).unwrap());
    }

    #[test]
    fn argilla_gets_a_record_and_hugging_face_a_repository_with_the_payload_beside() {
        let event = plain(&Format::Argilla);
        assert_eq!((&event["type"], &event["version"]), (&json!("record.completed"), &json!(1)));
        let record = &event["data"];
        assert_eq!(
            record["fields"],
            json!({"inputs": {"question": "Does this arrive?"}, "outputs": {"answer": "It does."}})
        );
        assert_eq!((&record["status"], &record["id"]), (&json!("completed"), &record["runs"][0]["id"]));
        assert_eq!(record["dataset"]["name"], "sample");
        let payload = plain(&Format::Huggingface);
        assert_eq!(payload["event"], json!({"action": "update", "scope": "runs.matched"}));
        assert_eq!((&payload["repo"]["type"], &payload["webhook"]["version"]), (&json!("dataset"), &json!(3)));
        assert_eq!(
            (&payload["webhook"]["id"], &payload["rule_name"]),
            (&payload["rule_id"], &json!("A \"sample\" rule"))
        );
    }

    #[test]
    fn slack_and_pagerduty_get_a_summary_without_inputs() {
        let slack = plain(&Format::Slack);
        let kinds: Vec<&Value> = slack["blocks"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
        assert_eq!(kinds, ["header", "section", "context"]);
        assert!(
            slack["blocks"][1]["text"]["text"].as_str().unwrap().starts_with("*answer* (chain) error\n> ValueError")
        );
        assert!(!slack.to_string().contains("Does this arrive"));
        assert_eq!(written(&Format::Pagerduty, &[]), Err(pagerduty::keyless()));
        let key = ("routing_key".to_owned(), "k3y".into());
        let event = written(&Format::Pagerduty, &[key]).unwrap();
        assert_eq!((&event["routing_key"], &event["event_action"]), (&json!("k3y"), &json!("trigger")));
        assert!(event["dedup_key"].as_str().unwrap().len() <= 255);
        assert_eq!(event["payload"]["severity"], "error");
        assert_eq!(event["payload"]["custom_details"]["runs"][0]["feedback"], "user_score 0.25 (1)");
    }

    #[test]
    fn a_preview_shows_what_is_wrong_and_no_secret() {
        let (message, body) = sample::notification().unwrap();
        let shown = |text: &str| {
            let found = preview(&Format::Template(text.to_owned()), &message, body.clone(), &["token".to_owned()]);
            (String::from_utf8(found.body.to_vec()).unwrap(), found.problem.map(|problem| problem.to_string()))
        };
        assert_eq!(shown("{\"t\": {{ secrets.token }}}"), (format!("{{\"t\": \"{MASK}\"}}"), None));
        let (text, problem) = shown("{\n\"p\": {{ project }}\n\"q\": 1}");
        assert_eq!(text, "{\n\"p\": \"sample\"\n\"q\": 1}");
        assert!(problem.unwrap().contains("at line 3"), "where in the text it is wrong");
        let (text, problem) = shown("{\n{{ nothing.like.it }}");
        assert!(text.is_empty() && problem.unwrap().starts_with("line 2 of the template"));
        assert_eq!(preview(&Format::Slack, &message, body.clone(), &[]).problem, None);
    }

    #[test]
    fn a_body_that_is_no_notification_is_told_as_itself_or_refused() {
        let (message, _) = sample::notification().unwrap();
        let body = Bytes::from_static(b"{\"a\":1}");
        assert_eq!(write(&Format::Langsmith, &message, body.clone(), &[]), Ok(body.clone()));
        assert!(write(&Format::Slack, &message, body, &[]).is_err());
    }
}
