//! Accepting and reading runs and feedback.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use runhook::model::audit::Entry;
use runhook::model::dotted_order::DottedOrder;
use runhook::model::feedback::Feedback;
use runhook::model::id::{FeedbackId, ProjectId, RunId, TenantId, ThreadId, TraceId};
use runhook::model::merge::Applied;
use runhook::model::project::{DEFAULT_PROJECT, ProjectRef};
use runhook::model::run::{Layers, Part, PartKind, Run, Standpoint, StoredRun};
use runhook::model::thread;
use runhook::model::time::Timestamp;
use runhook::model::window::Change;
use runhook::store::Result;
use runhook::store::runs::{Accepted, Batch, FeedbackQuery, Kin, Refusal, RunQuery, RunStore};
use runhook::store::search::{Found, Search};
use uuid::Uuid;

use super::{Known, Reference, Tenant};

#[async_trait]
impl RunStore for Reference {
    async fn accept(&self, tenant: TenantId, batch: Batch, now: Timestamp) -> Result<Accepted> {
        self.change(|state| Ok(state.tenant(tenant).accept(tenant, &batch, now)))
    }

    async fn run(&self, tenant: TenantId, id: RunId) -> Result<Option<StoredRun>> {
        Ok(self.look_at(tenant, |tenant| tenant.stored(id)))
    }

    async fn runs(&self, tenant: TenantId, ids: &[RunId]) -> Result<Vec<StoredRun>> {
        let ids: BTreeSet<RunId> = ids.iter().copied().collect();
        Ok(self.look_at(tenant, |tenant| ids.into_iter().filter_map(|id| tenant.stored(id)).collect()))
    }

    async fn traces(&self, tenant: TenantId, project: ProjectId, ids: &[TraceId]) -> Result<Vec<StoredRun>> {
        let mut runs = self.look_at(tenant, Tenant::all_stored);
        runs.retain(|stored| stored.run.project_id == project && ids.contains(&stored.run.trace_id));
        Ok(runs)
    }

    async fn kin(&self, tenant: TenantId, project: ProjectId, ids: &[TraceId]) -> Result<Vec<Kin>> {
        let runs = self.traces(tenant, project, ids).await?.into_iter().map(|stored| stored.run);
        Ok(runs.map(|run| Kin { run_id: run.id, trace_id: run.trace_id, parent_run_id: run.parent_run_id }).collect())
    }

    async fn list_runs(&self, tenant: TenantId, query: &RunQuery) -> Result<Vec<StoredRun>> {
        let mut runs = self.look_at(tenant, Tenant::all_stored);
        runs.retain(|StoredRun { run, .. }| {
            query.project_id.is_none_or(|project| run.project_id == project)
                && query.trace_id.is_none_or(|trace| run.trace_id == trace)
                && (!query.roots_only || run.is_root())
                && query.before.is_none_or(|before| (run.start_time, run.id) < before)
        });
        runs.sort_by_key(|stored| std::cmp::Reverse((stored.run.start_time, stored.run.id)));
        runs.truncate(query.limit as usize);
        Ok(runs)
    }

    async fn search_runs(&self, tenant: TenantId, search: &Search) -> Result<Vec<Found>> {
        let runs = self.look_at(tenant, Tenant::all_stored);
        Ok(super::search::search(&runs, search))
    }

    async fn feedback(&self, tenant: TenantId, id: FeedbackId) -> Result<Option<Feedback>> {
        Ok(self.look_at(tenant, |tenant| tenant.feedback.get(&id).map(|(feedback, _)| feedback.clone())))
    }

    async fn list_feedback(&self, tenant: TenantId, query: &FeedbackQuery) -> Result<Vec<Feedback>> {
        let any = |wanted: &[String], word: Option<&str>| {
            wanted.is_empty() || word.is_some_and(|word| wanted.iter().any(|one| one == word))
        };
        Ok(self.look_at(tenant, |tenant| {
            let mut found: Vec<Feedback> = tenant.feedback.values().map(|(feedback, _)| feedback.clone()).collect();
            found.retain(|feedback| {
                let place = tenant.place_of_feedback(feedback.id);
                (query.runs.is_empty() || feedback.run_id.is_some_and(|run| query.runs.contains(&run)))
                    && any(&query.keys, Some(&feedback.key))
                    && any(&query.sources, source_type(feedback).as_deref())
                    && (query.projects.is_empty() || place.is_some_and(|place| query.projects.contains(&place)))
            });
            found.sort_by_key(|feedback| std::cmp::Reverse((feedback.created_at, feedback.id)));
            found.into_iter().skip(query.offset as usize).take(query.limit as usize).collect()
        }))
    }

