//! What a notification tells, in lines for people, whichever format it comes in.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::count::counted;
use crate::model::endpoint::MASK;

/// Runs that are shown; the rest are counted.
const RUNS: usize = 10;

/// Characters of a value that are shown.
const BRIEF: usize = 300;

/// Lines of a body that nobody knows.
const LINES: usize = 40;

/// A notification, as lines with their names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) format: &'static str,
    pub(super) lines: Vec<(String, String)>,
}

/// Reads a notification.
pub(super) fn tell(body: &Value) -> Told {
    let has = |name: &str| body.get(name).is_some();
    let data = body.get("data").unwrap_or(&Value::Null);
    let (format, payload) = if has("rule_id") && has("repo") && has("webhook") {
        ("huggingface", Some(body))
    } else if has("rule_id") && has("runs") {
        ("langsmith", Some(body))
    } else if has("version") && data.get("runs").is_some() {
        ("argilla", Some(data))
    } else if has("type") && data.get("runs").is_some() {
        ("standard", Some(data))
    } else if has("blocks") {
        ("slack", None)
    } else if has("event_action") && has("routing_key") {
        ("pagerduty", None)
    } else {
        ("of its own", None)
    };
    let lines = match (format, payload) {
        (_, Some(payload)) => of_payload(payload),
        ("slack", _) => of_slack(body),
        ("pagerduty", _) => of_pagerduty(body),
        _ => of_any(body),
    };
    Told { format, lines }
}

/// The body without what is a secret by its name.
pub(super) fn without_secrets(mut body: Value) -> Value {
    if let Some(key) = body.get_mut("routing_key") {
        *key = MASK.into();
    }
    body
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn line(name: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

/// A value in one line, cut.
fn brief(value: &Value) -> String {
    let whole = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut shown: String = whole.chars().take(BRIEF).collect();
    if shown.len() < whole.len() {
        let rest = whole.chars().count().saturating_sub(BRIEF);
        write!(shown, "… ({} more)", counted(u64::try_from(rest).unwrap_or(u64::MAX), "character", "characters")).ok();
    }
    shown
}

/// The documented payload.
fn of_payload(body: &Value) -> Vec<(String, String)> {
    let number = |name: &str| body.get(name).and_then(Value::as_u64).unwrap_or(1);
    let runs = list(body, "runs");
    let named = match text(body, "/rule_name") {
        "" => String::new(),
        name => format!("{name}  "),
    };
    let part =
        if number("parts") > 1 { format!("  part {} of {}", number("part"), number("parts")) } else { String::new() };
    let mut lines = vec![
        line("rule", format!("{named}{}", text(body, "/rule_id"))),
        line("project", text(body, "/project")),
        line("window", format!("{} .. {}{part}", text(body, "/start_time"), text(body, "/end_time"))),
        line("feedback", feedback(body)),
        line("runs", runs.len().to_string()),
    ];
    for (index, run) in runs.iter().take(RUNS).enumerate() {
        lines.extend(of_run(index.saturating_add(1), run));
    }
    if runs.len() > RUNS {
        lines.push(line("", format!("and {} more", runs.len().saturating_sub(RUNS))));
    }
    lines.retain(|(_, value)| !value.is_empty());
    lines
}

fn of_run(number: usize, run: &Value) -> Vec<(String, String)> {
    let kind = text(run, "/run_type");
    let head = format!("{} ({kind}) {}  {}", text(run, "/name"), text(run, "/status"), text(run, "/id"));
    let mut lines = vec![line(format!("  {number}"), head)];
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(line(format!("    {name}"), value));
        }
    };
    add("error", run.get("error").filter(|error| !error.is_null()).map(brief).unwrap_or_default());
    for (name, links) in [("inputs", "/inputs_s3_urls"), ("outputs", "/outputs_s3_urls")] {
        match text(run, &format!("{links}/ROOT/presigned_url")) {
            "" => add(name, run.get(name).filter(|value| !value.is_null()).map(brief).unwrap_or_default()),
            link => add(name, format!("at {link}")),
        }
    }
    for (name, link) in run.get("s3_urls").and_then(Value::as_object).into_iter().flatten() {
        add(name, format!("at {}", text(link, "/presigned_url")));
    }
    add("feedback", feedback(run));
    lines
}

