//! Accepting batches: the transaction behind every 202.
//!
//! Several batches of one tenant may be accepted as one; the result is that of accepting them in order, except that a
//! run they all touch gets one change. Everything is read with one statement for each kind of row, decided in memory, and
//! written with as few statements as there are kinds of rows: the work is in the merging, not in talking to a database.
//! The statements themselves are the backend's: [`Rows`].
//!
//! A run's project is the first one that is named for it, for ever. A part of a run whose project is not known and that
//! names none waits; the part that names it takes the waiting ones along, those that came first applied first.
//!
//! Whatever two transactions bring of one run at the same time, the result is that of one after the other, because each
//! locks all runs it brings something about, parts or feedback, before it reads any of them, and relatives before it
//! reads those. Otherwise a patch could begin to wait while the post that would have taken it along is committed, a child
//! could miss the parent it needs a path from, and feedback the run that should get a change for it.

mod drafts;
mod feedback;
mod paths;
mod projects;
mod ready;
mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::id::{ProjectId, RunId, TenantId, TraceId};
use crate::model::project::{DEFAULT_PROJECT, ProjectRef};
use crate::model::run::{Part, PartKind};
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq};
use crate::store::Result;
use crate::store::runs::{Accepted, Refusal};

use drafts::{Complete, Drafts};
use projects::Projects;

pub(super) use projects::ensure_default;
pub(super) use ready::{Ready, merged};
pub(super) use rows::{BodyRow, FeedbackRow, Place, Rows, RunRow, WaitingRow};

/// Why nothing can be added to a run whose row does not decode.
const UNREADABLE: &str = "what is stored of this run cannot be read, so nothing can be added to it: the server's log says \
     why; delete its project, or send it as another run";

/// What accepting came to.
#[derive(Default)]
pub(super) struct Outcome {
    /// Of each batch, in their order.
    pub(super) accepted: Vec<Accepted>,
    /// The runs that are stored as one of the batches said them, and nothing else.
    pub(super) as_made: HashMap<RunId, AsMade>,
}

/// A run that is stored as its batch said it, with the change it got.
#[derive(Debug, Clone, Copy)]
pub(super) struct AsMade {
    pub(super) run: RunId,
    pub(super) project: ProjectId,
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
}

/// Accepts batches of one tenant, each with the instant it arrived.
pub(super) async fn accept(rows: &mut dyn Rows, tenant: TenantId, batches: &[(&Ready, Timestamp)]) -> Result<Outcome> {
    let now = batches.iter().map(|(_, now)| *now).max().unwrap_or_default();
    let mut accepted = vec![Accepted::default(); batches.len()];
    let mut drafts = Drafts::load(rows, tenant, batches).await?;
    let refused = locate(rows, tenant, batches, &mut drafts, &mut accepted).await?;
    drafts.fetch_waiting(rows, tenant).await?;
    for (request, ((ready, _), accepted)) in batches.iter().zip(&mut accepted).enumerate() {
        for (index, part) in ready.batch.parts.iter().enumerate() {
            accepted.changed |= !refused.contains(&(request, index)) && drafts.apply(part)?;
        }
    }
    let mut incomplete = drafts.store_waiting(rows, tenant).await?;
    paths::infer(rows, tenant, &mut drafts).await?;
    let mut stirred = Stirred::default();
    let written = drafts.store_bodies(rows, tenant).await?;
    incomplete.extend(written.incomplete);
    for complete in written.complete {
        stirred.run(complete);
    }
    incomplete.extend(feedback::store(rows, tenant, batches, &mut stirred, &mut accepted).await?);
    let silent: Vec<ProjectId> = written.projects.into_iter().filter(|project| !stirred.concerns(*project)).collect();
    if !silent.is_empty() {
        rows.hold_projects(tenant, &silent).await?;
    }
    let as_made = stirred.store(rows, tenant, now).await?;
    touch_incomplete(rows, tenant, incomplete, now).await?;
    Ok(Outcome { accepted, as_made })
}

/// Notes when something was last heard of runs that are not complete, so that what never becomes a run does not stay for
/// ever.
async fn touch_incomplete(rows: &mut dyn Rows, tenant: TenantId, mut runs: Vec<RunId>, now: Timestamp) -> Result<()> {
    runs.sort_unstable();
    runs.dedup();
    if runs.is_empty() { Ok(()) } else { rows.touch_incomplete(tenant, &runs, now).await }
}

/// Notes a change of a run whose feedback was removed.
pub(super) async fn stir(rows: &mut dyn Rows, tenant: TenantId, run: RunId, now: Timestamp) -> Result<()> {
    rows.lock_runs(tenant, &[run], &[]).await?;
    let mut stirred = Stirred::default();
    for (run, project, trace) in rows.places(tenant, &[run]).await? {
        stirred.feedback_on(project, run, trace);
    }
    stirred.store(rows, tenant, now).await?;
    Ok(())
}