    async fn delete_feedback(
        &self,
        tenant: TenantId,
        id: FeedbackId,
        now: Timestamp,
        _: Option<Entry>,
    ) -> Result<bool> {
        self.change(|state| {
            let tenant = state.tenant(tenant);
            let deleted = tenant.feedback.remove(&id);
            if let Some(run) = deleted.as_ref().and_then(|(feedback, _)| feedback.run_id) {
                tenant.stir(&[run], &BTreeSet::new(), now);
            }
            Ok(deleted.is_some())
        })
    }
}

pub(super) fn source_type(feedback: &Feedback) -> Option<String> {
    let source: serde_json::Value = feedback.source.as_ref()?.read().ok()?;
    source.get("type")?.as_str().map(ToOwned::to_owned)
}

/// The path that a run is told, or that it has none.
struct Told(Option<DottedOrder>);

/// Whether a run with these layers has what a run must have.
fn is_complete(layers: &Layers) -> bool {
    let (project, run) = (ProjectId(Uuid::nil()), RunId(Uuid::nil()));
    layers.clone().resolve(TenantId::DEFAULT, project, run, Timestamp(0)).is_some()
}

impl Tenant {
    fn stored(&self, id: RunId) -> Option<StoredRun> {
        let known = self.runs.get(&id)?;
        let about = self.feedback.values().filter(|(feedback, _)| feedback.run_id == Some(id));
        let mut feedback: Vec<Feedback> = about.map(|(feedback, _)| feedback.clone()).collect();
        feedback.sort_by_key(|feedback| (feedback.created_at, feedback.id));
        Some(StoredRun { run: known.run.clone()?, feedback, changed_seq: known.seq })
    }

    pub(super) fn all_stored(&self) -> Vec<StoredRun> {
        self.runs.keys().filter_map(|id| self.stored(*id)).collect()
    }

    /// Feedback is where its run is, and where its sender said as long as nobody knows.
    pub(super) fn place_of_feedback(&self, id: FeedbackId) -> Option<ProjectId> {
        let (feedback, said) = self.feedback.get(&id)?;
        let run = feedback.run_id.and_then(|run| self.runs.get(&run));
        run.map(|known| known.project).or(*said)
    }

    fn accept(&mut self, id: TenantId, batch: &Batch, now: Timestamp) -> Accepted {
        let mut accepted = Accepted::default();
        let refused = self.locate(id, batch, now, &mut accepted);
        let (mut here, mut written): (Vec<RunId>, BTreeSet<RunId>) = Default::default();
        for part in &batch.parts {
            if !here.contains(&part.run_id) {
                here.push(part.run_id);
            }
        }
        for run in &here {
            if self.runs.contains_key(run) {
                for part in self.waiting.remove(run).unwrap_or_default() {
                    self.apply(&part);
                    written.insert(*run);
                }
            }
        }
        for (index, part) in batch.parts.iter().enumerate() {
            if refused.contains(&index) {
            } else if !self.runs.contains_key(&part.run_id) {
                let waiting = self.waiting.entry(part.run_id).or_default();
                if waiting.iter().all(|other| other.digest != part.digest) {
                    waiting.push(part.clone());
                }
            } else if self.apply(part) {
                accepted.changed = true;
                written.insert(part.run_id);
            }
        }
        self.give_paths(&mut here, &mut written);
        let mut stirred: Vec<RunId> = here.into_iter().filter(|run| written.contains(run)).collect();
        stirred.extend(self.accept_feedback(batch, &mut accepted));
        self.stir(&stirred, &written, now);
        accepted
    }

    /// Gives every run a project that has none and is told one. Returns which parts are refused.
    fn locate(&mut self, id: TenantId, batch: &Batch, now: Timestamp, accepted: &mut Accepted) -> BTreeSet<usize> {
        let mut refused = BTreeSet::new();
        for (index, part) in batch.parts.iter().enumerate() {
            if self.runs.contains_key(&part.run_id) {
                continue;
            }
            let project = match (&part.project, part.kind) {
                (Some(ProjectRef::Name(name)), _) => self.project_named(id, name, now),
                (Some(ProjectRef::Id(project)), _) if self.projects.contains_key(project) => *project,
                (Some(ProjectRef::Id(_)), _) => {
                    refused.insert(index);
                    accepted.refused.push(Refusal { run_id: part.run_id, reason: String::new() });
                    continue;
                }
                (None, PartKind::Post) => self.project_named(id, DEFAULT_PROJECT, now),
                (None, PartKind::Patch) => continue,
            };
            self.runs.insert(part.run_id, Known { project, layers: Layers::default(), run: None, seq: 0 });
        }
        refused
    }

