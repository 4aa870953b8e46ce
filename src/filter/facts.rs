//! A run as filters see it.
//!
//! Bodies are taken apart when a filter first asks for them, and once only, however many rules ask. Inputs and outputs
//! that left for blob storage are seen through their extract, in which long text and long lists are cut.

use std::sync::OnceLock;

use crate::filter::field::Root;
pub(crate) use crate::filter::flatten::Entry;
use crate::filter::flatten::{Scalar, rows};
use crate::filter::value::Number;
use crate::model::feedback::Feedback;
use crate::model::json::RawJson;
use crate::model::run::{Payload, Run, StoredRun};

/// The metadata keys that name a thread, the first one first.
const THREAD_KEYS: [&str; 3] = ["session_id", "thread_id", "conversation_id"];

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
    extra: OnceLock<Extra>,
    feedback_rows: OnceLock<Vec<FeedbackRow<'a>>>,
    text: OnceLock<String>,
}

/// `extra` taken apart.
#[derive(Debug, Default)]
struct Extra {
    rows: Vec<Entry>,
    metadata: Vec<Entry>,
    thread_id: Option<String>,
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
            feedback_rows: OnceLock::new(),
            text: OnceLock::new(),
        }
    }

    /// The rows of a document.
    pub(crate) fn entries(&self, root: Root) -> &[Entry] {
        match root {
            Root::Inputs => self.inputs.get_or_init(|| payload_rows(self.run.inputs.as_ref())),
            Root::Outputs => self.outputs.get_or_init(|| payload_rows(self.run.outputs.as_ref())),
            Root::Extra => &self.extra().rows,
            Root::Metadata => &self.extra().metadata,
        }
    }

    fn extra(&self) -> &Extra {
        self.extra.get_or_init(|| self.run.extra.as_ref().map(Extra::of).unwrap_or_default())
    }

    /// The thread the metadata names.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {
        self.extra().thread_id.as_deref()
    }

    /// The feedback records.
    pub(crate) fn feedback_rows(&self) -> &[FeedbackRow<'a>] {
        self.feedback_rows.get_or_init(|| self.feedback.iter().map(FeedbackRow::of).collect())
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
    match payload {
        Some(Payload::Inline(json)) => json_rows(json),
        Some(Payload::Blob(blob)) => json_rows(&blob.extract),
        None => Vec::new(),
    }
}

/// The rows of a document. One that cannot be read into a tree, because it is nested too deeply, has none.
fn json_rows(json: &RawJson) -> Vec<Entry> {
    json.read().map(rows).unwrap_or_default()
}

impl Extra {
    fn of(json: &RawJson) -> Self {
        let rows = json_rows(json);
        let metadata: Vec<Entry> = rows
            .iter()
            .filter_map(|row| {
                let path = row.path.strip_prefix("metadata.")?;
                Some(Entry { path: path.to_owned(), value: row.value.clone() })
            })
            .collect();
        let thread_id = THREAD_KEYS.iter().find_map(|key| {
            metadata.iter().filter(|entry| entry.path == *key).find_map(|entry| match &entry.value {
                Scalar::Text(id) => Some(id.clone()),
                Scalar::Number(id) => Some(id.to_string()),
                _ => None,
            })
        });
        Self { rows, metadata, thread_id }
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
