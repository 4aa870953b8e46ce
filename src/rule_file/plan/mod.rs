//! What applying files would change: rules and endpoints as they are, against what files say.
//!
//! A plan is made of keys and differences that anyone may see. Secrets are compared, and shown as changed or not.

mod identity;
mod index;

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::model::endpoint::{Endpoint, Target};
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::model::rule::Rule;
use crate::model::time::Timestamp;
use crate::rule_file::difference::{self, Difference};
use crate::rule_file::plan::identity::Identities;
use crate::rule_file::{EndpointDraft, EndpointName, RuleDraft};

pub use index::Index;

/// An endpoint with its target, if that opens.
pub type Opened = (Endpoint, Option<Target>);

/// Rules and endpoints of a tenant, as they are.
#[derive(Debug, Clone, Default)]
pub struct Current {
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Its endpoints; the target is absent when it does not open.
    pub endpoints: Vec<Opened>,
}

/// Which rules are removed because no file has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune<'a> {
    /// None.
    Nothing,
    /// Those that came from files, but not from a folder that a server watches.
    Files,
    /// Those whose origin begins like this.
    Origin(&'a str),
}

/// Marks the origin of rules of a folder that a server watches.
pub const FOLDER: &str = "folder:";

/// What happens to a rule or an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Create,
    /// It changes, and keeps its id and its place in the changes.
    Update,
    /// No file has it.
    Remove,
    /// It stays.
    Unchanged,
}

/// What an item is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A rule with the endpoints written in it.
    Rule,
    /// A named endpoint.
    Endpoint,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// What happens.
    pub action: Action,
    /// To what.
    pub subject: Subject,
    /// Its key.
    pub key: String,
    /// The file it is in, or was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Difference>,
}

/// An endpoint to be stored.
#[derive(Debug, Clone)]
pub struct PutEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its key, when it is named.
    pub key: Option<String>,
    /// The rule it is written in, if it is.
    pub rule_id: Option<RuleId>,
    /// The file it comes from.
    pub origin: String,
    /// What it is.
    pub draft: EndpointDraft,
    /// The endpoint as it is stored, when its target is the same: what is sealed then stays as it is.
    pub same_target: Option<Endpoint>,
}

/// What is to be written.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    /// Rules to add or replace.
    pub put_rules: Vec<Rule>,
    /// Endpoints to add or replace.
    pub put_endpoints: Vec<PutEndpoint>,
    /// Rules to remove.
    pub remove_rules: Vec<RuleId>,
    /// Endpoints to remove.
    pub remove_endpoints: Vec<EndpointId>,
}

impl Writes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.put_rules.is_empty()
            && self.put_endpoints.is_empty()
            && self.remove_rules.is_empty()
            && self.remove_endpoints.is_empty()
    }
}

/// What applying would change.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What happens, by key; what changes first.
    pub items: Vec<Item>,
    /// What is to be written for it.
    pub writes: Writes,
}

/// What files want.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Rules.
    pub rules: &'a [RuleDraft],
    /// Endpoints.
    pub endpoints: &'a [EndpointDraft],
    /// What stands before a file's name in a rule's origin.
    pub origin: &'a str,
}

/// Compares what is with what is wanted at this instant.
#[must_use]
pub fn plan(tenant: TenantId, at: Timestamp, index: &Index<'_>, wanted: Wanted<'_>, prune: Prune<'_>) -> Plan {
    let identities = Identities::find(tenant, at, index, wanted);
    let drafts = wanted.endpoints.iter().map(|draft| (identities.id(&draft.name), draft)).collect();
    let mut planner = Planner { tenant, at, index, wanted, identities, drafts, plan: Plan::default() };
    for draft in wanted.rules {
        planner.rule(draft);
    }
    for draft in wanted.endpoints {
        planner.named_endpoint(draft);
    }
    planner.prune(prune);
    let mut plan = planner.plan;
    plan.items.sort_by(|a, b| (a.action, &a.key).cmp(&(b.action, &b.key)));
    plan
}

