//! A span as the post of a run: where it stands, what it is, when it was, how it ended. The order of the keys is the order
//! of precedence, and `docs/opentelemetry.md` has it as a table.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::config::Limits;
use crate::ingest::depth;
use crate::ingest::error::Invalid;
use crate::ingest::intake::{File, Loose};
use crate::ingest::normalise;
use crate::ingest::otlp::bodies::{self, Body};
use crate::ingest::otlp::span::{Attributes, Event, Sheet, Span, first_text, says, text};
use crate::ingest::otlp::{messages, metadata, usage};
use crate::model::id::{InvalidId, ProjectId, RunId, TraceId};
use crate::model::json::RawJson;
use crate::model::project::{DEFAULT_PROJECT, ProjectRef};
use crate::model::run::{Fields, PartKind, Payload};

/// What a span without a name is called.
const UNNAMED: &str = "unknown_span";

/// The types that LangSmith's own attribute may give.
const RUN_TYPES: [&str; 7] = ["tool", "chain", "llm", "retriever", "embedding", "prompt", "parser"];

/// The event of today's conventions that holds what would else be attributes.
const DETAILS: &str = "gen_ai.client.inference.operation.details";

/// A span's run. `refuse` is told of what else was wrong: the run is taken without it.
pub(super) fn of(
    mut span: Span,
    sheet: &Sheet,
    project: Option<&str>,
    limits: &Limits,
    mut refuse: impl FnMut(String),
) -> Result<Loose, Invalid> {
    for event in span.events.iter().filter(|event| event.name == DETAILS) {
        for (key, value) in &event.attributes {
            span.attributes.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let (run_id, mut fields) = place(&span)?;
    let attributes = &span.attributes;
    let run_type = run_type(attributes);
    let (inputs, outputs) = bodies::of(&span, &run_type);
    let outputs = usage::added(attributes, outputs);
    fields.name = Some(name(&span));
    fields.reference_example_id = id(attributes, "langsmith.reference_example_id")?.map(|id: RunId| id.0);
    fields.tags = tags(attributes);
    fields.inputs = payload("inputs", inputs, limits)?;
    fields.outputs = payload("outputs", outputs, limits)?;
    fields.extra = Some(checked("extra", &metadata::extra(&span, sheet), limits)?);
    fields.events = events(&span.events, limits)?;
    (fields.status, fields.error) = failure(&span);
    fields.run_type = Some(run_type);
    (fields.start_time, fields.end_time) = (Some(span.start), span.end);
    let project = match project {
        Some(name) => ProjectRef::Name(name.to_owned()),
        None => named_project(attributes, &sheet.resource)?,
    };
    let files = files(attributes, limits, &mut refuse);
    Ok(Loose { run_id, kind: PartKind::Post, project: Some(project), fields, files })
}

/// The run's id, and where it stands in its trace.
fn place(span: &Span) -> Result<(RunId, Fields), Invalid> {
    let attributes = &span.attributes;
    let trace: TraceId = id(attributes, "langsmith.trace.id")?.unwrap_or(TraceId(Uuid::from_bytes(span.trace_id)));
    let named_parent: Option<RunId> = id(attributes, "langsmith.span.parent_id")?;
    let parent = named_parent.or(span.parent.map(padded)).filter(|_| !is_flagged_root(attributes));
    let own = padded(span.id);
    let run_id = match id(attributes, "langsmith.span.id")? {
        Some(said) => said,
        None if parent.is_none() => trace.into(),
        None => own,
    };
    let mut fields = Fields { alias: (own != run_id).then_some(own), ..Fields::default() };
    if let Some(path) = text(attributes, "langsmith.span.dotted_order") {
        fields.trace_id = id(attributes, "langsmith.trace.id")?;
        fields.parent_run_id = named_parent;
        fields.dotted_order = Some(path.to_owned());
        normalise::complete_lineage(&mut fields, run_id);
    }
    if fields.dotted_order.is_none() {
        fields.parent_run_id = parent;
        fields.trace_id = Some(if parent.is_none() { run_id.into() } else { trace });
    }
    Ok((run_id, fields))
}

/// The id of a run that has none but its span's.
fn padded(span_id: [u8; 8]) -> RunId {
    RunId(Uuid::from_u128(u64::from_be_bytes(span_id).into()))
}

fn is_flagged_root(attributes: &Attributes) -> bool {
    attributes.get("langsmith.is_root").is_some_and(|flag| *flag == Value::Bool(true) || flag == "true")
}

fn id<T: std::str::FromStr<Err = InvalidId>>(attributes: &Attributes, key: &str) -> Result<Option<T>, Invalid> {
    let said = text(attributes, key).map(str::parse).transpose();
    said.map_err(|error| Invalid::new(key, format!("is not an id: {error}")))
}

fn named_project(attributes: &Attributes, resource: &Attributes) -> Result<ProjectRef, Invalid> {
    for said in [attributes, resource] {
        if let Some(id) = id::<ProjectId>(said, "langsmith.trace.session_id")? {
            return Ok(ProjectRef::Id(id));
        }
        if let Some(name) = text(said, "langsmith.trace.session_name") {
            return Ok(ProjectRef::Name(name.to_owned()));
        }
    }
    Ok(ProjectRef::Name(DEFAULT_PROJECT.to_owned()))
}

fn run_type(attributes: &Attributes) -> String {
    let run_type = if attributes.get("llm.prompt_template.variables").is_some_and(says) {
        "prompt"
    } else if attributes.get("gen_ai.tool.name").is_some_and(says) {
        "tool"
    } else {
        let word = |key: &str| text(attributes, key).map(str::to_lowercase);
        word("langsmith.span.kind")
            .and_then(|kind| RUN_TYPES.into_iter().find(|known| *known == kind))
            .or_else(|| word("gen_ai.operation.name").and_then(|operation| type_of_operation(&operation)))
            .or_else(|| word("llm.request.type").map(|kind| if kind == "embedding" { "embedding" } else { "llm" }))
            .or_else(|| word("openinference.span.kind").map(|kind| type_of_kind(&kind)))
            .or_else(|| word("traceloop.span.kind").map(|kind| type_of_kind(&kind)))
            .unwrap_or("chain")
    };
    run_type.to_owned()
}

/// The type of an operation of the GenAI conventions.
fn type_of_operation(operation: &str) -> Option<&'static str> {
    match operation {
        "chat" | "completion" | "text_completion" | "generate_content" => Some("llm"),
        "embedding" | "embeddings" => Some("embedding"),
        "execute_tool" => Some("tool"),
        _ => None,
    }
}

fn type_of_kind(kind: &str) -> &'static str {
    ["tool", "llm", "retriever", "embedding"].into_iter().find(|known| *known == kind).unwrap_or("chain")
}

