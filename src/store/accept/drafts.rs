//! The runs a transaction touches, as they are being put together.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::model::dotted_order::DottedOrder;
use crate::model::id::{ProjectId, RunId, TenantId};
use crate::model::merge::{Applied, Standpoint};
use crate::model::run::{Fields, Layers, Part, PartKind, Run};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::accept::{BodyRow, Rows, WaitingRow};
use crate::store::body::{pack_json, unpack_json};
use crate::store::runs::Batch;

/// One run.
#[derive(Default)]
struct Draft {
    project: Option<ProjectId>,
    stored: bool,
    changed: bool,
    was_rooted: bool,
    layers: Layers,
}

/// The runs, in the order in which they were first named.
pub(super) struct Drafts {
    list: Vec<(RunId, Draft)>,
    index: HashMap<RunId, usize>,
    waiting: Vec<WaitingRow>,
}

/// A part as it waits.
#[derive(Serialize)]
struct WaitingRef<'a> {
    kind: PartKind,
    fields: &'a Fields,
}

/// A part that has waited.
#[derive(Deserialize)]
struct Waited {
    kind: PartKind,
    fields: Fields,
}

impl Drafts {
    /// Loads what is stored of every run that has a part in the batches.
    pub(super) async fn load(rows: &mut dyn Rows, tenant: TenantId, batches: &[(&Batch, Timestamp)]) -> Result<Self> {
        let mut loaded = Self { list: Vec::new(), index: HashMap::new(), waiting: Vec::new() };
        for part in batches.iter().flat_map(|(batch, _)| &batch.parts) {
            loaded.index.entry(part.run_id).or_insert_with(|| {
                loaded.list.push((part.run_id, Draft::default()));
                loaded.list.len().saturating_sub(1)
            });
        }
        if loaded.list.is_empty() {
            return Ok(loaded);
        }
        let ids: Vec<RunId> = loaded.list.iter().map(|(id, _)| *id).collect();
        loaded.take_rows(rows.bodies(tenant, &ids).await?)?;
        Ok(loaded)
    }

    /// Takes in runs that no part is about: relatives of those that one is about.
    pub(super) async fn load_relatives(&mut self, rows: &mut dyn Rows, tenant: TenantId, runs: &[RunId]) -> Result<()> {
        rows.lock_runs(tenant, runs).await?;
        self.take_rows(rows.bodies(tenant, runs).await?)
    }

    fn take_rows(&mut self, rows: Vec<BodyRow>) -> Result<()> {
        for BodyRow { run_id, project_id, body } in rows {
            let project = Some(project_id);
            let layers: Layers = unpack_json("run_bodies", &body)?;
            let was_rooted = matches!(layers.standpoint(run_id), Some(Standpoint::Rooted(_)));
            let draft = Draft { project, layers, stored: true, was_rooted, ..Draft::default() };
            if let Some(empty) = self.get(run_id) {
                *empty = draft;
            } else {
                self.index.insert(run_id, self.list.len());
                self.list.push((run_id, draft));
            }
        }
        Ok(())
    }

