//! Rules and endpoints, and where rules come to stand.

use std::collections::BTreeSet;

use async_trait::async_trait;
use runhook::model::audit::Entry;
use runhook::model::delivery::{Delivery, DeliveryState};
use runhook::model::endpoint::{Disabled, Endpoint};
use runhook::model::glob::Glob;
use runhook::model::health::Health;
use runhook::model::id::{EndpointId, ProjectId, RuleId, TenantId};
use runhook::model::message::Source;
use runhook::model::rule::{Rule, RuleState};
use runhook::model::sealed::Sealed;
use runhook::model::time::Timestamp;
use runhook::model::window::{Cursor, GroupKey, Seq};
use runhook::store::rules::{Demand, RuleChanges, RuleSnapshot, RuleStore};
use runhook::store::{Result, StoreError};

use super::{Reference, Tenant, conflict};

#[async_trait]
impl RuleStore for Reference {
    async fn apply_rules(&self, tenant: TenantId, changes: RuleChanges, now: Timestamp) -> Result<()> {
        self.change(|state| {
            state.rules_version += 1;
            state.tenant(tenant).revise(&changes, now)
        })
    }

    async fn set_rule_state(
        &self,
        tenant: TenantId,
        id: RuleId,
        state: RuleState,
        now: Timestamp,
        _: Option<Entry>,
    ) -> Result<bool> {
        let rule = self.look_at(tenant, |tenant| tenant.rules.get(&id).cloned());
        match rule {
            Some(rule) if rule.state != state => {
                let put_rules = vec![Rule { state, ..rule }];
                self.apply_rules(tenant, RuleChanges { put_rules, ..RuleChanges::default() }, now).await?;
                Ok(true)
            }
            rule => Ok(rule.is_some()),
        }
    }

    async fn list_rules(&self, tenant: TenantId) -> Result<Vec<Rule>> {
        let mut rules: Vec<Rule> = self.look_at(tenant, |tenant| tenant.rules.values().cloned().collect());
        rules.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(rules)
    }

    async fn list_endpoints(&self, tenant: TenantId) -> Result<Vec<Endpoint>> {
        Ok(self.look_at(tenant, |tenant| tenant.endpoints.values().cloned().collect()))
    }

    async fn set_endpoint_state(
        &self,
        tenant: TenantId,
        id: EndpointId,
        disabled: Option<Disabled>,
        now: Timestamp,
        _: Option<Entry>,
    ) -> Result<bool> {
        self.change(|state| {
            let tenant = state.tenant(tenant);
            if disabled.is_some() {
                tenant.fail(|delivery| delivery.endpoint_id == id, "endpoint disabled", now);
            }
            let endpoint = tenant.endpoints.get_mut(&id);
            Ok(endpoint.map(|endpoint| (endpoint.disabled, endpoint.health) = (disabled, Health::default())).is_some())
        })
    }

    async fn rules_version(&self) -> Result<i64> {
        Ok(self.look(|state| state.rules_version))
    }

    async fn active_rules(&self) -> Result<RuleSnapshot> {
        Ok(self.look(|state| {
            let rules = state.tenants.values().flat_map(|tenant| tenant.rules.values());
            let active = rules.filter(|rule| rule.state == RuleState::Active);
            RuleSnapshot { version: state.rules_version, rules: active.cloned().collect() }
        }))
    }

