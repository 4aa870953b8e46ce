//! JSON requests: ids in hexadecimal (as base64, too: some senders write them as protobuf's JSON does), 64-bit numbers as
//! numbers or texts, enums as numbers or names. Each span is read by itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ingest::error::{IngestError, Invalid};
use crate::ingest::otlp::check_count;
use crate::ingest::otlp::protobuf::double;
use crate::ingest::otlp::span::{self, Attributes, Event, Link, Sheet, Span};

/// The status of a span that failed.
const ERROR: &str = "STATUS_CODE_ERROR";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    resource_spans: Option<Vec<ResourceSpans<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Option<Resource>,
    #[serde(borrow)]
    scope_spans: Option<Vec<ScopeSpans<'a>>>,
}

#[derive(Deserialize)]
struct Resource {
    attributes: Option<Vec<Pair>>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    scope: Option<Scope>,
    #[serde(borrow)]
    spans: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
struct Scope {
    name: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanKeys {
    trace_id: Option<String>,
    span_id: Option<String>,
    parent_span_id: Option<String>,
    name: Option<String>,
    start_time_unix_nano: Option<Whole>,
    end_time_unix_nano: Option<Whole>,
    attributes: Option<Vec<Pair>>,
    events: Option<Vec<EventKeys>>,
    links: Option<Vec<LinkKeys>>,
    status: Option<StatusKeys>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventKeys {
    name: Option<String>,
    time_unix_nano: Option<Whole>,
    attributes: Option<Vec<Pair>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkKeys {
    trace_id: Option<String>,
    span_id: Option<String>,
    attributes: Option<Vec<Pair>>,
}

#[derive(Deserialize, Default)]
struct StatusKeys {
    code: Option<Code>,
    message: Option<String>,
}

/// An enum's value.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Number(i64),
    Name(String),
}

/// A whole number, which may be written as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Whole {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    value: Option<Any>,
}

/// An `AnyValue`, as what it means.
struct Any(Value);

/// Hands over each span of a request.
pub(super) fn read(
    body: &[u8],
    limit: u32,
    take: &mut dyn FnMut(&Sheet, Result<Span, Invalid>),
) -> Result<(), IngestError> {
    let request: Request<'_> = serde_json::from_slice(body)
        .map_err(|error| IngestError::Malformed(format!("the body is no ExportTraceServiceRequest: {error}")))?;
    let of_resources = request.resource_spans.unwrap_or_default();
    let of_scopes = of_resources.iter().flat_map(|one| one.scope_spans.iter().flatten());
    check_count(of_scopes.map(|one| one.spans.as_ref().map_or(0, Vec::len)).sum(), limit)?;
    for of_resource in of_resources {
        let resource = attributes(of_resource.resource.and_then(|resource| resource.attributes));
        for of_scope in of_resource.scope_spans.unwrap_or_default() {
            let scope = of_scope.scope.unwrap_or_default();
            let (scope_name, scope_version) = (scope.name.unwrap_or_default(), scope.version.unwrap_or_default());
            let sheet = Sheet { resource: resource.clone(), scope_name, scope_version };
            for raw in of_scope.spans.unwrap_or_default() {
                take(&sheet, read_span(raw));
            }
        }
    }
    Ok(())
}

fn read_span(raw: &RawValue) -> Result<Span, Invalid> {
    let keys: SpanKeys =
        serde_json::from_str(raw.get()).map_err(|error| Invalid::new("span", format!("cannot be read: {error}")))?;
    let status = keys.status.unwrap_or_default();
    let failed = match status.code {
        Some(Code::Number(code)) => code == 2,
        Some(Code::Name(name)) => name == ERROR,
        None => false,
    };
    let events = keys.events.unwrap_or_default().into_iter().map(event).collect::<Result<_, _>>()?;
    let links = keys.links.unwrap_or_default().into_iter().map(link).collect::<Result<_, _>>()?;
    Ok(Span {
        trace_id: span::own_id("traceId", &id("traceId", keys.trace_id, 16)?)?,
        id: span::own_id("spanId", &id("spanId", keys.span_id, 8)?)?,
        parent: span::id("parentSpanId", &id("parentSpanId", keys.parent_span_id, 8)?)?,
        name: keys.name.unwrap_or_default(),
        start: span::start(whole("startTimeUnixNano", keys.start_time_unix_nano)?)?,
        end: span::instant(whole("endTimeUnixNano", keys.end_time_unix_nano)?),
        attributes: attributes(keys.attributes),
        events,
        links,
        failure: failed.then(|| status.message.unwrap_or_default()),
    })
}

fn event(keys: EventKeys) -> Result<Event, Invalid> {
    let at = span::instant(whole("timeUnixNano", keys.time_unix_nano)?).unwrap_or_default();
    Ok(Event { name: keys.name.unwrap_or_default(), at, attributes: attributes(keys.attributes) })
}

fn link(keys: LinkKeys) -> Result<Link, Invalid> {
    Ok(Link {
        trace_id: span::own_id("links.traceId", &id("links.traceId", keys.trace_id, 16)?)?,
        id: span::own_id("links.spanId", &id("links.spanId", keys.span_id, 8)?)?,
        attributes: attributes(keys.attributes),
    })
}

fn attributes(pairs: Option<Vec<Pair>>) -> Attributes {
    let value = |pair: Pair| (pair.key, pair.value.map_or(Value::Null, |any| any.0));
    pairs.unwrap_or_default().into_iter().map(value).collect()
}

/// The bytes of an id of so many bytes: hexadecimal, or else base64.
fn id(field: &str, text: Option<String>, bytes: usize) -> Result<Vec<u8>, Invalid> {
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let base64 = || STANDARD.decode(&text).ok().filter(|id| id.len() == bytes);
    hexadecimal(&text).filter(|id| id.len() == bytes).or_else(base64).ok_or_else(|| {
        Invalid::new(field, format!("must be {bytes} bytes in hexadecimal, {} digits", bytes.saturating_mul(2)))
    })
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

fn whole(field: &str, number: Option<Whole>) -> Result<u64, Invalid> {
    match number {
        None => Ok(0),
        Some(Whole::Number(number)) => Ok(number),
        Some(Whole::Text(text)) => text.parse().map_err(|_| Invalid::new(field, "must be a whole number")),
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(AnyVisitor).map(Self)
    }
}

struct AnyVisitor;

#[derive(Deserialize)]
struct List {
    values: Option<Vec<Any>>,
}

#[derive(Deserialize)]
struct Pairs {
    values: Option<Vec<Pair>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Whole(i64),
    Float(f64),
    Text(String),
}

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an object with one of stringValue, boolValue, intValue, doubleValue, arrayValue, kvlistValue, bytesValue",
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut value = Value::Null;
        while let Some(key) = entries.next_key::<String>()? {
            let found = match key.as_str() {
                "stringValue" | "bytesValue" => entries.next_value::<Option<String>>()?.map(Value::String),
                "boolValue" => entries.next_value::<Option<bool>>()?.map(Value::Bool),
                "intValue" => entries.next_value::<Option<Scalar>>()?.map(whole_value),
                "doubleValue" => entries.next_value::<Option<Scalar>>()?.map(float_value),
                "arrayValue" => entries
                    .next_value::<Option<List>>()?
                    .map(|list| list.values.unwrap_or_default().into_iter().map(|any| any.0).collect()),
                "kvlistValue" => entries
                    .next_value::<Option<Pairs>>()?
                    .map(|pairs| Value::Object(attributes(pairs.values).into_iter().collect())),
                _ => entries.next_value::<IgnoredAny>().map(|_| None)?,
            };
            value = found.unwrap_or(value);
        }
        Ok(value)
    }
}

/// A whole number. A text that is none stays one.
fn whole_value(scalar: Scalar) -> Value {
    match scalar {
        Scalar::Whole(number) => number.into(),
        Scalar::Float(number) => double(number),
        Scalar::Text(text) => text.parse::<i64>().map_or(Value::String(text), Value::from),
    }
}

fn float_value(scalar: Scalar) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "the sender says that it is a float")]
    match scalar {
        Scalar::Whole(number) => double(number as f64),
        Scalar::Float(number) => double(number),
        Scalar::Text(text) => text.parse::<f64>().map_or(Value::String(text), double),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_or_base64_of_the_right_length() {
        let read = |text: &str| id("spanId", Some(text.to_owned()), 8);
        assert_eq!(read("00f067AA0ba902b7").unwrap(), [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert_eq!(read("APBnqgupArc=").unwrap(), [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        for text in ["00f067", "zz", "APBnqgup", "é"] {
            assert!(read(text).unwrap_err().to_string().contains("16 digits"), "{text}");
        }
    }

    #[test]
    fn values_are_read_in_every_spelling() {
        for (json, expected) in [
            (r#"{"intValue":"7"}"#, serde_json::json!(7)),
            (r#"{"intValue":7}"#, serde_json::json!(7)),
            (r#"{"doubleValue":1}"#, serde_json::json!(1.0)),
            (r#"{"doubleValue":"NaN"}"#, serde_json::json!("NaN")),
            (r#"{"arrayValue":{}}"#, serde_json::json!([])),
            (r#"{"arrayValue":{"values":[{"boolValue":true},{}]}}"#, serde_json::json!([true, null])),
            (r#"{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"b"}}]}}"#, serde_json::json!({"a": "b"})),
            (r#"{"bytesValue":"AAE="}"#, serde_json::json!("AAE=")),
            (r#"{"newerValue":{"x":1}}"#, Value::Null),
        ] {
            assert_eq!(serde_json::from_str::<Any>(json).unwrap().0, expected, "{json}");
        }
    }
}
