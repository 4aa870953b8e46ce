//! Looking at threads, as at traces: whole, and only in the window that holds the thread's newest change.
//!
//! A change leads to the thread that the root of its trace is a turn of, or was until then. A thread's newest change is
//! that of any of its traces, so a thread moves to a later window by itself for as long as it goes on, and nothing is
//! remembered about it. A root that goes over to another thread may take the newest change of the one it leaves along:
//! so the change with which it left leads to that one, too, and what is left of it is looked at there.
//!
//! How much of a thread is looked at is bounded: a program may name the same thread for ever. And what was told is not read
//! again: a thread that goes on is found by what is new, and only if that does not pass is the rest of it asked, turn by turn.
//! One of which all is told costs its outline.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{Draft, by_trace};
use crate::filter::Facts;
use crate::matcher::{Candidates, CompiledRule, Slot, Trace};
use crate::model::id::{RuleId, RunId, ThreadId, TraceId};
use crate::model::run::StoredRun;
use crate::model::thread;
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq};
use crate::payload;
use crate::scheduler::plan::{Place, Reading};
use crate::scheduler::sample;
use crate::store::threads::Turn;
use crate::store::windows::Stirred;
use crate::store::{Store, StoreError};

/// Changes whose threads are looked up together.
const TOGETHER: usize = 1024;

/// Pairs of rules and turns that are asked about together.
const MOST_PAIRS: usize = 20_000;

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
struct Outline {
    id: ThreadId,
    newest: Seq,
    /// In the order of their starts.
    turns: Vec<Turn>,
}

/// The same with turns of it: those of which some rule has not told yet, or all.
#[derive(Debug)]
struct Loaded {
    id: ThreadId,
    name: String,
    newest: Seq,
    /// All turns, in the order of their starts.
    all: Vec<(RunId, Timestamp)>,
    /// Those that are loaded, in the same order.
    turns: Vec<LoadedTurn>,
}

#[derive(Debug, Clone)]
struct LoadedTurn {
    root: Arc<StoredRun>,
    /// The runs of its trace, where a rule asks for them; the root alone otherwise.
    trace: Vec<Arc<StoredRun>>,
    is_alone: bool,
}

/// What rules have told of turns.
type Told = HashSet<(RuleId, RunId)>;

/// A thread that a rule has found.
#[derive(Debug, Clone)]
pub(super) struct FoundThread {
    thread: Arc<Loaded>,
}

impl FoundThread {
    /// The thread, for its message.
    pub(super) fn told(&self) -> payload::Thread {
        let start = |turn: Option<&(RunId, Timestamp)>| turn.map(|(_, at)| *at).unwrap_or_default();
        payload::Thread {
            name: self.thread.name.clone(),
            count: self.thread.all.len(),
            first: start(self.thread.all.first()),
            last: start(self.thread.all.last()),
        }
    }

