//! Reading one file: its sections by key, its values by kind, and all that is wrong with them.

use std::ops::Range;

use crate::filter::Mode;
use crate::model::problem::Problem;
use crate::rule_file::node::{Key, Node, Scalar, Value};
use crate::rule_file::offsets::Offsets;
use crate::rule_file::variables::{Kind, pieces};

/// One file being read.
pub(super) struct Reading<'a> {
    pub(super) text: &'a str,
    pub(super) variables: &'a dyn Fn(&str) -> Option<String>,
    pub(super) mode: Mode,
    pub(super) problems: Vec<Problem>,
}

/// A mapping whose keys are known ones, each at most once.
pub(super) struct Section<'n> {
    what: &'static str,
    span: Range<usize>,
    entries: Vec<(&'n Key, &'n Node)>,
}

/// A value with its variables put in.
pub(super) struct Resolved {
    pub(super) text: String,
    /// The part that stands in the file.
    pub(super) literal: String,
    pub(super) has_variables: bool,
}

impl<'n> Section<'n> {
    /// The value of a key, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| *node)
    }

    /// Where a key is written.
    pub(super) fn key_span(&self, name: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|(key, _)| key.text == name).map(|(key, _)| key.span.clone())
    }

    /// Where the section begins.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key that must be there.
    pub(super) fn require(&self, reading: &mut Reading<'_>, name: &str, hint: &str) -> Option<&'n Node> {
        let found = self.get(name);
        if self.key_span(name).is_none() {
            let message = format!("{} has no `{name}`", self.what);
            reading.problems.push(Problem::error("missing-key", self.span.clone(), message).hint(hint));
        }
        found
    }
}

