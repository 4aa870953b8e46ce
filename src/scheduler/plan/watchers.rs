//! The rules of a stretch, and from where on each looks at the project.

use std::collections::HashMap;
use std::sync::Arc;

use crate::matcher::{CompiledRule, RuleSet, Slot};
use crate::model::id::RuleId;
use crate::model::window::Seq;

/// Rules that look at a stretch together.
#[derive(Debug, Clone, Default)]
pub(in crate::scheduler) struct Watchers {
    sets: Vec<Arc<RuleSet>>,
    starts: Arc<HashMap<RuleId, Seq>>,
}

/// Where a rule stands among the watchers of a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scheduler) struct Place {
    pub(in crate::scheduler) set: usize,
    pub(in crate::scheduler) slot: Slot,
}

impl Watchers {
    /// Changes up to its start are not a rule's. A rule without a start looks from the first change.
    pub(super) fn new(sets: Vec<Arc<RuleSet>>, starts: Arc<HashMap<RuleId, Seq>>) -> Self {
        Self { sets, starts }
    }

    /// One rule.
    pub(super) fn one(rule: &Arc<CompiledRule>, start: Seq) -> Self {
        let set = RuleSet::new(rule.rule.cadence.clone(), rule.rule.settle, vec![Arc::clone(rule)]);
        Self { sets: vec![Arc::new(set)], starts: Arc::new(HashMap::from([(rule.rule.id, start)])) }
    }

    pub(in crate::scheduler) fn sets(&self) -> &[Arc<RuleSet>] {
        &self.sets
    }

    pub(in crate::scheduler) fn rule(&self, place: Place) -> Option<&Arc<CompiledRule>> {
        self.sets.get(place.set)?.rule(place.slot)
    }

    /// Whether a change is one of those that the rule looks at.
    pub(in crate::scheduler) fn looks(&self, rule: &CompiledRule, seq: Seq) -> bool {
        seq > self.start(rule)
    }

    fn start(&self, rule: &CompiledRule) -> Seq {
        self.starts.get(&rule.rule.id).copied().unwrap_or(0)
    }

    /// Where the first of these rules begins to look, but not before `after`.
    pub(super) fn earliest(&self, after: Seq) -> Seq {
        let rules = self.sets.iter().flat_map(|set| set.rules());
        let mut earliest = Seq::MAX;
        for rule in rules {
            earliest = earliest.min(self.start(rule));
            if earliest <= after {
                return after;
            }
        }
        if earliest == Seq::MAX { after } else { earliest }
    }
}
