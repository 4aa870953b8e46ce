//! Which stored endpoint each endpoint of the files is.
//!
//! Deliveries name their endpoint by its id, so an id must never come to mean another receiver. A named endpoint is its
//! key, and its owner may move it. A webhook written inside a rule is its URL: it keeps its id when others come, go or
//! change places around it, and with another URL it is another endpoint, so that what waits for the old URL is not sent
//! to the new one. The ids of those that went are never given out again, since their deliveries can still be replayed.

use std::collections::{BTreeMap, HashMap, HashSet};

use secrecy::ExposeSecret;

use crate::model::endpoint::Target;
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::model::time::Timestamp;
use crate::rule_file::difference::same;
use crate::rule_file::endpoint::{id_of_named, id_of_new};
use crate::rule_file::plan::{Index, Wanted};
use crate::rule_file::{EndpointDraft, EndpointName};

/// The ids of all endpoints of the files.
#[derive(Debug)]
pub(super) struct Identities {
    tenant: TenantId,
    at: Timestamp,
    within: BTreeMap<EndpointName, EndpointId>,
    /// Where a new endpoint has taken the place of one that goes: the old one by the new one.
    predecessors: BTreeMap<EndpointId, EndpointId>,
    /// The same, the new one by the old one.
    successors: BTreeMap<EndpointId, EndpointId>,
}

/// Webhooks written inside one rule, while they are being told apart.
struct Matching<'a> {
    drafts: Vec<&'a EndpointDraft>,
    /// Those that are stored, in the order of the rule's list, and not yet found among the drafts.
    stored: Vec<(EndpointId, &'a Target)>,
}

impl Identities {
    pub(super) fn find(tenant: TenantId, at: Timestamp, index: &Index<'_>, wanted: Wanted<'_>) -> Self {
        let (predecessors, successors) = (BTreeMap::new(), BTreeMap::new());
        let mut found = Self { tenant, at, within: BTreeMap::new(), predecessors, successors };
        let drafts = by_rule(wanted.endpoints);
        let mut used: HashSet<EndpointId> = index.current.endpoints.iter().map(|(endpoint, _)| endpoint.id).collect();
        for rule in wanted.rules {
            let id = RuleId::of_key(tenant, &rule.key);
            let drafts = drafts.get(rule.key.as_str()).cloned().unwrap_or_default();
            let mut matching = Matching::of(index, id, drafts);
            matching.keep(&mut found.within, same);
            matching.keep(&mut found.within, |a, b| a.url.expose_secret() == b.url.expose_secret());
            let mut gone: HashSet<EndpointId> = matching.stored.iter().map(|(id, _)| *id).collect();
            for draft in matching.drafts {
                let new = found.fresh(&rule.key, &used);
                used.insert(new);
                found.within.insert(draft.name.clone(), new);
                let place = rule.endpoints.iter().position(|name| *name == draft.name);
                let before = index.rule(id).zip(place).and_then(|(rule, place)| rule.endpoints.get(place));
                if let Some(old) = before.filter(|old| gone.remove(old)) {
                    found.predecessors.insert(new, *old);
                    found.successors.insert(*old, new);
                }
            }
        }
        found
    }

    /// The id of an endpoint of the files.
    pub(super) fn id(&self, name: &EndpointName) -> EndpointId {
        match (name, self.within.get(name)) {
            (_, Some(id)) => *id,
            (EndpointName::Named(key), None) => id_of_named(self.tenant, key),
            (EndpointName::Within { rule, index }, None) => id_of_new(self.tenant, rule, *index as u64, self.at),
        }
    }

    /// The stored endpoint whose place in a rule's list this new one takes.
    pub(super) fn predecessor(&self, id: EndpointId) -> Option<EndpointId> {
        self.predecessors.get(&id).copied()
    }

    /// The endpoint that takes this one's place, or the same if it stays.
    pub(super) fn successor(&self, id: EndpointId) -> EndpointId {
        self.successors.get(&id).copied().unwrap_or(id)
    }

    fn fresh(&self, rule: &str, used: &HashSet<EndpointId>) -> EndpointId {
        let mut index = 0;
        loop {
            let id = id_of_new(self.tenant, rule, index, self.at);
            if !used.contains(&id) {
                return id;
            }
            index += 1;
        }
    }
}

/// Webhooks by the key of the rule they are written in.
fn by_rule(endpoints: &[EndpointDraft]) -> HashMap<&str, Vec<&EndpointDraft>> {
    let mut drafts: HashMap<&str, Vec<&EndpointDraft>> = HashMap::new();
    for draft in endpoints {
        if let EndpointName::Within { rule, .. } = &draft.name {
            drafts.entry(rule).or_default().push(draft);
        }
    }
    drafts
}

impl<'a> Matching<'a> {
    fn of(index: &Index<'a>, rule: RuleId, drafts: Vec<&'a EndpointDraft>) -> Self {
        let list = index.rule(rule).map(|rule| rule.endpoints.as_slice()).unwrap_or_default();
        let place = |id: EndpointId| list.iter().position(|other| *other == id).unwrap_or(usize::MAX);
        let stored = index.within(rule).iter();
        // What does not open cannot be told to be the same, and what waits for it could not be sent anyway.
        let mut stored: Vec<_> =
            stored.filter_map(|(endpoint, target)| Some((endpoint.id, target.as_ref()?))).collect();
        stored.sort_by_key(|(id, _)| (place(*id), *id));
        Self { drafts, stored }
    }

    /// Gives those drafts the id of a stored one that are like it; each stored one goes to one draft.
    fn keep(&mut self, ids: &mut BTreeMap<EndpointName, EndpointId>, alike: impl Fn(&Target, &Target) -> bool) {
        let stored = &mut self.stored;
        self.drafts.retain(|draft| {
            let Some(at) = stored.iter().position(|(_, target)| alike(target, &draft.target.target)) else {
                return true;
            };
            ids.insert(draft.name.clone(), stored.remove(at).0);
            false
        });
    }
}
