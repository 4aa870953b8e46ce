//! A rule with its filters parsed, and what it says of runs and traces.

use crate::filter::{Facts, Filter, Mode, Needs};
use crate::model::rule::{GroupBy, Rule};

/// A rule with its filters parsed.
#[derive(Debug, Clone)]
pub struct CompiledRule {
    /// The rule.
    pub rule: Rule,
    /// On the run itself.
    pub filter: Filter,
    /// On the root of its trace.
    pub trace_filter: Option<Box<Filter>>,
    /// On some run of its trace.
    pub tree_filter: Option<Box<Filter>>,
}

/// A trace as rules see it: the facts of its runs.
#[derive(Debug)]
pub struct Trace<'a> {
    /// The root, if it has arrived.
    pub root: Option<&'a Facts<'a>>,
    /// All runs of the trace, the root included.
    pub runs: &'a [Facts<'a>],
}

/// A filter of a rule did not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{which} does not parse: {reason}")]
pub struct InvalidRule {
    /// Which filter.
    pub which: &'static str,
    /// The first problem.
    pub reason: String,
}

impl CompiledRule {
    /// Parses a rule's filters.
    pub fn new(rule: Rule) -> Result<Self, InvalidRule> {
        let parse =
            |which: &'static str, text: Option<&str>| match Filter::parse(text.unwrap_or_default(), Mode::Lenient) {
                Ok((filter, _)) => Ok(filter),
                Err(problems) => {
                    let reason = problems.into_iter().next().map(|problem| problem.message).unwrap_or_default();
                    Err(InvalidRule { which, reason })
                }
            };
        let filter = parse("filter", rule.filter.as_deref())?;
        // A blank filter of a trace says nothing, and must not make the rule wait for one.
        let of_trace = |which, text: Option<&str>| {
            text.filter(|text| !text.trim().is_empty()).map(|text| parse(which, Some(text)).map(Box::new)).transpose()
        };
        let trace_filter = of_trace("trace_filter", rule.trace_filter.as_deref())?;
        let tree_filter = of_trace("tree_filter", rule.tree_filter.as_deref())?;
        Ok(Self { rule, filter, trace_filter, tree_filter })
    }

    /// Whether the run itself passes: finished (unless the filter asks for pending ones), and the filter holds.
    #[must_use]
    pub fn matches_run(&self, facts: &Facts<'_>) -> bool {
        run_passes(&self.filter, facts)
    }

    /// Whether the trace passes its `trace_filter` and `tree_filter`.
    #[must_use]
    pub fn matches_trace(&self, trace: &Trace<'_>) -> bool {
        trace_passes(self.trace_filter.as_deref(), self.tree_filter.as_deref(), trace)
    }

    /// Whether the rule is told by threads. What it says of runs it says of the turns of a thread, and of traces of
    /// theirs.
    #[must_use]
    pub fn is_on_threads(&self) -> bool {
        self.rule.group_by == Some(GroupBy::Thread)
    }

    /// Whether the rule looks beyond the run itself, so that a change anywhere in the trace makes all its runs
    /// candidates and the trace must settle.
    #[must_use]
    pub fn looks_at_trace(&self) -> bool {
        self.trace_filter.is_some() || self.tree_filter.is_some() || self.filter.needs().usage
    }

    /// What its filters together look at.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let of_trace = [&self.trace_filter, &self.tree_filter].into_iter().flatten();
        of_trace.fold(self.filter.needs(), |needs, filter| needs.and(filter.needs()))
    }
}

/// Whether a run passes a rule's filter: it is finished, or the filter asks for pending runs, and the filter holds.
#[must_use]
pub fn run_passes(filter: &Filter, facts: &Facts<'_>) -> bool {
    (facts.run.is_finished() || filter.asks_pending()) && filter.matches(facts)
}

/// Whether a trace passes: its root the one filter, which a trace without its root does not, and some run of it, be it
/// the root or the run in question, the other. Those runs need not be finished.
#[must_use]
pub fn trace_passes(trace_filter: Option<&Filter>, tree_filter: Option<&Filter>, trace: &Trace<'_>) -> bool {
    trace_filter.is_none_or(|filter| trace.root.is_some_and(|root| filter.matches(root)))
        && tree_filter.is_none_or(|filter| trace.runs.iter().any(|run| filter.matches(run)))
}
