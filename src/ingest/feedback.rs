//! Feedback bodies.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ingest::depth;
use crate::ingest::error::Invalid;
use crate::ingest::value;
use crate::model::feedback::{Feedback, Score};
use crate::model::id::FeedbackId;
use crate::model::json::RawJson;
use crate::model::time::Timestamp;

/// The longest key, in characters.
const LONGEST_KEY: usize = 180;

/// The keys that are read. Every one keeps whether it was there, for `null` in an update means "cleared".
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    key: Option<&'a RawValue>,
    score: Option<&'a RawValue>,
    value: Option<&'a RawValue>,
    comment: Option<&'a RawValue>,
    correction: Option<&'a RawValue>,
    run_id: Option<&'a RawValue>,
    trace_id: Option<&'a RawValue>,
    session_id: Option<&'a RawValue>,
    feedback_source: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    modified_at: Option<&'a RawValue>,
    extra: Option<&'a RawValue>,
    feedback_config: Option<&'a RawValue>,
    feedback_group_id: Option<&'a RawValue>,
    comparative_experiment_id: Option<&'a RawValue>,
    start_time: Option<&'a RawValue>,
}

/// The keys an update may hold: absent, `null` or a value.
#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    score: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    comment: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    correction: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    feedback_config: Option<&'a RawValue>,
}

/// Keeps `null` apart from absent.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a new feedback record. What its sender left out is filled in: the id with `id`, the times with `now`.
pub fn read(json: &[u8], id: FeedbackId, now: Timestamp, depth_limit: u32) -> Result<Feedback, Invalid> {
    check(json, depth_limit)?;
    let keys: Keys<'_> = parse(json)?;
    let key = key("key", keys.key)?;
    let trace_id = keys.trace_id.map(|raw| value::id("trace_id", raw)).transpose()?;
    let run_id = keys.run_id.map(|raw| value::id("run_id", raw)).transpose()?;
    let session_id = keys.session_id.map(|raw| value::id("session_id", raw)).transpose()?;
    // Feedback on a trace is feedback on its root.
    let run_id = run_id.or(trace_id.map(Into::into));
    if run_id.is_none() && session_id.is_none() {
        return Err(Invalid::new("run_id", "is missing: feedback is about a run, a trace or a project"));
    }
    let modified_at = keys.modified_at.map(|raw| value::time("modified_at", raw)).transpose()?;
    let created_at = keys.created_at.map(|raw| value::time("created_at", raw)).transpose()?;
    Ok(Feedback {
        id: keys.id.map(|raw| value::id("id", raw)).transpose()?.unwrap_or(id),
        run_id,
        trace_id,
        session_id,
        key,
        score: keys.score.map(score).transpose()?,
        value: keys.value.map(value::any),
        comment: keys.comment.map(|raw| value::string("comment", raw)).transpose()?,
        correction: keys.correction.map(value::any),
        source: keys.feedback_source.map(|raw| value::object("feedback_source", raw)).transpose()?,
        extra: further(&keys)?,
        error: keys.error.map(|raw| boolean("error", raw)).transpose()?,
        created_at: created_at.unwrap_or(now),
        modified_at: modified_at.unwrap_or(now),
    })
}

/// What is judged.
pub(super) fn key(field: &str, raw: Option<&RawValue>) -> Result<String, Invalid> {
    let key = value::string(field, raw.ok_or_else(|| Invalid::new(field, "is missing"))?)?;
    if key.is_empty() || key.chars().count() > LONGEST_KEY {
        return Err(Invalid::new(field, format!("must have 1 to {LONGEST_KEY} characters")));
    }
    Ok(key)
}

/// Applies an update: only what it holds changes, and `null` clears.
pub fn update(mut feedback: Feedback, json: &[u8], now: Timestamp, depth_limit: u32) -> Result<Feedback, Invalid> {
    check(json, depth_limit)?;
    let update: Update<'_> = parse(json)?;
    if let Some(raw) = update.score {
        feedback.score = unless_null(raw).map(score).transpose()?;
    }
    if let Some(raw) = update.value {
        feedback.value = unless_null(raw).map(value::any);
    }
    if let Some(raw) = update.comment {
        feedback.comment = unless_null(raw).map(|raw| value::string("comment", raw)).transpose()?;
    }
    if let Some(raw) = update.correction {
        feedback.correction = unless_null(raw).map(value::any);
    }
    if let Some(raw) = update.feedback_config {
        let mut extra: BTreeMap<String, RawJson> =
            feedback.extra.as_ref().and_then(|extra| extra.read().ok()).unwrap_or_default();
        match unless_null(raw) {
            Some(raw) => extra.insert("feedback_config".to_owned(), value::object("feedback_config", raw)?),
            None => extra.remove("feedback_config"),
        };
        feedback.extra = written(&extra)?;
    }
    // A clock that stands still or runs back must not make the update look like a repeat.
    feedback.modified_at = now.max(Timestamp(feedback.modified_at.0.saturating_add(1)));
    Ok(feedback)
}