fn name(span: &Span) -> String {
    let attributes = &span.attributes;
    let is_tool = text(attributes, "openinference.span.kind").is_some_and(|kind| kind.eq_ignore_ascii_case("tool"));
    let tool = || text(attributes, "tool.name").filter(|_| is_tool);
    let said = first_text(attributes, &["langsmith.trace.name", "traceloop.entity.name"]).or_else(tool);
    let name = said.unwrap_or(&span.name);
    if name.is_empty() { UNNAMED } else { name }.to_owned()
}

fn tags(attributes: &Attributes) -> Option<Vec<String>> {
    let said = ["langsmith.span.tags", "tag.tags"].into_iter().find_map(|key| match attributes.get(key)? {
        Value::String(text) => Some(text.split(',').map(str::trim).map(str::to_owned).collect::<Vec<_>>()),
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => None,
    })?;
    Some(said.into_iter().filter(|tag| !tag.is_empty()).collect())
}

/// The first exception, or else the status.
fn failure(span: &Span) -> (Option<String>, Option<String>) {
    if let Some(exception) = span.events.iter().find(|event| event.name == "exception") {
        let said = |key| text(&exception.attributes, key);
        let message = said("exception.message").or_else(|| said("exception.type")).unwrap_or_default();
        let error = match said("exception.stacktrace") {
            Some(trace) if message.is_empty() => format!("Stacktrace:\n{trace}"),
            Some(trace) => format!("{message}\n\nStacktrace:\n{trace}"),
            None => message.to_owned(),
        };
        return (Some("error".to_owned()), Some(error).filter(|error| !error.is_empty()));
    }
    let Some(message) = &span.failure else { return (None, None) };
    let error = Some(message.as_str()).filter(|message| !message.is_empty());
    (Some("error".to_owned()), error.or_else(|| text(&span.attributes, "error.type")).map(str::to_owned))
}

