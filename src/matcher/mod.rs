//! Which rules a run matches: rules are compiled once, found by project, then by what the run has, then asked.
//!
//! Rules that watch the same projects at the same cadence form a [`RuleSet`]. The sets of a project are found by its
//! name and by the text that globs begin or end with; how many rules watch other projects does not matter. Within a set
//! an index finds the few rules that a run may match; how many it cannot match matters little. What the index finds is
//! always asked: whether a rule matches is said by its filters and nowhere else.
//!
//! When rules change, those that stayed as they were are kept as they are, and only the sets that a change touches are
//! made anew. A rule that got here answers every question: whatever could be wrong with it was refused when it was
//! compiled.

mod candidates;
mod compiled;
mod gate;
mod globs;
mod index;
mod rule_set;
mod survey;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::glob::Glob;
use crate::model::id::{RuleId, TenantId};
use crate::model::rule::{Cadence, Rule, RuleState};
use globs::Globs;

pub use candidates::Candidates;
pub use compiled::{CompiledRule, InvalidRule, Trace, run_passes, trace_passes};
pub use index::Slot;
pub use rule_set::RuleSet;

/// All active rules, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    tenants: HashMap<TenantId, Rules>,
}

/// The rules of a tenant.
#[derive(Debug, Clone, Default)]
struct Rules {
    all: HashMap<RuleId, Arc<CompiledRule>>,
    named: HashMap<String, Vec<Arc<RuleSet>>>,
    globs: Globs<Vec<Arc<RuleSet>>>,
}

impl Matcher {
    /// Compiles rules. A stored rule whose filter no longer parses is left out and logged.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut matcher = Self::default();
        matcher.update(rules);
        matcher
    }

    /// Takes these rules in the place of those it has. What is the same in both is kept.
    pub fn update(&mut self, mut rules: Vec<Rule>) {
        rules.retain(|rule| rule.state == RuleState::Active);
        rules.sort_by_key(|rule| rule.tenant_id);
        self.tenants.retain(|tenant, _| rules.binary_search_by_key(tenant, |rule| rule.tenant_id).is_ok());
        let mut rules = rules.into_iter().peekable();
        while let Some(tenant) = rules.peek().map(|rule| rule.tenant_id) {
            let own = std::iter::from_fn(|| rules.next_if(|rule| rule.tenant_id == tenant));
            self.tenants.entry(tenant).or_default().update(own);
        }
    }

    /// The rules that watch this project: those that name it, then those whose glob fits it.
    #[must_use]
    pub fn of_project(&self, tenant: TenantId, project: &str) -> Vec<Arc<RuleSet>> {
        let Some(rules) = self.tenants.get(&tenant) else { return Vec::new() };
        let named = rules.named.get(project).into_iter();
        named.chain(rules.globs.of(project)).flatten().map(Arc::clone).collect()
    }

    /// A rule.
    #[must_use]
    pub fn rule(&self, tenant: TenantId, id: RuleId) -> Option<&Arc<CompiledRule>> {
        self.tenants.get(&tenant)?.all.get(&id)
    }

    /// The cadences of all rules, each at least once.
    pub fn cadences(&self) -> impl Iterator<Item = &Cadence> {
        let sets = self.tenants.values().flat_map(|rules| rules.named.values().chain(rules.globs.values()));
        sets.flatten().map(|set| set.cadence())
    }
}

impl Rules {
    fn update(&mut self, rules: impl Iterator<Item = Rule>) {
        let mut before = std::mem::take(&mut self.all);
        let mut changed: HashSet<String> = HashSet::new();
        let mut present: Vec<Arc<CompiledRule>> = Vec::new();
        for rule in rules {
            match before.remove(&rule.id) {
                Some(same) if same.rule == rule => present.push(same),
                other => {
                    changed.extend(other.map(|old| old.rule.project.clone()));
                    changed.insert(rule.project.clone());
                    present.extend(compile(rule));
                }
            }
        }
        changed.extend(before.into_values().map(|gone| gone.rule.project.clone()));
        let mut touched: HashMap<&str, Vec<&Arc<CompiledRule>>> = HashMap::new();
        for rule in present.iter().filter(|rule| changed.contains(&rule.rule.project)) {
            touched.entry(&rule.rule.project).or_default().push(rule);
        }
        for pattern in &changed {
            let sets = touched.remove(pattern.as_str()).map(sets).unwrap_or_default();
            self.place(pattern, sets);
        }
        self.all = present.into_iter().map(|rule| (rule.rule.id, rule)).collect();
    }

    fn place(&mut self, pattern: &str, sets: Vec<Arc<RuleSet>>) {
        match (Glob::parse(pattern).exact(), sets.is_empty()) {
            (Some(name), true) => drop(self.named.remove(name)),
            (Some(name), false) => drop(self.named.insert(name.to_owned(), sets)),
            (None, true) => self.globs.remove(pattern),
            (None, false) => self.globs.insert(pattern, sets),
        }
    }
}

/// Compiles a rule, or says in the log why it cannot be.
fn compile(rule: Rule) -> Option<Arc<CompiledRule>> {
    let (id, key) = (rule.id, rule.key.clone());
    match CompiledRule::new(rule) {
        Ok(compiled) => Some(Arc::new(compiled)),
        Err(InvalidRule { which, reason }) => {
            tracing::error!(rule_id = %id, key, which, reason, "a stored rule no longer parses and is left out");
            None
        }
    }
}

/// Rules that watch the same projects as sets, in the order of their first rules.
fn sets(rules: Vec<&Arc<CompiledRule>>) -> Vec<Arc<RuleSet>> {
    let mut sets: Vec<Vec<Arc<CompiledRule>>> = Vec::new();
    let mut places: HashMap<(&Cadence, Duration), usize> = HashMap::new();
    for rule in rules {
        let place = *places.entry((&rule.rule.cadence, rule.rule.settle)).or_insert(sets.len());
        match sets.get_mut(place) {
            Some(set) => set.push(Arc::clone(rule)),
            None => sets.push(vec![Arc::clone(rule)]),
        }
    }
    let set = |rules: Vec<Arc<CompiledRule>>| {
        let first = rules.first()?;
        let (cadence, settle) = (first.rule.cadence.clone(), first.rule.settle);
        Some(Arc::new(RuleSet::new(cadence, settle, rules)))
    };
    sets.into_iter().filter_map(set).collect()
}

#[cfg(test)]
mod tests;
