//! What a tenant has, by id and by key: there may be a hundred thousand of each, and files name as many.

use std::collections::{BTreeMap, HashMap};

use crate::model::id::{EndpointId, RuleId};
use crate::model::rule::Rule;
use crate::rule_file::plan::{Current, Opened};

/// Rules and endpoints of a tenant, to be looked up.
#[derive(Debug)]
pub struct Index<'a> {
    /// All of them.
    pub current: &'a Current,
    rules: HashMap<RuleId, &'a Rule>,
    rules_by_key: HashMap<&'a str, &'a Rule>,
    endpoints: HashMap<EndpointId, &'a Opened>,
    /// In the order of their keys, which is that of suggestions.
    named: BTreeMap<&'a str, &'a Opened>,
    within: HashMap<RuleId, Vec<&'a Opened>>,
}

impl<'a> Index<'a> {
    /// Indexes what a tenant has.
    #[must_use]
    pub fn of(current: &'a Current) -> Self {
        let mut within: HashMap<RuleId, Vec<&Opened>> = HashMap::new();
        for opened in &current.endpoints {
            if let Some(rule) = opened.0.rule_id {
                within.entry(rule).or_default().push(opened);
            }
        }
        let named = |opened: &'a Opened| opened.0.key.as_deref().map(|key| (key, opened));
        Self {
            current,
            rules: current.rules.iter().map(|rule| (rule.id, rule)).collect(),
            rules_by_key: current.rules.iter().map(|rule| (rule.key.as_str(), rule)).collect(),
            endpoints: current.endpoints.iter().map(|opened| (opened.0.id, opened)).collect(),
            named: current.endpoints.iter().filter_map(named).collect(),
            within,
        }
    }

    /// The rule with this id.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&'a Rule> {
        self.rules.get(&id).copied()
    }

    /// The rule with this key.
    #[must_use]
    pub fn rule_by_key(&self, key: &str) -> Option<&'a Rule> {
        self.rules_by_key.get(key).copied()
    }

    /// The endpoint with this id.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&'a Opened> {
        self.endpoints.get(&id).copied()
    }

    /// The endpoint with this key.
    #[must_use]
    pub fn named(&self, key: &str) -> Option<&'a Opened> {
        self.named.get(key).copied()
    }

    /// The keys of all endpoints that have one, in order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.named.keys().copied()
    }

    /// The endpoints that are written in this rule.
    #[must_use]
    pub fn within(&self, rule: RuleId) -> &[&'a Opened] {
        self.within.get(&rule).map(Vec::as_slice).unwrap_or_default()
    }
}