    /// Its turns, in the order of their starts.
    pub(super) fn turns(&self) -> impl Iterator<Item = RunId> {
        self.thread.all.iter().map(|(turn, _)| *turn)
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
    let resting = resting(store, project, &threads, leads, (last.seq, limit)).await?;
    let told = told(store, project, &resting, drafts).await?;
    let mut candidates = Candidates::default();
    for thread in load(store, project, resting, &told, drafts, limit).await? {
        // One that changed while it was read moves to a later window.
        if thread.newest > last.seq {
            continue;
        }
        let thread = Arc::new(thread);
        alone.extend(thread.turns.iter().filter(|turn| turn.is_alone).map(|turn| turn.root.run.id));
        let traces = thread.facts();
        for draft in drafts.iter_mut().filter(|draft| draft.covers(thread.newest)) {
            draft.see_thread(&thread, &traces, &mut candidates);
        }
    }
    Ok(alone)
}

/// Those of these threads that have not changed behind `last`, in the order of their newest changes.
async fn resting(
    store: &dyn Store,
    project: &Stirred,
    threads: &[ThreadId],
    leads: &Leads,
    (last, limit): (Seq, u32),
) -> Result<Vec<Outline>, StoreError> {
    let (tenant, id) = (project.tenant_id, project.project_id);
    let mut resting: BTreeMap<ThreadId, Outline> = BTreeMap::new();
    for turn in store.turns(tenant, id, threads, limit.saturating_add(1)).await? {
        let led = leads.newest.get(&turn.thread).copied().unwrap_or(0);
        let of_trace = leads.of_traces.get(&turn.run_id.into()).copied().unwrap_or(0);
        let outline = resting.entry(turn.thread).or_insert(Outline { id: turn.thread, newest: 0, turns: Vec::new() });
        outline.newest = turn.newest.max(led).max(of_trace).max(outline.newest);
        outline.turns.push(turn);
    }
    let mut resting: Vec<Outline> = resting.into_values().filter(|outline| outline.newest <= last).collect();
    for outline in &mut resting {
        outline.turns.sort_by_key(|turn| (turn.start_time, turn.run_id));
    }
    resting.sort_by_key(|outline| (outline.newest, outline.id));
    Ok(resting)
}

/// What the rules that look at these threads have told of their turns. Where that is too much to ask it is as if they had
/// told nothing.
async fn told(store: &dyn Store, project: &Stirred, threads: &[Outline], drafts: &[Draft]) -> Result<Told, StoreError> {
    let mut pairs: Vec<(RuleId, RunId)> = Vec::new();
    for thread in threads {
        for rule in lookers(drafts, thread.id, thread.newest) {
            pairs.extend(thread.turns.iter().map(|turn| (rule.rule.id, turn.run_id)));
            if pairs.len() > MOST_PAIRS {
                return Ok(Told::new());
            }
        }
    }
    if pairs.is_empty() { Ok(Told::new()) } else { store.matched(project.tenant_id, &pairs).await }
}

/// The rules that look at a thread and take it.
fn lookers(drafts: &[Draft], thread: ThreadId, newest: Seq) -> impl Iterator<Item = &Arc<CompiledRule>> {
    drafts
        .iter()
        .flat_map(move |draft| (0..draft.sets()).flat_map(move |nth| draft.lookers(nth, thread, newest)))
        .map(|(_, rule)| rule)
}

/// These threads, each with the turns of which some rule has not told, or with all turns if one that has something to tell
/// does not pass by those. Those of which all is told are left out.
async fn load(
    store: &dyn Store,
    project: &Stirred,
    threads: Vec<Outline>,
    told: &Told,
    drafts: &[Draft],
    limit: u32,
) -> Result<Vec<Loaded>, StoreError> {
    let fresh = |thread: &Outline| -> Vec<RunId> {
        let rules: Vec<RuleId> = lookers(drafts, thread.id, thread.newest).map(|rule| rule.rule.id).collect();
        let is_fresh = |turn: &&Turn| rules.iter().any(|rule| !told.contains(&(*rule, turn.run_id)));
        thread.turns.iter().filter(is_fresh).map(|turn| turn.run_id).collect()
    };
    let mut asked: HashSet<RunId> = threads.iter().flat_map(fresh).collect();
    let mut runs = load_turns(store, project, drafts, asked.iter().copied().collect()).await?;
    let mut candidates = Candidates::default();
    let mut wanting = Vec::new();
    for thread in threads.iter().filter(|thread| thread.turns.iter().any(|turn| !asked.contains(&turn.run_id))) {
        let Some(loaded) = Loaded::of(thread, &asked, &runs, limit) else { continue };
        let traces = loaded.facts();
        let covering = || drafts.iter().filter(|draft| draft.covers(loaded.newest));
        if covering().any(|draft| draft.wants_more(&loaded, &traces, told, &mut candidates)) {
            wanting.extend(thread.turns.iter().map(|turn| turn.run_id).filter(|turn| !asked.contains(turn)));
        }
    }
    runs.extend(load_turns(store, project, drafts, wanting.clone()).await?);
    asked.extend(wanting);
    Ok(threads.iter().filter_map(|thread| Loaded::of(thread, &asked, &runs, limit)).collect())
}

/// Turns, with their traces if some draft asks for these.
async fn load_turns(
    store: &dyn Store,
    project: &Stirred,
    drafts: &[Draft],
    roots: Vec<RunId>,
) -> Result<HashMap<RunId, LoadedTurn>, StoreError> {
    let (tenant, id) = (project.tenant_id, project.project_id);
    let mut runs: HashMap<RunId, LoadedTurn> = HashMap::new();
    if roots.is_empty() {
        return Ok(runs);
    }
    if drafts.iter().any(Draft::asks_traces_of_threads) {
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
    Ok(runs)
}

impl Loaded {
    /// A thread with those of its turns that were asked for. One that has gone over to another thread since it was looked up
    /// changed behind everything that was read: it counts for when the thread changed, and then not as a turn.
    fn of(outline: &Outline, asked: &HashSet<RunId>, runs: &HashMap<RunId, LoadedTurn>, limit: u32) -> Option<Self> {
        let loaded = outline.turns.iter().filter_map(|turn| runs.get(&turn.run_id));
        let seqs = loaded.flat_map(|turn| turn.trace.iter().map(|stored| stored.changed_seq));
        let newest = seqs.chain([outline.newest]).max()?;
        let name_of = |turn: &LoadedTurn| turn.root.run.extra.as_ref().and_then(thread::named);
        let is_of_it = |turn: &LoadedTurn| {
            turn.root.run.is_root() && name_of(turn).is_some_and(|name| ThreadId::of_name(&name) == outline.id)
        };
        let is_there = |turn: &&Turn| !asked.contains(&turn.run_id) || runs.get(&turn.run_id).is_some_and(is_of_it);
        let mut all: Vec<_> =
            outline.turns.iter().filter(is_there).map(|turn| (turn.run_id, turn.start_time)).collect();
        let excess = all.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        if all.drain(..excess).any(|(turn, _)| asked.contains(&turn)) {
            tracing::warn!(thread = %outline.id, limit, "a thread is longer than is looked at; its first turns are passed over");
            metrics::counter!("runhook_threads_cut_total").increment(1);
        }
        let turns: Vec<LoadedTurn> = all.iter().filter_map(|(turn, _)| runs.get(turn)).cloned().collect();
        let name = turns.last().and_then(name_of)?;
        Some(Self { id: outline.id, name, newest, all, turns })
    }

    fn facts(&self) -> Vec<Vec<Facts<'_>>> {
        self.turns.iter().map(|turn| turn.trace.iter().map(|stored| Facts::of(stored)).collect()).collect()
    }
}

impl Draft {
    pub(super) fn asks_threads(&self) -> bool {
        self.stretch.watchers.sets().iter().any(|set| set.asks_threads())
    }

