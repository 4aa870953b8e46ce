//! Traces as trees: who is below whom, and what was used there together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::filter::Facts;
use crate::matcher::{Trace, trace_passes};
use crate::model::id::{ProjectId, RunId, TenantId, TraceId};
use crate::model::run::{Run, StoredRun};
use crate::model::usage::{Usage, roll_up};
use crate::query::Question;
use crate::store::{Result, Store};

/// Traces that are in memory together.
pub(super) const TRACES: usize = 32;

/// Where a trace is: its project and its id.
pub(super) type Place = (ProjectId, TraceId);

/// What surrounds a run in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its children, in the order of their paths.
    pub children: Vec<RunId>,
    /// All runs below it, in that order.
    pub descendants: Vec<RunId>,
    /// What it used together with them.
    pub usage: Usage,
}

/// A whole trace; each run's usage is that of its subtree.
pub(super) struct Tree {
    pub(super) id: TraceId,
    runs: Vec<StoredRun>,
    /// What those used by themselves that have others below them.
    own: HashMap<RunId, Usage>,
    index: HashMap<RunId, usize>,
    children: HashMap<RunId, Vec<RunId>>,
}

/// The family of each of these runs.
pub async fn families(store: &dyn Store, tenant: TenantId, runs: &[&Run]) -> Result<HashMap<RunId, Family>> {
    let places: BTreeSet<Place> = runs.iter().map(|run| (run.project_id, run.trace_id)).collect();
    let mut families = HashMap::new();
    for batch in places.into_iter().collect::<Vec<_>>().chunks(TRACES) {
        let trees = load(store, tenant, batch).await?;
        for run in runs {
            if let Some(family) = trees.get(&(run.project_id, run.trace_id)).and_then(|tree| tree.family(run.id)) {
                families.insert(run.id, family);
            }
        }
    }
    Ok(families)
}

/// These traces.
pub(super) async fn load(store: &dyn Store, tenant: TenantId, places: &[Place]) -> Result<BTreeMap<Place, Tree>> {
    let mut by_project: BTreeMap<ProjectId, Vec<TraceId>> = BTreeMap::new();
    for (project, trace) in places {
        by_project.entry(*project).or_default().push(*trace);
    }
    let mut trees = BTreeMap::new();
    for (project, traces) in by_project {
        let mut runs: BTreeMap<TraceId, Vec<StoredRun>> = BTreeMap::new();
        for stored in store.traces(tenant, project, &traces).await? {
            runs.entry(stored.run.trace_id).or_default().push(stored);
        }
        trees.extend(runs.into_iter().map(|(id, runs)| ((project, id), Tree::of(id, runs))));
    }
    Ok(trees)
}

impl Tree {
    fn of(id: TraceId, runs: Vec<StoredRun>) -> Self {
        let (mut bare, rest): (Vec<Run>, Vec<_>) =
            runs.into_iter().map(|stored| (stored.run, (stored.feedback, stored.changed_seq))).unzip();
        let before: Vec<Usage> = bare.iter().map(|run| run.usage.clone()).collect();
        roll_up(&mut bare);
        let summed = bare.iter().zip(before).filter(|(run, own)| run.usage != *own);
        let own = summed.map(|(run, own)| (run.id, own)).collect();
        let mut runs: Vec<StoredRun> = bare
            .into_iter()
            .zip(rest)
            .map(|(run, (feedback, changed_seq))| StoredRun { run, feedback, changed_seq })
            .collect();
        runs.sort_by(|one, other| (&one.run.dotted_order, one.run.id).cmp(&(&other.run.dotted_order, other.run.id)));
        let index = runs.iter().enumerate().map(|(at, stored)| (stored.run.id, at)).collect();
        let mut children: HashMap<RunId, Vec<RunId>> = HashMap::new();
        for stored in &runs {
            if let Some(parent) = stored.run.parent_run_id {
                children.entry(parent).or_default().push(stored.run.id);
            }
        }
        Self { id, runs, own, index, children }
    }

    /// One of its runs.
    pub(super) fn run(&self, id: RunId) -> Option<&StoredRun> {
        self.runs.get(*self.index.get(&id)?)
    }

    /// One of its runs as it is stored: with what it used by itself.
    pub(super) fn bare(&self, id: RunId) -> Option<StoredRun> {
        let mut stored = self.run(id)?.clone();
        if let Some(own) = self.own.get(&id) {
            stored.run.usage.clone_from(own);
        }
        Some(stored)
    }

    /// Which of these runs pass a question.
    pub(super) fn passing(&self, question: &Question, runs: &HashSet<RunId>) -> HashSet<RunId> {
        let facts: Vec<Facts<'_>> = self.runs.iter().map(Facts::of).collect();
        let own = |facts: &&Facts<'_>| runs.contains(&facts.run.id) && question.filter.matches(facts);
        let passing: HashSet<RunId> = facts.iter().filter(own).map(|facts| facts.run.id).collect();
        if passing.is_empty() || (question.trace_filter.is_none() && question.tree_filter.is_none()) {
            return passing;
        }
        let root = facts.iter().find(|facts| facts.run.id == RunId::from(self.id));
        let root = root.or_else(|| facts.iter().find(|facts| facts.run.is_root()));
        let trace = Trace { root, runs: &facts };
        if trace_passes(question.trace_filter.as_ref(), question.tree_filter.as_ref(), &trace) {
            passing
        } else {
            HashSet::new()
        }
    }

    /// Whether one of the run's ancestors is asked for, too, so that what the run used is counted there.
    pub(super) fn is_below_another(&self, id: RunId, question: &Question) -> bool {
        let mut seen = HashSet::from([id]);
        let mut parent = self.run(id).and_then(|stored| stored.run.parent_run_id);
        while let Some(stored) = parent.filter(|id| seen.insert(*id)).and_then(|id| self.run(id)) {
            if question.scope.holds(stored.run.id) && question.filter.matches(&Facts::of(stored)) {
                return true;
            }
            parent = stored.run.parent_run_id;
        }
        false
    }

    /// What surrounds one of its runs.
    fn family(&self, id: RunId) -> Option<Family> {
        let children = self.children.get(&id).cloned().unwrap_or_default();
        let mut found: HashSet<RunId> = children.iter().copied().collect();
        let mut waiting = children.clone();
        while let Some(next) = waiting.pop() {
            let further = self.children.get(&next).into_iter().flatten().copied();
            waiting.extend(further.filter(|run| *run != id && found.insert(*run)));
        }
        // Found in no order: put into that of their paths without a look at the rest of the trace.
        let mut descendants: Vec<RunId> = found.into_iter().collect();
        descendants.sort_by_key(|run| self.index.get(run).copied());
        Some(Family { children, descendants, usage: self.run(id)?.run.usage.clone() })
    }
}