/// Feedback by key: `user_score 0.2 (3)`, or how often each label was given.
fn feedback(value: &Value) -> String {
    let stats = value.get("feedback_stats").and_then(Value::as_object).into_iter().flatten();
    let told = stats.map(|(key, stats)| match stats.get("avg").and_then(Value::as_f64) {
        Some(mean) => format!("{key} {} ({})", (mean * 1000.0).round() / 1000.0, stats["n"]),
        None => format!("{key} {}", brief(stats.get("values").unwrap_or(&Value::Null))),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn of_slack(body: &Value) -> Vec<(String, String)> {
    let mut lines = vec![line("text", text(body, "/text"))];
    for block in list(body, "blocks") {
        let own = text(block, "/text/text").lines().map(|own| line("  block", own));
        let elements = list(block, "elements").iter().map(|element| line("  block", text(element, "/text")));
        lines.extend(own.chain(elements));
    }
    lines
}

fn of_pagerduty(body: &Value) -> Vec<(String, String)> {
    let details = body.pointer("/payload/custom_details").unwrap_or(&Value::Null);
    let mut lines = vec![
        line("action", text(body, "/event_action")),
        line("summary", text(body, "/payload/summary")),
        line("severity", text(body, "/payload/severity")),
        line("dedup key", text(body, "/dedup_key")),
        line("window", format!("{} .. {}", text(details, "/start_time"), text(details, "/end_time"))),
    ];
    for (index, run) in list(details, "runs").iter().take(RUNS).enumerate() {
        lines.extend(of_run(index.saturating_add(1), run));
    }
    lines
}

/// What has a shape of its own is shown as it is.
fn of_any(body: &Value) -> Vec<(String, String)> {
    let pretty = serde_json::to_string_pretty(body).unwrap_or_default();
    let mut lines: Vec<_> = pretty.lines().take(LINES).map(|own| line("", brief(&own.into()))).collect();
    let rest = pretty.lines().count().saturating_sub(LINES);
    if rest > 0 {
        lines.push(line("", format!("… and {rest} more lines")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload() -> Value {
        json!({
            "rule_id": "r1", "rule_name": "Low score", "project": "bot", "start_time": "a", "end_time": "b",
            "part": 2, "parts": 3, "feedback_stats": {"user_score": {"n": 2, "avg": 0.25, "values": {}}},
            "runs": [
                {"id": "1", "name": "agent", "run_type": "chain", "status": "error", "error": "boom",
                 "inputs": {"q": "x".repeat(400)}, "outputs": null,
                 "outputs_s3_urls": {"ROOT": {"presigned_url": "http://b/1", "s3_url": "k"}},
                 "s3_urls": {"attachment.a": {"presigned_url": "http://b/2"}},
                 "feedback_stats": {"tone": {"n": 0, "avg": null, "values": {"rude": 1}}}},
            ],
        })
    }

    fn found<'t>(told: &'t Told, name: &str) -> &'t str {
        told.lines.iter().find(|(own, _)| own.trim() == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    #[test]
    fn the_documented_payload_is_told_in_whatever_it_is_wrapped() {
        let mut hub = json!({"event": {}, "repo": {}, "webhook": {}});
        hub.as_object_mut().unwrap().extend(payload().as_object().unwrap().clone());
        for (format, body) in [
            ("langsmith", payload()),
            ("standard", json!({"type": "runs.matched", "timestamp": "t", "data": payload()})),
            ("argilla", json!({"type": "record.completed", "version": 1, "data": payload()})),
            ("huggingface", hub),
        ] {
            let told = tell(&body);
            assert_eq!(told.format, format);
            assert_eq!(found(&told, "rule"), "Low score  r1");
            assert_eq!(found(&told, "window"), "a .. b  part 2 of 3");
            assert_eq!(found(&told, "1"), "agent (chain) error  1");
            assert_eq!(found(&told, "outputs"), "at http://b/1");
            assert_eq!(found(&told, "attachment.a"), "at http://b/2");
            assert!(found(&told, "inputs").ends_with("… (108 characters more)"), "{}", found(&told, "inputs"));
            assert_eq!(found(&told, "feedback"), "user_score 0.25 (2)");
        }
    }

    #[test]
    fn a_summary_is_told_as_one_and_a_routing_key_is_not() {
        let event = json!({"routing_key": "planted", "event_action": "trigger", "dedup_key": "d",
            "payload": {"summary": "2 runs", "severity": "error"}});
        let told = tell(&event);
        assert_eq!((told.format, found(&told, "summary")), ("pagerduty", "2 runs"));
        assert!(!format!("{told:?}{}", without_secrets(event)).contains("planted"));
        let blocks = json!({"text": "2 runs", "blocks": [{"text": {"text": "one\ntwo"}}]});
        let told = tell(&blocks);
        assert_eq!((told.format, told.lines.len()), ("slack", 3));
        let long = tell(&json!((0..100).collect::<Vec<_>>()));
        assert_eq!((long.format, long.lines.len()), ("of its own", LINES + 1));
    }
}