    fn sets(&self) -> usize {
        self.stretch.watchers.sets().len()
    }

    /// The rules of a set that look at a thread with this newest change, and take it.
    fn lookers(&self, nth: usize, thread: ThreadId, newest: Seq) -> impl Iterator<Item = (Slot, &Arc<CompiledRule>)> {
        let sets = self.stretch.watchers.sets().get(nth).into_iter().filter(move |_| self.covers(newest));
        sets.flat_map(|set| set.on_threads()).filter(move |(_, rule)| self.takes_thread(rule, thread, newest))
    }

    fn takes_thread(&self, rule: &CompiledRule, thread: ThreadId, newest: Seq) -> bool {
        self.stretch.watchers.looks(rule, newest) && sample::takes_thread(rule.rule.id, thread, rule.rule.sampling_rate)
    }

    /// Whether some rule has something to tell of what is loaded of a thread, and no turn of that passes it: one of the
    /// others may.
    fn wants_more<'t>(
        &self,
        thread: &Loaded,
        traces: &'t [Vec<Facts<'t>>],
        told: &Told,
        candidates: &mut Candidates,
    ) -> bool {
        (0..self.sets()).any(|nth| {
            let passing = self.passing(nth, thread, traces, candidates);
            self.lookers(nth, thread.id, thread.newest).any(|(slot, rule)| {
                let is_news =
                    |turn: &LoadedTurn| tells(rule, turn) && !told.contains(&(rule.rule.id, turn.root.run.id));
                !passing.contains(&slot) && thread.turns.iter().any(is_news)
            })
        })
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
                for turn in thread.turns.iter().filter(|turn| tells(&rule, turn)) {
                    self.add(place, &turn.root);
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
                if !self.takes_thread(rule, thread.id, thread.newest) {
                    barred.insert(*slot);
                } else if rule.matches_run(root) && rule.matches_trace(&shown) {
                    passing.insert(*slot);
                }
            }
        }
        passing
    }
}

/// Whether a turn is one that the rule tells: it is finished, or the rule asks for pending ones.
fn tells(rule: &CompiledRule, turn: &LoadedTurn) -> bool {
    turn.root.run.is_finished() || rule.filter.asks_pending()
}
