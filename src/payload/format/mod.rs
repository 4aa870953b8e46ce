//! Formats: what a message looks like to its receiver. One file for each.
//!
//! A message is stored once, as the documented payload of LangSmith, which says all there is to say. Every other format is
//! a pure function of that body, of the message's own fields and of the endpoint, applied when an attempt is made: the same
//! message gives the same bytes at every attempt and every replay, but for its links. Nothing here reads a clock.

mod argilla;
mod huggingface;
mod pagerduty;
mod sandbox;
mod slack;
mod standard;
mod template;
mod told;

use bytes::Bytes;
use secrecy::SecretString;
use serde::Serialize;

use crate::model::endpoint::Format;
use crate::model::message::Message;
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
    match format {
        Format::Langsmith => return Ok(body),
        Format::Standard => standard::write(source),
        Format::Argilla => argilla::write(source),
        Format::Huggingface => huggingface::write(source),
        Format::Slack => slack::write(source),
        Format::Pagerduty => pagerduty::write(source),
        Format::Template(text) => template::write(text, source),
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
