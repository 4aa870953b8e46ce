//! Looking at changes: the runs behind them are loaded once, in bounded batches, and shown to every rule that is due.
//!
//! A rule that looks at single runs sees each changed run as it stands now. A rule that looks at traces sees all runs
//! of a changed trace, with tokens and costs summed up the tree, and only in the window that holds the trace's newest
//! change: a trace that changed again behind the window is left to the window of that change. So nothing is judged
//! while it is still moving, and nothing is forgotten.
//!
//! What is told of a run's tokens and costs is what its subtree used, whichever rule found it. For runs that were found by
//! themselves what is below them is read once they have been found: that costs by matches, not by changes, and next to
//! nothing for a run that has no children.
//!
//! Rules that are told by threads see whole threads in the same way ([`threads`]).
//!
//! A row that does not decode is passed over by the store: one broken row must not hold up its project for ever. Its
//! trace is judged by what is left of it.

mod threads;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::filter::Facts;
use crate::matcher::{Candidates, CompiledRule, RuleSet, Slot, Trace};
use crate::model::id::{RunId, TraceId};
use crate::model::run::{Payload, StoredRun};
use crate::model::usage::roll_up;
use crate::model::window::{Change, Seq};
use crate::payload;
use crate::query::sums;
use crate::scheduler::plan::{Cut, Place, Reading, Rest, Stretch};
use crate::scheduler::sample;
use crate::store::windows::Stirred;
use crate::store::{Store, StoreError};
use threads::FoundThread;

/// Changes whose runs are in memory together.
const BATCH: usize = 256;

/// The same where whole threads are: each is many runs.
const BATCH_OF_THREADS: usize = 32;

/// Bytes of matched runs after which a window is closed at the end of its batch.
const HEAVY: usize = 64 * 1024 * 1024;

/// A window that is being filled.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) stretch: Stretch,
    pub(super) cut: Cut,
    /// What the rules of the stretch have found, those that have found something, in their order.
    pub(super) found: BTreeMap<Place, Found>,
    weight: usize,
}

/// What one rule has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    runs: HashMap<RunId, Arc<StoredRun>>,
    /// The threads that these are turns of, by their newest changes; none of rules that are told by runs.
    threads: Vec<FoundThread>,
}

/// What a rule tells: runs, and the threads they are turns of.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pub(super) runs: Vec<Arc<StoredRun>>,
    pub(super) threads: Vec<payload::Thread>,
}

/// The runs behind a batch of changes.
#[derive(Debug, Default)]
struct Loaded {
    runs: HashMap<RunId, Arc<StoredRun>>,
    traces: Vec<LoadedTrace>,
    /// Those of the runs that came without the rest of their trace.
    alone: HashSet<RunId>,
}

#[derive(Debug)]
struct LoadedTrace {
    id: TraceId,
    newest: Seq,
    runs: Vec<Arc<StoredRun>>,
}

impl Found {
    /// The runs by the number of their newest change; those of threads thread by thread, as they started.
    pub(super) fn into_telling(mut self) -> Telling {
        if self.threads.is_empty() {
            let mut runs: Vec<_> = self.runs.into_values().collect();
            runs.sort_by_key(|stored| (stored.changed_seq, stored.run.id));
            return Telling { runs, threads: Vec::new() };
        }
        let mut telling = Telling::default();
        for thread in &self.threads {
            let before = telling.runs.len();
            telling.runs.extend(thread.turns().filter_map(|turn| self.runs.remove(&turn)));
            if telling.runs.len() > before {
                telling.threads.push(thread.told());
            }
        }
        telling
    }

    /// The ids of the runs.
    pub(super) fn ids(&self) -> impl Iterator<Item = RunId> {
        self.runs.keys().copied()
    }

    /// Forgets runs that have matched before.
    pub(super) fn retain(&mut self, keep: impl Fn(RunId) -> bool) {
        self.runs.retain(|id, _| keep(*id));
    }
}

/// Shows what was read to every draft.
pub(super) async fn fill(
    store: &dyn Store,
    project: &Stirred,
    reading: &Reading,
    drafts: &mut [Draft],
    turns_per_thread: u32,
) -> Result<(), StoreError> {
    let newest: HashMap<TraceId, Seq> = reading.changes.iter().map(|change| (change.trace_id, change.seq)).collect();
    let leads = threads::leads(store, project, reading, drafts).await?;
    let size = if drafts.iter().any(Draft::asks_threads) { BATCH_OF_THREADS } else { BATCH };
    for batch in reading.changes.chunks(size) {
        let settled_here = |change: &&Change| newest.get(&change.trace_id) == Some(&change.seq);
        let traces: BTreeSet<TraceId> = batch
            .iter()
            .filter(settled_here)
            .filter(|change| drafts.iter().any(|draft| draft.asks_traces() && draft.covers(change.seq)))
            .map(|change| change.trace_id)
            .collect();
        let runs: BTreeSet<RunId> = batch
            .iter()
            .filter(|change| drafts.iter().any(|draft| draft.asks_runs() && draft.covers(change.seq)))
            .map(|change| change.run_id)
            .collect();
        let mut loaded = load(store, project, &traces, &runs).await?;
        for trace in &mut loaded.traces {
            // A change to a run that is not complete yet is a change of the trace, too.
            trace.newest = trace.newest.max(newest.get(&trace.id).copied().unwrap_or(0));
        }
        show(batch, &loaded, drafts);
        let mut alone = std::mem::take(&mut loaded.alone);
        drop(loaded);
        alone.extend(threads::show(store, project, batch, &leads, drafts, turns_per_thread).await?);
        sum_found(store, project, &alone, drafts).await?;
        if let Some(last) = batch.last() {
            for draft in drafts.iter_mut() {
                draft.close_if_heavy(last);
            }
        }
    }
    Ok(())
}

