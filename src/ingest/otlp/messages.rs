//! Messages: those that are spread over attributes (`llm.input_messages.0.message.role`, …), and those that are events.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::ingest::otlp::bodies::Body;
use crate::ingest::otlp::span::{Attributes, Event, below, says, unpacked};

/// The most steps of a key that are taken apart. What is beyond stays one key.
const DEEPEST: usize = 16;

/// Wrappers that conventions put around each item of a list.
const WRAPPERS: [&str; 3] = ["message", "message_content", "tool_call"];

/// What events say of inputs and outputs.
#[derive(Default)]
pub(super) struct Told {
    pub(super) inputs: Option<Body>,
    pub(super) outputs: Option<Body>,
}

/// The items below a prefix, by their numbers; there may be gaps.
pub(super) fn indexed(attributes: &Attributes, prefix: &str) -> Vec<Value> {
    let prefix = format!("{prefix}.");
    let mut items: BTreeMap<u32, Value> = BTreeMap::new();
    for (rest, value) in below(attributes, &prefix).filter(|(_, value)| !value.is_null()) {
        let (number, path) = rest.split_once('.').unwrap_or((rest, ""));
        let Ok(number) = number.parse() else { continue };
        let item = items.entry(number).or_insert_with(|| Value::Object(Map::new()));
        if path.is_empty() {
            *item = value.clone();
        } else if let Some(object) = item.as_object_mut() {
            put(object, path, value, DEEPEST);
        }
    }
    items.into_values().map(gathered).collect()
}

/// Puts a value where its path says. What is in the way stays, and the rest of the path becomes one key.
fn put(object: &mut Map<String, Value>, path: &str, value: &Value, steps: usize) {
    let step = path.split_once('.').filter(|_| steps > 1);
    let Some((step, rest)) = step else {
        object.insert(path.to_owned(), value.clone());
        return;
    };
    match object.entry(step).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(below) => put(below, rest, value, steps.saturating_sub(1)),
        _ => drop(object.insert(path.to_owned(), value.clone())),
    }
}

/// Objects whose keys are all numbers are lists; wrappers are taken off.
fn gathered(value: Value) -> Value {
    let Value::Object(object) = value else { return value };
    let numbered: Option<BTreeMap<u32, Value>> =
        object.iter().map(|(key, value)| Some((key.parse().ok()?, value.clone()))).collect();
    match numbered.filter(|list| !list.is_empty()) {
        Some(list) => list.into_values().map(gathered).collect(),
        None => unwrapped(object.into_iter().map(|(key, value)| (key, gathered(value))).collect()),
    }
}

fn unwrapped(mut object: Map<String, Value>) -> Value {
    let wrapper = WRAPPERS.into_iter().find(|wrapper| object.get(*wrapper).is_some_and(Value::is_object));
    let inside = wrapper.filter(|_| object.len() == 1).and_then(|wrapper| object.remove(wrapper));
    inside.unwrap_or(Value::Object(object))
}

/// Whether an event is a message, or what holds some.
pub(super) fn is_message(name: &str) -> bool {
    role(name).is_some() || matches!(name, "gen_ai.choice" | "gen_ai.content.prompt" | "gen_ai.content.completion")
}

/// Whose message an event is.
fn role(name: &str) -> Option<&'static str> {
    match name {
        "gen_ai.system.message" => Some("system"),
        "gen_ai.user.message" => Some("user"),
        "gen_ai.assistant.message" => Some("assistant"),
        "gen_ai.tool.message" => Some("tool"),
        _ => None,
    }
}

