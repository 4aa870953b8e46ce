//! How a notification is printed: a few lines for people, or one line of JSON.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};

use serde_json::{Value, json};
use url::form_urlencoded;

use crate::app::Received;
use crate::cli::Output;
use crate::cli::count::counted;
use crate::delivery::masks::Masks;
use crate::model::endpoint::MASK;
use crate::model::time::Timestamp;

use super::check::{Checked, Outcome};
use super::told;

/// Headers whose values are no secret.
const PLAIN: [&str; 10] = [
    "host",
    "user-agent",
    "accept",
    "content-type",
    "content-length",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-langsmith-signature",
    "x-runhook-attempt",
];

/// Ids of messages that are remembered, to tell what comes again.
const REMEMBERED: usize = 1000;

/// Prints what arrives.
pub(super) struct Showing {
    output: Output,
    masks: Masks,
    /// How often a message has come, of those that came last.
    seen: VecDeque<(String, u64)>,
}

impl Showing {
    pub(super) fn new(output: Output, masks: Masks) -> Self {
        Self { output, masks, seen: VecDeque::new() }
    }

    /// Prints a request, how it came out, and what it was answered.
    pub(super) fn show(
        &mut self,
        received: &Received,
        checked: &Checked,
        status: u16,
        now: Timestamp,
        out: &mut (dyn Write + Send),
    ) -> io::Result<()> {
        let time = received.header("webhook-id").map(|id| self.count(id));
        let body = received.body.as_deref().ok().and_then(|body| serde_json::from_slice(body).ok());
        let body = body.map(told::without_secrets);
        if self.output == Output::Json {
            let line = as_json(received, checked, status, now, time, body.as_ref()).to_string();
            return writeln!(out, "{}", self.masks.over(line));
        }
        for line in as_lines(received, checked, status, now, time, body.as_ref()) {
            let shown: String = self.masks.over(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            writeln!(out, "{}", shown.trim_end())?;
        }
        Ok(())
    }

    /// How often this message has come.
    fn count(&mut self, id: &str) -> u64 {
        if let Some((_, times)) = self.seen.iter_mut().find(|(known, _)| known == id) {
            *times = times.saturating_add(1);
            return *times;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((id.chars().take(200).collect(), 1));
        1
    }
}

/// The path, and the query with its values masked.
fn target(received: &Received) -> String {
    let Some((path, query)) = received.target.split_once('?') else { return received.target.clone() };
    let names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| format!("{name}={MASK}"));
    format!("{path}?{}", names.collect::<Vec<_>>().join("&"))
}

fn headers(received: &Received) -> BTreeMap<&str, &str> {
    let shown = |name: &str| PLAIN.contains(&name);
    received.headers.iter().map(|(name, value)| (name.as_str(), if shown(name) { value } else { MASK })).collect()
}

fn bytes(received: &Received) -> u64 {
    received.body.as_ref().map_or(0, |body| u64::try_from(body.len()).unwrap_or(u64::MAX))
}

fn as_json(
    received: &Received,
    checked: &Checked,
    status: u16,
    now: Timestamp,
    time: Option<u64>,
    body: Option<&Value>,
) -> Value {
    let checks = checked.0.iter().map(|(name, outcome)| {
        let (word, why) = match outcome {
            Outcome::Passed(why) => ("passed", why),
            Outcome::Failed(why) => ("failed", why),
            Outcome::Unchecked(why) => ("unchecked", why),
        };
        json!({"check": name, "outcome": word, "why": why})
    });
    json!({
        "at": now.to_string(),
        "method": received.method,
        "target": target(received),
        "headers": headers(received),
        "bytes": bytes(received),
        "ok": checked.passed(),
        "checks": checks.collect::<Vec<_>>(),
        "answered": status,
        "message_id": received.header("webhook-id"),
        "time": time,
        "format": body.map(|body| told::tell(body).format),
        "body": body,
    })
}

fn as_lines(
    received: &Received,
    checked: &Checked,
    status: u16,
    now: Timestamp,
    time: Option<u64>,
    body: Option<&Value>,
) -> Vec<String> {
    let size = counted(bytes(received), "byte", "bytes");
    let mut lines = vec![String::new(), format!("── {now}  {} {}  {size}", received.method, target(received))];
    let mut add = |name: &str, value: &str| lines.push(format!("{name:<14} {value}"));
    if let (Some(id), Some(time)) = (received.header("webhook-id"), time) {
        let again = if time > 1 { format!("  (time {time}: the same message again)") } else { String::new() };
        add("message", &format!("{id}{again}"));
    }
    for (name, outcome) in &checked.0 {
        match outcome {
            Outcome::Passed(why) => add(name, &format!("ok: {why}")),
            Outcome::Failed(why) => add(name, &format!("WRONG: {why}")),
            Outcome::Unchecked(why) => add(name, &format!("not checked: {why}")),
        }
    }
    match body.map(told::tell) {
        Some(told) => {
            add("format", told.format);
            for (name, value) in &told.lines {
                add(name, value);
            }
        }
        None if bytes(received) > 0 => add("format", "the body is no JSON"),
        None => {}
    }
    add("answered", &status.to_string());
    lines
}