/// Sums up what the subtrees used of runs that were found alone.
async fn sum_found(
    store: &dyn Store,
    project: &Stirred,
    alone: &HashSet<RunId>,
    drafts: &mut [Draft],
) -> Result<(), StoreError> {
    let runs = drafts.iter().flat_map(|draft| draft.found.values()).flat_map(|found| found.runs.values());
    let mut asked: BTreeMap<TraceId, Vec<RunId>> = BTreeMap::new();
    for stored in runs.filter(|stored| alone.contains(&stored.run.id)) {
        asked.entry(stored.run.trace_id).or_default().push(stored.run.id);
    }
    if asked.is_empty() {
        return Ok(());
    }
    let sums = sums(store, project.tenant_id, project.project_id, &asked).await?;
    for stored in drafts.iter_mut().flat_map(|draft| draft.found.values_mut()).flat_map(|found| found.runs.values_mut())
    {
        if let Some(sum) = sums.get(&stored.run.id).filter(|sum| **sum != stored.run.usage) {
            Arc::make_mut(stored).run.usage.clone_from(sum);
        }
    }
    Ok(())
}

/// Shows one batch to every draft. The facts of a run are made once for all of them.
fn show(batch: &[Change], loaded: &Loaded, drafts: &mut [Draft]) {
    let mut candidates = Candidates::default();
    let mut changes: BTreeMap<RunId, Vec<Seq>> = BTreeMap::new();
    for change in batch {
        changes.entry(change.run_id).or_default().push(change.seq);
    }
    for (id, seqs) in changes {
        let Some(stored) = loaded.runs.get(&id) else { continue };
        let facts = Facts::of(stored);
        for draft in drafts.iter_mut() {
            draft.see_run(&seqs, stored, &facts, &mut candidates);
        }
    }
    for trace in &loaded.traces {
        let facts: Vec<Facts<'_>> = trace.runs.iter().map(|stored| Facts::of(stored)).collect();
        let root = facts.iter().find(|facts| facts.run.id == RunId::from(trace.id));
        let root = root.or_else(|| facts.iter().find(|facts| facts.run.is_root()));
        let shown = Trace { root, runs: &facts };
        for draft in drafts.iter_mut().filter(|draft| draft.covers(trace.newest)) {
            draft.see_trace(trace, &shown, &mut candidates);
        }
    }
}

impl Draft {
    /// An empty window.
    pub(super) fn new(stretch: Stretch, cut: Cut) -> Self {
        Self { stretch, cut, found: BTreeMap::new(), weight: 0 }
    }

    /// Whether a change is in the window and can concern its rules.
    fn covers(&self, seq: Seq) -> bool {
        seq > self.stretch.from && seq <= self.cut.through
    }

    fn asks_runs(&self) -> bool {
        self.stretch.watchers.sets().iter().any(|set| set.asks_runs())
    }

    fn asks_traces(&self) -> bool {
        self.stretch.watchers.sets().iter().any(|set| set.asks_traces())
    }

    fn see_run(&mut self, seqs: &[Seq], stored: &Arc<StoredRun>, facts: &Facts<'_>, candidates: &mut Candidates) {
        let Some(newest) = seqs.iter().rev().copied().find(|seq| self.covers(*seq)) else { return };
        for nth in 0..self.stretch.watchers.sets().len() {
            let Some(set) = self.stretch.watchers.sets().get(nth) else { return };
            set.run_candidates(facts, candidates);
            for place in candidates.slots().iter().map(|slot| Place { set: nth, slot: *slot }) {
                if self.wants(place, newest, stored, facts) {
                    self.add(place, stored);
                }
            }
        }
    }

    fn see_trace(&mut self, trace: &LoadedTrace, shown: &Trace<'_>, candidates: &mut Candidates) {
        for nth in 0..self.stretch.watchers.sets().len() {
            let Some(set) = self.stretch.watchers.sets().get(nth) else { return };
            for (slot, own) in self.own(nth, set, trace, shown, candidates) {
                let place = Place { set: nth, slot };
                if self.stretch.watchers.rule(place).is_some_and(|rule| rule.matches_trace(shown)) {
                    for stored in own {
                        self.add(place, stored);
                    }
                }
            }
        }
    }

