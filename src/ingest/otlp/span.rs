//! A span as either encoding gives it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ingest::error::Invalid;
use crate::model::time::Timestamp;

/// Attributes as JSON; of a key that is there twice, the last.
pub(super) type Attributes = BTreeMap<String, Value>;

/// What the spans of one scope have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub(super) resource: Attributes,
    pub(super) scope_name: String,
    pub(super) scope_version: String,
}

/// A span.
#[derive(Debug, Default)]
pub(super) struct Span {
    pub(super) trace_id: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: String,
    pub(super) start: Timestamp,
    /// None of a span that was sent before it ended.
    pub(super) end: Option<Timestamp>,
    pub(super) attributes: Attributes,
    pub(super) events: Vec<Event>,
    pub(super) links: Vec<Link>,
    /// Its status is ERROR, with this message.
    pub(super) failure: Option<String>,
}

/// Something that happened during a span.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) at: Timestamp,
    pub(super) attributes: Attributes,
}

/// Another span that this one has to do with, in whatever trace.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) trace_id: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) attributes: Attributes,
}

/// An instant given in nanoseconds; zero is none.
pub(super) fn instant(nanos: u64) -> Option<Timestamp> {
    i64::try_from(nanos / 1000).ok().filter(|_| nanos > 0).map(Timestamp)
}

/// The start, which every span has.
pub(super) fn start(nanos: u64) -> Result<Timestamp, Invalid> {
    instant(nanos).ok_or_else(|| Invalid::new("start_time_unix_nano", "is missing"))
}

/// An id of so many bytes; one of none, or of zeros, is none.
pub(super) fn id<const N: usize>(field: &str, bytes: &[u8]) -> Result<Option<[u8; N]>, Invalid> {
    if bytes.iter().all(|byte| *byte == 0) && (bytes.is_empty() || bytes.len() == N) {
        return Ok(None);
    }
    let id = <[u8; N]>::try_from(bytes);
    id.map(Some).map_err(|_| Invalid::new(field, format!("has {} bytes; it must have {N}", bytes.len())))
}

/// An id that every span has.
pub(super) fn own_id<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], Invalid> {
    id(field, bytes)?.ok_or_else(|| Invalid::new(field, "is missing"))
}

/// A text that says something.
pub(super) fn text<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    attributes.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The first of these that is a text.
pub(super) fn first_text<'a>(attributes: &'a Attributes, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| text(attributes, key))
}

/// The first of these that is there and says something.
pub(super) fn first<'a>(attributes: &'a Attributes, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().find_map(|key| attributes.get(*key).filter(|value| says(value)))
}

/// Whether a value says something.
pub(super) fn says(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

/// A whole number, or one in a text.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Keys below a prefix, which ends in a dot, without it.
pub(super) fn below<'a>(attributes: &'a Attributes, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let from = attributes.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
    from.map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
}

/// What a text means that may be JSON: an object or a list; other values and texts are what they are.
pub(super) fn unpacked(value: &Value) -> Value {
    let text = value.as_str().map(str::trim_start).filter(|text| text.starts_with(['{', '[']));
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone())
}
