//! Threads: the root runs of a project, grouped by the thread their metadata names.

use std::collections::HashMap;

use crate::filter::Facts;
use crate::model::id::{RunId, TenantId};
use crate::model::run::{Run, Status, StoredRun};
use crate::model::time::Timestamp;
use crate::model::usage::Usage;
use crate::query::families;
use crate::query::feedback::Summaries;
use crate::query::stats::{Spread, spread};
use crate::query::{Finder, Question};
use crate::store::{Result, Store};

/// Runs that are looked at together.
const BATCH: u32 = 512;

/// Some threads, and how many there are.
#[derive(Debug, Clone, Default)]
pub struct Threads {
    /// Those asked for.
    pub threads: Vec<Thread>,
    /// How many there are.
    pub total: usize,
}

/// A thread.
#[derive(Debug, Clone)]
pub struct Thread {
    /// Its id.
    pub id: String,
    /// How many runs of it there are.
    pub runs: u64,
    /// The one that started first.
    pub first: StoredRun,
    /// The one that started last.
    pub last: StoredRun,
    /// The error of the last one that failed.
    pub last_error: Option<String>,
    /// How long they took, in microseconds.
    pub latency: Option<Spread<i64>>,
    /// What they used together.
    pub usage: Usage,
    /// Feedback on them, by key.
    pub feedback: Summaries,
}

#[derive(Default)]
struct Tally {
    runs: u64,
    first: Option<(Timestamp, RunId)>,
    last: Option<(Timestamp, RunId)>,
    last_error: Option<(Timestamp, String)>,
    latency: Vec<i64>,
    usage: Usage,
    feedback: Summaries,
}

/// The threads of the runs that pass a question, the one that was last active first: so many of them after so many.
pub async fn threads(
    store: &dyn Store,
    tenant: TenantId,
    question: &Question,
    (offset, limit): (u32, u32),
) -> Result<Threads> {
    let mut finder = Finder::new(store, tenant, question, None);
    let mut tallies: HashMap<String, Tally> = HashMap::new();
    while !finder.has_ended() {
        let found = finder.next(BATCH).await?;
        let runs: Vec<&Run> = found.iter().map(|stored| &stored.run).collect();
        let families = families(store, tenant, &runs).await?;
        for stored in &found {
            let Some(id) = Facts::of(stored).thread_id().map(ToOwned::to_owned) else { continue };
            let usage = families.get(&stored.run.id).map_or(&stored.run.usage, |family| &family.usage);
            tallies.entry(id).or_default().count(stored, usage);
        }
    }
    let total = tallies.len();
    let mut order: Vec<(String, Tally)> = tallies.into_iter().collect();
    order.sort_by(|(one, of_one), (other, of_other)| of_other.last.cmp(&of_one.last).then_with(|| one.cmp(other)));
    let asked: Vec<(String, Tally)> = order.into_iter().skip(offset as usize).take(limit as usize).collect();
    Ok(Threads { threads: finish(store, tenant, asked).await?, total })
}

async fn finish(store: &dyn Store, tenant: TenantId, tallies: Vec<(String, Tally)>) -> Result<Vec<Thread>> {
    let ends = tallies.iter().flat_map(|(_, tally)| [tally.first, tally.last]).flatten().map(|(_, run)| run);
    let mut ids: Vec<RunId> = ends.collect();
    ids.sort_unstable();
    ids.dedup();
    let runs: HashMap<RunId, StoredRun> =
        store.runs(tenant, &ids).await?.into_iter().map(|stored| (stored.run.id, stored)).collect();
    let end = |at: Option<(Timestamp, RunId)>| at.and_then(|(_, run)| runs.get(&run)).cloned();
    let finished = tallies.into_iter().filter_map(|(id, tally)| {
        Some(Thread {
            id,
            runs: tally.runs,
            first: end(tally.first)?,
            last: end(tally.last)?,
            last_error: tally.last_error.map(|(_, error)| error),
            latency: spread(tally.latency),
            usage: tally.usage,
            feedback: tally.feedback,
        })
    });
    Ok(finished.collect())
}

impl Tally {
    fn count(&mut self, stored: &StoredRun, usage: &Usage) {
        let run = &stored.run;
        let place = (run.start_time, run.id);
        self.runs = self.runs.saturating_add(1);
        self.first = Some(self.first.map_or(place, |first| first.min(place)));
        self.last = self.last.max(Some(place));
        if run.status == Status::Error {
            let error = (run.start_time, run.error.clone().unwrap_or_default());
            self.last_error = self.last_error.take().max(Some(error));
        }
        self.latency.extend(run.end_time.map(|end| end.0.saturating_sub(run.start_time.0)));
        self.usage.add(usage);
        self.feedback.add_all(&stored.feedback);
    }
}
