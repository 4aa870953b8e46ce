//! What feedback amounts to, as clients read it: the keys of the documented payload, and those of newer answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::query::feedback::{Summaries, Summary};

/// What was said under one key.
#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    n: u32,
    avg: Option<f64>,
    stdev: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    show_feedback_arrow: bool,
    values: BTreeMap<String, u64>,
    errors: u64,
    comments: Vec<String>,
    /// Each one is JSON in a string.
    sources: Vec<String>,
    contains_thread_feedback: bool,
}

/// All keys.
pub(crate) fn shown(summaries: &Summaries) -> BTreeMap<String, Stats> {
    summaries.iter().map(|(key, summary)| (key.to_owned(), Stats::of(summary))).collect()
}

impl Stats {
    fn of(summary: &Summary) -> Self {
        Self {
            n: summary.n,
            avg: summary.avg(),
            stdev: summary.stdev(),
            min: summary.min,
            max: summary.max,
            show_feedback_arrow: summary.of_a_run,
            values: summary.values.clone(),
            errors: summary.errors,
            comments: summary.comments.clone(),
            sources: summary.sources.iter().map(|source| source.text().to_owned()).collect(),
            contains_thread_feedback: false,
        }
    }
}
