//! The runs a transaction touches, as they are being put together.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::model::dotted_order::DottedOrder;
use crate::model::id::{ProjectId, RunId, TenantId};
use crate::model::merge::{Applied, Standpoint};
use crate::model::run::{Fields, Layers, Part, PartKind, Run};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::body::{pack_json, unpack_json};
use crate::store::runs::Batch;
use crate::store::sqlite::row::{Cells, Insert, id_list, insert};

pub(super) const LOAD: &str = "SELECT run_id, project_id, body FROM run_bodies \
     WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2))";

const UPSERT_BODIES: Insert = Insert {
    head: "INSERT INTO run_bodies (tenant_id, run_id, project_id, body) VALUES",
    columns: 4,
    tail: "ON CONFLICT (tenant_id, run_id) DO UPDATE SET body = excluded.body",
};

pub(super) const LOAD_WAITING: &str = "SELECT run_id, digest, part FROM waiting_parts \
     WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2)) ORDER BY position";

pub(super) const DELETE_WAITING: &str = "DELETE FROM waiting_parts \
     WHERE tenant_id = $1 AND run_id IN (SELECT unhex(value) FROM json_each($2))";

const INSERT_WAITING: Insert = Insert {
    head: "INSERT INTO waiting_parts (tenant_id, run_id, digest, part) VALUES",
    columns: 4,
    tail: "ON CONFLICT (tenant_id, run_id, digest) DO NOTHING",
};

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
    waiting: Vec<(RunId, u64, Vec<u8>)>,
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
    pub(super) async fn load(
        connection: &mut SqliteConnection,
        tenant: TenantId,
        batches: &[(&Batch, Timestamp)],
    ) -> Result<Self> {
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
        let ids = id_list(loaded.list.iter().map(|(id, _)| id.0));
        loaded.take_rows(&sqlx::query(LOAD).bind(tenant.0).bind(ids).fetch_all(connection).await?)?;
        Ok(loaded)
    }

    /// Takes in runs that no part is about: relatives of those that one is about.
    pub(super) async fn load_relatives(
        &mut self,
        connection: &mut SqliteConnection,
        tenant: TenantId,
        runs: &[RunId],
    ) -> Result<()> {
        let ids = id_list(runs.iter().map(|run| run.0));
        self.take_rows(&sqlx::query(LOAD).bind(tenant.0).bind(ids).fetch_all(connection).await?)
    }

    fn take_rows(&mut self, rows: &[SqliteRow]) -> Result<()> {
        for row in rows {
            let mut cells = Cells::of("run_bodies", row);
            let run_id = RunId(cells.take()?);
            let project = Some(ProjectId(cells.take()?));
            let layers: Layers = unpack_json("run_bodies", cells.take()?)?;
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
    pub(super) async fn fetch_waiting(&mut self, connection: &mut SqliteConnection, tenant: TenantId) -> Result<()> {
        let found = self.list.iter().filter(|(_, draft)| !draft.stored && draft.project.is_some());
        let ids: Vec<_> = found.map(|(id, _)| id.0).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let ids = id_list(ids);
        let rows = sqlx::query(LOAD_WAITING).bind(tenant.0).bind(&ids).fetch_all(&mut *connection).await?;
        for row in &rows {
            let mut cells = Cells::of("waiting_parts", row);
            let (run_id, digest) = (RunId(cells.take()?), cells.take::<i64>()?.cast_unsigned());
            let Waited { kind, fields } = unpack_json("waiting_parts", cells.take()?)?;
            if let Some(draft) = self.get(run_id) {
                draft.apply(Part { run_id, kind, project: None, fields, digest });
            }
        }
        if !rows.is_empty() {
            sqlx::query(DELETE_WAITING).bind(tenant.0).bind(ids).execute(connection).await?;
        }
        Ok(())
    }

    /// Applies a part, or lets it wait. Whether its run changed.
    pub(super) fn apply(&mut self, part: &Part) -> Result<bool> {
        match self.get(part.run_id) {
            Some(draft) if draft.project.is_some() => Ok(draft.apply(part.clone())),
            _ => {
                let packed = pack_json(&WaitingRef { kind: part.kind, fields: &part.fields })?;
                self.waiting.push((part.run_id, part.digest, packed));
                Ok(false)
            }
        }
    }

    /// Stores the parts that have to wait.
    pub(super) async fn store_waiting(&mut self, connection: &mut SqliteConnection, tenant: TenantId) -> Result<()> {
        insert(connection, &INSERT_WAITING, &self.waiting, |values, (run, digest, packed)| {
            values.push(tenant.0).push(run.0).push(digest.cast_signed()).push(packed.as_slice());
        })
        .await?;
        Ok(())
    }

    /// Stores what is known of the runs that changed; returns those that are complete.
    pub(super) async fn store_bodies(
        self,
        connection: &mut SqliteConnection,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<Vec<Run>> {
        let (mut bodies, mut runs) = (Vec::new(), Vec::new());
        for (id, draft) in self.list {
            let Some(project) = draft.project.filter(|_| draft.changed) else { continue };
            bodies.push((id, project, pack_json(&draft.layers)?));
            runs.extend(draft.layers.resolve(tenant, project, id, now));
        }
        insert(connection, &UPSERT_BODIES, &bodies, |values, (id, project, body)| {
            values.push(tenant.0).push(id.0).push(project.0).push(body.as_slice());
        })
        .await?;
        Ok(runs)
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
