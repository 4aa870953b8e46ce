//! `extra`: metadata and invocation parameters.
//!
//! Whatever a span says that is nowhere else in its run is metadata, under its own key, so that filters can ask for it.

use serde_json::{Map, Value};

use crate::ingest::otlp::span::{Attributes, Link, Sheet, Span, below, first_text, says, unpacked};

/// Attributes that are somewhere else in the run.
const ELSEWHERE: [&str; 21] = [
    "all_messages_events",
    "events",
    "gen_ai.completion",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.prompt",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "input.value",
    "llm.invocation_parameters",
    "llm.prompt_template.variables",
    "metadata",
    "output.value",
    "prompt",
    "tag.tags",
    "tool_arguments",
    "tools",
    "traceloop.entity.input",
    "traceloop.entity.output",
];

/// The beginnings of others.
const BELOW: [&str; 7] = [
    "gen_ai.completion.",
    "gen_ai.prompt.",
    "langsmith.",
    "llm.input_messages.",
    "llm.output_messages.",
    "retrieval.documents.",
    "traceloop.association.properties.",
];

/// Parameters of a call, which go by the last step of their keys.
const PARAMETERS: [&str; 14] = [
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.request.temperature",
    "gen_ai.request.top_p",
    "gen_ai.request.max_tokens",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.presence_penalty",
    "gen_ai.request.seed",
    "gen_ai.request.stop_sequences",
    "gen_ai.request.top_k",
    "gen_ai.request.encoding_formats",
    "llm.presence_penalty",
    "llm.frequency_penalty",
    "llm.request.functions",
];

/// Where the provider is named.
const PROVIDERS: [&str; 3] = ["gen_ai.system", "llm.system", "gen_ai.provider.name"];

/// Where the model is named.
const MODELS: [&str; 4] = ["gen_ai.request.model", "gen_ai.response.model", "model", "llm.model_name"];

/// What makes runs a thread, and where else that is said.
const THREADS: [&str; 3] = ["session_id", "thread_id", "conversation_id"];
const CONVERSATIONS: [(&str, &str); 2] = [("session.id", "session_id"), ("gen_ai.conversation.id", "conversation_id")];

/// A span's `extra`.
pub(super) fn extra(span: &Span, sheet: &Sheet) -> Map<String, Value> {
    let mut extra = Map::new();
    extra.insert("metadata".to_owned(), Value::Object(metadata(span, sheet)));
    let parameters = parameters(&span.attributes);
    if !parameters.is_empty() {
        extra.insert("invocation_params".to_owned(), Value::Object(parameters));
    }
    extra
}

/// What comes later wins.
fn metadata(span: &Span, sheet: &Sheet) -> Map<String, Value> {
    let attributes = &span.attributes;
    let mut metadata = Map::new();
    let mut say = |key: &str, value: Value| {
        if says(&value) {
            metadata.insert(key.to_owned(), value);
        }
    };
    for (key, value) in sheet.resource.iter().filter(|(key, _)| !is_elsewhere(key)) {
        say(key, value.clone());
    }
    say("otel.scope.name", sheet.scope_name.as_str().into());
    say("otel.scope.version", sheet.scope_version.as_str().into());
    for (key, value) in attributes.iter().filter(|(key, _)| !is_elsewhere(key)) {
        say(key, value.clone());
    }
    say("OTEL_TRACE_ID", hexadecimal(&span.trace_id).into());
    say("OTEL_SPAN_ID", hexadecimal(&span.id).into());
    if !span.links.is_empty() {
        say("OTEL_LINKS", span.links.iter().map(link).collect());
    }
    say("ls_provider", first_text(attributes, &PROVIDERS).into());
    say("ls_model_name", first_text(attributes, &MODELS).into());
    for prefix in ["traceloop.association.properties.", "langsmith.metadata."] {
        for (key, value) in below(attributes, prefix) {
            say(key, unpacked(value));
        }
    }
    if let Some(Value::Object(object)) = attributes.get("metadata").map(unpacked) {
        object.into_iter().for_each(|(key, value)| say(&key, value));
    }
    if !THREADS.iter().any(|key| metadata.contains_key(*key)) {
        let said = CONVERSATIONS.iter().find_map(|(from, to)| Some((*to, metadata.get(*from)?.clone())));
        metadata.extend(said.map(|(key, value)| (key.to_owned(), value)));
    }
    metadata
}

/// A link, under the names that the linked run's own metadata has.
fn link(link: &Link) -> Value {
    let mut said = Map::new();
    said.insert("OTEL_TRACE_ID".to_owned(), hexadecimal(&link.trace_id).into());
    said.insert("OTEL_SPAN_ID".to_owned(), hexadecimal(&link.id).into());
    if !link.attributes.is_empty() {
        said.insert("attributes".to_owned(), link.attributes.clone().into_iter().collect());
    }
    Value::Object(said)
}

fn is_elsewhere(key: &str) -> bool {
    ELSEWHERE.contains(&key) || BELOW.iter().any(|beginning| key.starts_with(beginning))
}

fn parameters(attributes: &Attributes) -> Map<String, Value> {
    let mut parameters = Map::new();
    let mut say = |key: &str, value: Value| drop(parameters.insert(key.to_owned(), value));
    let there = |key: &str| attributes.get(key).filter(|value| says(value));
    for key in PARAMETERS {
        if let Some(value) = there(key) {
            say(key.rsplit('.').next().unwrap_or(key), value.clone());
        }
    }
    if let Some(Value::Object(object)) = there("llm.invocation_parameters").map(unpacked) {
        object.into_iter().for_each(|(key, value)| say(&key, value));
    }
    if let Some(tools) = there("tools").or_else(|| there("gen_ai.tool.definitions")).map(unpacked) {
        say("tools", if tools.is_array() { tools } else { vec![tools].into() });
    }
    if let Some(arguments) = there("tool_arguments").map(unpacked) {
        say("tool_arguments", arguments);
    }
    if let Some(name) = there("gen_ai.tool.name") {
        say("tool_name", name.clone());
    }
    parameters
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |text, byte| text + &format!("{byte:02x}"))
}
