//! Counting what has come since the last change that was seen.
//!
//! A run counts in the minute of the change by which it was last written, once it has ended; feedback that comes later is a
//! change too, and moves it nowhere. What filters ask is asked of the databases as far as they can tell, of the evaluator
//! for the rest, and only of runs that changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use crate::filter::{Facts, Filter, Mode};
use crate::model::alert::{
    Aggregation, Attribute, Bucket, Kept, Metric, REMEMBERED, Standing, beginning_of, minute_of,
};
use crate::model::feedback::Feedback;
use crate::model::id::{RunId, derived};
use crate::model::run::{Run, Status, StoredRun};
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq};
use crate::query::{Finder, Question, Scope, families};
use crate::store::{Result, Store, StoreError};

/// Changes that are looked at together.
const PAGE: u32 = 512;

/// How much earlier than the minute that is counted a score may say it was given: senders' clocks are not ours, and what
/// they send takes its time. What is older was there before.
const LATE: Duration = Duration::from_mins(5);

/// How long it is remembered that a score was counted, in minutes: longer than it may be late.
const REMEMBERED_SCORES: i64 = 7;

/// Counts what changed before an instant, and returns the last change it saw. Whether there was any is whether that has
/// moved.
pub(super) async fn count(store: &dyn Store, kept: &Kept, standing: &mut Standing, until: Timestamp) -> Result<Seq> {
    let (alert, end) = (&kept.alert, Timestamp(until.0.saturating_sub(1)));
    let (tenant, project) = (alert.tenant_id, alert.project_id);
    let last_judged = minute_of(kept.evaluated_at);
    // A new alert counts as far back as it looks.
    let begin = minute_of(until).saturating_sub(alert.condition.reach());
    let (mut seen, earliest) = match kept.seen {
        Some(seen) => (seen, last_judged),
        None => (store.last_change_before(tenant, project, beginning_of(begin)).await?, begin),
    };
    let mut counting = Counting::new(store, kept, earliest)?;
    loop {
        let changes = store.changes(tenant, project, seen, end, PAGE).await?;
        let Some(last) = changes.last() else { break };
        seen = last.seq;
        counting.page(&changes, standing).await?;
        if changes.len() < PAGE as usize {
            break;
        }
    }
    counting.lay(standing);
    forget(standing, minute_of(until));
    Ok(seen)
}

fn forget(standing: &mut Standing, minute: i64) {
    standing.buckets.retain(|bucket| bucket.minute >= minute.saturating_sub(REMEMBERED));
    standing.counted.retain(|(counted, _)| *counted >= minute.saturating_sub(REMEMBERED_SCORES));
}

struct Counting<'a> {
    store: &'a dyn Store,
    kept: &'a Kept,
    filter: Filter,
    denominator: Filter,
    /// What comes late belongs to the first minute that is yet to be judged.
    earliest: i64,
    buckets: BTreeMap<i64, Bucket>,
    /// Runs that were counted: a page may end between two changes of one.
    done: HashSet<RunId>,
}

/// The changes of a page, by run.
type Changed = HashMap<RunId, Vec<Timestamp>>;

impl<'a> Counting<'a> {
    fn new(store: &'a dyn Store, kept: &'a Kept, earliest: i64) -> Result<Self> {
        let Metric { attribute, filter, denominator_filter, .. } = &kept.alert.metric;
        let filter = parsed(filter.as_deref())?;
        let filter = match attribute {
            Attribute::ErrorCount => filter.and(Filter::status("error")),
            _ => filter,
        };
        let denominator = parsed(denominator_filter.as_deref())?;
        Ok(Self { store, kept, filter, denominator, earliest, buckets: BTreeMap::new(), done: HashSet::new() })
    }

    async fn page(&mut self, log: &[Change], standing: &mut Standing) -> Result<()> {
        let mut changed = Changed::new();
        for change in log {
            changed.entry(change.run_id).or_default().push(change.at);
        }
        for at in changed.values().filter_map(|at| at.last()) {
            let bucket = self.bucket(*at);
            bucket.seen = bucket.seen.saturating_add(1);
        }
        let runs: Vec<RunId> = changed.keys().copied().collect();
        let passing = self.passing(&self.filter, &runs).await?;
        if self.kept.alert.metric.attribute == Attribute::FeedbackScore {
            self.scores(&passing, &changed, standing);
            return Ok(());
        }
        let passing = self.fresh(passing, &changed);
        let mut counted: Vec<RunId> = passing.iter().map(|(_, stored)| stored.run.id).collect();
        self.sum(&passing).await?;
        if self.kept.alert.metric.aggregation == Aggregation::Pct {
            let all = self.passing(&self.denominator, &runs).await?;
            for (at, stored) in self.fresh(all, &changed) {
                counted.push(stored.run.id);
                let bucket = self.bucket(at);
                bucket.of = bucket.of.saturating_add(1);
            }
        }
        self.done.extend(counted);
        Ok(())
    }

    /// The runs among these that pass a filter and have ended.
    async fn passing(&self, filter: &Filter, runs: &[RunId]) -> Result<Vec<StoredRun>> {
        let question = Question {
            scope: Scope::Runs(runs.to_vec()),
            filter: filter.clone(),
            trace_filter: None,
            tree_filter: None,
            newest_first: true,
        };
        let mut finder = Finder::new(self.store, self.kept.alert.tenant_id, &question, None);
        let mut found = Vec::new();
        while !finder.has_ended() {
            found.extend(finder.next(PAGE).await?);
        }
        found.retain(|stored| stored.run.status != Status::Pending);
        Ok(found)
    }

