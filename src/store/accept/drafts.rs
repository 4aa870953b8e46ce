//! The runs a transaction touches, as they are being put together.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::dotted_order::DottedOrder;
use crate::model::id::{ProjectId, RunId, TenantId};
use crate::model::merge::Applied;
use crate::model::run::{Fields, Layers, Outline, Part, PartKind, Standpoint};
use crate::model::time::Timestamp;
use crate::store::accept::ready::{Made, Ready};
use crate::store::accept::{BodyRow, Rows, WaitingRow};
use crate::store::body::{pack_json, unpack_json};
use crate::store::row::pass_over_run;
use crate::store::{Result, StoreError};

/// One run.
#[derive(Default)]
struct Draft {
    project: Option<ProjectId>,
    stored: Stored,
    /// Whether a part was applied, be it one that had come before.
    addressed: bool,
    changed: bool,
    was_rooted: bool,
    said: Said,
    /// What `said` amounts to, once somebody has asked.
    outline: OnceLock<Option<Arc<Outline>>>,
}

/// What is known of a run.
enum Said {
    /// What its only batch made of it, if nothing is stored of it: its parts are in there.
    Made(Made),
    /// What was merged so far.
    Merged(Box<Layers>),
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

/// A run that is there for readers.
pub(super) struct Complete {
    pub(super) project: ProjectId,
    pub(super) run: RunId,
    pub(super) outline: Arc<Outline>,
    /// Whether nothing was stored of it before.
    pub(super) is_new: bool,
}

/// The runs that a transaction wrote.
#[derive(Default)]
pub(super) struct Written {
    /// Those that are there for readers.
    pub(super) complete: Vec<Complete>,
    /// Those that are not yet.
    pub(super) incomplete: Vec<RunId>,
    /// Where all of them are, and those that parts only repeated something of: what is answered for has to be there.
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
    pub(super) async fn load(rows: &mut dyn Rows, tenant: TenantId, batches: &[(&Ready, Timestamp)]) -> Result<Self> {
        let mut loaded = Self { list: Vec::new(), index: HashMap::new(), waiting: Vec::new() };
        for (ready, _) in batches {
            loaded.name_runs(ready);
        }
        let with_parts: Vec<RunId> = loaded.list.iter().map(|(id, _)| *id).collect();
        let feedback = batches.iter().flat_map(|(ready, _)| &ready.batch.feedback).filter_map(|one| one.run_id);
        let mut all: Vec<RunId> = with_parts.iter().copied().chain(feedback).collect();
        all.sort_unstable();
        all.dedup();
        if !all.is_empty() {
            loaded.take_rows(rows.lock_runs(tenant, &all, &with_parts).await?);
        }
        Ok(loaded)
    }

    /// Takes in the runs of a batch, with what was made of them unless an earlier batch speaks of them, too.
    fn name_runs(&mut self, ready: &Ready) {
        let earlier = self.list.len();
        for part in &ready.batch.parts {
            match self.index.entry(part.run_id) {
                Entry::Vacant(vacant) => {
                    vacant.insert(self.list.len());
                    self.list.push((part.run_id, ready.made(part.run_id).map(Draft::made).unwrap_or_default()));
                }
                Entry::Occupied(known) if *known.get() < earlier => self.merge_parts_of(part.run_id),
                Entry::Occupied(_) => {}
            }
        }
    }

    /// Leaves aside what was made of a run: its parts will be merged one by one.
    pub(super) fn merge_parts_of(&mut self, run: RunId) {
        if let Some(draft) = self.get(run)
            && matches!(draft.said, Said::Made(_))
        {
            (draft.said, draft.outline) = (Said::default(), OnceLock::new());
        }
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
        self.look(run).is_some_and(|draft| draft.stored == Stored::Unreadable)
    }

    /// Whether the run is here.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.index.contains_key(&run)
    }

    /// Where each run that this transaction writes stands, and whether that is a root's path for the first time.
    pub(super) fn standpoints(&self) -> impl Iterator<Item = (RunId, &Standpoint, bool)> {
        let written = self.list.iter().filter(|(_, draft)| draft.project.is_some() && (draft.changed || draft.stray()));
        written
            .filter_map(|(id, draft)| draft.stands(*id).map(|stands| (*id, stands, draft.changed && !draft.was_rooted)))
    }

    /// The path of a run in the same project as `child`, if it leads from a root. The run may be named by its other id.
    pub(super) fn path_of(&self, run: RunId, child: RunId) -> Option<DottedOrder> {
        let run = self.meant_by(run).unwrap_or(run);
        let (draft, below) = (self.look(run)?, self.look(child)?);
        match draft.stands(run)? {
            Standpoint::Rooted(path) if draft.project.is_some() && draft.project == below.project => Some(path.clone()),
            _ => None,
        }
    }

    /// The run that a signpost leads to, if there is a signpost and no run under this id.
    pub(super) fn meant_by(&self, signpost: RunId) -> Option<RunId> {
        let draft = self.look(signpost)?;
        if draft.stands(signpost).is_some() { None } else { draft.alias() }
    }

    /// The other ids of runs that this transaction writes and whose paths lead from a root.
    pub(super) fn aliases(&self) -> impl Iterator<Item = RunId> {
        let written = self.list.iter().filter(|(_, draft)| draft.project.is_some() && draft.changed);
        written.filter_map(|(id, draft)| {
            let alias = draft.alias()?;
            matches!(draft.stands(*id), Some(Standpoint::Rooted(_))).then_some(alias)
        })
    }

