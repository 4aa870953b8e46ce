//! YAML as a tree whose every node knows its bytes.
//!
//! The parser stops at the first thing it cannot make into a type, so it is asked for no types at all: what it hands
//! over is mappings, sequences and scalars, and `lower` finds all that is wrong with them.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use crate::model::problem::Problem;

/// A value and the bytes it was written in. What an alias stands for has the bytes of its anchor.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

/// A scalar as written: `0x1F` and `no` are texts until someone asks for a number.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// A number, unless it was quoted.
    pub(super) number: Option<f64>,
}

impl Node {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(Scalar { number: Some(_), .. }) => "a number",
            Value::Scalar(_) => "text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Reads a document. An empty one is null.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let base = text.len() - body.len();
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(body, options) {
        Ok(raw) => Ok(Source { body, base }.node(raw)),
        Err(error) => Err(syntax(body, &error).shifted(base)),
    }
}

/// A node as the parser hands it over.
enum Raw {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Sequence(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<String>, Spanned<Raw>)>),
}

struct Source<'a> {
    body: &'a str,
    base: usize,
}

impl Source<'_> {
    fn node(&self, raw: Spanned<Raw>) -> Node {
        let found = self.bytes(&raw.defined);
        let written = self.body.get(found.clone()).unwrap_or_default();
        let scalar = |text: &str, number| Value::Scalar(Scalar { text: text.to_owned(), number });
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Bool(value) => scalar(if written.is_empty() { bool_text(value) } else { written }, None),
            Raw::Number(value) if written.is_empty() => scalar(&value.to_string(), Some(value)),
            Raw::Number(value) => scalar(written, Some(value)),
            Raw::Text(text) => scalar(&text, None),
            Raw::Sequence(items) => Value::Sequence(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Mapping(entries) => {
                let key = |key: Spanned<String>| Key { span: self.span(&key.defined), text: key.value };
                Value::Mapping(entries.into_iter().map(|(name, value)| (key(name), self.node(value))).collect())
            }
        };
        let span = found.start + self.base..found.end + self.base;
        Node { span: widened(span, &value), value }
    }

    fn span(&self, location: &Location) -> Range<usize> {
        let found = self.bytes(location);
        found.start + self.base..found.end + self.base
    }

    /// The bytes of a node in the body. Block scalars end with their last line, not with the next one's indentation.
    fn bytes(&self, location: &Location) -> Range<usize> {
        let index = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        let span = location.span();
        let start = index(span.byte_offset().map(Into::into)).unwrap_or_else(|| offset_of(self.body, location));
        let end = start.saturating_add(index(span.byte_len().map(Into::into)).unwrap_or(0)).min(self.body.len());
        let written = self.body.get(start..end).unwrap_or_default();
        start..start + written.trim_end().len()
    }
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Collections in block style have no bytes of their own: they are shown at their first key, or their first dash.
fn widened(span: Range<usize>, value: &Value) -> Range<usize> {
    match value {
        Value::Mapping(entries) => entries.first().map_or(span, |(key, _)| key.span.clone()),
        Value::Sequence(_) if span.is_empty() => span.start..span.start + 1,
        _ => span,
    }
}

/// The byte at a line and column, which count from 1 and in characters.
fn offset_of(text: &str, location: &Location) -> usize {
    let line = usize::try_from(location.line()).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(location.column()).unwrap_or(1).saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(before..).unwrap_or_default();
    before + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
}

