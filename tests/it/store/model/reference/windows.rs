//! What the scheduler reads and how it commits.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use runhook::model::id::{ProjectId, RuleId, RunId, TenantId};
use runhook::model::time::Timestamp;
use runhook::model::window::{Change, Cursor, Progress, Seq, Span, Window};
use runhook::store::outbox::Claimant;
use runhook::store::windows::{ProjectKey, Standing, Stirred, WindowCommit, WindowStore};
use runhook::store::{Result, StoreError};
use uuid::Uuid;

use super::{Reference, Sent, Tenant};

#[async_trait]
impl WindowStore for Reference {
    async fn stirred_projects(&self) -> Result<Vec<Stirred>> {
        Ok(self.look(|state| {
            let mut stirred = Vec::new();
            for (tenant_id, tenant) in &state.tenants {
                for (project_id, log) in &tenant.projects {
                    if log.last() > log.settled || tenant.spans.keys().any(|(project, _, _)| project == project_id) {
                        let (tenant_id, project_id, name) = (*tenant_id, *project_id, log.project.name.clone());
                        stirred.push(Stirred { tenant_id, project_id, name, last_seq: log.last() });
                    }
                }
            }
            stirred
        }))
    }

    async fn lease_projects(&self, claimant: Claimant, projects: &[ProjectKey], limit: u32) -> Result<Vec<ProjectKey>> {
        let Claimant { holder, now, until } = claimant;
        self.change(|state| {
            let free = |key: &&ProjectKey| state.leases.get(*key).is_none_or(|(by, end)| *by == holder || *end <= now);
            let taken: Vec<_> = projects.iter().filter(free).take(limit as usize).copied().collect();
            state.leases.extend(taken.iter().map(|key| (*key, (holder, until))));
            Ok(taken)
        })
    }

    async fn release_projects(&self, holder: Uuid, projects: &[ProjectKey]) -> Result<()> {
        self.change(|state| {
            state.leases.retain(|key, (by, _)| *by != holder || !projects.contains(key));
            Ok(())
        })
    }

    async fn standing(&self, tenant_id: TenantId, project_id: ProjectId) -> Result<Standing> {
        Ok(self.look_at(tenant_id, |tenant| {
            let groups = tenant.cursors.iter().filter(|(key, _)| key.project_id == project_id);
            let starts = tenant.starts.iter().filter(|((project, _), _)| *project == project_id);
            let spans = tenant.spans.iter().filter(|((project, _, _), _)| *project == project_id);
            let span = |((_, rule_id, after), through): (&(_, RuleId, Seq), &Seq)| {
                let (rule_id, after, through) = (*rule_id, *after, *through);
                Span { tenant_id, project_id, rule_id, after, through }
            };
            Standing {
                groups: groups.map(|(key, cursor)| (key.clone(), *cursor)).collect(),
                last_start: starts.map(|(_, seq)| *seq).max().unwrap_or(0),
                spans: spans.map(span).collect(),
            }
        }))
    }

    async fn starts(&self, tenant: TenantId, project_id: ProjectId, beyond: Seq) -> Result<HashMap<RuleId, Seq>> {
        Ok(self.look_at(tenant, |tenant| {
            let starts = tenant.starts.iter().filter(|((project, _), seq)| *project == project_id && **seq > beyond);
            starts.map(|((_, rule), seq)| (*rule, *seq)).collect()
        }))
    }

    async fn changes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        after: Seq,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Change>> {
        Ok(self.look_at(tenant, |tenant| {
            let log = tenant.projects.get(&project).into_iter().flat_map(|log| &log.changes);
            let read = log.filter(|change| change.seq > after && change.at <= until);
            read.take(limit as usize).cloned().collect()
        }))
    }

    async fn matched(&self, tenant: TenantId, pairs: &[(RuleId, RunId)]) -> Result<HashSet<(RuleId, RunId)>> {
        Ok(self
            .look_at(tenant, |tenant| pairs.iter().copied().filter(|pair| tenant.matches.contains_key(pair)).collect()))
    }

    async fn commit_window(&self, commit: WindowCommit) -> Result<()> {
        self.change(|state| {
            if commit.rules_version != state.rules_version {
                return Err(StoreError::Stale("other rules"));
            }
            let tenant = state.tenant(commit.window.tenant_id);
            tenant.advance(&commit.window)?;
            tenant.note(&commit)?;
            if let Some(seq) = commit.settles {
                tenant.settle(commit.window.project_id, seq);
            }
            Ok(())
        })
    }

    async fn settle_project(&self, tenant: TenantId, project: ProjectId, seq: Seq, rules_version: i64) -> Result<()> {
        self.change(|state| {
            if state.rules_version == rules_version {
                state.tenant(tenant).settle(project, seq);
            }
            Ok(())
        })
    }

    async fn rule_windows(&self, tenant: TenantId, rule: RuleId, limit: u32) -> Result<Vec<(Window, u32)>> {
        Ok(self.look_at(tenant, |tenant| {
            let found = tenant.windows.iter().filter_map(|(window, finds)| Some((window.clone(), *finds.get(&rule)?)));
            let mut found: Vec<(Window, u32)> = found.collect();
            found.sort_by_key(|(window, _)| std::cmp::Reverse((window.end_time, window.id)));
            found.truncate(limit as usize);
            found
        }))
    }
}

impl Tenant {
    fn advance(&mut self, window: &Window) -> Result<()> {
        match &window.progress {
            Progress::Group(key) => {
                if self.cursors.get(key).map_or(0, |cursor| cursor.seq) != window.after {
                    return Err(StoreError::Stale("the cursor is elsewhere"));
                }
                self.cursors.insert(key.clone(), Cursor { seq: window.through, at: window.end_time });
            }
            Progress::Span(rule) => {
                let Some(through) = self.spans.remove(&(window.project_id, *rule, window.after)) else {
                    return Err(StoreError::Stale("there is no such span"));
                };
                self.show(window.project_id, *rule, window.through, through);
            }
        }
        Ok(())
    }

    fn settle(&mut self, project: ProjectId, seq: Seq) {
        if let Some(log) = self.projects.get_mut(&project)
            && log.last() == seq
        {
            log.settled = seq;
        }
    }

    fn note(&mut self, commit: &WindowCommit) -> Result<()> {
        let mut finds: BTreeMap<RuleId, u32> = BTreeMap::new();
        for (rule, run) in &commit.matches {
            if self.matches.insert((*rule, *run), commit.window.project_id).is_some() {
                return Err(StoreError::Stale("it has matched"));
            }
            *finds.entry(*rule).or_default() += 1;
        }
        if !finds.is_empty() {
            self.windows.push((commit.window.clone(), finds));
        }
        self.messages.extend(commit.messages.iter().map(|message| (message.id, message.clone())));
        for delivery in &commit.deliveries {
            let (delivery, ready) = (delivery.clone(), delivery.due_at);
            self.deliveries.insert(delivery.id, Sent { delivery, ready, holder: None, attempts: Vec::new() });
        }
        Ok(())
    }
}