struct Planner<'a> {
    tenant: TenantId,
    at: Timestamp,
    index: &'a Index<'a>,
    wanted: Wanted<'a>,
    identities: Identities,
    drafts: HashMap<EndpointId, &'a EndpointDraft>,
    plan: Plan,
}

impl Planner<'_> {
    fn rule(&mut self, draft: &RuleDraft) {
        let origin = format!("{}{}", self.wanted.origin, draft.file);
        let endpoints = draft.endpoints.iter().map(|name| self.identities.id(name)).collect();
        let mut rule = draft.rule(self.tenant, endpoints, Some(origin.clone()));
        let before = self.index.rule(rule.id);
        let mut changes = Vec::new();
        if let Some(before) = before {
            rule.state = before.state;
            changes = difference::of_rules(before, &rule);
        }
        for name in &draft.endpoints {
            if let Some(target) = self.drafts.get(&self.identities.id(name)).copied()
                && matches!(name, EndpointName::Within { .. })
            {
                changes.extend(self.endpoint(name, target, Some(rule.id)));
            }
        }
        changes.extend(self.webhooks(before, &rule));
        self.forget_endpoints(&rule);
        let action = match before {
            None => Action::Create,
            Some(_) if changes.is_empty() => Action::Unchanged,
            Some(_) => Action::Update,
        };
        if action == Action::Create {
            changes.clear();
        }
        // A rule that only moved to another file is written, and otherwise as it was.
        if before != Some(&rule) {
            self.plan.writes.put_rules.push(rule);
        }
        let key = draft.key.clone();
        self.plan.items.push(Item { action, subject: Subject::Rule, key, origin: Some(origin), changes });
    }

    /// What is said of a rule's list of webhooks beyond the webhooks themselves.
    fn webhooks(&self, before: Option<&Rule>, rule: &Rule) -> Option<Difference> {
        let before = before?;
        // One that only got another URL is told as that.
        let kept: Vec<EndpointId> = before.endpoints.iter().map(|id| self.identities.successor(*id)).collect();
        if kept == rule.endpoints {
            return None;
        }
        let shown = |ids: &[EndpointId]| {
            let names: Vec<String> = ids.iter().map(|id| self.name_of(*id)).collect();
            names.join(", ")
        };
        Some(Difference::plain("webhooks", Some(shown(&before.endpoints)), Some(shown(&rule.endpoints))))
    }

    fn name_of(&self, id: EndpointId) -> String {
        let stored = self.index.endpoint(id);
        let wanted = self.drafts.get(&id);
        match (wanted.map(|draft| &draft.name), stored) {
            (Some(EndpointName::Named(key)), _) => key.clone(),
            (Some(EndpointName::Within { .. }), _) => {
                wanted.map(|draft| difference::shown(&draft.target.target).url).unwrap_or_default()
            }
            (None, Some((endpoint, _))) => endpoint.key.clone().unwrap_or_else(|| endpoint.shown.url.clone()),
            (None, None) => id.to_string(),
        }
    }

    /// Endpoints written inside a rule go when they are no longer written there.
    fn forget_endpoints(&mut self, rule: &Rule) {
        let within = self.index.within(rule.id).iter().map(|(endpoint, _)| endpoint.id);
        self.plan.writes.remove_endpoints.extend(within.filter(|id| !rule.endpoints.contains(id)));
    }

    fn named_endpoint(&mut self, draft: &EndpointDraft) {
        let EndpointName::Named(key) = &draft.name else { return };
        let is_new = self.index.endpoint(self.identities.id(&draft.name)).is_none();
        let changes = self.endpoint(&draft.name, draft, None);
        let action = match (is_new, changes.is_empty()) {
            (true, _) => Action::Create,
            (false, true) => Action::Unchanged,
            (false, false) => Action::Update,
        };
        let changes = if is_new { Vec::new() } else { changes };
        let origin = Some(format!("{}{}", self.wanted.origin, draft.file));
        self.plan.items.push(Item { action, subject: Subject::Endpoint, key: key.clone(), origin, changes });
    }

    fn endpoint(&mut self, name: &EndpointName, draft: &EndpointDraft, rule_id: Option<RuleId>) -> Vec<Difference> {
        let (prefix, key) = match name {
            EndpointName::Named(key) => (String::new(), Some(key.clone())),
            EndpointName::Within { index, .. } => (format!("webhooks[{index}]."), None),
        };
        let id = self.identities.id(name);
        let stored = self.index.endpoint(id);
        let draft = &self.signed(draft, stored);
        let predecessor = || self.identities.predecessor(id).and_then(|id| self.index.endpoint(id));
        let changes = match stored.or_else(predecessor) {
            Some((before, target)) => difference::of_endpoints(&prefix, before, target.as_ref(), &draft.target),
            None => vec![Difference::plain(
                &format!("{prefix}url"),
                None,
                Some(difference::shown(&draft.target.target).url),
            )],
        };
        let origin = format!("{}{}", self.wanted.origin, draft.file);
        let moved = stored.is_some_and(|(before, _)| {
            before.key != key || before.rule_id != rule_id || before.origin.as_deref() != Some(origin.as_str())
        });
        if stored.is_none() || moved || !changes.is_empty() {
            let same = |(before, target): &Opened| {
                target
                    .as_ref()
                    .is_some_and(|target| {
                        difference::same(target, &draft.target.target)
                            && target.signing.is_same(&draft.target.target.signing)
                    })
                    .then(|| before.clone())
            };
            let same_target = stored.and_then(same);
            let put = PutEndpoint { id, key, rule_id, origin, draft: draft.clone(), same_target };
            self.plan.writes.put_endpoints.push(put);
        }
        changes
    }

    /// The draft with its signatures, which depend on those the endpoint has now.
    fn signed(&self, draft: &EndpointDraft, stored: Option<&Opened>) -> EndpointDraft {
        let before = stored.and_then(|(_, target)| target.as_ref()).map(|target| &target.signing);
        let mut draft = draft.clone();
        draft.target.target.signing = draft.target.signing.over(before, self.at);
        draft
    }

    /// Removes what no file has, except what was made through the API: it is no file's. A named endpoint that came from a
    /// file goes when no rule is left that sends to it.
    fn prune(&mut self, prune: Prune<'_>) {
        if prune == Prune::Nothing {
            return;
        }
        let wanted: BTreeSet<&str> = self.wanted.rules.iter().map(|rule| rule.key.as_str()).collect();
        let mut left: BTreeSet<EndpointId> = BTreeSet::new();
        for rule in &self.index.current.rules {
            if wanted.contains(rule.key.as_str()) {
                continue;
            }
            if rule.is_registered() || !prune.covers(rule.origin.as_deref()) {
                left.extend(&rule.endpoints);
                continue;
            }
            self.plan.writes.remove_rules.push(rule.id);
            let within = self.index.within(rule.id).iter().map(|(endpoint, _)| endpoint.id);
            self.plan.writes.remove_endpoints.extend(within);
            self.remove(Subject::Rule, rule.key.clone(), rule.origin.clone());
        }
        let drafts: BTreeSet<EndpointId> =
            self.wanted.endpoints.iter().map(|draft| self.identities.id(&draft.name)).collect();
        for (endpoint, _) in &self.index.current.endpoints {
            if let Some(key) = &endpoint.key
                && prune.covers(endpoint.origin.as_deref())
                && !drafts.contains(&endpoint.id)
                && !left.contains(&endpoint.id)
            {
                self.plan.writes.remove_endpoints.push(endpoint.id);
                self.remove(Subject::Endpoint, key.clone(), endpoint.origin.clone());
            }
        }
    }

    fn remove(&mut self, subject: Subject, key: String, origin: Option<String>) {
        self.plan.items.push(Item { action: Action::Remove, subject, key, origin, changes: Vec::new() });
    }
}

impl Prune<'_> {
    /// Whether what has this origin goes when no file has it.
    #[must_use]
    pub fn covers(self, origin: Option<&str>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Files => origin.is_some_and(|origin| !origin.starts_with(FOLDER)),
            Self::Origin(prefix) => origin.is_some_and(|origin| origin.starts_with(prefix)),
        }
    }
}

#[cfg(test)]
mod tests;
