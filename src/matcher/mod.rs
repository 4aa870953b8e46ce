//! Which rules a run matches: rules are compiled once, found by project, and asked about each changed run.

use std::sync::Arc;

use crate::filter::{Facts, Filter};
use crate::model::id::TenantId;
use crate::model::rule::Rule;

/// A rule with its filters parsed.
#[derive(Debug, Clone)]
pub struct CompiledRule {
    /// The rule.
    pub rule: Rule,
    /// On the run itself.
    pub filter: Filter,
    /// On the root of its trace.
    pub trace_filter: Option<Filter>,
    /// On some run of its trace.
    pub tree_filter: Option<Filter>,
}

/// All active rules, ready to be asked.
#[derive(Debug, Default)]
pub struct Matcher {}

/// A trace as rules see it: the facts of its runs.
#[derive(Debug)]
pub struct Trace<'a> {
    /// The root, if it has arrived.
    pub root: Option<&'a Facts<'a>>,
    /// All runs of the trace, the root included.
    pub runs: &'a [Facts<'a>],
}

impl Matcher {
    /// Compiles rules. A stored rule whose filter no longer parses is left out and logged.
    #[must_use]
    pub fn new(_rules: Vec<Rule>) -> Self {
        unimplemented!()
    }

    /// The rules that watch this project.
    #[must_use]
    pub fn of_project(&self, _tenant: TenantId, _project: &str) -> Vec<Arc<CompiledRule>> {
        unimplemented!()
    }
}

impl CompiledRule {
    /// Whether the run itself passes: finished (unless the filter asks for pending ones), and the filter holds.
    #[must_use]
    pub fn matches_run(&self, _facts: &Facts<'_>) -> bool {
        unimplemented!()
    }

    /// Whether the trace passes its `trace_filter` and `tree_filter`.
    #[must_use]
    pub fn matches_trace(&self, _trace: &Trace<'_>) -> bool {
        unimplemented!()
    }

    /// Whether the rule looks beyond the run itself, so that a change anywhere in the trace makes all its runs
    /// candidates and the trace must settle.
    #[must_use]
    pub fn looks_at_trace(&self) -> bool {
        unimplemented!()
    }
}