    /// Those that were themselves written by one of these changes, with its instant.
    fn fresh(&self, runs: Vec<StoredRun>, changed: &Changed) -> Vec<(Timestamp, StoredRun)> {
        let written = |stored: &StoredRun| {
            let at = stored.run.modified_at;
            let instants = changed.get(&stored.run.id)?;
            (instants.contains(&at) && !self.done.contains(&stored.run.id)).then_some(at)
        };
        runs.into_iter().filter_map(|stored| Some((written(&stored)?, stored))).collect()
    }

    /// Adds up what runs say.
    async fn sum(&mut self, runs: &[(Timestamp, StoredRun)]) -> Result<()> {
        match self.kept.alert.metric.attribute {
            Attribute::TotalCost => return self.costs(runs).await,
            Attribute::Latency | Attribute::RunLatency => {
                for (at, StoredRun { run, .. }) in runs {
                    let took = run.end_time.map(|end| end.0.saturating_sub(run.start_time.0));
                    self.add(*at, took.map(|micros| Decimal::new(micros, 6)));
                }
            }
            Attribute::ErrorCount | Attribute::RunCount | Attribute::FeedbackScore => {
                for (at, _) in runs {
                    self.add(*at, Some(Decimal::ONE));
                }
            }
        }
        Ok(())
    }

    /// Adds up costs: what each run itself cost, or, where a filter chooses, what those it chooses cost with all below
    /// them, each once.
    async fn costs(&mut self, runs: &[(Timestamp, StoredRun)]) -> Result<()> {
        if self.kept.alert.metric.filter.is_none() {
            for (at, stored) in runs {
                self.add(*at, stored.run.usage.total_cost);
            }
            return Ok(());
        }
        let chosen: Vec<&Run> = runs.iter().map(|(_, stored)| &stored.run).collect();
        let families = families(self.store, self.kept.alert.tenant_id, &chosen).await?;
        let ids: HashSet<RunId> = chosen.iter().map(|run| run.id).collect();
        let below: HashSet<RunId> = families
            .iter()
            .filter(|(id, _)| ids.contains(id))
            .flat_map(|(_, family)| family.descendants.iter().copied())
            .collect();
        for (at, stored) in runs.iter().filter(|(_, stored)| !below.contains(&stored.run.id)) {
            self.add(*at, families.get(&stored.run.id).and_then(|family| family.usage.total_cost));
        }
        Ok(())
    }

    /// Adds up the scores that are new on runs that changed.
    fn scores(&mut self, runs: &[StoredRun], changed: &Changed, standing: &mut Standing) {
        let young = beginning_of(self.earliest).before(LATE);
        for stored in runs {
            let Some(at) = changed.get(&stored.run.id).and_then(|at| at.last()) else { continue };
            for record in stored.feedback.iter().filter(|record| record.modified_at >= young) {
                let mark = mark(record);
                if standing.counted.iter().any(|(_, counted)| *counted == mark) || !self.is_meant(stored, record) {
                    continue;
                }
                let score = record.score.filter(|_| record.error != Some(true));
                let Some(score) = score.and_then(|score| Decimal::from_f64(score.number())) else { continue };
                self.add(*at, Some(score));
                let minute = minute_of(*at).max(self.earliest);
                standing.counted.push((minute, mark));
            }
        }
    }

    /// Whether the filter would choose a run for this record alone: so a key it names is the key that counts.
    fn is_meant(&self, stored: &StoredRun, record: &Feedback) -> bool {
        if !self.filter.needs().feedback {
            return true;
        }
        let alone = StoredRun { feedback: vec![record.clone()], ..stored.clone() };
        self.filter.matches(&Facts::of(&alone))
    }

    fn bucket(&mut self, at: Timestamp) -> &mut Bucket {
        let minute = minute_of(at).max(self.earliest);
        self.buckets.entry(minute).or_insert_with(|| Bucket { minute, ..Bucket::default() })
    }

    /// Adds a value. In a share it is what is shared out that counts, elsewhere every value.
    fn add(&mut self, at: Timestamp, value: Option<Decimal>) {
        let Some(value) = value else { return };
        let is_share = self.kept.alert.metric.aggregation == Aggregation::Pct;
        let bucket = self.bucket(at);
        bucket.sum = bucket.sum.saturating_add(value);
        bucket.of = bucket.of.saturating_add(u64::from(!is_share));
    }

    /// Adds what was counted to what is known.
    fn lay(self, standing: &mut Standing) {
        let mut all: BTreeMap<i64, Bucket> = standing.buckets.drain(..).map(|bucket| (bucket.minute, bucket)).collect();
        for (minute, bucket) in self.buckets {
            let known = all.entry(minute).or_insert_with(|| Bucket { minute, ..Bucket::default() });
            known.seen = known.seen.saturating_add(bucket.seen);
            known.of = known.of.saturating_add(bucket.of);
            known.sum = known.sum.saturating_add(bucket.sum);
        }
        standing.buckets = all.into_values().collect();
    }
}

fn parsed(filter: Option<&str>) -> Result<Filter> {
    let Some(text) = filter else { return Ok(Filter::default()) };
    Filter::parse(text, Mode::Lenient).map(|(filter, _)| filter).map_err(|_| StoreError::Corrupt {
        table: "alerts",
        reason: "a filter that was understood when it was saved is not any more: save it again".to_owned(),
    })
}

/// What a score is recognised by. One that was changed is another.
fn mark(record: &Feedback) -> u64 {
    derived("score", &[record.id.0.as_bytes(), &record.modified_at.0.to_be_bytes()]).as_u64_pair().0
}
