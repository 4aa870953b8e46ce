//! Looking at threads, as at traces: whole, and only in the window that holds the thread's newest change.
//!
//! A change leads to the thread that the root of its trace is a turn of, or was until then. A thread's newest change is
//! that of any of its traces, so a thread moves to a later window by itself for as long as it goes on, and nothing is
//! remembered about it. A root that goes over to another thread may take the newest change of the one it leaves along:
//! so the change with which it left leads to that one, too, and what is left of it is looked at there.
//!
//! How much of a thread is looked at is bounded: a program may name the same thread for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{Draft, by_trace};
use crate::filter::Facts;
use crate::matcher::{Candidates, Slot, Trace};
use crate::model::id::{RunId, ThreadId, TraceId};
use crate::model::run::StoredRun;
use crate::model::thread;
use crate::model::window::{Change, Seq};
use crate::payload;
use crate::scheduler::plan::{Place, Reading};
use crate::scheduler::sample;
use crate::store::threads::Turn;
use crate::store::windows::Stirred;
use crate::store::{Store, StoreError};

/// Changes whose threads are looked up together.
const TOGETHER: usize = 1024;

/// The threads that changes lead to.
#[derive(Debug, Default)]
pub(super) struct Leads {
    /// The newest change that leads to each.
    newest: HashMap<ThreadId, Seq>,
    /// The newest change of each trace: also of runs that are not complete yet.
    of_traces: HashMap<TraceId, Seq>,
}

/// A thread as it stands.
#[derive(Debug)]
struct Loaded {
    id: ThreadId,
    name: String,
    newest: Seq,
    /// In the order of their starts.
    turns: Vec<LoadedTurn>,
}

#[derive(Debug)]
struct LoadedTurn {
    root: Arc<StoredRun>,
    /// The runs of its trace, where a rule asks for them; the root alone otherwise.
    trace: Vec<Arc<StoredRun>>,
    is_alone: bool,
}

/// A thread that a rule has found.
#[derive(Debug, Clone)]
pub(super) struct FoundThread {
    thread: Arc<Loaded>,
}

impl FoundThread {
    /// The thread, for its message.
    pub(super) fn told(&self) -> payload::Thread {
        let start = |turn: Option<&LoadedTurn>| turn.map(|turn| turn.root.run.start_time).unwrap_or_default();
        payload::Thread {
            name: self.thread.name.clone(),
            count: self.thread.turns.len(),
            first: start(self.thread.turns.first()),
            last: start(self.thread.turns.last()),
        }
    }

    /// Its turns, in the order of their starts.
    pub(super) fn turns(&self) -> impl Iterator<Item = RunId> {
        self.thread.turns.iter().map(|turn| turn.root.run.id)
    }
}

/// Looks up where changes lead, if some draft asks.
pub(super) async fn leads(
    store: &dyn Store,
    project: &Stirred,
    reading: &Reading,
    drafts: &[Draft],
) -> Result<Leads, StoreError> {
    let mut leads = Leads::default();
    if !drafts.iter().any(Draft::asks_threads) {
        return Ok(leads);
    }
    for changes in reading.changes.chunks(TOGETHER) {
        let roots = changes.iter().flat_map(|change| [change.run_id, change.trace_id.into()]);
        let roots: Vec<RunId> = roots.collect::<BTreeSet<_>>().into_iter().collect();
        let found = store.threads_of(project.tenant_id, project.project_id, &roots).await?;
        let threads: HashMap<RunId, ThreadId> = found.into_iter().collect();
        for change in changes {
            let of_root = [change.run_id, change.trace_id.into()].into_iter().filter_map(|root| threads.get(&root));
            for thread in of_root.chain(&change.left) {
                leads.newest.insert(*thread, change.seq);
            }
            leads.of_traces.insert(change.trace_id, change.seq);
        }
    }
    Ok(leads)
}

