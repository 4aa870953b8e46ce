//! Rules that are evaluated together wherever they are: they watch the same projects, at the same cadence, and let a
//! trace settle for the same time.

use std::sync::Arc;
use std::time::Duration;

use crate::filter::Facts;
use crate::matcher::index::{Index, Slot};
use crate::matcher::{Candidates, CompiledRule};
use crate::model::rule::Cadence;

/// Rules with one cadence and one settle time that watch the same projects. It never changes.
#[derive(Debug)]
pub struct RuleSet {
    cadence: Cadence,
    settle: Duration,
    rules: Box<[Arc<CompiledRule>]>,
    /// Of the rules that look at single runs, by their filter.
    runs: Index,
    /// Of the rules that look at traces, by their filter.
    members: Index,
    /// Of those among them whose filter demands nothing, by their trace filter.
    roots: Index,
    /// Of the rules that look at threads, by their filter.
    threads: Index,
    ask_runs: bool,
    ask_traces: bool,
    ask_threads: Asked,
    /// Those that look at threads.
    on_threads: Box<[Slot]>,
}

/// How the candidates of a rule set are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Run,
    Member,
    Root,
    Thread,
}

/// What rules want to see of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Turns,
    Traces,
}

impl RuleSet {
    /// A set of rules that have this cadence and settle time.
    #[must_use]
    pub fn new(cadence: Cadence, settle: Duration, rules: Vec<Arc<CompiledRule>>) -> Self {
        let ways: Vec<Way> = rules.iter().map(|rule| Way::to(rule)).collect();
        let by_filter = |wanted: Way| {
            let rules = (0..).zip(&rules).zip(&ways).filter(move |(_, way)| **way == wanted);
            Index::of(rules.map(|((slot, rule), _)| (slot, &rule.filter)))
        };
        let roots = (0..).zip(&rules).zip(&ways).filter(|(_, way)| **way == Way::Root);
        let roots = Index::of(roots.filter_map(|((slot, rule), _)| Some((slot, rule.trace_filter.as_deref()?))));
        Self {
            runs: by_filter(Way::Run),
            members: by_filter(Way::Member),
            roots,
            ask_runs: ways.contains(&Way::Run),
            threads: by_filter(Way::Thread),
            ask_traces: ways.iter().any(|way| matches!(way, Way::Member | Way::Root)),
            ask_threads: Asked::of(&rules),
            on_threads: (0..).zip(&ways).filter(|(_, way)| **way == Way::Thread).map(|(slot, _)| slot).collect(),
            cadence,
            settle,
            rules: rules.into(),
        }
    }

    /// When its rules are evaluated.
    #[must_use]
    pub fn cadence(&self) -> &Cadence {
        &self.cadence
    }

    /// How long a trace must be quiet.
    #[must_use]
    pub fn settle(&self) -> Duration {
        self.settle
    }

    /// Its rules, in the order they were given.
    #[must_use]
    pub fn rules(&self) -> &[Arc<CompiledRule>] {
        &self.rules
    }

    /// The rule in a slot.
    #[must_use]
    pub fn rule(&self, slot: Slot) -> Option<&Arc<CompiledRule>> {
        self.rules.get(usize::try_from(slot).ok()?)
    }

    /// Whether some rule looks at single runs.
    #[must_use]
    pub fn asks_runs(&self) -> bool {
        self.ask_runs
    }

    /// Whether some rule looks at traces.
    #[must_use]
    pub fn asks_traces(&self) -> bool {
        self.ask_traces
    }

    /// Whether some rule looks at threads.
    #[must_use]
    pub fn asks_threads(&self) -> bool {
        self.ask_threads != Asked::Nothing
    }

    /// The rules that look at threads.
    pub fn on_threads(&self) -> impl Iterator<Item = (Slot, &Arc<CompiledRule>)> {
        self.on_threads.iter().filter_map(move |slot| Some((*slot, self.rule(*slot)?)))
    }

    /// Whether some rule that looks at threads looks at whole traces of theirs.
    #[must_use]
    pub fn asks_traces_of_threads(&self) -> bool {
        self.ask_threads == Asked::Traces
    }

    /// Finds the rules that look at single runs and whose filter the run may pass: all that it does pass are among them,
    /// each once. Each is still to be asked. What was in `found` is forgotten.
    pub fn run_candidates(&self, facts: &Facts<'_>, found: &mut Candidates) {
        self.runs.candidates(facts, found);
    }

    /// The same of rules that look at traces, for one run of a trace.
    pub fn member_candidates(&self, facts: &Facts<'_>, found: &mut Candidates) {
        self.members.candidates(facts, found);
    }

    /// The same of rules that look at threads, for one turn of a thread.
    pub fn thread_candidates(&self, facts: &Facts<'_>, found: &mut Candidates) {
        self.threads.candidates(facts, found);
    }

    /// The same of rules that look at traces and are found by the root alone, for every run of its trace.
    pub fn root_candidates(&self, root: Option<&Facts<'_>>, found: &mut Candidates) {
        match root {
            Some(root) => self.roots.candidates(root, found),
            // All of them ask for a root.
            None => found.begin(0),
        }
    }
}

impl Asked {
    fn of(rules: &[Arc<CompiledRule>]) -> Self {
        let on_threads = || rules.iter().filter(|rule| rule.is_on_threads());
        match on_threads().count() {
            0 => Self::Nothing,
            _ if on_threads().any(|rule| rule.looks_at_trace()) => Self::Traces,
            _ => Self::Turns,
        }
    }
}

impl Way {
    fn to(rule: &CompiledRule) -> Self {
        let found_by_root = || {
            let of_root = rule.trace_filter.as_ref().map(|filter| filter.demands().choices);
            of_root.is_some_and(|choices| !choices.is_empty()) && rule.filter.demands().choices.is_empty()
        };
        if rule.is_on_threads() {
            return Self::Thread;
        }
        match rule.looks_at_trace() {
            false => Self::Run,
            true if found_by_root() => Self::Root,
            true => Self::Member,
        }
    }
}
