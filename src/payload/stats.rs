//! Feedback statistics: for each key how many scores, their mean, and how often each label was given.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::model::feedback::Feedback;
use crate::model::json::RawJson;

/// What was said under one feedback key. The order of the fields is the order on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyStats {
    /// How many scores there are; booleans count as 0 and 1.
    pub n: u64,
    /// Their mean.
    pub avg: Option<f64>,
    /// Whether some of it comes from an evaluator that was itself a run.
    pub show_feedback_arrow: bool,
    /// How often each label was given.
    pub values: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Tally {
    n: u32,
    sum: f64,
    arrow: bool,
    values: BTreeMap<String, u64>,
}

/// Statistics of some feedback by key. Those of several runs are those of all their feedback: means are never averaged.
#[must_use]
pub fn of<'a>(feedback: impl IntoIterator<Item = &'a Feedback>) -> BTreeMap<String, KeyStats> {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for record in feedback {
        tallies.entry(&record.key).or_default().count(record);
    }
    tallies.into_iter().map(|(key, tally)| (key.to_owned(), tally.finished())).collect()
}

impl Tally {
    fn count(&mut self, record: &Feedback) {
        if let Some(score) = record.score {
            self.n = self.n.saturating_add(1);
            self.sum += score.number();
        }
        if let Some(label) = record.value.as_ref().and_then(label) {
            let count = self.values.entry(label).or_default();
            *count = count.saturating_add(1);
        }
        self.arrow |= record.source.as_ref().is_some_and(is_of_a_run);
    }

    fn finished(self) -> KeyStats {
        KeyStats {
            n: self.n.into(),
            avg: (self.n > 0).then(|| self.sum / f64::from(self.n)),
            show_feedback_arrow: self.arrow,
            values: self.values,
        }
    }
}

/// The label, when the value is one: text that says something.
#[must_use]
pub fn label(value: &RawJson) -> Option<String> {
    value.read::<String>().ok().filter(|label| !label.is_empty())
}

/// Whether a source names the run that made the feedback: `metadata.__run`.
#[must_use]
pub fn is_of_a_run(source: &RawJson) -> bool {
    #[derive(Deserialize)]
    struct Source {
        metadata: Option<Metadata>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "__run")]
        run: Option<IgnoredAny>,
    }
    source.read::<Source>().is_ok_and(|source| source.metadata.is_some_and(|metadata| metadata.run.is_some()))
}
