//! Which rules a run matches: rules are compiled once, found by project, and asked about each changed run.
//!
//! Finding the rules of a project costs a look-up by name, and one test for each of the tenant's rules that has a glob;
//! how many rules watch other projects does not matter. A rule that got here answers every question: whatever could be
//! wrong with it was refused when it was compiled.

use std::collections::HashMap;
use std::sync::Arc;

use crate::filter::{Facts, Filter, Mode, Needs};
use crate::model::glob::Glob;
use crate::model::id::TenantId;
use crate::model::rule::{Rule, RuleState};

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
pub struct Matcher {
    tenants: HashMap<TenantId, Rules>,
}

/// The rules of a tenant, in the order they were given.
#[derive(Debug, Default)]
struct Rules {
    by_name: HashMap<String, Vec<Arc<CompiledRule>>>,
    by_glob: Vec<(Glob, Arc<CompiledRule>)>,
}

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
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut matcher = Self::default();
        for rule in rules {
            if rule.state != RuleState::Active {
                continue;
            }
            let (id, key) = (rule.id, rule.key.clone());
            match CompiledRule::new(rule) {
                Ok(compiled) => matcher.add(compiled),
                Err(InvalidRule { which, reason }) => {
                    tracing::error!(rule_id = %id, key, which, reason, "a stored rule no longer parses and is left out");
                }
            }
        }
        matcher
    }

    fn add(&mut self, compiled: CompiledRule) {
        let rules = self.tenants.entry(compiled.rule.tenant_id).or_default();
        let glob = Glob::parse(&compiled.rule.project);
        let compiled = Arc::new(compiled);
        match glob.exact() {
            Some(name) => rules.by_name.entry(name.to_owned()).or_default().push(compiled),
            None => rules.by_glob.push((glob, compiled)),
        }
    }

    /// The rules that watch this project: those that name it, then those whose glob fits it.
    #[must_use]
    pub fn of_project(&self, tenant: TenantId, project: &str) -> Vec<Arc<CompiledRule>> {
        let Some(rules) = self.tenants.get(&tenant) else { return Vec::new() };
        let by_name = rules.by_name.get(project).into_iter().flatten();
        let by_glob = rules.by_glob.iter().filter(|(glob, _)| glob.matches(project)).map(|(_, rule)| rule);
        by_name.chain(by_glob).map(Arc::clone).collect()
    }
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
            text.filter(|text| !text.trim().is_empty()).map(|text| parse(which, Some(text))).transpose()
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
        trace_passes(self.trace_filter.as_ref(), self.tree_filter.as_ref(), trace)
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

#[cfg(test)]
mod tests;