/// Finds the project of every run that has none yet, creating those that are named for the first time. Returns which
/// parts of which batches are refused: those whose project is not there, and those of runs that cannot be read.
async fn locate(
    rows: &mut dyn Rows,
    tenant: TenantId,
    batches: &[(&Ready, Timestamp)],
    drafts: &mut Drafts,
    accepted: &mut [Accepted],
) -> Result<HashSet<(usize, usize)>> {
    let mut refused = HashSet::new();
    let wanted =
        batches.iter().flat_map(|(ready, _)| &ready.batch.parts).filter(|part| drafts.lacks_project(part.run_id));
    let mut projects = Projects::load(rows, tenant, wanted.filter_map(named_project)).await?;
    for (request, ((ready, now), accepted)) in batches.iter().zip(accepted).enumerate() {
        for (index, part) in ready.batch.parts.iter().enumerate() {
            if drafts.is_unreadable(part.run_id) {
                refused.insert((request, index));
                accepted.refused.push(Refusal { run_id: part.run_id, reason: UNREADABLE.to_owned() });
            }
            if !drafts.lacks_project(part.run_id) {
                continue;
            }
            match named_project(part) {
                None => {}
                Some(ProjectRef::Name(name)) => {
                    let project = projects.named(rows, &name, *now).await?;
                    drafts.locate(part.run_id, project);
                }
                Some(ProjectRef::Id(id)) if projects.has(id) => drafts.locate(part.run_id, id),
                Some(ProjectRef::Id(id)) => {
                    refused.insert((request, index));
                    drafts.merge_parts_of(part.run_id);
                    let reason = format!("there is no project {id}: create it first, or name one with `session_name`");
                    accepted.refused.push(Refusal { run_id: part.run_id, reason });
                }
            }
        }
    }
    Ok(refused)
}

/// The project a part names. A post that names none means the default one.
fn named_project(part: &Part) -> Option<ProjectRef> {
    match (&part.project, part.kind) {
        (Some(project), _) => Some(project.clone()),
        (None, PartKind::Post) => Some(ProjectRef::Name(DEFAULT_PROJECT.to_owned())),
        (None, PartKind::Patch) => None,
    }
}

/// What gets a change: runs that were written, and runs whose feedback was.
#[derive(Default)]
struct Stirred {
    order: Vec<(ProjectId, RunId, TraceId)>,
    rows: HashMap<RunId, Complete>,
    known: HashMap<RunId, usize>,
}

impl Stirred {
    /// Notes a run that was written.
    fn run(&mut self, complete: Complete) {
        self.feedback_on(complete.project, complete.run, complete.outline.trace_id);
        self.rows.insert(complete.run, complete);
    }

    /// Notes a run whose feedback was.
    fn feedback_on(&mut self, project: ProjectId, run: RunId, trace: TraceId) {
        self.known.entry(run).or_insert_with(|| {
            self.order.push((project, run, trace));
            self.order.len().saturating_sub(1)
        });
    }

    /// Where a run is, when it is written in this transaction.
    fn place_of(&self, run: RunId) -> Option<(ProjectId, TraceId)> {
        self.order.get(*self.known.get(&run)?).map(|(project, _, trace)| (*project, *trace))
    }

    /// Whether a project gets a change.
    fn concerns(&self, project: ProjectId) -> bool {
        self.order.iter().any(|(concerned, _, _)| *concerned == project)
    }

    /// Numbers the changes, project by project, and writes them with the runs' hot rows. Returns those that are as their
    /// batch made them out.
    async fn store(mut self, rows: &mut dyn Rows, tenant: TenantId, now: Timestamp) -> Result<HashMap<RunId, AsMade>> {
        if self.order.is_empty() {
            return Ok(HashMap::new());
        }
        // Everyone takes the projects' rows in the order of this map, so that nobody waits for one who waits for him.
        let mut counts: BTreeMap<ProjectId, i64> = BTreeMap::new();
        for (project, _, _) in &self.order {
            let count = counts.entry(*project).or_default();
            *count = count.saturating_add(1);
        }
        let counts: Vec<(ProjectId, i64)> = counts.into_iter().collect();
        let last = rows.take_numbers(tenant, &counts, now).await?;
        let begin = |(project, count): &(ProjectId, i64)| {
            let (last, at) = last.get(project).copied().unwrap_or_default();
            (*project, (last.saturating_sub(*count), at))
        };
        let before: HashMap<ProjectId, (Seq, Timestamp)> = counts.iter().map(begin).collect();
        let changes = self.number(&before);
        rows.put_changes(tenant, &changes).await?;
        self.store_runs(rows, tenant, &changes, &before).await
    }

    /// The changes, in the order in which their runs were stirred.
    fn number(&self, before: &HashMap<ProjectId, (Seq, Timestamp)>) -> Vec<(ProjectId, Change)> {
        let mut next = before.clone();
        let mut changes = Vec::with_capacity(self.order.len());
        for (project, run_id, trace_id) in &self.order {
            let left = self.rows.get(run_id).and_then(|complete| complete.left);
            let (seq, at) = next.entry(*project).or_default();
            *seq = seq.saturating_add(1);
            changes.push((*project, Change { seq: *seq, run_id: *run_id, trace_id: *trace_id, at: *at, left }));
        }
        changes
    }

    async fn store_runs(
        &mut self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        changes: &[(ProjectId, Change)],
        before: &HashMap<ProjectId, (Seq, Timestamp)>,
    ) -> Result<HashMap<RunId, AsMade>> {
        let (mut written, mut as_made) = (Vec::new(), HashMap::new());
        let mut only_feedback: BTreeMap<ProjectId, Vec<RunId>> = BTreeMap::new();
        for (project, change) in changes {
            match self.rows.remove(&change.run_id) {
                Some(Complete { project, run, outline, is_new, is_as_made, .. }) => {
                    let (seq, at) = (change.seq, change.at);
                    if is_as_made {
                        as_made.insert(run, AsMade { run, project, seq, at });
                    }
                    written.push(RunRow { run_id: run, project_id: project, outline, is_new, seq, at });
                }
                None => only_feedback.entry(*project).or_default().push(change.run_id),
            }
        }
        if !written.is_empty() {
            rows.put_runs(tenant, &written).await?;
        }
        for (project, runs) in only_feedback {
            let before = before.get(&project).map_or(0, |(before, _)| *before);
            rows.number_runs(tenant, project, &runs, before).await?;
        }
        Ok(as_made)
    }
}
