//! The look itself: which runs pass, alone or within their trace.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Line;
use crate::filter::{Facts, Filter, Needs};
use crate::matcher::{Trace, run_passes, trace_passes};
use crate::model::id::{ProjectId, RunId, TraceId};
use crate::model::run::{Run, StoredRun};
use crate::model::time::Timestamp;
use crate::model::usage::roll_up;

/// The filters of a rule that might be.
pub(super) struct Filters {
    pub(super) filter: Filter,
    pub(super) trace_filter: Option<Filter>,
    pub(super) tree_filter: Option<Filter>,
}

impl Filters {
    pub(super) fn look_at_trace(&self) -> bool {
        self.trace_filter.is_some() || self.tree_filter.is_some() || self.filter.needs().usage
    }

    pub(super) fn needs(&self) -> Needs {
        let of_trace = [&self.trace_filter, &self.tree_filter].into_iter().flatten();
        of_trace.fold(self.filter.needs(), |needs, filter| needs.and(filter.needs()))
    }
}

/// Runs that passed, in order of start.
#[derive(Default)]
pub(super) struct Judged {
    passed: BTreeMap<(Timestamp, RunId), Line>,
}

impl Judged {
    pub(super) fn len(&self) -> usize {
        self.passed.len()
    }

    /// The newest ones, newest first.
    pub(super) fn newest(self, most: usize) -> Vec<Line> {
        self.passed.into_values().rev().take(most).collect()
    }

    fn pass(&mut self, run: &Run) {
        self.passed.insert((run.start_time, run.id), Line::from(run));
    }

    /// Looks at runs by themselves.
    pub(super) fn runs(&mut self, filters: &Filters, runs: &[StoredRun]) {
        for stored in runs.iter().filter(|stored| run_passes(&filters.filter, &Facts::of(stored))) {
            self.pass(&stored.run);
        }
    }

    /// Looks at all runs of whole traces.
    pub(super) fn traces(&mut self, filters: &Filters, traces: Vec<Vec<StoredRun>>) {
        for trace in traces {
            self.trace(filters, trace, |_| true);
        }
    }

    /// Looks at some runs of whole traces.
    pub(super) fn traces_among(&mut self, filters: &Filters, traces: Vec<Vec<StoredRun>>, ids: &HashSet<RunId>) {
        for trace in traces {
            self.trace(filters, trace, |id| ids.contains(&id));
        }
    }

    fn trace(&mut self, filters: &Filters, trace: Vec<StoredRun>, asked: impl Fn(RunId) -> bool) {
        let (mut runs, feedback): (Vec<_>, Vec<_>) =
            trace.into_iter().map(|stored| (stored.run, stored.feedback)).unzip();
        roll_up(&mut runs);
        let facts: Vec<Facts<'_>> =
            runs.iter().zip(&feedback).map(|(run, feedback)| Facts::new(run, feedback)).collect();
        let shown = Trace { root: facts.iter().find(|facts| facts.run.is_root()), runs: &facts };
        let mut passing =
            facts.iter().filter(|facts| asked(facts.run.id) && run_passes(&filters.filter, facts)).peekable();
        // What asks the whole trace is asked once, and only if a run of it is in question.
        if passing.peek().is_some() && trace_passes(filters.trace_filter.as_ref(), filters.tree_filter.as_ref(), &shown)
        {
            passing.for_each(|facts| self.pass(facts.run));
        }
    }
}

/// Runs by the trace they belong to.
pub(super) fn by_trace(runs: Vec<StoredRun>) -> Vec<Vec<StoredRun>> {
    let mut traces: HashMap<(ProjectId, TraceId), Vec<StoredRun>> = HashMap::new();
    for stored in runs {
        traces.entry((stored.run.project_id, stored.run.trace_id)).or_default().push(stored);
    }
    traces.into_values().collect()
}

/// The traces of these runs, by project.
pub(super) fn traces_of(runs: &[StoredRun]) -> HashMap<ProjectId, Vec<TraceId>> {
    let mut seen = HashSet::new();
    let mut traces: HashMap<ProjectId, Vec<TraceId>> = HashMap::new();
    for run in runs.iter().map(|stored| &stored.run) {
        if seen.insert((run.project_id, run.trace_id)) {
            traces.entry(run.project_id).or_default().push(run.trace_id);
        }
    }
    traces
}
