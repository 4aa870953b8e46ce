//! What an endpoint is sent: `format`, with `template` and `secrets` for what goes into the body.

use std::ops::Range;

use secrecy::SecretString;

use crate::model::endpoint::Format;
use crate::rule_file::node::Node;
use crate::rule_file::reading::{Reading, Section};
use crate::rule_file::target::named_values;

/// Formats by their names in files. A template has its text beside it.
const FORMATS: [(&str, Option<Format>); 7] = [
    ("langsmith", Some(Format::Langsmith)),
    ("standard", Some(Format::Standard)),
    ("argilla", Some(Format::Argilla)),
    ("huggingface", Some(Format::Huggingface)),
    ("slack", Some(Format::Slack)),
    ("pagerduty", Some(Format::Pagerduty)),
    ("template", None),
];

/// What a file says about the body. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub(super) struct FormatDraft {
    pub(super) format: Format,
    /// Where it is written; the whole endpoint when it is not.
    pub(super) span: Range<usize>,
    pub(super) secrets: Vec<(String, SecretString)>,
}

/// Reads the three keys.
pub(super) fn lower(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<FormatDraft> {
    let format = format(reading, section);
    let secrets = section.get("secrets").map_or(Some(Vec::new()), |node| secrets(reading, node));
    let (format, secrets) = (format?, secrets?);
    if let (Some(span), false) = (section.key_span("secrets"), takes_secrets(&format)) {
        let message = format!("the format {} puts no secret into the body", format.name());
        reading.error("unused-secrets", &span, message, "send it as a header or a query parameter, or remove it");
        return None;
    }
    let span = ["template", "format"].iter().find_map(|key| section.key_span(key)).unwrap_or_else(|| section.span());
    Some(FormatDraft { format, span, secrets })
}

fn takes_secrets(format: &Format) -> bool {
    matches!(format, Format::Pagerduty | Format::Template(_))
}

fn format(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Format> {
    let words: Vec<(&'static str, usize)> = FORMATS.iter().map(|(word, _)| *word).zip(0..).collect();
    let chosen = match section.get("format") {
        None if section.key_span("format").is_some() => return None,
        None => Some(Format::Langsmith),
        Some(node) => {
            let at = reading.choice(node, "format", &words)?;
            FORMATS.get(at).and_then(|(_, format)| format.clone())
        }
    };
    match (chosen, section.get("template"), section.key_span("template")) {
        (Some(format), _, None) => Some(format),
        (Some(_), _, Some(span)) => {
            reading.error("no-template", &span, "`template` says nothing without `format: template`", "add it");
            None
        }
        (None, Some(node), _) => Some(Format::Template(reading.text(node, "`template`")?.to_owned())),
        (None, None, _) => {
            let hint = "write the body beside it: `template: |` and then JSON with {{ rule_name }} and the like";
            let span = section.key_span("format").unwrap_or_else(|| section.span());
            reading.error("missing-key", &span, "the format template has no `template`", hint);
            None
        }
    }
}

fn secrets(reading: &mut Reading<'_>, node: &Node) -> Option<Vec<(String, SecretString)>> {
    let found = named_values(reading, node, "secrets")?;
    Some(found.into_iter().map(|(name, value, _)| (name, value)).collect())
}