    /// Whether the run is here.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.index.contains_key(&run)
    }

    /// Where each run that this transaction writes stands, and whether that is a root's path for the first time.
    pub(super) fn standpoints(&self) -> impl Iterator<Item = (RunId, Standpoint, bool)> {
        let written = self.list.iter().filter(|(_, draft)| draft.project.is_some() && (draft.changed || draft.stray()));
        written.filter_map(|(id, draft)| {
            draft.layers.standpoint(*id).map(|stands| (*id, stands, draft.changed && !draft.was_rooted))
        })
    }

    /// The path of a run in the same project as `child`, if it leads from a root.
    pub(super) fn path_of(&self, run: RunId, child: RunId) -> Option<DottedOrder> {
        let (_, draft) = self.list.get(*self.index.get(&run)?)?;
        let (_, below) = self.list.get(*self.index.get(&child)?)?;
        match draft.layers.standpoint(run)? {
            Standpoint::Rooted(path) if draft.project.is_some() && draft.project == below.project => Some(path),
            _ => None,
        }
    }

    /// Says what path a run has.
    pub(super) fn infer_path(&mut self, run: RunId, path: &DottedOrder) {
        if let Some(draft) = self.get(run) {
            draft.layers.infer_path(path);
            draft.changed = true;
        }
    }

    fn get(&mut self, run: RunId) -> Option<&mut Draft> {
        self.list.get_mut(*self.index.get(&run)?).map(|(_, draft)| draft)
    }

    /// Whether the run's project is still to be found.
    pub(super) fn lacks_project(&self, run: RunId) -> bool {
        self.index.get(&run).and_then(|at| self.list.get(*at)).is_some_and(|(_, draft)| draft.project.is_none())
    }

    /// Says where the run is.
    pub(super) fn locate(&mut self, run: RunId, project: ProjectId) {
        if let Some(draft) = self.get(run) {
            draft.project.get_or_insert(project);
        }
    }

    /// Applies what has been waiting for the project of a run that has just been found.
    pub(super) async fn fetch_waiting(&mut self, rows: &mut dyn Rows, tenant: TenantId) -> Result<()> {
        let found = self.list.iter().filter(|(_, draft)| !draft.stored && draft.project.is_some());
        let ids: Vec<RunId> = found.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let waiting = rows.waiting(tenant, &ids).await?;
        let any = !waiting.is_empty();
        for WaitingRow { run_id, digest, part } in waiting {
            let Waited { kind, fields } = unpack_json("waiting_parts", &part)?;
            if let Some(draft) = self.get(run_id) {
                draft.apply(Part { run_id, kind, project: None, fields, digest });
            }
        }
        if any { rows.drop_waiting(tenant, &ids).await } else { Ok(()) }
    }

    /// Applies a part, or lets it wait. Whether its run changed.
    pub(super) fn apply(&mut self, part: &Part) -> Result<bool> {
        match self.get(part.run_id) {
            Some(draft) if draft.project.is_some() => Ok(draft.apply(part.clone())),
            _ => {
                let packed = pack_json(&WaitingRef { kind: part.kind, fields: &part.fields })?;
                self.waiting.push(WaitingRow { run_id: part.run_id, digest: part.digest, part: packed });
                Ok(false)
            }
        }
    }

    /// Stores the parts that have to wait; returns the runs they are of.
    pub(super) async fn store_waiting(&mut self, rows: &mut dyn Rows, tenant: TenantId) -> Result<Vec<RunId>> {
        if !self.waiting.is_empty() {
            rows.put_waiting(tenant, &self.waiting).await?;
        }
        Ok(self.waiting.iter().map(|row| row.run_id).collect())
    }

    /// Stores what is known of the runs that changed; returns those that are complete, and the ids of the others.
    pub(super) async fn store_bodies(
        self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<(Vec<Run>, Vec<RunId>)> {
        let (mut bodies, mut runs, mut incomplete) = (Vec::new(), Vec::new(), Vec::new());
        for (id, draft) in self.list {
            let Some(project) = draft.project.filter(|_| draft.changed) else { continue };
            bodies.push(BodyRow { run_id: id, project_id: project, body: pack_json(&draft.layers)? });
            match draft.layers.resolve(tenant, project, id, now) {
                Some(run) => runs.push(run),
                None => incomplete.push(id),
            }
        }
        if !bodies.is_empty() {
            rows.put_bodies(tenant, &bodies).await?;
        }
        Ok((runs, incomplete))
    }
}

impl Draft {
    /// Whether it was stored as a child without a path.
    fn stray(&self) -> bool {
        self.stored && !self.was_rooted
    }

    fn apply(&mut self, part: Part) -> bool {
        let changed = self.layers.apply(part) == Applied::Changed;
        self.changed |= changed;
        changed
    }
}