    /// Says what path a run has.
    pub(super) fn infer_path(&mut self, run: RunId, path: &DottedOrder) -> Result<()> {
        if let Some(draft) = self.get(run) {
            draft.layers()?.infer_path(path);
            draft.changed = true;
        }
        Ok(())
    }

    fn look(&self, run: RunId) -> Option<&Draft> {
        self.list.get(*self.index.get(&run)?).map(|(_, draft)| draft)
    }

    fn get(&mut self, run: RunId) -> Option<&mut Draft> {
        self.list.get_mut(*self.index.get(&run)?).map(|(_, draft)| draft)
    }

    /// Whether the run's project is still to be found.
    pub(super) fn lacks_project(&self, run: RunId) -> bool {
        self.look(run).is_some_and(|draft| draft.project.is_none())
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
            self.merge_parts_of(run_id);
            if let Some(draft) = self.get(run_id) {
                draft.apply(&Part { run_id, kind, project: None, fields, digest })?;
            }
        }
        if any { rows.drop_waiting(tenant, &ids).await } else { Ok(()) }
    }

    /// Applies a part, or lets it wait. Whether its run changed.
    pub(super) fn apply(&mut self, part: &Part) -> Result<bool> {
        match self.get(part.run_id) {
            Some(draft) if draft.project.is_some() => draft.apply(part),
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
    pub(super) async fn store_bodies(self, rows: &mut dyn Rows, tenant: TenantId) -> Result<Written> {
        let (mut bodies, mut written) = (Vec::new(), Written::default());
        for (id, draft) in self.list {
            let Some(project) = draft.project.filter(|_| draft.changed || draft.addressed) else { continue };
            written.projects.insert(project);
            if !draft.changed {
                continue;
            }
            let is_new = draft.stored == Stored::Nothing;
            match draft.outline(id).map(Arc::clone) {
                Some(outline) => written.complete.push(Complete { project, run: id, outline, is_new }),
                None => written.incomplete.push(id),
            }
            bodies.push(BodyRow { run_id: id, project_id: project, body: draft.packed()?, is_new });
        }
        if !bodies.is_empty() {
            rows.put_bodies(tenant, &bodies).await?;
        }
        Ok(written)
    }
}

impl Default for Said {
    fn default() -> Self {
        Self::Merged(Box::default())
    }
}

impl Draft {
    /// A run as its batch made it out.
    fn made(made: &Made) -> Self {
        Self { outline: made.outline.clone().into(), said: Said::Made(made.clone()), ..Self::default() }
    }

    /// A run as it is stored.
    fn stored(row: &BodyRow) -> Self {
        let draft = Self { project: Some(row.project_id), ..Self::default() };
        match unpack_json("run_bodies", &row.body) {
            Ok(layers) => {
                let draft = Self { said: Said::Merged(Box::new(layers)), stored: Stored::Layers, ..draft };
                let was_rooted = matches!(draft.stands(row.run_id), Some(Standpoint::Rooted(_)));
                Self { was_rooted, ..draft }
            }
            Err(error) => {
                pass_over_run(Some(row.run_id), &error);
                Self { stored: Stored::Unreadable, ..draft }
            }
        }
    }

    /// What it amounts to, once it is there.
    fn outline(&self, run: RunId) -> Option<&Arc<Outline>> {
        let outline = self.outline.get_or_init(|| match &self.said {
            Said::Made(made) => made.outline.clone(),
            Said::Merged(layers) => layers.outline(run).map(Arc::new),
        });
        outline.as_ref()
    }

    /// Where it stands, once it is there. Before that it is told nothing and tells nothing, so that nothing depends on
    /// whether its parent or its children came first.
    fn stands(&self, run: RunId) -> Option<&Standpoint> {
        Some(&self.outline(run)?.standpoint)
    }

    /// The other id it goes by; of a signpost, the run it leads to.
    fn alias(&self) -> Option<RunId> {
        match &self.said {
            Said::Made(made) => made.alias,
            Said::Merged(layers) => layers.alias(),
        }
    }

    /// Whether it was stored as a child without a path.
    fn stray(&self) -> bool {
        self.stored == Stored::Layers && !self.was_rooted
    }

    /// Its layers, to be changed.
    fn layers(&mut self) -> Result<&mut Layers> {
        self.outline = OnceLock::new();
        if let Said::Made(made) = &self.said {
            self.said = Said::Merged(Box::new(unpack_json("run_bodies", &made.body)?));
        }
        match &mut self.said {
            Said::Merged(layers) => Ok(layers.as_mut()),
            Said::Made(_) => Err(StoreError::Internal("what was made of a run was not taken apart".into())),
        }
    }

    /// Applies a part. One that is in what was made of the run is applied already.
    fn apply(&mut self, part: &Part) -> Result<bool> {
        let changed = match self.said {
            Said::Made(_) => true,
            Said::Merged(_) => self.layers()?.apply(part.clone()) == Applied::Changed,
        };
        self.addressed = true;
        self.changed |= changed;
        Ok(changed)
    }

    /// What is known of it, packed.
    fn packed(self) -> Result<Bytes> {
        match self.said {
            Said::Made(made) => Ok(made.body),
            Said::Merged(layers) => Ok(pack_json(&layers)?.into()),
        }
    }
}
