//! Inputs and outputs, by whichever convention the span follows.

use serde_json::{Map, Value};

use crate::ingest::otlp::messages::{self, Told};
use crate::ingest::otlp::span::{Attributes, Span, first, says, text, unpacked};
use crate::model::json::{RawJson, value_of};

/// Inputs or outputs: an object.
pub(super) enum Body {
    /// As it was sent, in a text.
    Kept(RawJson),
    /// Put together from attributes.
    Made(Map<String, Value>),
}

impl Body {
    /// An object with one key.
    pub(super) fn one(key: &str, value: impl Into<Value>) -> Self {
        Self::Made(Map::from_iter([(key.to_owned(), value.into())]))
    }

    /// An object as it is, be it in a text; anything else under a key.
    pub(super) fn of(value: &Value, key: &str) -> Self {
        Self::object(value).unwrap_or_else(|| Self::one(key, value.clone()))
    }

    fn object(value: &Value) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self::Made(object.clone())),
            Value::String(text) if text.trim_start().starts_with('{') => {
                RawJson::parse(text.clone()).ok().map(Self::Kept)
            }
            _ => None,
        }
    }

    /// With one more key, unless it says that already.
    pub(super) fn with(self, key: &str, value: Value) -> Self {
        match self {
            Self::Made(mut object) => {
                if object.get(key).is_none_or(Value::is_null) {
                    object.insert(key.to_owned(), value);
                }
                Self::Made(object)
            }
            Self::Kept(json) => match value_of(json.text(), key) {
                Some(there) if there.get() != "null" => Self::Kept(json),
                _ => Self::Kept(appended(&json, key, &value).unwrap_or(json)),
            },
        }
    }
}

/// An object's own text with one more key at its end; of two alike, the last counts.
fn appended(json: &RawJson, key: &str, value: &Value) -> Option<RawJson> {
    let open = json.text().trim_end().strip_suffix('}')?.trim_end();
    let comma = if open.trim_start() == "{" { "" } else { "," };
    RawJson::parse(format!("{open}{comma}{}:{value}}}", Value::from(key))).ok()
}

/// Inputs and outputs of a span.
pub(super) fn of(span: &Span, run_type: &str) -> (Option<Body>, Option<Body>) {
    let attributes = &span.attributes;
    let Told { inputs, outputs } = messages::told(&span.events);
    let is_retriever = run_type == "retriever";
    let inputs = inputs
        .or_else(|| template(attributes))
        .or_else(|| Some(Body::one("query", text(attributes, "input.value").filter(|_| is_retriever)?)))
        .or_else(|| listed(attributes, ["gen_ai.prompt", "llm.input_messages"], "gen_ai.input.messages"))
        .map(|body| instructed(body, attributes))
        .or_else(|| first(attributes, &INPUTS).map(|value| Body::of(value, "input")));
    let outputs = outputs
        .or_else(|| documents(attributes).filter(|_| is_retriever))
        .or_else(|| listed(attributes, ["gen_ai.completion", "llm.output_messages"], "gen_ai.output.messages"))
        .or_else(|| first(attributes, &OUTPUTS).map(|value| Body::of(value, "text")));
    if inputs.is_some() && outputs.is_some() {
        return (inputs, outputs);
    }
    let late = messages::logged(attributes);
    (inputs.or(late.inputs), outputs.or(late.outputs))
}

/// Where inputs are as a whole.
const INPUTS: [&str; 5] =
    ["input.value", "traceloop.entity.input", "gen_ai.prompt", "gen_ai.tool.call.arguments", "prompt"];

/// Where outputs are as a whole.
const OUTPUTS: [&str; 5] =
    ["output.value", "traceloop.entity.output", "gen_ai.completion", "gen_ai.tool.call.result", "all_messages_events"];

/// The variables of a template: those that were filled in, or the one whose value the input is.
fn template(attributes: &Attributes) -> Option<Body> {
    let variables = attributes.get("llm.prompt_template.variables").filter(|value| says(value))?;
    let Some(input) = attributes.get("input.value").filter(|value| says(value)) else {
        return Body::object(variables);
    };
    if let Some(object) = Body::object(input) {
        return Some(object);
    }
    let variables = unpacked(variables);
    let (key, value) = variables.as_object()?.iter().find(|(_, value)| *value == input)?;
    Some(Body::one(key, value.clone()))
}

/// Messages, given one attribute at a time or as a list.
fn listed(attributes: &Attributes, indexed: [&str; 2], whole: &str) -> Option<Body> {
    let listed = indexed.into_iter().map(|prefix| messages::indexed(attributes, prefix)).find(|list| !list.is_empty());
    let list = listed.map(Value::Array).or_else(|| {
        let list = attributes.get(whole).filter(|value| says(value)).map(unpacked)?;
        list.is_array().then_some(list)
    });
    list.map(|list| Body::one("messages", list))
}

fn instructed(body: Body, attributes: &Attributes) -> Body {
    match attributes.get("gen_ai.system_instructions").filter(|value| says(value)) {
        Some(instructions) => body.with("system_instructions", unpacked(instructions)),
        None => body,
    }
}

/// What a retriever found.
fn documents(attributes: &Attributes) -> Option<Body> {
    let found = messages::indexed(attributes, "retrieval.documents");
    let documents = found.into_iter().filter_map(|mut found| {
        let document = found.get_mut("document")?.as_object_mut()?;
        let content = document.remove("content")?;
        let metadata = document.remove("metadata").as_ref().map(unpacked).filter(Value::is_object);
        let mut shown = std::mem::take(document);
        shown.insert("page_content".to_owned(), content);
        shown.insert("metadata".to_owned(), metadata.unwrap_or_else(|| Value::Object(Map::new())));
        shown.insert("type".to_owned(), "Document".into());
        Some(Value::Object(shown))
    });
    let documents: Vec<Value> = documents.collect();
    (!documents.is_empty()).then(|| Body::one("documents", documents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_key_leaves_the_rest_as_it_was_sent() {
        for (text, expected) in [
            ("{}", r#"{"u":1}"#),
            (r#" {"a" : 1.10 } "#, r#"{"a" : 1.10,"u":1}"#),
            (r#"{"u":null}"#, r#"{"u":null,"u":1}"#),
            (r#"{"u":2}"#, r#"{"u":2}"#),
        ] {
            let Body::Kept(json) = Body::of(&text.into(), "x").with("u", 1.into()) else { panic!("{text}") };
            assert_eq!(json.text(), expected);
        }
    }
}
