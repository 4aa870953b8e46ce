//! `slack`: blocks for an incoming webhook. A summary: what matched, and the first runs with what went wrong. Inputs and
//! outputs stay out of it.

use serde_json::{Value, json};

use crate::payload::format::told::{Run, Told, brief};
use crate::payload::format::{FormatError, Source};

/// Runs that are shown; the rest are counted. Slack takes 50 blocks.
const SHOWN: usize = 10;

/// Characters Slack takes in a header.
const HEADER: usize = 150;

/// Characters Slack takes in a text.
const TEXT: usize = 3000;

pub(super) fn write(source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let told = source.told()?;
    let headline = told.headline();
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": brief(&headline, HEADER)},
    })];
    blocks.extend(told.runs.iter().take(SHOWN).map(|run| section(&line(run))));
    if let Some(more) = told.runs.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        blocks.push(section(&format!("and {more} more")));
    }
    blocks.push(json!({
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": brief(&foot(&told), TEXT)}],
    }));
    super::json(&json!({"text": escaped(&headline), "blocks": blocks}))
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": brief(text, TEXT)}})
}

fn line(run: &Run<'_>) -> String {
    let mut lines = vec![format!("*{}* ({}) {}", escaped(&run.name), escaped(&run.run_type), escaped(&run.status))];
    if let Some(error) = run.error_text() {
        lines.extend(escaped(&error).lines().map(|line| format!("> {line}")));
    }
    let feedback = run.feedback();
    if !feedback.is_empty() {
        lines.push(escaped(&feedback));
    }
    lines.push(format!("`{}`", escaped(&run.id)));
    lines.join("\n")
}

fn foot(told: &Told<'_>) -> String {
    format!("{} to {}, rule `{}`", escaped(&told.start_time), escaped(&told.end_time), escaped(&told.rule_id))
}

/// The three characters that mean something to Slack: without them no text can mention anyone or make a link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
