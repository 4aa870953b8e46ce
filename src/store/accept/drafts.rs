//! The runs a transaction touches, as they are being put together.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::model::dotted_order::DottedOrder;
use crate::model::id::{ProjectId, RunId, TenantId};
use crate::model::merge::{Applied, Standpoint};
use crate::model::run::{Fields, Layers, Part, PartKind, Run};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::accept::{BodyRow, Rows, WaitingRow};
use crate::store::body::{pack_json, unpack_json};
use crate::store::row::pass_over_run;
use crate::store::runs::Batch;

/// One run.
#[derive(Default)]
struct Draft {
    project: Option<ProjectId>,
    stored: Stored,
    changed: bool,
    was_rooted: bool,
    layers: Layers,
}

/// What was there of it before.
#[derive(Default, PartialEq, Eq)]
enum Stored {
    #[default]
    Nothing,
    Layers,
    /// A row that does not decode: nothing can be added to it.
    Unreadable,
}

/// The runs, in the order in which they were first named.
pub(super) struct Drafts {
    list: Vec<(RunId, Draft)>,
    index: HashMap<RunId, usize>,
    waiting: Vec<WaitingRow>,
}

/// The runs that a transaction wrote.
#[derive(Default)]
pub(super) struct Written {
    /// Those that are there for readers.
    pub(super) complete: Vec<Run>,
    /// Those that are not yet.
    pub(super) incomplete: Vec<RunId>,
    /// Where all of them are.
    pub(super) projects: BTreeSet<ProjectId>,
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
    /// Locks every run that something is said about, and loads what is stored of those that have a part in the batches.
    pub(super) async fn load(rows: &mut dyn Rows, tenant: TenantId, batches: &[(&Batch, Timestamp)]) -> Result<Self> {
        let mut loaded = Self { list: Vec::new(), index: HashMap::new(), waiting: Vec::new() };
        for part in batches.iter().flat_map(|(batch, _)| &batch.parts) {
            loaded.index.entry(part.run_id).or_insert_with(|| {
                loaded.list.push((part.run_id, Draft::default()));
                loaded.list.len().saturating_sub(1)
            });
        }
        let with_parts: Vec<RunId> = loaded.list.iter().map(|(id, _)| *id).collect();
        let feedback = batches.iter().flat_map(|(batch, _)| &batch.feedback).filter_map(|feedback| feedback.run_id);
        let mut all: Vec<RunId> = with_parts.iter().copied().chain(feedback).collect();
        all.sort_unstable();
        all.dedup();
        if !all.is_empty() {
            loaded.take_rows(rows.lock_runs(tenant, &all, &with_parts).await?);
        }
        Ok(loaded)
    }

    /// Takes in runs that no part is about: relatives of those that one is about.
    pub(super) async fn load_relatives(&mut self, rows: &mut dyn Rows, tenant: TenantId, runs: &[RunId]) -> Result<()> {
        self.take_rows(rows.lock_runs(tenant, runs, runs).await?);
        Ok(())
    }

    fn take_rows(&mut self, mut rows: Vec<BodyRow>) {
        // The order in which relatives get their changes must not be the database's.
        rows.sort_unstable_by_key(|row| row.run_id);
        for row in rows {
            let (run_id, draft) = (row.run_id, Draft::stored(&row));
            if let Some(empty) = self.get(run_id) {
                *empty = draft;
            } else {
                self.index.insert(run_id, self.list.len());
                self.list.push((run_id, draft));
            }
        }
    }

    /// Whether what is stored of the run does not decode.
    pub(super) fn is_unreadable(&self, run: RunId) -> bool {
        self.index
            .get(&run)
            .and_then(|at| self.list.get(*at))
            .is_some_and(|(_, draft)| draft.stored == Stored::Unreadable)
    }

    /// Whether the run is here.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.index.contains_key(&run)
    }

    /// Where each run that this transaction writes stands, and whether that is a root's path for the first time.
    pub(super) fn standpoints(&self) -> impl Iterator<Item = (RunId, Standpoint, bool)> {
        let written = self.list.iter().filter(|(_, draft)| draft.project.is_some() && (draft.changed || draft.stray()));
        written
            .filter_map(|(id, draft)| draft.stands(*id).map(|stands| (*id, stands, draft.changed && !draft.was_rooted)))
    }

    /// The path of a run in the same project as `child`, if it leads from a root.
    pub(super) fn path_of(&self, run: RunId, child: RunId) -> Option<DottedOrder> {
        let (_, draft) = self.list.get(*self.index.get(&run)?)?;
        let (_, below) = self.list.get(*self.index.get(&child)?)?;
        match draft.stands(run)? {
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
        let found = self.list.iter().filter(|(_, draft)| draft.stored == Stored::Nothing && draft.project.is_some());
        let ids: Vec<RunId> = found.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let waiting = rows.waiting(tenant, &ids).await?;
        let any = !waiting.is_empty();
        for WaitingRow { run_id, digest, part } in waiting {
            let Waited { kind, fields } = match unpack_json("waiting_parts", &part) {
                Ok(waited) => waited,
                Err(error) => {
                    pass_over_run(Some(run_id), &error);
                    continue;
                }
            };
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

    /// Stores what is known of the runs that changed.
    pub(super) async fn store_bodies(self, rows: &mut dyn Rows, tenant: TenantId, now: Timestamp) -> Result<Written> {
        let (mut bodies, mut written) = (Vec::new(), Written::default());
        for (id, draft) in self.list {
            let Some(project) = draft.project.filter(|_| draft.changed) else { continue };
            written.projects.insert(project);
            bodies.push(BodyRow { run_id: id, project_id: project, body: pack_json(&draft.layers)? });
            match draft.layers.resolve(tenant, project, id, now) {
                Some(run) => written.complete.push(run),
                None => written.incomplete.push(id),
            }
        }
        if !bodies.is_empty() {
            rows.put_bodies(tenant, &bodies).await?;
        }
        Ok(written)
    }
}

impl Draft {
    /// A run as it is stored.
    fn stored(row: &BodyRow) -> Self {
        let draft = Self { project: Some(row.project_id), ..Self::default() };
        match unpack_json::<Layers>("run_bodies", &row.body) {
            Ok(layers) => {
                let draft = Self { layers, stored: Stored::Layers, ..draft };
                let was_rooted = matches!(draft.stands(row.run_id), Some(Standpoint::Rooted(_)));
                Self { was_rooted, ..draft }
            }
            Err(error) => {
                pass_over_run(Some(row.run_id), &error);
                Self { stored: Stored::Unreadable, ..draft }
            }
        }
    }

    /// Where it stands, once it is there. Before that it is told nothing and tells nothing, so that nothing depends on
    /// whether its parent or its children came first.
    fn stands(&self, run: RunId) -> Option<Standpoint> {
        if self.layers.is_complete() { self.layers.standpoint(run) } else { None }
    }

    /// Whether it was stored as a child without a path.
    fn stray(&self) -> bool {
        self.stored == Stored::Layers && !self.was_rooted
    }

    fn apply(&mut self, part: Part) -> bool {
        let changed = self.layers.apply(part) == Applied::Changed;
        self.changed |= changed;
        changed
    }
}
