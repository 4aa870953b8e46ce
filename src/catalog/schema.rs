//! JSON Schemas of payloads: draft 7, bounded before they are stored.
//!
//! A schema comes from whoever has a key, and runs for every event that is sent. So it may refer to nothing outside itself,
//! its patterns run in time that grows with the text alone, and what it refers to within itself is unfolded here once: a
//! schema that leads back to itself without looking further into the payload would never end, and one that doubles with
//! every step would take too long.

use std::collections::HashMap;

use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use crate::model::json::RawJson;

/// Bytes of the longest schema.
const LONGEST: usize = 128 * 1024;

/// How many schemas one may unfold to at one place of the payload.
const MOST: u64 = 2_000;

/// How deeply schemas may lie in each other.
const DEEPEST: usize = 100;

/// Bytes a compiled pattern may take.
const PATTERN_BYTES: usize = 1024 * 1024;

/// Failures that are told of one payload.
const TOLD: usize = 5;

/// Why a text is no schema that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidSchema {
    /// Where in the schema, as the members that lead there.
    pub path: Vec<String>,
    /// Why.
    pub message: String,
}

/// Where a payload is not as its schema says, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where in the payload, as the members that lead there.
    pub path: Vec<String>,
    /// How.
    pub message: String,
}

/// A schema that can be used.
#[derive(Debug)]
pub struct Schema(Validator);

/// Fetches nothing.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` lies outside of the schema, and nothing is fetched").into())
    }
}

fn path(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

impl Schema {
    /// Reads a schema.
    pub fn parse(text: &str) -> Result<Self, InvalidSchema> {
        let at_top = |message: String| InvalidSchema { path: Vec::new(), message };
        if text.len() > LONGEST {
            return Err(at_top(format!("a schema has at most {LONGEST} bytes")));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| at_top(format!("no JSON: {error}")))?;
        Unfolding { root: &schema, counted: HashMap::new() }.of(&schema, &mut Vec::new()).map_err(at_top)?;
        look_below(&schema, &schema, 0).map_err(at_top)?;
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
        // Formats are remarks in draft 7, and what Svix's users check with takes them so.
        let options =
            jsonschema::options().with_draft(Draft::Draft7).should_validate_formats(false).with_retriever(Nowhere);
        let built = options.with_pattern_options(patterns).build(&schema);
        built.map(Self).map_err(|error| InvalidSchema {
            path: path(error.instance_path().as_str()),
            message: error.to_string().chars().take(500).collect(),
        })
    }

    /// What of a payload is not as the schema says: the first few places.
    #[must_use]
    pub fn failures(&self, payload: &RawJson) -> Vec<Invalid> {
        let Ok(payload) = payload.read::<Value>() else {
            return vec![Invalid { path: Vec::new(), message: "it is no JSON".to_owned() }];
        };
        let failure = |error: jsonschema::ValidationError<'_>| Invalid {
            path: path(error.instance_path().as_str()),
            message: error.masked().to_string().chars().take(300).collect(),
        };
        self.0.iter_errors(&payload).take(TOLD).map(failure).collect()
    }
}

/// Counts what a schema unfolds to without looking further into the payload.
struct Unfolding<'s> {
    root: &'s Value,
    counted: HashMap<*const Value, u64>,
}

impl<'s> Unfolding<'s> {
    fn of(&mut self, schema: &'s Value, within: &mut Vec<*const Value>) -> Result<u64, String> {
        let place = std::ptr::from_ref(schema);
        if let Some(count) = self.counted.get(&place) {
            return Ok(*count);
        }
        if within.contains(&place) {
            return Err("it refers to itself without looking further into the payload".to_owned());
        }
        if within.len() > DEEPEST {
            return Err(format!("its references lead through more than {DEEPEST} schemas"));
        }
        within.push(place);
        let mut count = 1_u64;
        for next in beside(self.root, schema)? {
            count = count.saturating_add(self.of(next, within)?);
        }
        within.pop();
        if count > MOST {
            return Err(format!("it unfolds to more than {MOST} schemas at one place of the payload"));
        }
        self.counted.insert(place, count);
        Ok(count)
    }
}

/// The schemas that are asked about the same place of the payload.
fn beside<'s>(root: &'s Value, schema: &'s Value) -> Result<Vec<&'s Value>, String> {
    let Value::Object(members) = schema else { return Ok(Vec::new()) };
    if let Some(reference) = members.get("$ref") {
        // In draft 7 nothing else counts beside it.
        let reference = reference.as_str().ok_or("`$ref` is not text")?;
        return Ok(vec![referred(root, reference)?]);
    }
    let mut found = Vec::new();
    for (name, value) in members {
        match name.as_str() {
            "allOf" | "anyOf" | "oneOf" => found.extend(value.as_array().into_iter().flatten()),
            "not" | "if" | "then" | "else" => found.push(value),
            "dependencies" => found.extend(value.as_object().into_iter().flat_map(serde_json::Map::values)),
            _ => {}
        }
    }
    Ok(found)
}

