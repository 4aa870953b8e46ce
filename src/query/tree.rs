//! Whole traces, each run with what its subtree used.

use std::collections::{BTreeMap, HashMap, HashSet};

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

/// A whole trace; each run's usage is that of its subtree.
pub(super) struct Tree {
    pub(super) id: TraceId,
    runs: Vec<StoredRun>,
    /// What those used by themselves that have others below them.
    own: HashMap<RunId, Usage>,
    index: HashMap<RunId, usize>,
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
        Self { id, runs, own, index }
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
}
