//! Feedback: what was said under each key, together, and pages of records by what the store does not know of them.

use std::collections::BTreeMap;

use crate::model::feedback::Feedback;
use crate::model::id::{ProjectId, TenantId};
use crate::model::json::RawJson;
use crate::payload::stats::{is_of_a_run, label};
use crate::store::runs::FeedbackQuery;
use crate::store::{Result, Store};

/// Comments and sources that are shown of a key.
const SHOWN: usize = 20;

/// Records that are looked at together.
const BATCH: u32 = 500;

/// What was said, by key.
#[derive(Debug, Clone, Default)]
pub struct Summaries(BTreeMap<String, Summary>);

/// What was said under one key.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many scores there are; a yes or no counts as 1 or 0.
    pub n: u32,
    /// The least score.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// How often each label was given.
    pub values: BTreeMap<String, u64>,
    /// How many records say that the evaluator failed.
    pub errors: u64,
    /// Some comments.
    pub comments: Vec<String>,
    /// Some sources.
    pub sources: Vec<RawJson>,
    /// Whether some of it comes from an evaluator that was itself a run.
    pub of_a_run: bool,
    mean: f64,
    squares: f64,
}

impl Summaries {
    /// Those of some records.
    #[must_use]
    pub fn of(feedback: &[Feedback]) -> Self {
        let mut summaries = Self::default();
        summaries.add_all(feedback);
        summaries
    }

    /// Takes in further records.
    pub fn add_all(&mut self, feedback: &[Feedback]) {
        for record in feedback {
            if let Some(summary) = self.0.get_mut(&record.key) {
                summary.add(record);
            } else {
                self.0.entry(record.key.clone()).or_default().add(record);
            }
        }
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key with what was said under it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Summary)> {
        self.0.iter().map(|(key, summary)| (key.as_str(), summary))
    }
}

impl Summary {
    /// The mean score.
    #[must_use]
    pub fn avg(&self) -> Option<f64> {
        (self.n > 0).then_some(self.mean)
    }

    /// The deviation of the sample, which takes two scores.
    #[must_use]
    pub fn stdev(&self) -> Option<f64> {
        (self.n > 1).then(|| (self.squares / f64::from(self.n.saturating_sub(1))).sqrt())
    }

    fn add(&mut self, record: &Feedback) {
        if let Some(score) = record.score.map(crate::model::feedback::Score::number) {
            self.n = self.n.saturating_add(1);
            let off = score - self.mean;
            self.mean += off / f64::from(self.n);
            self.squares += off * (score - self.mean);
            self.min = Some(self.min.map_or(score, |min| min.min(score)));
            self.max = Some(self.max.map_or(score, |max| max.max(score)));
        }
        if let Some(label) = record.value.as_ref().and_then(label) {
            let count = self.values.entry(label).or_default();
            *count = count.saturating_add(1);
        }
        self.errors = self.errors.saturating_add(u64::from(record.error == Some(true)));
        if let Some(comment) = record.comment.as_ref().filter(|_| self.comments.len() < SHOWN) {
            self.comments.push(comment.clone());
        }
        if let Some(source) = &record.source {
            self.of_a_run |= is_of_a_run(source);
            if self.sources.len() < SHOWN && !self.sources.contains(source) {
                self.sources.push(source.clone());
            }
        }
    }
}

/// What was said of a project as a whole.
pub async fn on_project(store: &dyn Store, tenant: TenantId, project: ProjectId) -> Result<Summaries> {
    let mut summaries = Summaries::default();
    let mut query =
        FeedbackQuery { projects: vec![project], on_runs: Some(false), limit: BATCH, ..FeedbackQuery::default() };
    loop {
        let found = store.list_feedback(tenant, &query).await?;
        summaries.add_all(&found);
        query.before = found.last().map(|record| (record.created_at, record.id));
        if found.len() < BATCH as usize {
            return Ok(summaries);
        }
    }
}

/// The page of a query whose records also pass a test, which counts as part of the query. However far back the page is,
/// each record on the way to it is looked at once.
pub async fn page(
    store: &dyn Store,
    tenant: TenantId,
    query: &FeedbackQuery,
    passes: impl Fn(&Feedback) -> bool,
) -> Result<Vec<Feedback>> {
    let (mut page, mut skipped, mut before) = (Vec::new(), 0, query.before);
    loop {
        let batch = FeedbackQuery { limit: BATCH, offset: 0, before, ..query.clone() };
        let found = store.list_feedback(tenant, &batch).await?;
        let is_last = found.len() < BATCH as usize;
        before = found.last().map(|record| (record.created_at, record.id));
        for record in found.into_iter().filter(&passes) {
            if skipped < query.offset {
                skipped = skipped.saturating_add(1);
            } else if page.len() < query.limit as usize {
                page.push(record);
            }
        }
        if is_last || page.len() >= query.limit as usize {
            return Ok(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::feedback::Score;
    use crate::model::id::FeedbackId;
    use crate::model::time::Timestamp;

    fn record(score: Option<f64>, value: Option<&str>) -> Feedback {
        Feedback {
            id: FeedbackId(uuid::Uuid::nil()),
            run_id: None,
            trace_id: None,
            session_id: None,
            key: "k".to_owned(),
            score: score.map(Score::Number),
            value: value.map(|value| RawJson::parse(value.to_owned()).unwrap()),
            comment: None,
            correction: None,
            source: None,
            extra: None,
            error: None,
            created_at: Timestamp(0),
            modified_at: Timestamp(0),
        }
    }

    #[test]
    fn scores_are_counted_and_labels_are_not_scores() {
        let said = [record(Some(2.0), None), record(None, Some("\"good\"")), record(Some(4.0), None)];
        let summaries = Summaries::of(&said);
        let (_, summary) = summaries.iter().next().unwrap();
        assert_eq!((summary.n, summary.avg(), summary.min, summary.max), (2, Some(3.0), Some(2.0), Some(4.0)));
        assert!((summary.stdev().unwrap() - 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(summary.values["good"], 1);
        assert_eq!(Summaries::of(&said[..1]).iter().next().unwrap().1.stdev(), None);
    }
}