    /// The runs of a trace that the rules of a set want, if the trace passes.
    fn own<'t>(
        &self,
        nth: usize,
        set: &RuleSet,
        trace: &'t LoadedTrace,
        shown: &Trace<'_>,
        candidates: &mut Candidates,
    ) -> BTreeMap<Slot, Vec<&'t Arc<StoredRun>>> {
        let mut own: BTreeMap<Slot, Vec<&Arc<StoredRun>>> = BTreeMap::new();
        let mut see = |slot: Slot, stored: &'t Arc<StoredRun>, facts: &Facts<'_>| {
            if self.wants(Place { set: nth, slot }, trace.newest, stored, facts) {
                own.entry(slot).or_default().push(stored);
            }
        };
        for (stored, facts) in trace.runs.iter().zip(shown.runs) {
            set.member_candidates(facts, candidates);
            candidates.slots().iter().for_each(|slot| see(*slot, stored, facts));
        }
        set.root_candidates(shown.root, candidates);
        for slot in candidates.slots() {
            trace.runs.iter().zip(shown.runs).for_each(|(stored, facts)| see(*slot, stored, facts));
        }
        own
    }

    /// Whether the change is one that the rule looks at, the run is new to it, and passes its sampling and its filter.
    fn wants(&self, place: Place, newest: Seq, stored: &StoredRun, facts: &Facts<'_>) -> bool {
        let Some(rule) = self.stretch.watchers.rule(place) else { return false };
        rule.matches_run(facts)
            && self.stretch.watchers.looks(rule, newest)
            && takes(rule, stored)
            && !self.found.get(&place).is_some_and(|found| found.runs.contains_key(&stored.run.id))
    }

    fn add(&mut self, place: Place, stored: &Arc<StoredRun>) {
        self.weight = self.weight.saturating_add(weight(stored));
        self.found.entry(place).or_default().runs.insert(stored.run.id, Arc::clone(stored));
    }

    /// Ends the window with this change, the last of a batch, when it holds enough.
    fn close_if_heavy(&mut self, last: &Change) {
        if self.weight > HEAVY && last.seq > self.stretch.from && last.seq < self.cut.through {
            self.cut.through = last.seq;
            self.cut.end_time = last.at.max(self.cut.start_time);
            self.cut.rest = Rest::Unread;
        }
    }
}

fn takes(rule: &CompiledRule, stored: &StoredRun) -> bool {
    sample::takes(rule.rule.id, stored.run.id, rule.rule.sampling_rate)
}

/// About how many bytes a run keeps in memory.
fn weight(stored: &StoredRun) -> usize {
    let run = &stored.run;
    let payloads = [&run.inputs, &run.outputs].into_iter().flatten().map(|payload| match payload {
        Payload::Inline(json) => json.text().len(),
        Payload::Blob(blob) => blob.extract.text().len(),
    });
    let rest = [&run.extra, &run.events, &run.serialized].into_iter().flatten().map(|json| json.text().len());
    payloads.chain(rest).fold(1024, usize::saturating_add)
}

async fn load(
    store: &dyn Store,
    project: &Stirred,
    traces: &BTreeSet<TraceId>,
    runs: &BTreeSet<RunId>,
) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded { traces: load_traces(store, project, traces).await?, ..Loaded::default() };
    for stored in loaded.traces.iter().flat_map(|trace| &trace.runs) {
        if runs.contains(&stored.run.id) {
            loaded.runs.insert(stored.run.id, Arc::clone(stored));
        }
    }
    let missing: Vec<RunId> = runs.iter().filter(|id| !loaded.runs.contains_key(*id)).copied().collect();
    if !missing.is_empty() {
        let found = store.runs(project.tenant_id, &missing).await?.into_iter();
        loaded.runs.extend(found.map(|stored| (stored.run.id, Arc::new(stored))));
        loaded.alone.extend(missing);
    }
    Ok(loaded)
}

async fn load_traces(
    store: &dyn Store,
    project: &Stirred,
    ids: &BTreeSet<TraceId>,
) -> Result<Vec<LoadedTrace>, StoreError> {
    let ids: Vec<TraceId> = ids.iter().copied().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(by_trace(store.traces(project.tenant_id, project.project_id, &ids).await?))
}

fn by_trace(runs: Vec<StoredRun>) -> Vec<LoadedTrace> {
    let mut traces: BTreeMap<TraceId, Vec<StoredRun>> = BTreeMap::new();
    for stored in runs {
        traces.entry(stored.run.trace_id).or_default().push(stored);
    }
    traces.into_iter().map(|(id, runs)| summed(id, runs)).collect()
}

/// A trace with tokens and costs summed up its tree.
fn summed(id: TraceId, runs: Vec<StoredRun>) -> LoadedTrace {
    let newest = runs.iter().map(|stored| stored.changed_seq).max().unwrap_or(0);
    let (mut bare, rest): (Vec<_>, Vec<_>) =
        runs.into_iter().map(|stored| (stored.run, (stored.feedback, stored.changed_seq))).unzip();
    roll_up(&mut bare);
    let runs = bare
        .into_iter()
        .zip(rest)
        .map(|(run, (feedback, changed_seq))| Arc::new(StoredRun { run, feedback, changed_seq }))
        .collect();
    LoadedTrace { id, newest, runs }
}