/// Inputs and outputs that are events of the span.
pub(super) fn told(events: &[Event]) -> Told {
    let (mut asked, mut answered, mut choices) = (Vec::new(), Vec::new(), Vec::new());
    let mut told = Told::default();
    for event in events {
        let whole =
            |key: &str, word: &str| Some(Body::of(event.attributes.get(key).filter(|value| says(value))?, word));
        match event.name.as_str() {
            "gen_ai.content.prompt" => told.inputs = whole("gen_ai.prompt", "input").or(told.inputs),
            "gen_ai.content.completion" => told.outputs = whole("gen_ai.completion", "text").or(told.outputs),
            "gen_ai.choice" => choices.extend(spoken(&event.attributes)),
            "gen_ai.system.message" | "gen_ai.user.message" => asked.extend(message(event)),
            "gen_ai.assistant.message" | "gen_ai.tool.message" => answered.extend(message(event)),
            _ => {}
        }
    }
    if told.inputs.is_none() && !asked.is_empty() {
        told.inputs = Some(Body::one("messages", asked));
    }
    if told.outputs.is_none() {
        let mut said = Map::new();
        let lists = [("choices", choices), ("messages", answered)].into_iter().filter(|(_, list)| !list.is_empty());
        said.extend(lists.map(|(key, list)| (key.to_owned(), Value::Array(list))));
        told.outputs = (!said.is_empty()).then_some(Body::Made(said));
    }
    told
}

/// What an event's attributes say, taken together.
fn spoken(attributes: &Attributes) -> Option<Value> {
    // Semantic Kernel puts the whole message into one text.
    if let Some(whole) = attributes.get("gen_ai.event.content").map(unpacked).filter(Value::is_object) {
        return Some(whole);
    }
    let mut object = Map::new();
    for (key, value) in attributes.iter().filter(|(key, value)| !key.starts_with("gen_ai.") && !value.is_null()) {
        put(&mut object, key, value, DEEPEST);
    }
    let said = object.into_iter().map(|(key, value)| (key, gathered(value))).collect::<Map<_, _>>();
    (!said.is_empty()).then_some(Value::Object(said))
}

fn message(event: &Event) -> Option<Value> {
    let mut message = spoken(&event.attributes)?;
    let object = message.as_object_mut()?;
    let role = role(&event.name)?;
    object.entry("role").or_insert_with(|| role.into());
    if role == "tool"
        && let Some(id) = object.remove("id")
    {
        object.insert("tool_call_id".to_owned(), id);
    }
    Some(message)
}

/// Inputs and outputs in Logfire's list of events.
pub(super) fn logged(attributes: &Attributes) -> Told {
    let Some(Value::Array(list)) = attributes.get("events").map(unpacked) else { return Told::default() };
    let (choices, others): (Vec<Value>, Vec<Value>) = list
        .into_iter()
        .filter(Value::is_object)
        .partition(|event| event.get("event.name").is_some_and(|name| name == "gen_ai.choice"));
    Told {
        inputs: (!others.is_empty()).then(|| Body::one("input", others)),
        outputs: choices.last().map(|choice| Body::of(choice, "text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attributes(object: Value) -> Attributes {
        let Value::Object(object) = object else { panic!() };
        object.into_iter().collect()
    }

    #[test]
    fn items_are_gathered_by_their_numbers_and_freed_of_their_wrappers() {
        let found = indexed(
            &attributes(json!({
                "m.10.message.role": "assistant", "m.2.role": "user", "m.2.content": "hi", "m.x.role": "?", "mm.0.role": "?",
                "m.10.message.tool_calls.0.tool_call.function.name": "look",
                "m.10.message.contents.1.message_content.text": "b",
                "m.10.message.contents.0.message_content.text": "a",
            })),
            "m",
        );
        let expected = json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"function": {"name": "look"}}], "contents": [{"text": "a"}, {"text": "b"}]},
        ]);
        assert_eq!(Value::Array(found), expected);
    }

    #[test]
    fn keys_that_get_in_each_others_way_are_all_kept_and_deep_ones_stay_flat() {
        let deep = format!("m.0.{}", "a.".repeat(100_000));
        let found = indexed(&attributes(json!({"m.0.content": "x", "m.0.content.type": "text", deep: 1})), "m");
        assert_eq!(found[0]["content"], "x");
        assert_eq!(found[0]["content.type"], "text");
        assert!(serde_json::to_string(&found).unwrap().matches('{').count() < 20);
    }
}