/// Shows the threads whose newest change is in a batch to every draft. Returns the turns that came without the rest of
/// their traces.
pub(super) async fn show(
    store: &dyn Store,
    project: &Stirred,
    batch: &[Change],
    leads: &Leads,
    drafts: &mut [Draft],
    limit: u32,
) -> Result<HashSet<RunId>, StoreError> {
    let mut alone = HashSet::new();
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(alone) };
    let asks = |seq: Seq| drafts.iter().any(|draft| draft.asks_threads() && draft.covers(seq));
    let here = leads.newest.iter().filter(|(_, seq)| **seq >= first.seq && **seq <= last.seq && asks(**seq));
    let threads: Vec<ThreadId> = here.map(|(thread, _)| *thread).collect();
    if threads.is_empty() {
        return Ok(alone);
    }
    let whole = drafts.iter().any(Draft::asks_traces_of_threads);
    let mut candidates = Candidates::default();
    let bounds = Bounds { last: last.seq, limit, whole };
    for thread in load(store, project, &threads, leads, bounds).await? {
        let thread = Arc::new(thread);
        alone.extend(thread.turns.iter().filter(|turn| turn.is_alone).map(|turn| turn.root.run.id));
        let traces: Vec<Vec<Facts<'_>>> =
            thread.turns.iter().map(|turn| turn.trace.iter().map(|stored| Facts::of(stored)).collect()).collect();
        for draft in drafts.iter_mut().filter(|draft| draft.covers(thread.newest)) {
            draft.see_thread(&thread, &traces, &mut candidates);
        }
    }
    Ok(alone)
}

/// How much of threads is loaded.
#[derive(Clone, Copy)]
struct Bounds {
    /// Nothing of threads that have changed behind this.
    last: Seq,
    /// So many turns.
    limit: u32,
    /// Whether the traces of the turns, too.
    whole: bool,
}

/// Those of these threads that have not changed behind `last`, in the order of their newest changes.
async fn load(
    store: &dyn Store,
    project: &Stirred,
    threads: &[ThreadId],
    leads: &Leads,
    Bounds { last, limit, whole }: Bounds,
) -> Result<Vec<Loaded>, StoreError> {
    let (tenant, id) = (project.tenant_id, project.project_id);
    let mut resting: BTreeMap<ThreadId, (Seq, Vec<RunId>)> = BTreeMap::new();
    for Turn { thread, run_id, newest } in store.turns(tenant, id, threads, limit.saturating_add(1)).await? {
        let led = leads.newest.get(&thread).copied().unwrap_or(0);
        let of_trace = leads.of_traces.get(&run_id.into()).copied().unwrap_or(0);
        let (seq, turns) = resting.entry(thread).or_default();
        *seq = newest.max(led).max(of_trace).max(*seq);
        turns.push(run_id);
    }
    resting.retain(|_, (newest, _)| *newest <= last);
    let roots: Vec<RunId> = resting.values().flat_map(|(_, turns)| turns.iter().copied()).collect();
    if roots.is_empty() {
        return Ok(Vec::new());
    }
    let mut runs: HashMap<RunId, LoadedTurn> = HashMap::new();
    if whole {
        let traces: Vec<TraceId> = roots.iter().map(|root| TraceId::from(*root)).collect();
        for trace in by_trace(store.traces(tenant, id, &traces).await?) {
            let root = trace.runs.iter().find(|stored| stored.run.id == trace.id.into()).map(Arc::clone);
            runs.extend(root.map(|root| (root.run.id, LoadedTurn { root, trace: trace.runs, is_alone: false })));
        }
    }
    let missing: Vec<RunId> = roots.into_iter().filter(|root| !runs.contains_key(root)).collect();
    if !missing.is_empty() {
        let roots = store.runs(tenant, &missing).await?.into_iter().map(Arc::new);
        let alone = |root| LoadedTurn { trace: vec![Arc::clone(&root)], root, is_alone: true };
        runs.extend(roots.map(|root| (root.run.id, alone(root))));
    }
    let loaded = resting.into_iter().filter_map(|(thread, (newest, turns))| {
        let turns = turns.iter().filter_map(|root| runs.remove(root)).collect();
        Loaded::of(thread, newest, turns, limit).filter(|thread| thread.newest <= last)
    });
    let mut loaded: Vec<Loaded> = loaded.collect();
    loaded.sort_by_key(|thread| (thread.newest, thread.id));
    Ok(loaded)
}

