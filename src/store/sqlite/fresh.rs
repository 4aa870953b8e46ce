//! Runs that have just been written, as they were said, until somebody asks for them.
//!
//! Nearly every run is looked at once, milliseconds after it was stored. Reading it back then means to unpack and to
//! parse what was packed and written a moment before. So what was said of new runs is kept for a while, within a number
//! of bytes, and handed out once. What is kept is what is stored only if the run has not changed since: whoever takes it
//! has to look whether the run's newest change is still the one it was kept with, by number and instant. The number
//! alone does not tell: a project that was wiped and comes again counts from the beginning.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::id::{ProjectId, RunId, TenantId};
use crate::model::price::Prices;
use crate::model::run::{Part, StoredRun};
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::accept::{AsMade, merged};
use crate::store::runs::Batch;
use crate::store::weight;

/// Bytes that are kept at most, roughly.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// How many may stand in the order although they were taken, beside as many as were not.
const MOST_TAKEN: usize = 1024;

/// The runs.
#[derive(Clone, Default)]
pub(super) struct Fresh(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    runs: HashMap<(TenantId, RunId), Kept>,
    /// Oldest first, with the changes they were kept with. Those that were taken are among them, until they are many.
    order: VecDeque<((TenantId, RunId), Seq)>,
    bytes: usize,
}

/// One run.
pub(super) struct Kept {
    /// Where it is, and the change it was kept with.
    pub(super) made: AsMade,
    parts: Vec<Part>,
    prices: Arc<Prices>,
    bytes: usize,
}

/// What runs say is shown to nobody this way.
impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").finish_non_exhaustive()
    }
}

impl Fresh {
    /// Keeps those runs of a batch that are stored as it said them, and forgets the others that it speaks of.
    pub(super) fn keep(&self, tenant: TenantId, batch: Batch, as_made: &HashMap<RunId, AsMade>) {
        let mut runs: HashMap<RunId, Option<Kept>> = HashMap::new();
        for part in batch.parts {
            let made = as_made.get(&part.run_id);
            let kept = runs.entry(part.run_id).or_insert_with(|| made.map(|made| Kept::of(*made, &batch.prices)));
            if let Some(kept) = kept {
                kept.add(part);
            }
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced: Vec<_> = runs.into_iter().map(|(run, kept)| held.put((tenant, run), kept)).collect();
        let dropped = held.trim();
        // Freeing them takes a while.
        drop(held);
        drop((replaced, dropped));
    }

    /// Hands out what is kept of these runs, project by project.
    pub(super) fn take(&self, tenant: TenantId, runs: &[RunId]) -> BTreeMap<ProjectId, Vec<Kept>> {
        let mut taken: BTreeMap<ProjectId, Vec<Kept>> = BTreeMap::new();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for kept in runs.iter().filter_map(|run| held.remove(&(tenant, *run))) {
            taken.entry(kept.made.project).or_default().push(kept);
        }
        taken
    }
}

impl Shelf {
    /// Puts a run, or nothing, in the place of what was kept of it.
    fn put(&mut self, key: (TenantId, RunId), kept: Option<Kept>) -> Option<Kept> {
        let replaced = self.remove(&key);
        if let Some(kept) = kept.filter(|kept| kept.bytes <= MOST_BYTES) {
            self.bytes = self.bytes.saturating_add(kept.bytes);
            self.order.push_back((key, kept.made.seq));
            self.runs.insert(key, kept);
        }
        replaced
    }

    fn remove(&mut self, key: &(TenantId, RunId)) -> Option<Kept> {
        let kept = self.runs.remove(key)?;
        self.bytes = self.bytes.saturating_sub(kept.bytes);
        Some(kept)
    }

    /// Takes out the oldest that are too many, and what is left in the order of those that are gone.
    fn trim(&mut self) -> Vec<Kept> {
        if self.order.len() > self.runs.len().saturating_mul(2).saturating_add(MOST_TAKEN) {
            let runs = &self.runs;
            self.order.retain(|(key, seq)| runs.get(key).is_some_and(|kept| kept.made.seq == *seq));
        }
        let mut dropped = Vec::new();
        while self.bytes > MOST_BYTES
            && let Some((oldest, seq)) = self.order.pop_front()
        {
            if self.runs.get(&oldest).is_some_and(|kept| kept.made.seq == seq) {
                dropped.extend(self.remove(&oldest));
            }
        }
        dropped
    }
}

impl Kept {
    fn of(made: AsMade, prices: &Arc<Prices>) -> Self {
        Self { made, parts: Vec::with_capacity(1), prices: Arc::clone(prices), bytes: 0 }
    }

    fn add(&mut self, part: Part) {
        self.bytes = self.bytes.saturating_add(weight::of_part(&part));
        self.parts.push(part);
    }

    /// Whether this is still the run's newest change.
    pub(super) fn is_newest(&self, newest: &HashMap<RunId, (Seq, Timestamp)>) -> bool {
        newest.get(&self.made.run) == Some(&(self.made.seq, self.made.at))
    }

    /// The run, as reading it would give it.
    pub(super) fn resolve(self, tenant: TenantId) -> Option<StoredRun> {
        let AsMade { project, run, seq, at } = self.made;
        let run = merged(self.parts, &self.prices).resolve(tenant, project, run, at)?;
        Some(StoredRun { run, feedback: Vec::new(), changed_seq: seq })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::run::{Fields, PartKind};

    const TENANT: TenantId = TenantId::DEFAULT;

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    fn keep(fresh: &Fresh, number: u128, seq: i64, bytes: usize) {
        let run_id = run(number);
        let fields = Fields { error: Some("e".repeat(bytes)), ..Fields::default() };
        let part = Part { run_id, kind: PartKind::Post, project: None, fields, digest: 1 };
        let batch = Batch { parts: vec![part], ..Batch::default() };
        let made = AsMade { run: run_id, project: ProjectId(Uuid::nil()), seq, at: Timestamp(0) };
        fresh.keep(TENANT, batch, &HashMap::from([(run_id, made)]));
    }

    fn taken(fresh: &Fresh, number: u128) -> Vec<i64> {
        let kept = fresh.take(TENANT, &[run(number)]).into_values().flatten();
        kept.map(|kept| kept.made.seq).collect()
    }

    #[test]
    fn a_run_is_handed_out_once_as_it_was_kept_last() {
        let fresh = Fresh::default();
        keep(&fresh, 1, 7, 10);
        keep(&fresh, 1, 8, 10);
        assert!(fresh.take(TenantId(Uuid::from_u128(9)), &[run(1)]).is_empty());
        assert_eq!(taken(&fresh, 1), [8]);
        assert!(taken(&fresh, 1).is_empty());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes() {
        let fresh = Fresh::default();
        for number in 0..5 {
            keep(&fresh, number, 1, MOST_BYTES / 4);
        }
        keep(&fresh, 5, 1, MOST_BYTES);
        assert_eq!([0, 1, 2, 3, 4, 5].map(|number| taken(&fresh, number).len()), [0, 0, 1, 1, 1, 0]);
        assert_eq!(fresh.0.lock().unwrap().bytes, 0);
    }

    #[test]
    fn nothing_is_left_of_runs_that_were_taken() {
        let fresh = Fresh::default();
        keep(&fresh, 0, 1, 10);
        for number in 1..5_000 {
            keep(&fresh, number, 1, 10);
            taken(&fresh, number);
            keep(&fresh, 0, number.try_into().unwrap(), 10);
        }
        assert!(fresh.0.lock().unwrap().order.len() <= MOST_TAKEN + 2);
        assert_eq!(taken(&fresh, 0), [4_999]);
    }
}
