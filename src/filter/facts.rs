//! A run as filters see it.
//!
//! Bodies are taken apart when a filter first asks for them, and once only, however many rules ask. Inputs and outputs
//! that left for blob storage are seen through their extract, in which long text and long lists are cut.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::filter::eval::text::{Words, has_plain_case};
use crate::filter::field::Root;
pub(crate) use crate::filter::flatten::Entry;
use crate::filter::flatten::{Scalar, below, rows, rows_below};
use crate::filter::mark::{self, Marks, Place};
use crate::filter::value::Number;
use crate::model::feedback::Feedback;
use crate::model::json::RawJson;
use crate::model::run::{Payload, Run, StoredRun};
use crate::model::thread;

/// Where the metadata is in `extra`.
const METADATA: &str = "metadata";

/// A run as filters see it. Cheap to make. Tokens and costs are those of the run as given: who wants them summed over
/// the subtree gives a run whose usage is.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The run.
    pub run: &'a Run,
    /// Feedback on it.
    pub feedback: &'a [Feedback],
    inputs: OnceLock<Vec<Entry>>,
    outputs: OnceLock<Vec<Entry>>,
    extra: OnceLock<Vec<Entry>>,
    metadata: OnceLock<Vec<Entry>>,
    thread_id: OnceLock<Option<String>>,
    feedback_rows: OnceLock<Vec<FeedbackRow<'a>>>,
    text: OnceLock<String>,
    raw: OnceLock<Option<String>>,
    seen: SeenMarks,
}

/// The marks of what a run has many of.
#[derive(Debug, Default)]
struct SeenMarks {
    tags: OnceLock<Marks>,
    feedback: OnceLock<Marks>,
    keys: [OnceLock<Marks>; 4],
    values: [OnceLock<Marks>; 4],
}

/// One feedback record as filters see it.
#[derive(Debug)]
pub(crate) struct FeedbackRow<'a> {
    pub(crate) key: &'a str,
    pub(crate) score: Option<Number>,
    pub(crate) value: Scalar,
    pub(crate) source: Option<String>,
    pub(crate) comment: Option<&'a str>,
}

impl<'a> Facts<'a> {
    /// The facts of a stored run.
    #[must_use]
    pub fn of(stored: &'a StoredRun) -> Self {
        Self::new(&stored.run, &stored.feedback)
    }

    /// The facts of a run and the feedback on it.
    #[must_use]
    pub fn new(run: &'a Run, feedback: &'a [Feedback]) -> Self {
        Self {
            run,
            feedback,
            inputs: OnceLock::new(),
            outputs: OnceLock::new(),
            extra: OnceLock::new(),
            metadata: OnceLock::new(),
            thread_id: OnceLock::new(),
            feedback_rows: OnceLock::new(),
            text: OnceLock::new(),
            raw: OnceLock::new(),
            seen: SeenMarks::default(),
        }
    }

    /// The rows of a document.
    pub(crate) fn entries(&self, root: Root) -> &[Entry] {
        match root {
            Root::Inputs => self.inputs.get_or_init(|| payload_rows(self.run.inputs.as_ref())),
            Root::Outputs => self.outputs.get_or_init(|| payload_rows(self.run.outputs.as_ref())),
            Root::Extra => self.extra.get_or_init(|| self.run.extra.as_ref().map(json_rows).unwrap_or_default()),
            Root::Metadata => {
                self.metadata.get_or_init(|| self.run.extra.as_ref().map(metadata_rows).unwrap_or_default())
            }
        }
    }