fn referred<'s>(root: &'s Value, reference: &str) -> Result<&'s Value, String> {
    let nowhere = || format!("`$ref: {reference}` leads to nothing in the schema; nothing else is looked at");
    let pointer = reference.strip_prefix('#').ok_or_else(nowhere)?;
    let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8().map_err(|_| nowhere())?;
    root.pointer(&pointer).ok_or_else(nowhere)
}

/// Looks at every schema within one, wherever in the payload it is asked.
fn look_below(root: &Value, schema: &Value, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("it is more than {DEEPEST} levels deep"));
    }
    let mut unfolding = Unfolding { root, counted: HashMap::new() };
    match schema {
        Value::Object(members) => {
            // An `$id` would move what references are relative to.
            if depth > 0 && members.get("$id").is_some_and(Value::is_string) {
                return Err("`$id` stands at the top of a schema alone".to_owned());
            }
            unfolding.of(schema, &mut Vec::new())?;
            members.values().try_for_each(|below| look_below(root, below, depth + 1))
        }
        Value::Array(items) => items.iter().try_for_each(|below| look_below(root, below, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: &Value) -> String {
        Schema::parse(&schema.to_string()).unwrap_err().message
    }

    fn failures(schema: &Value, payload: &str) -> Vec<(String, String)> {
        let payload = RawJson::parse(payload.to_owned()).unwrap();
        let found = Schema::parse(&schema.to_string()).unwrap().failures(&payload);
        found.into_iter().map(|invalid| (invalid.path.join("/"), invalid.message)).collect()
    }

    #[test]
    fn a_payload_is_told_where_it_is_wrong_and_not_what_it_holds() {
        let schema = json!({
            "type": "object", "required": ["url"],
            "properties": { "url": { "type": "string", "pattern": "^https" }, "tags": { "items": { "type": "integer" } } },
        });
        assert!(failures(&schema, r#"{"url": "https://a.test", "tags": [1]}"#).is_empty());
        let found = failures(&schema, r#"{"url": "s3cret", "tags": [1, "s3cret"]}"#);
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["tags/1", "url"]);
        assert!(found.iter().all(|(_, message)| !message.contains("s3cret") && !message.is_empty()), "{found:?}");
        assert_eq!(failures(&schema, "{}").len(), 1);
    }

    #[test]
    fn references_within_a_schema_are_followed_and_lists_may_nest() {
        let schema = json!({
            "definitions": { "node": { "properties": { "next": { "$ref": "#/definitions/node" }, "n": { "type": "integer" } } } },
            "$ref": "#/definitions/node",
        });
        assert!(failures(&schema, r#"{"n": 1, "next": {"n": 2, "next": {}}}"#).is_empty());
        assert_eq!(failures(&schema, r#"{"next": {"next": {"n": "x"}}}"#)[0].0, "next/next/n");
        assert!(Schema::parse(&json!({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "http://a.test/b", "type": "object"}).to_string()).is_ok());
    }

    #[test]
    fn a_schema_that_is_none_or_would_not_end_or_reaches_out_is_refused() {
        assert!(refused(&json!({"type": "obj"})).contains("obj"));
        assert!(refused(&json!({"$ref": "http://example.com/schema.json"})).contains("leads to nothing"));
        assert!(refused(&json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}})).contains("leads to nothing"));
        assert!(refused(&json!({"$ref": "#"})).contains("refers to itself"));
        let pair = json!({"definitions": {"a": {"allOf": [{"$ref": "#/definitions/b"}]}, "b": {"not": {"$ref": "#/definitions/a"}}}});
        assert!(refused(&pair).contains("refers to itself"));
        let mut definitions = serde_json::Map::new();
        for n in 0..40 {
            let next = json!({"$ref": format!("#/definitions/d{}", n + 1)});
            definitions.insert(format!("d{n}"), json!({"anyOf": [next, next]}));
        }
        definitions.insert("d40".to_owned(), json!({"type": "integer"}));
        assert!(refused(&json!({"definitions": definitions, "$ref": "#/definitions/d0"})).contains("unfolds"));
        assert!(refused(&json!({"pattern": "(a{1000}){1000}"})).len() > 3);
        assert!(refused(&json!({"pattern": "(a)\\1"})).len() > 3, "a pattern that looks back takes too long");
        assert!(refused(&json!({"properties": {"a": {"$id": "http://a.test/"}}})).contains("$id"));
        let deep = "{\"not\":".repeat(120) + "true" + &"}".repeat(120);
        assert!(!Schema::parse(&deep).unwrap_err().message.is_empty());
        assert!(Schema::parse("{").unwrap_err().message.contains("no JSON"));
    }
}