/// What happened during the span, but for messages, which are in inputs and outputs.
fn events(events: &[Event], limits: &Limits) -> Result<Option<RawJson>, Invalid> {
    let kept = events.iter().filter(|event| !messages::is_message(&event.name) && event.name != DETAILS);
    let kept = kept.map(|event| {
        let attributes: Map<String, Value> = event.attributes.clone().into_iter().collect();
        json!({ "name": event.name, "time": event.at.with_offset(), "kwargs": attributes })
    });
    let kept: Vec<Value> = kept.collect();
    if kept.is_empty() { Ok(None) } else { checked("events", &kept, limits).map(Some) }
}

fn payload(field: &str, body: Option<Body>, limits: &Limits) -> Result<Option<Payload>, Invalid> {
    let json = match body {
        None => return Ok(None),
        Some(Body::Kept(json)) => json,
        Some(Body::Made(object)) => written(field, &object)?,
    };
    check_depth(field, &json, limits)?;
    Ok(Some(Payload::Inline(json)))
}

fn checked(field: &str, value: &(impl serde::Serialize + ?Sized), limits: &Limits) -> Result<RawJson, Invalid> {
    let json = written(field, value)?;
    check_depth(field, &json, limits)?;
    Ok(json)
}

/// As deep as in a run that is posted, where the field is one level down.
fn check_depth(field: &str, json: &RawJson, limits: &Limits) -> Result<(), Invalid> {
    depth::check(field, json.text().as_bytes(), limits.json_depth.saturating_sub(1))
}

fn written(field: &str, value: &(impl serde::Serialize + ?Sized)) -> Result<RawJson, Invalid> {
    RawJson::of(value).map_err(|error| Invalid::new(field, format!("cannot be written as JSON: {error}")))
}

/// The files in `langsmith.attachments`.
fn files(attributes: &Attributes, limits: &Limits, refuse: &mut impl FnMut(String)) -> Vec<File> {
    let Some(given) = text(attributes, "langsmith.attachments") else { return Vec::new() };
    let Ok(list) = serde_json::from_str::<Vec<Value>>(given) else {
        refuse("`langsmith.attachments` is not a JSON list: the run was taken without its attachments".to_owned());
        return Vec::new();
    };
    let mut files = Vec::new();
    for (number, item) in list.iter().enumerate() {
        match file(item, limits) {
            Ok(file) => files.push(file),
            Err(reason) => refuse(format!("attachment {number} was left out: {reason}")),
        }
    }
    files
}

fn file(item: &Value, limits: &Limits) -> Result<File, String> {
    let word = |key: &str| item.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = word("name").ok_or("`name` is missing")?;
    let bytes = STANDARD.decode(word("content").unwrap_or_default()).map_err(|_| "`content` is not base64")?;
    if bytes.len() as u64 > limits.attachment_bytes {
        return Err(format!("it is larger than {} bytes", limits.attachment_bytes));
    }
    let mime_type = word("mime_type").unwrap_or("application/octet-stream");
    Ok(File { name: name.to_owned(), mime_type: mime_type.to_owned(), bytes: bytes.into() })
}