impl Reading<'_> {
    pub(super) fn error(&mut self, code: &'static str, span: &Range<usize>, message: impl Into<String>, hint: &str) {
        self.problems.push(Problem::error(code, span.clone(), message).hint(hint));
    }

    pub(super) fn warning(&mut self, code: &'static str, span: &Range<usize>, message: impl Into<String>, hint: &str) {
        self.problems.push(Problem::warning(code, span.clone(), message).hint(hint));
    }

    /// A mapping with these keys. Unknown and repeated ones are reported and left out.
    pub(super) fn section<'n>(
        &mut self,
        node: &'n Node,
        what: &'static str,
        known: &[&'static str],
    ) -> Option<Section<'n>> {
        let entries = self.entries(node, what)?;
        let mut section = Section { what, span: node.span.clone(), entries: Vec::new() };
        for (key, value) in entries {
            if !known.contains(&key.text.as_str()) {
                self.unknown_key(key, what, known);
            } else if section.key_span(&key.text).is_some() {
                self.repeated(key);
            } else {
                section.entries.push((key, value));
            }
        }
        Some(section)
    }

    /// The entries of a mapping.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Key, Node)]> {
        if let Value::Mapping(entries) = &node.value {
            return Some(entries);
        }
        self.wrong_kind(node, what, "a mapping of keys to values");
        None
    }

    /// The items of a list.
    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        if let Value::Sequence(items) = &node.value {
            return Some(items);
        }
        self.wrong_kind(node, what, "a list, each item after a `-`");
        None
    }

    /// A scalar, whatever it looks like.
    pub(super) fn scalar<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n Scalar> {
        if let Value::Scalar(scalar) = &node.value {
            return Some(scalar);
        }
        self.wrong_kind(node, what, "text");
        None
    }

    /// A text that holds more than blanks. Variables stay as they are written.
    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = self.scalar(node, what)?.text.as_str();
        if text.trim().is_empty() {
            self.error("empty", &node.span, format!("{what} is empty"), "give it a value, or remove the key");
            return None;
        }
        if pieces(text).iter().any(|piece| matches!(piece.kind, Kind::Variable(_))) {
            let hint = "variables work in project, url, query, headers, secrets and signing_secret only";
            self.warning("literal-variable", &node.span, format!("in {what} this is text, not a variable"), hint);
        }
        Some(text)
    }

    /// A number that was not quoted.
    pub(super) fn number(&mut self, node: &Node, what: &str) -> Option<f64> {
        match &node.value {
            Value::Scalar(Scalar { number: Some(number), .. }) => Some(*number),
            Value::Scalar(Scalar { text, .. }) if text.parse::<f64>().is_ok() => {
                self.error("wrong-type", &node.span, format!("{what} is text, not a number"), "remove the quotes");
                None
            }
            _ => {
                self.wrong_kind(node, what, "a number");
                None
            }
        }
    }

    /// A value with its variables put in; every one that is missing is named.
    pub(super) fn resolved(&mut self, node: &Node, what: &str) -> Option<Resolved> {
        let value = &self.scalar(node, what)?.text;
        let offsets = Offsets::new(self.text.get(node.span.clone()).unwrap_or_default(), value);
        let mut resolved = Resolved { text: String::new(), literal: String::new(), has_variables: false };
        let mut complete = true;
        for piece in pieces(value) {
            let found = offsets.of(&piece.at);
            let span = found.start + node.span.start..found.end + node.span.start;
            match piece.kind {
                Kind::Literal(literal) => {
                    resolved.text.push_str(&literal);
                    resolved.literal.push_str(&literal);
                }
                Kind::Malformed(why, hint) => {
                    self.error("bad-variable", &span, why, hint);
                    complete = false;
                }
                Kind::Variable(name) => {
                    resolved.has_variables = true;
                    if let Some(text) = (self.variables)(&name) {
                        resolved.text.push_str(&text);
                    } else {
                        let hint = format!("set {name} in the environment of the command that applies the rules");
                        self.error("missing-variable", &span, format!("the variable {name} is not set"), &hint);
                        complete = false;
                    }
                }
            }
        }
        complete.then_some(resolved)
    }

    /// One of several words, each for what it means.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, name: &str, known: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(node, &format!("`{name}`"))?;
        if let Some((_, found)) = known.iter().find(|(word, _)| *word == text) {
            return Some(*found);
        }
        let words: Vec<&'static str> = known.iter().map(|(word, _)| *word).collect();
        let (message, hint) = match nearest(text, &words) {
            Some(near) => (format!("there is no {name} `{text}`"), format!("did you mean `{near}`?")),
            // What is that far from any of them may be anything, a secret too.
            None => (format!("there is no such {name}"), format!("known: {}", words.join(", "))),
        };
        self.error("unknown-value", &node.span, message, &hint);
        None
    }

    /// Moves the problems of a text written in YAML to where they stand in the file.
    pub(super) fn inside(&mut self, node: &Node, value: &str, problems: Vec<Problem>) {
        let offsets = Offsets::new(self.text.get(node.span.clone()).unwrap_or_default(), value);
        for problem in problems {
            let span = offsets.of(&problem.span);
            self.problems.push(Problem { span, ..problem }.shifted(node.span.start));
        }
    }

    fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str) {
        if matches!(node.value, Value::Null) {
            self.error("empty", &node.span, format!("{what} is empty"), &format!("give it {wanted}"));
            return;
        }
        let message = format!("{what} is {}", node.kind());
        self.error("wrong-type", &node.span, message, &format!("it must be {wanted}"));
    }

    fn unknown_key(&mut self, key: &Key, what: &str, known: &[&'static str]) {
        let name: String = key.text.chars().take(64).collect();
        let hint = match nearest(&key.text, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys: {}", known.join(", ")),
        };
        self.error("unknown-key", &key.span, format!("unknown key `{name}` in {what}"), &hint);
    }

    fn repeated(&mut self, key: &Key) {
        let message = format!("`{}` is given twice", key.text);
        self.error("repeated-key", &key.span, message, "keep one of them");
    }
}

/// What others call things.
const ALSO_CALLED: &[(&str, &str)] = &[
    ("id", "key"),
    ("display_name", "name"),
    ("title", "name"),
    ("session", "project"),
    ("session_name", "project"),
    ("projects", "project"),
    ("schedule", "cron"),
    ("interval", "every"),
    ("cadence", "every"),
    ("sampling", "sampling_rate"),
    ("sample_rate", "sampling_rate"),
    ("actions", "webhooks"),
    ("notify", "webhooks"),
    ("params", "query"),
    ("tz", "timezone"),
    ("delay", "settle"),
    ("backfill", "backfill_from"),
    ("limit", "max_runs"),
];

/// The known word that was probably meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase().replace('-', "_");
    let also = ALSO_CALLED.iter().find(|(other, _)| *other == word).map(|(_, name)| *name);
    if let Some(name) = known.iter().find(|name| **name == word || Some(**name) == also) {
        return Some(name);
    }
    let distance = |name: &&'k str| (strsim::damerau_levenshtein(&word, name), *name);
    let (best, name) = known.iter().map(distance).min()?;
    (best <= 1.max(name.len() / 3)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_find_the_one_that_was_meant() {
        let known = ["key", "project", "filter", "webhooks", "sampling_rate"];
        assert_eq!(nearest("fliter", &known), Some("filter"));
        assert_eq!(nearest("Webhook", &known), Some("webhooks"));
        assert_eq!(nearest("sampling-rate", &known), Some("sampling_rate"));
        assert_eq!(nearest("session", &known), Some("project"));
        assert_eq!(nearest("colour", &known), None);
    }
}
