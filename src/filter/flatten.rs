//! Documents as rows: a dotted path and a value for each leaf, array steps dropped.

use serde_json::Value;

use crate::filter::value::{Number, Seen};

/// One row of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Where it is: keys joined by dots, array steps dropped.
    pub(crate) path: String,
    /// What is there.
    pub(crate) value: Scalar,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    /// `null`
    Null,
    /// A yes or no.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// An object, whose members are rows of their own, or an empty list.
    Nested,
}

impl Scalar {
    /// The scalar of a JSON value.
    pub(crate) fn of(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(yes),
            Value::Number(number) => Number::of_json(&number).map_or(Self::Null, Self::Number),
            Value::String(text) => Self::Text(text),
            Value::Array(_) | Value::Object(_) => Self::Nested,
        }
    }

    /// As tests see it.
    pub(crate) fn seen(&self) -> Seen<'_> {
        match self {
            Self::Null => Seen::Null,
            Self::Bool(yes) => Seen::Bool(*yes),
            Self::Number(number) => Seen::Number(*number),
            Self::Text(text) => Seen::Text(text),
            Self::Nested => Seen::Nested,
        }
    }
}

/// The longest path that is seen, in bytes. What lies deeper has no rows: each repeats the keys above it, and a document
/// could be made whose rows fill the memory.
pub(crate) const MAX_PATH: usize = 1024;

/// Takes a document apart. An object itself is no row, only its members are; a mere value is one without a path.
pub(crate) fn rows(document: Value) -> Vec<Entry> {
    let mut rows = Vec::new();
    let mut path = String::new();
    match document {
        Value::Object(members) => members.into_iter().for_each(|(key, value)| step(&key, value, &mut path, &mut rows)),
        Value::Array(items) => items.into_iter().for_each(|item| rows.extend(self::rows(item))),
        Value::Null => {}
        value => rows.push(Entry { path, value: Scalar::of(value) }),
    }
    rows
}

/// The rows of what lies at a member of a document, as [`below`] has them, without the rest of the document.
pub(crate) fn rows_below(member: &str, value: Value) -> Vec<Entry> {
    let (mut rows, mut path) = (Vec::new(), member.to_owned());
    place(value, &mut path, &mut rows);
    below(member, rows)
}

/// Those rows of a document that lie below a member, by their paths from there.
pub(crate) fn below(member: &str, mut rows: Vec<Entry>) -> Vec<Entry> {
    rows.retain_mut(|row| {
        let inner = row.path.strip_prefix(member).and_then(|rest| rest.strip_prefix('.'));
        match inner.map(str::to_owned) {
            Some(inner) => row.path = inner,
            None => return false,
        }
        true
    });
    rows
}

fn step(key: &str, value: Value, path: &mut String, rows: &mut Vec<Entry>) {
    let before = path.len();
    if before.saturating_add(key.len()) > MAX_PATH {
        return;
    }
    if before > 0 {
        path.push('.');
    }
    path.push_str(key);
    place(value, path, rows);
    path.truncate(before);
}

fn place(value: Value, path: &mut String, rows: &mut Vec<Entry>) {
    match value {
        Value::Array(items) if !items.is_empty() => items.into_iter().for_each(|item| place(item, path, rows)),
        Value::Object(members) => {
            rows.push(Entry { path: path.clone(), value: Scalar::Nested });
            members.into_iter().for_each(|(key, value)| step(&key, value, path, rows));
        }
        value => rows.push(Entry { path: path.clone(), value: Scalar::of(value) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_by_dots_and_array_steps_are_dropped() {
        let document = serde_json::json!({
            "messages": [{"content": "hi"}, {"content": [{"text": "there"}]}],
            "n": 1, "none": null, "empty": [], "list": [[true]]
        });
        let found: Vec<String> =
            rows(document).into_iter().map(|row| format!("{}={:?}", row.path, row.value)).collect();
        let expected = [
            "empty=Nested",
            "list=Bool(true)",
            "messages=Nested",
            "messages.content=Text(\"hi\")",
            "messages=Nested",
            "messages.content=Nested",
            "messages.content.text=Text(\"there\")",
            "n=Number(Exact(1))",
            "none=Null",
        ];
        let mut sorted = found.clone();
        sorted.sort();
        let mut wanted: Vec<String> = expected.iter().map(ToString::to_string).collect();
        wanted.sort();
        assert_eq!(sorted, wanted);
    }

    #[test]
    fn a_mere_value_is_a_row_without_a_path() {
        assert_eq!(rows(serde_json::json!("hi")), [Entry { path: String::new(), value: Scalar::Text("hi".into()) }]);
        assert_eq!(rows(serde_json::json!(null)), []);
        assert_eq!(rows(serde_json::json!({})), []);
    }

    #[test]
    fn the_rows_of_a_member_are_those_of_the_document_below_it() {
        let members = [
            serde_json::json!({"a": 1, "b": {"c": [null, {"d": "x"}]}, "": {"": 2}}),
            serde_json::json!([{"a": 1}, [{"a": 2}], 3]),
            serde_json::json!({"x".repeat(MAX_PATH - 9): 1, "x".repeat(MAX_PATH - 8): 2, "x".repeat(MAX_PATH - 7): 3}),
            serde_json::json!([]),
            serde_json::json!({}),
            serde_json::json!(null),
            serde_json::json!("text"),
        ];
        for member in members {
            let document =
                rows(serde_json::json!({"metadata": member, "metadata2": {"a": 1}, "z": {"metadata": {"a": 1}}}));
            assert_eq!(rows_below("metadata", member.clone()), below("metadata", document), "{member}");
        }
    }

    #[test]
    fn rows_do_not_multiply_a_long_key() {
        let document = serde_json::json!({"x".repeat(2000): {"a": 1, "b": 2}, "short": 1});
        assert_eq!(rows(document).len(), 1);
    }
}