    async fn sealed_targets(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<(EndpointId, Sealed)>> {
        let mut targets: Vec<(EndpointId, Sealed)> = self.look(|state| {
            let endpoints = state.tenants.values().flat_map(|tenant| tenant.endpoints.values());
            endpoints.map(|endpoint| (endpoint.id, endpoint.target.clone())).collect()
        });
        targets.retain(|(id, _)| after.is_none_or(|after| *id > after));
        targets.sort_by_key(|(id, _)| *id);
        targets.truncate(limit as usize);
        Ok(targets)
    }

    async fn reseal_target(&self, id: EndpointId, old: &Sealed, new: Sealed) -> Result<bool> {
        self.change(|state| {
            let endpoints = state.tenants.values_mut().filter_map(|tenant| tenant.endpoints.get_mut(&id));
            let unchanged = endpoints.into_iter().find(|endpoint| endpoint.target == *old);
            Ok(unchanged.map(|endpoint| endpoint.target = new).is_some())
        })
    }
}

fn watches(rule: &Rule, name: &str) -> bool {
    Glob::parse(&rule.project).matches(name)
}

fn group(rule: &Rule, project_id: ProjectId) -> GroupKey {
    GroupKey { tenant_id: rule.tenant_id, project_id, cadence: rule.cadence.clone(), settle: rule.settle }
}

fn differ<T: Ord>(ids: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    ids.into_iter().all(|id| seen.insert(id))
}

impl Tenant {
    fn revise(&mut self, changes: &RuleChanges, now: Timestamp) -> Result<()> {
        for (id, demand) in &changes.demands {
            if (*demand == Demand::There) != self.endpoints.contains_key(id) && *demand != Demand::Unused {
                return Err(StoreError::Stale("an endpoint"));
            }
        }
        for id in &changes.remove_rules {
            self.rules.remove(id);
            self.starts.retain(|(_, rule), _| rule != id);
            self.spans.retain(|(_, rule, _), _| rule != id);
            self.endpoints.retain(|_, endpoint| endpoint.rule_id != Some(*id));
            self.fail(|delivery| delivery.source == Source::Rule(*id), "rule removed", now);
        }
        for id in &changes.remove_endpoints {
            self.endpoints.remove(id);
            self.fail(|delivery| delivery.endpoint_id == *id, "endpoint removed", now);
        }
        if !differ(changes.put_rules.iter().map(|rule| rule.id))
            || !differ(changes.put_endpoints.iter().map(|endpoint| endpoint.id))
        {
            return conflict("one id, twice");
        }
        for rule in &changes.put_rules {
            if self.rules.values().any(|other| other.key == rule.key && other.id != rule.id) {
                return conflict("a rule with one of these keys");
            }
            self.put(rule);
        }
        for endpoint in &changes.put_endpoints {
            let mut others = self.endpoints.values().filter(|other| other.id != endpoint.id);
            if endpoint.key.is_some() && others.any(|other| other.key == endpoint.key) {
                return conflict("an endpoint with one of these keys");
            }
            let disabled = self.endpoints.get(&endpoint.id).and_then(|stored| stored.disabled.clone());
            self.endpoints.insert(endpoint.id, Endpoint { disabled, health: Health::default(), ..endpoint.clone() });
        }
        let unused = changes.demands.iter().filter(|(_, demand)| *demand == Demand::Unused);
        if unused.into_iter().any(|(id, _)| self.rules.values().any(|rule| rule.endpoints.contains(id))) {
            return Err(StoreError::Stale("what a rule sends to"));
        }
        Ok(())
    }

    /// Ends deliveries that wait.
    pub(super) fn fail(&mut self, of: impl Fn(&Delivery) -> bool, why: &str, now: Timestamp) {
        let waiting = |delivery: &Delivery| delivery.state == DeliveryState::Pending && of(delivery);
        for sent in self.deliveries.values_mut().filter(|sent| waiting(&sent.delivery)) {
            sent.delivery.state = DeliveryState::Failed(why.to_owned());
            sent.delivery.finished_at = Some(now);
            sent.holder = None;
        }
    }

    fn put(&mut self, rule: &Rule) {
        // While it is being placed it is in no group.
        let old = self.rules.remove(&rule.id);
        let projects: Vec<(ProjectId, String)> =
            self.projects.values().map(|log| (log.project.id, log.project.name.clone())).collect();
        for (project, name) in projects {
            let before = old.as_ref().filter(|old| watches(old, &name));
            match (before, rule.state == RuleState::Active && watches(rule, &name)) {
                (_, false) => self.forget(project, rule.id),
                (Some(old), true) if old.state == RuleState::Active => self.edit(project, old, rule),
                (Some(_), true) => self.start_at_newest(project, rule),
                (None, true) => {
                    self.start_at_newest(project, rule);
                    if let Some(instant) = rule.backfill_from {
                        self.show(project, rule.id, self.last_before(project, instant), self.last(project));
                    }
                }
            }
        }
        self.rules.insert(rule.id, rule.clone());
    }

