//! Notices in formats that are made for people: what happened, in a line. Formats that are some other product's own events
//! have no word for it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::endpoint::Format;
use crate::payload::format::{FormatError, Source, json, pagerduty, template};

/// A notice, read back from its body.
#[derive(Deserialize)]
struct Notice<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    endpoint_id: Cow<'a, str>,
    #[serde(borrow)]
    endpoint: Option<Cow<'a, str>>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

impl Notice<'_> {
    fn headline(&self) -> String {
        let name = self.data.endpoint.as_ref().unwrap_or(&self.data.endpoint_id);
        format!("Runhook sends nothing more to {name}: {}", self.data.reason)
    }
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
struct Incident<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    dedup_key: String,
    payload: Event<'a>,
}

#[derive(Serialize)]
struct Event<'a> {
    summary: String,
    source: &'static str,
    severity: &'static str,
    timestamp: &'a str,
    custom_details: &'a RawValue,
}

/// A notice's body in a format.
pub(super) fn write(format: &Format, source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let read = || serde_json::from_slice::<Notice<'_>>(source.body);
    let notice = read().map_err(|_| FormatError("its stored body is not a notice".to_owned()))?;
    match format {
        Format::Langsmith | Format::Standard | Format::Event => Ok(source.body.to_vec()),
        Format::Slack => json(&Text { text: format!("{} ({})", notice.headline(), notice.data.url) }),
        Format::Pagerduty => {
            let details = serde_json::from_slice(source.body).map_err(|_| FormatError("it is no JSON".to_owned()))?;
            json(&Incident {
                routing_key: pagerduty::routing_key(source.secrets)?,
                event_action: "trigger",
                dedup_key: format!("{} {}", notice.r#type, notice.data.endpoint_id),
                payload: Event {
                    summary: notice.headline(),
                    source: "runhook",
                    severity: "error",
                    timestamp: &notice.timestamp,
                    custom_details: details,
                },
            })
        }
        Format::Template(text) => template::write(text, source),
        Format::Argilla | Format::Huggingface | Format::Alert(_) => {
            Err(FormatError(format!("the format {} has no event {}", format.name(), notice.r#type)))
        }
    }
}
