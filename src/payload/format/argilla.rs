//! `argilla`: an event of Argilla's webhooks. A typed listener on `record.completed` gets a record made of the run; a raw
//! one finds the documented payload in `data` beside it.
//!
//! A notification of several runs is one record whose field `runs` has them by id; `batch: { max_runs: 1 }` gives a record
//! for each. Listeners answer 500 to anything they do not know, so nothing here is optional.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::payload::format::told::{Run, Told};
use crate::payload::format::{FormatError, Source, json};

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    version: u32,
    timestamp: String,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct Record<'a> {
    id: String,
    status: &'static str,
    fields: BTreeMap<&'static str, Field<'a>>,
    metadata: BTreeMap<&'static str, &'a str>,
    external_id: String,
    dataset: Dataset<'a>,
    inserted_at: String,
    updated_at: String,
}

/// What a field may hold: text, an object, or nothing.
#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    Nothing,
    Text(String),
    Object(&'a RawValue),
    Runs(BTreeMap<&'a str, BTreeMap<&'static str, Field<'a>>>),
}

#[derive(Serialize)]
struct Dataset<'a> {
    id: &'a str,
    name: String,
    workspace: Workspace,
}

#[derive(Serialize)]
struct Workspace {
    id: String,
    name: String,
}

pub(super) fn write(source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    match &source.message.event_type {
        Some(event_type) => event(source, event_type),
        None => record(source),
    }
}

/// An event of Argilla's own types, whose payload says what there is to say.
fn event(source: Source<'_>, event_type: &str) -> Result<Vec<u8>, FormatError> {
    let data = serde_json::from_slice(source.body).map_err(|_| FormatError("its stored body is no JSON".to_owned()))?;
    json(&Event { r#type: event_type, version: 1, timestamp: source.message.created_at.to_string(), data })
}

fn record(source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let (told, message) = (source.told()?, source.message);
    let (id, external_id) = match told.runs.as_slice() {
        [run] => (run.id.to_string(), run.id.to_string()),
        _ => (message.id.to_string(), message.id.to_string()),
    };
    let at = message.created_at.to_string();
    let record = Record {
        id,
        status: "completed",
        fields: fields(&told),
        metadata: metadata(&told),
        external_id,
        dataset: Dataset {
            id: told.project_id(),
            name: plain(&told.project),
            workspace: Workspace { id: message.tenant_id.to_string(), name: message.tenant_id.to_string() },
        },
        inserted_at: at.clone(),
        updated_at: at.clone(),
    };
    let data = source.with_body(&record)?;
    let data: &RawValue =
        serde_json::from_slice(&data).map_err(|_| FormatError("its stored body is no JSON object".to_owned()))?;
    json(&Event { r#type: "record.completed", version: 1, timestamp: at, data })
}

fn fields<'a>(told: &'a Told<'_>) -> BTreeMap<&'static str, Field<'a>> {
    if let [run] = told.runs.as_slice() {
        return values(run);
    }
    let runs = told.runs.iter().map(|run| (run.id.as_ref(), values(run)));
    BTreeMap::from([("runs", Field::Runs(runs.collect()))])
}

fn values<'a>(run: &'a Run<'_>) -> BTreeMap<&'static str, Field<'a>> {
    let mut values = BTreeMap::from([("inputs", field(run.inputs)), ("outputs", field(run.outputs))]);
    for (name, url) in [("inputs_url", run.inputs_url()), ("outputs_url", run.outputs_url())] {
        values.extend(url.map(|url| (name, Field::Text(url.to_owned()))));
    }
    values
}

/// Argilla takes lists for chats and refuses others, and numbers too: those travel as their own text.
fn field(value: Option<&RawValue>) -> Field<'_> {
    match value {
        None => Field::Nothing,
        Some(value) if value.get().starts_with('{') => Field::Object(value),
        Some(value) => {
            let text = serde_json::from_str::<String>(value.get());
            Field::Text(text.unwrap_or_else(|_| value.get().to_owned()))
        }
    }
}

fn metadata<'a>(told: &'a Told<'_>) -> BTreeMap<&'static str, &'a str> {
    let mut found = BTreeMap::from([("rule", told.rule_name.as_ref()), ("project", told.project.as_ref())]);
    if let [run] = told.runs.as_slice() {
        found.extend([("run_type", run.run_type.as_ref()), ("status", run.status.as_ref())]);
        found.extend(run.thread_id.as_deref().map(|thread| ("thread_id", thread)));
    }
    found
}

/// A project's name in the characters that names have there.
fn plain(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    if plain.is_empty() { "project".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

    #[test]
    fn a_field_is_what_argilla_takes() {
        let shown = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            to_raw_value(&field(Some(&raw))).unwrap().get().to_owned()
        };
        assert_eq!(shown(r#"{"a": 1.0}"#), r#"{"a": 1.0}"#);
        assert_eq!(shown(r#""text""#), r#""text""#);
        assert_eq!(shown("[1,2]"), r#""[1,2]""#);
        assert_eq!(shown("1.50"), r#""1.50""#);
        assert_eq!(to_raw_value(&field(None)).unwrap().get(), "null");
        assert_eq!((plain("support bot/2"), plain("")), ("support-bot-2".to_owned(), "project".to_owned()));
    }
}