    fn apply(&mut self, part: &Part) -> bool {
        let known = self.runs.get_mut(&part.run_id).expect("it has a project");
        known.layers.apply(part.clone()) == Applied::Changed
    }

    /// The path that a complete run whose client says none has from its parent, if that is in the same project, has one,
    /// and is not below the run. Only if that is not what it has so far.
    fn path_for(&self, run: RunId) -> Option<Told> {
        let stands = |run: RunId| {
            let known = self.runs.get(&run).filter(|known| is_complete(&known.layers))?;
            Some((known.project, known.layers.standpoint(run)?))
        };
        let (project, Standpoint::Under { parent, start_time, path }) = stands(run)? else { return None };
        let above = stands(parent).filter(|(of_parent, _)| *of_parent == project);
        let above = above.as_ref().and_then(|(_, stands)| stands.path()).filter(|above| !above.passes(run));
        let next = above.map(|above| above.child(start_time, run));
        (next != path).then_some(Told(next))
    }

    /// Gives paths from parents to children until there are none to give: first among the runs that are here, then to
    /// those below them.
    fn give_paths(&mut self, here: &mut Vec<RunId>, written: &mut BTreeSet<RunId>) {
        loop {
            while let Some((run, Told(path))) = here.iter().find_map(|run| Some((*run, self.path_for(*run)?))) {
                self.runs.get_mut(&run).expect("it stands somewhere").layers.infer_path(path.as_ref());
                written.insert(run);
            }
            let below: Vec<RunId> = self.runs.keys().copied().filter(|run| self.path_for(*run).is_some()).collect();
            if below.is_empty() {
                return;
            }
            here.extend(below);
        }
    }

    /// Upserts feedback. Returns the runs it is about, in the order of the feedback's ids.
    fn accept_feedback(&mut self, batch: &Batch, accepted: &mut Accepted) -> Vec<RunId> {
        let mut upserted: BTreeMap<FeedbackId, Option<RunId>> = BTreeMap::new();
        for sent in &batch.feedback {
            let mut feedback = sent.clone();
            if let Some((known, _)) = self.feedback.get(&sent.id) {
                (feedback.created_at, feedback.modified_at) = (known.created_at, known.modified_at);
                if feedback == *known {
                    continue;
                }
                feedback.modified_at = sent.modified_at;
            }
            accepted.changed = true;
            upserted.insert(feedback.id, feedback.run_id);
            let run = feedback.run_id.and_then(|run| self.runs.get(&run));
            let place = run.filter(|known| is_complete(&known.layers)).map(|known| known.project);
            let place = place.or(feedback.session_id);
            self.feedback.insert(sent.id, (feedback, place));
        }
        upserted.into_values().flatten().collect()
    }

    /// Logs one change for each of these runs that is complete, and keeps those that were written as they are now.
    fn stir(&mut self, runs: &[RunId], written: &BTreeSet<RunId>, now: Timestamp) {
        let mut logged = BTreeSet::new();
        for id in runs {
            let Some(known) = self.runs.get_mut(id).filter(|known| is_complete(&known.layers)) else { continue };
            if !logged.insert(*id) {
                continue;
            }
            let log = self.projects.get_mut(&known.project).expect("a run's project is there");
            let at = log.changes.last().map_or(now, |last| last.at.max(now));
            known.seq = log.last() + 1;
            let was = known.run.as_ref().and_then(thread_of);
            if written.contains(id) {
                known.run = known.layers.clone().resolve(log.project.tenant_id, known.project, *id, at);
            }
            if log.project.start_time == Timestamp(0) {
                log.project.start_time = now;
            }
            let run = known.run.as_ref().expect("it is complete");
            let left = was.filter(|was| thread_of(run) != Some(*was));
            log.changes.push(Change { seq: known.seq, run_id: *id, trace_id: run.trace_id, at, left });
        }
    }
}

/// The thread that a run is a turn of.
pub(super) fn thread_of(run: &Run) -> Option<ThreadId> {
    let named = run.is_root().then(|| run.extra.as_ref().and_then(thread::named)).flatten();
    named.as_deref().map(ThreadId::of_name)
}
