//! The runs a transaction touches, as they are being put together.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::dotted_order::DottedOrder;
use crate::model::id::{ProjectId, RunId, TenantId, ThreadId};
use crate::model::merge::Applied;
use crate::model::price::Prices;
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
    /// Whether a part brought something new.
    has_news: bool,
    /// The path it had before.
    was: Option<DottedOrder>,
    /// The thread it was a turn of.
    was_in: Option<ThreadId>,
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
    prices: Arc<Prices>,
}

/// A run that is there for readers.
pub(super) struct Complete {
    pub(super) project: ProjectId,
    pub(super) run: RunId,
    pub(super) outline: Arc<Outline>,
    /// Whether nothing was stored of it before.
    pub(super) is_new: bool,
    /// Whether it is stored as its batch made it out.
    pub(super) is_as_made: bool,
    /// The thread it was a turn of until now.
    pub(super) left: Option<ThreadId>,
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
        let prices = batches.last().map(|(ready, _)| Arc::clone(&ready.batch.prices)).unwrap_or_default();
        let mut loaded = Self { list: Vec::new(), index: HashMap::new(), waiting: Vec::new(), prices };
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
        self.index
            .get(&run)
            .and_then(|at| self.list.get(*at))
            .is_some_and(|(_, draft)| draft.stored == Stored::Unreadable)
    }

    /// Whether the run is here.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.index.contains_key(&run)
    }

    /// The runs that something new is said of, whose clients say no path, and that have none. One that has been told a
    /// path keeps it as long as neither its own word nor its parent moves it.
    pub(super) fn lost_strays(&self) -> impl Iterator<Item = RunId> {
        let changed = self.list.iter().filter(|(_, draft)| draft.project.is_some() && draft.changed);
        let is_lost = |stands: &Standpoint| matches!(stands, Standpoint::Under { path: None, .. });
        changed.filter(move |(id, draft)| draft.stands(*id).is_some_and(is_lost)).map(|(id, _)| *id)
    }

    /// The runs that have another path than before, or one for the first time, or none any more.
    pub(super) fn moved(&self) -> impl Iterator<Item = RunId> {
        let changed = self.list.iter().filter(|(_, draft)| draft.project.is_some() && draft.changed);
        changed.filter(|(id, draft)| draft.path(*id) != draft.was.as_ref()).map(|(id, _)| *id)
    }

    /// The parent that a run follows whose client says no path.
    pub(super) fn followed(&self, run: RunId) -> Option<RunId> {
        let (_, draft) = self.list.get(*self.index.get(&run)?)?;
        match draft.stands(run)? {
            Standpoint::Under { parent, .. } => Some(*parent),
            Standpoint::Rooted(_) => None,
        }
    }

    /// The ids under which this transaction writes what is no run but leads to one.
    pub(super) fn signposts(&self) -> impl Iterator<Item = RunId> {
        let changed = self.list.iter().filter(|(_, draft)| draft.project.is_some() && draft.changed);
        changed.filter(|(id, draft)| draft.leads_to(*id).is_some()).map(|(id, _)| *id)
    }

    /// Has a run whose client names its parent by another id follow the run that is meant, if there is a signpost.
    /// Returns the run.
    pub(super) fn read_signpost(&mut self, run: RunId) -> Result<Option<RunId>> {
        let Some(named) = self.followed(run) else { return Ok(None) };
        let Some((_, signpost)) = self.index.get(&named).and_then(|at| self.list.get(*at)) else { return Ok(None) };
        let Some(meant) = signpost.leads_to(named).filter(|meant| *meant != run) else { return Ok(None) };
        if let Some(draft) = self.get(run) {
            draft.layers()?.read_parent(named, meant);
            draft.changed = true;
        }
        Ok(Some(meant))
    }

    /// Gives a run whose client says no path the one that follows from where its parent is now, if that has a path, is
    /// in the same project, and not below the run itself. Whether that is another one.
    pub(super) fn follow(&mut self, run: RunId) -> Result<bool> {
        let (Some(at), Some(parent)) = (self.index.get(&run), self.followed(run)) else { return Ok(false) };
        let Some((_, draft)) = self.list.get(*at) else { return Ok(false) };
        let Some(Standpoint::Under { start_time, path, .. }) = draft.stands(run) else { return Ok(false) };
        let above = self.index.get(&parent).and_then(|at| self.list.get(*at));
        let above = above.filter(|(_, above)| draft.project.is_some() && above.project == draft.project);
        let above = above.and_then(|(_, above)| above.path(parent)).filter(|above| !above.passes(run));
        let next = above.map(|above| above.child(*start_time, run));
        if next == *path {
            return Ok(false);
        }
        if let Some(draft) = self.get(run) {
            draft.layers()?.infer_path(next.as_ref());
            draft.changed = true;
        }
        Ok(true)
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
        for (id, mut draft) in self.list {
            let Some(project) = draft.project.filter(|_| draft.changed || draft.addressed) else { continue };
            written.projects.insert(project);
            if !draft.changed {
                continue;
            }
            let is_new = draft.stored == Stored::Nothing;
            match draft.outline(id).map(Arc::clone) {
                Some(outline) => {
                    let left = draft.was_in.filter(|thread| outline.thread != Some(*thread));
                    let is_as_made = matches!(draft.said, Said::Made(_));
                    written.complete.push(Complete { project, run: id, outline, is_new, is_as_made, left });
                }
                None => written.incomplete.push(id),
            }
            draft.price(&self.prices);
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
                let was = draft.path(row.run_id).cloned();
                let was_in = draft.outline(row.run_id).and_then(|outline| outline.thread);
                Self { was, was_in, ..draft }
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

    /// The run that is meant by its id, if there is none under it.
    fn leads_to(&self, id: RunId) -> Option<RunId> {
        match &self.said {
            Said::Merged(layers) => layers.alias().filter(|_| self.outline(id).is_none()),
            Said::Made(_) => None,
        }
    }

    /// Its path, if it is known.
    fn path(&self, run: RunId) -> Option<&DottedOrder> {
        self.stands(run)?.path()
    }

    /// Prices what was said of it by now. What its only batch made of it is priced, and a run that merely follows its
    /// parent costs what it cost.
    fn price(&mut self, prices: &Prices) {
        if let Said::Merged(layers) = &mut self.said
            && self.has_news
        {
            layers.price(prices);
        }
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
        self.has_news |= changed;
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