fn check(json: &[u8], depth_limit: u32) -> Result<(), Invalid> {
    depth::check("feedback", json, depth_limit)?;
    if json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        Ok(())
    } else {
        Err(Invalid::new("feedback", "must be a JSON object"))
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Invalid> {
    serde_json::from_slice(json).map_err(|error| Invalid::new("feedback", format!("is not valid JSON: {error}")))
}

fn unless_null(raw: &RawValue) -> Option<&RawValue> {
    (raw.get() != "null").then_some(raw)
}

/// A number rounded to four decimals, as the clients round it, or a yes or no.
pub(super) fn score(raw: &RawValue) -> Result<Score, Invalid> {
    match serde_json::from_str(raw.get()) {
        Ok(Score::Number(number)) => {
            let rounded = (number * 10_000.0).round() / 10_000.0;
            Ok(Score::Number(if rounded.is_finite() { rounded } else { number }))
        }
        Ok(yes_or_no) => Ok(yes_or_no),
        Err(_) => Err(Invalid::new("score", "must be a number, true or false")),
    }
}

fn boolean(field: &str, raw: &RawValue) -> Result<bool, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| Invalid::new(field, "must be true or false"))
}

/// The keys that are kept as they are, in one object.
fn further(keys: &Keys<'_>) -> Result<Option<RawJson>, Invalid> {
    let mut extra = BTreeMap::new();
    for (name, raw) in [
        ("extra", keys.extra),
        ("feedback_config", keys.feedback_config),
        ("feedback_group_id", keys.feedback_group_id),
        ("comparative_experiment_id", keys.comparative_experiment_id),
        ("start_time", keys.start_time),
    ] {
        if let Some(raw) = raw {
            extra.insert(name.to_owned(), value::any(raw));
        }
    }
    written(&extra)
}

fn written(extra: &BTreeMap<String, RawJson>) -> Result<Option<RawJson>, Invalid> {
    if extra.is_empty() {
        return Ok(None);
    }
    RawJson::of(extra).map(Some).map_err(|error| Invalid::new("extra", format!("is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "e095c2b7-87b0-4c30-b6e3-650e75c4735f";
    const NOW: Timestamp = Timestamp(1_000_000);

    fn fresh(json: &str) -> Result<Feedback, Invalid> {
        read(json.as_bytes(), FeedbackId(uuid::Uuid::nil()), NOW, 128)
    }

    #[test]
    fn what_the_sender_left_out_is_filled_in() {
        let feedback = fresh(&format!(r#"{{"key":"k","run_id":"{RUN}","score":0.123456,"comment":null}}"#)).unwrap();
        assert_eq!(feedback.score, Some(Score::Number(0.1235)));
        assert_eq!((feedback.created_at, feedback.modified_at), (NOW, NOW));
        assert_eq!((feedback.comment, feedback.extra), (None, None));
        let yes = fresh(&format!(r#"{{"key":"k","trace_id":"{RUN}","score":true}}"#)).unwrap();
        assert_eq!((yes.score, yes.run_id), (Some(Score::Bool(true)), Some(RUN.parse().unwrap())));
    }

    #[test]
    fn an_update_changes_what_it_holds_and_null_clears() {
        let json = format!(r#"{{"key":"k","run_id":"{RUN}","score":1,"comment":"c","value":"v"}}"#);
        let updated = update(fresh(&json).unwrap(), br#"{"score":0.5,"comment":null}"#, NOW, 128).unwrap();
        assert_eq!(updated.score, Some(Score::Number(0.5)));
        assert_eq!(updated.comment, None);
        assert_eq!(updated.value.unwrap().text(), "\"v\"");
        assert!(updated.modified_at > NOW);
    }

    #[test]
    fn errors_name_the_field() {
        let long = format!(r#"{{"run_id":"{RUN}","key":"{}"}}"#, "k".repeat(181));
        for (json, field) in [
            ("{}", "key"),
            (r#"{"key":"k"}"#, "run_id"),
            (long.as_str(), "key"),
            (r#"{"key":"k","run_id":"x"}"#, "run_id"),
            (r#"{"key":"k","score":"high","run_id":"e095c2b787b04c30b6e3650e75c4735f"}"#, "score"),
            ("[]", "feedback"),
        ] {
            assert_eq!(fresh(json).unwrap_err().field, field, "{json}");
        }
    }
}