impl Loaded {
    /// A thread of these turns. One that has gone over to another thread since it was looked up changed behind everything
    /// that was read: it counts for when the thread changed, and then not as a turn.
    fn of(id: ThreadId, newest: Seq, mut turns: Vec<LoadedTurn>, limit: u32) -> Option<Self> {
        let runs = turns.iter().flat_map(|turn| turn.trace.iter().map(|stored| stored.changed_seq));
        let newest = runs.chain([newest]).max()?;
        let name_of = |turn: &LoadedTurn| turn.root.run.extra.as_ref().and_then(thread::named);
        turns
            .retain(|turn| turn.root.run.is_root() && name_of(turn).is_some_and(|name| ThreadId::of_name(&name) == id));
        turns.sort_by_key(|turn| (turn.root.run.start_time, turn.root.run.id));
        let name = turns.last().and_then(name_of)?;
        let excess = turns.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        if excess > 0 {
            tracing::warn!(thread = %id, limit, "a thread is longer than is looked at; its first turns are passed over");
            metrics::counter!("runhook_threads_cut_total").increment(1);
            turns.drain(..excess);
        }
        Some(Self { id, name, newest, turns })
    }
}

impl Draft {
    pub(super) fn asks_threads(&self) -> bool {
        self.stretch.watchers.sets().iter().any(|set| set.asks_threads())
    }

    fn asks_traces_of_threads(&self) -> bool {
        self.stretch.watchers.sets().iter().any(|set| set.asks_traces_of_threads())
    }

    /// Notes a thread for each rule that some turn of it passes. Those turns are told that are finished, or all if the
    /// rule asks for pending ones.
    fn see_thread<'t>(&mut self, thread: &Arc<Loaded>, traces: &'t [Vec<Facts<'t>>], candidates: &mut Candidates) {
        for nth in 0..self.stretch.watchers.sets().len() {
            for slot in self.passing(nth, thread, traces, candidates) {
                let place = Place { set: nth, slot };
                let Some(rule) = self.stretch.watchers.rule(place).map(Arc::clone) else { continue };
                let turns = thread.turns.iter().map(|turn| &turn.root);
                for root in turns.filter(|root| root.run.is_finished() || rule.filter.asks_pending()) {
                    self.add(place, root);
                }
                let found = self.found.entry(place).or_default();
                found.threads.push(FoundThread { thread: Arc::clone(thread) });
            }
        }
    }

    /// The rules of a set that look at the thread's newest change, take the thread, and that some turn of it passes.
    fn passing<'t>(
        &self,
        nth: usize,
        thread: &Loaded,
        traces: &'t [Vec<Facts<'t>>],
        candidates: &mut Candidates,
    ) -> BTreeSet<Slot> {
        let (mut passing, mut barred) = (BTreeSet::new(), HashSet::new());
        let Some(set) = self.stretch.watchers.sets().get(nth).filter(|set| set.asks_threads()) else { return passing };
        for (turn, trace) in thread.turns.iter().zip(traces) {
            let Some(root) = trace.iter().find(|facts| facts.run.id == turn.root.run.id) else { continue };
            let shown = Trace { root: Some(root), runs: trace };
            set.thread_candidates(root, candidates);
            for slot in candidates.slots() {
                if passing.contains(slot) || barred.contains(slot) {
                    continue;
                }
                let Some(rule) = set.rule(*slot) else { continue };
                let takes = || sample::takes_thread(rule.rule.id, thread.id, rule.rule.sampling_rate);
                if !self.stretch.watchers.looks(rule, thread.newest) || !takes() {
                    barred.insert(*slot);
                } else if rule.matches_run(root) && rule.matches_trace(&shown) {
                    passing.insert(*slot);
                }
            }
        }
        passing
    }
}