    /// The thread the metadata names.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {
        self.thread_id.get_or_init(|| self.run.extra.as_ref().and_then(thread::named)).as_deref()
    }

    /// The feedback records.
    pub(crate) fn feedback_rows(&self) -> &[FeedbackRow<'a>] {
        self.feedback_rows.get_or_init(|| self.feedback.iter().map(FeedbackRow::of).collect())
    }

    /// The marks of its tags.
    pub(crate) fn tag_marks(&self) -> &[u64] {
        self.seen.tags.get_or_init(|| mark::words(Place::Tag, self.run.tags.iter().map(String::as_str)))
    }

    /// The marks of the keys of its feedback.
    pub(crate) fn feedback_marks(&self) -> &[u64] {
        let keys = self.feedback.iter().map(|feedback| feedback.key.as_str());
        self.seen.feedback.get_or_init(|| mark::words(Place::FeedbackKey, keys))
    }

    /// The marks of the paths of a document.
    pub(crate) fn key_marks(&self, root: Root) -> &[u64] {
        let [metadata, extra, inputs, outputs] = &self.seen.keys;
        root.pick(metadata, extra, inputs, outputs).get_or_init(|| mark::keys(root, self.entries(root)))
    }

    /// The marks of the values of a document.
    pub(crate) fn value_marks(&self, root: Root) -> &[u64] {
        let [metadata, extra, inputs, outputs] = &self.seen.values;
        root.pick(metadata, extra, inputs, outputs).get_or_init(|| mark::values(root, self.entries(root)))
    }

    /// Whether full text search finds all of these words. What is not in the bodies as they were sent is not looked for in
    /// them taken apart.
    pub(crate) fn says(&self, words: &Words) -> bool {
        let may_say = || self.raw().is_none_or(|raw| words.may_be_in(raw));
        (self.text.get().is_some() || may_say()) && words.are_in(self.text())
    }

    /// What text is taken from, as it was sent, in ASCII's small letters; nothing where that can mislead.
    fn raw(&self) -> Option<&str> {
        let join = || {
            let bodies = [&self.run.inputs, &self.run.outputs].map(|payload| payload.as_ref().map(seen));
            let bodies = bodies.into_iter().flatten().map(RawJson::text);
            let parts =
                [self.run.name.as_str(), self.run.error.as_deref().unwrap_or_default()].into_iter().chain(bodies);
            let mut raw = parts.collect::<Vec<_>>().join("\n");
            raw.make_ascii_lowercase();
            has_plain_case(&raw).then_some(raw)
        };
        self.raw.get_or_init(join).as_deref()
    }

    /// All that full text search looks through, in lower case: name, error, and the text and numbers of inputs and
    /// outputs, without their keys.
    pub(crate) fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let mut text = self.run.name.to_lowercase();
            if let Some(error) = &self.run.error {
                text.push('\n');
                text.push_str(&error.to_lowercase());
            }
            for entry in self.entries(Root::Inputs).iter().chain(self.entries(Root::Outputs)) {
                let part = match &entry.value {
                    Scalar::Text(value) => value.to_lowercase(),
                    Scalar::Number(value) => value.to_string(),
                    Scalar::Bool(value) => value.to_string(),
                    Scalar::Null | Scalar::Nested => continue,
                };
                text.push('\n');
                text.push_str(&part);
            }
            text
        })
    }
}

fn payload_rows(payload: Option<&Payload>) -> Vec<Entry> {
    payload.map(|payload| json_rows(seen(payload))).unwrap_or_default()
}

/// What is seen of a payload.
fn seen(payload: &Payload) -> &RawJson {
    match payload {
        Payload::Inline(json) => json,
        Payload::Blob(blob) => &blob.extract,
    }
}

/// The rows of a document. One that cannot be read into a tree, because it is nested too deeply, has none.
fn json_rows(json: &RawJson) -> Vec<Entry> {
    json.read().map(rows).unwrap_or_default()
}

/// The rows of the metadata of an `extra`.
fn metadata_rows(extra: &RawJson) -> Vec<Entry> {
    match extra.read::<Outer>() {
        Ok(outer) => outer.metadata.map(|metadata| rows_below(METADATA, metadata)).unwrap_or_default(),
        Err(_) => below(METADATA, json_rows(extra)),
    }
}

/// An `extra` of which only the metadata is read.
#[derive(Default)]
struct Outer {
    metadata: Option<Value>,
}

impl<'de> Deserialize<'de> for Outer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Outer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Outer, A::Error> {
                let mut outer = Outer::default();
                // Of members of one name the last one counts, as everywhere.
                while let Some(name) = members.next_key::<Cow<'_, str>>()? {
                    if name == METADATA {
                        outer.metadata = Some(members.next_value()?);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(outer)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl<'a> FeedbackRow<'a> {
    fn of(feedback: &'a Feedback) -> Self {
        #[derive(serde::Deserialize)]
        struct Source {
            r#type: Option<String>,
        }
        let source = feedback.source.as_ref().and_then(|source| source.read::<Source>().ok());
        let value = feedback.value.as_ref().and_then(|value| value.read().ok());
        Self {
            key: &feedback.key,
            score: feedback.score.and_then(|score| Number::of_f64(score.number())),
            value: value.map_or(Scalar::Null, Scalar::of),
            source: source.and_then(|source| source.r#type),
            comment: feedback.comment.as_deref(),
        }
    }
}