fn syntax(text: &str, error: &serde_saphyr::Error) -> Problem {
    let location = error.location();
    let start = location.map_or(0, |location| offset_of(text, &location)).min(text.len());
    let end = start + text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let whole = error.without_snippet().to_string();
    let said = whole.lines().next().unwrap_or_default();
    let said = said.rsplit_once(" at line ").map_or(said, |(message, _)| message);
    let problem = |message: &str| Problem::error("yaml-syntax", start..end, message);
    if said.starts_with("multiple YAML documents") {
        return problem("a file holds one YAML document").hint("put what follows the `---` into a file of its own");
    }
    if said.starts_with("expected string scalar") || said.starts_with("cannot deserialize null into string") {
        return problem("a key must be text");
    }
    let problem = problem(&format!("not valid YAML: {said}"));
    let line = text.get(..start).map_or(0, |before| before.matches('\n').count());
    if text.lines().nth(line).is_some_and(|line| line.contains('{') && line.contains(": ${")) {
        return problem.hint("inside `{ }` a value with a variable needs quotes: \"${NAME}\"");
    }
    if said.contains("tab") {
        return problem.hint("indent with spaces");
    }
    if said.contains("mapping values are not allowed") {
        return problem.hint("quote a value that holds `: `, and indent keys of one mapping alike");
    }
    if said.contains("unexpected character") {
        return problem.hint("quote a value that starts with this character");
    }
    problem
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

#[expect(clippy::cast_precision_loss, reason = "a number that large is out of every range a rule has")]
impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(Raw::Sequence(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut found = Vec::new();
        while let Some(key) = entries.next_key()? {
            found.push((key, entries.next_value()?));
        }
        Ok(Raw::Mapping(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(node: &'a Node, name: &str) -> &'a Node {
        let Value::Mapping(entries) = &node.value else { panic!("{node:?}") };
        &entries.iter().find(|(key, _)| key.text == name).unwrap().1
    }

    fn text(node: &Node) -> &str {
        let Value::Scalar(scalar) = &node.value else { panic!("{node:?}") };
        &scalar.text
    }

    #[test]
    fn every_node_knows_its_bytes() {
        let source = "\u{feff}é: 1\nquoted: \"a\\\"b\"   # why\nblock: |\n  one\n  two\nempty:\nlist:\n  - x\n";
        let root = read(source).unwrap();
        let written = |name: &str| &source[entry(&root, name).span.clone()];
        assert_eq!(written("é"), "1");
        assert_eq!(written("quoted"), "\"a\\\"b\"");
        assert_eq!(written("block"), "one\n  two");
        assert_eq!(written("empty"), "");
        assert_eq!(written("list"), "-");
    }

    #[test]
    fn scalars_stay_what_was_written() {
        let root = read("hex: 0x1F\nno: no\nyes: True\nfar: .inf\nfive: '5'\n").unwrap();
        assert_eq!(text(entry(&root, "hex")), "0x1F");
        assert_eq!(text(entry(&root, "no")), "no");
        assert_eq!(text(entry(&root, "yes")), "True");
        assert_eq!(text(entry(&root, "far")), ".inf");
        assert_eq!(entry(&root, "hex").kind(), "a number");
        assert_eq!(entry(&root, "five").kind(), "text");
    }

    #[test]
    fn repeated_keys_are_all_there_and_aliases_point_to_their_anchor() {
        let source = "a: &x 1\nb: *x\na: 2\n";
        let root = read(source).unwrap();
        let Value::Mapping(entries) = &root.value else { panic!() };
        assert_eq!(entries.len(), 3);
        assert_eq!(entry(&root, "b").span, entry(&root, "a").span);
    }

    #[test]
    fn what_is_not_yaml_is_located() {
        for (source, at) in [("é: [1, 2\nb: 3\n", 11), ("a: b: c\n", 4), ("a: 1\n---\nb: 2\n", 9), ("? [x]\n: y\n", 2)]
        {
            let problem = read(source).unwrap_err();
            assert_eq!(problem.span.start, at, "{source:?}: {problem:?}");
            assert!(!problem.message.contains("line"), "{problem:?}");
        }
    }

    #[test]
    fn slips_that_everyone_makes_get_advice() {
        for (source, advice) in [
            ("headers: { A: ${B}, C: d }\n", "needs quotes"),
            ("a: b: c\n", "quote a value"),
            ("a: b\n\tc: d\n", "spaces"),
            ("a: @b\n", "quote a value"),
        ] {
            let hint = read(source).unwrap_err().hint.unwrap_or_default();
            assert!(hint.contains(advice), "{source:?}: {hint:?}");
        }
    }

    #[test]
    fn an_error_of_the_parser_never_repeats_a_value() {
        for source in [
            "a: !!int s3cret\n",
            "a: !!binary s3cret\n",
            "a: !!float s3cret\n",
            "a: *s3cret\n",
            "a: \"s3cret\n",
            "a: !s3cret x\n",
        ] {
            if let Err(problem) = read(source) {
                assert!(!problem.message.contains("s3cret"), "{problem:?}");
            }
        }
    }
}