    /// Places an active rule that stood in the project already.
    fn edit(&mut self, project: ProjectId, old: &Rule, rule: &Rule) {
        let start = self.starts.get(&(project, rule.id)).copied().unwrap_or(0);
        if let Some(instant) = rule.backfill_from.filter(|_| rule.backfill_from != old.backfill_from) {
            let shown_from = old.backfill_from.map_or(start, |old| self.last_before(project, old).min(start));
            self.show(project, rule.id, self.last_before(project, instant), shown_from);
        }
        let (from, to) = (group(old, project), group(rule, project));
        if from == to {
            return;
        }
        let left = self.cursors.get(&from).copied().unwrap_or(Cursor { seq: 0, at: Cursor::NEVER });
        let seen = start.max(left.seq);
        self.starts.insert((project, rule.id), seen);
        if self.has_members(&to) {
            let passed = self.cursors.get(&to).map_or(0, |cursor| cursor.seq);
            self.show(project, rule.id, seen, passed);
        } else {
            self.cursors.insert(to, Cursor { seq: seen, at: left.at });
        }
        let log = self.projects.get_mut(&project).expect("it is there");
        if seen < log.last() {
            log.settled = log.settled.min(seen);
        }
    }

    fn start_at_newest(&mut self, project: ProjectId, rule: &Rule) {
        self.forget(project, rule.id);
        let seq = self.last(project);
        self.starts.insert((project, rule.id), seq);
        let key = group(rule, project);
        if !self.has_members(&key) {
            self.cursors.insert(key, Cursor { seq, at: Cursor::NEVER });
        }
    }

    /// Rules that come to watch the project begin at its newest change, those that no longer do forget it: one after the
    /// other, by their ids.
    pub(super) fn rename(&mut self, project: ProjectId, to: &str) {
        let from = self.projects.get(&project).expect("it is there").project.name.clone();
        let active: Vec<Rule> = self.rules.values().filter(|rule| rule.state == RuleState::Active).cloned().collect();
        let mut members: Vec<&Rule> = active.iter().filter(|rule| watches(rule, &from)).collect();
        for rule in &active {
            match (watches(rule, &from), watches(rule, to)) {
                (true, false) => {
                    members.retain(|member| member.id != rule.id);
                    self.forget(project, rule.id);
                }
                (false, true) => {
                    self.forget(project, rule.id);
                    let (seq, key) = (self.last(project), group(rule, project));
                    self.starts.insert((project, rule.id), seq);
                    if members.iter().all(|member| group(member, project) != key) {
                        self.cursors.insert(key, Cursor { seq, at: Cursor::NEVER });
                    }
                    members.push(rule);
                }
                _ => {}
            }
        }
    }

    fn has_members(&self, key: &GroupKey) -> bool {
        let name = &self.projects.get(&key.project_id).expect("it is there").project.name;
        let active = self.rules.values().filter(|rule| rule.state == RuleState::Active);
        active.into_iter().any(|rule| watches(rule, name) && group(rule, key.project_id) == *key)
    }

    fn last(&self, project: ProjectId) -> Seq {
        self.projects.get(&project).map_or(0, super::Log::last)
    }

    fn last_before(&self, project: ProjectId, instant: Timestamp) -> Seq {
        let changes = self.projects.get(&project).into_iter().flat_map(|log| &log.changes);
        changes.filter(|change| change.at < instant).map(|change| change.seq).max().unwrap_or(0)
    }

    fn forget(&mut self, project: ProjectId, rule: RuleId) {
        self.starts.remove(&(project, rule));
        self.spans.retain(|(at, of, _), _| *at != project || *of != rule);
    }

    /// Has the rule see changes on its own: after the one number, through the other.
    pub(super) fn show(&mut self, project: ProjectId, rule: RuleId, after: Seq, through: Seq) {
        if after < through {
            let end = self.spans.entry((project, rule, after)).or_insert(through);
            *end = (*end).max(through);
        }
    }
}
