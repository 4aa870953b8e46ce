//! The merge laws: post, patch and repeats in any order give the same run.
//!
//! A run is kept as two layers. A post speaks for the lower one, a patch for the upper; the upper wins field by field,
//! and `extra` key by key (one level into `metadata`). `null` and absent are "no word". A hollow value (`{}`, `[]`,
//! `""`) never replaces another. Within a layer the later to arrive wins, and a part whose digest was seen is not
//! applied again; so only two *different* patches that disagree about one field depend on the order of their arrival,
//! which is what a client that patches twice means.
//!
//! Objects that had to be united have their keys sorted, so that any order of arrival gives the same bytes; a value
//! only one part brought stays byte for byte.
//!
//! Resolving fills in what the client left out (trace, parent, path, status, usage) and mends what contradicts itself;
//! it never fails. It sees one run: a child without a path gets its own segment only, unless the store, which knows the
//! parent sooner or later, has inferred its path. What the store infers stands beside the layers and never wins over
//! them. A later word that names another parent and no path makes the earlier path void.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use crate::model::dotted_order::DottedOrder;
use crate::model::id::{ProjectId, RunId, TenantId, ThreadId, TraceId};
use crate::model::json::RawJson;
use crate::model::price::Prices;
use crate::model::run::{Attachment, Fields, Layers, Meant, Outline, Part, PartKind, Payload, Run, Standpoint, Status};
use crate::model::thread;
use crate::model::time::Timestamp;
use crate::model::usage::{self, Costs};

/// How many digests of applied parts are remembered for each run. A part sent again is sent within seconds or minutes;
/// a run that is patched more often than this in between is one nobody repeats.
const REMEMBERED: usize = 64;

/// What applying a part did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It was new.
    Changed,
    /// It had been applied before.
    Repeat,
}

/// A hash of all that a part says, for [`Part::digest`].
#[must_use]
pub fn digest(fields: &Fields, kind: PartKind, run_id: RunId) -> u64 {
    let mut hasher = Hasher(Xxh3::new());
    hasher.0.update(run_id.0.as_bytes());
    hasher.0.update(match kind {
        PartKind::Post => b"post",
        PartKind::Patch => b"patch",
    });
    // Hashing cannot fail, and fields are plain data: there is no error to report.
    let _written = fields.serialize(&mut serde_json::Serializer::new(&mut hasher));
    hasher.0.digest()
}

struct Hasher(Xxh3);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run as lists show it, of which this is the first and only part.
#[must_use]
pub fn outline_alone(part: &Part) -> Option<Outline> {
    outline(words(&part.fields), None, part.run_id, || part.fields.extra.as_ref().and_then(thread::named))
}

/// What the tokens of a run cost by these prices, of which this is all that is known, unless its client says it.
#[must_use]
pub fn priced(said: &Fields, prices: &Prices) -> Option<Costs> {
    if prices.is_empty() {
        return None;
    }
    let used = usage::of(said.outputs.as_ref(), said.extra.as_ref());
    prices.costs(&used, said.extra.as_ref(), said.start_time)
}

fn outline(
    said: Fields,
    inferred: Option<&str>,
    run_id: RunId,
    named: impl FnOnce() -> Option<String>,
) -> Option<Outline> {
    let start_time = said.start_time?;
    let place = Lineage::of(&said, inferred, run_id, start_time);
    let failed = said.error.is_some_and(|error| !error.is_empty());
    Some(Outline {
        trace_id: place.trace_id,
        parent_run_id: place.parent_run_id,
        thread: if place.parent_run_id.is_none() { named().as_deref().map(ThreadId::of_name) } else { None },
        standpoint: place.standpoint(start_time),
        name: said.name?,
        run_type: said.run_type?,
        start_time,
        end_time: said.end_time,
        status: status(said.status.as_deref(), failed, said.end_time.is_some()),
    })
}

/// What both layers say together, without the bodies.
fn light(post: &Fields, patch: &Fields) -> Fields {
    let mut said = words(post);
    absorb(&mut said, words(patch));
    said
}

/// What fields say without their bodies; of an error, that there is one.
fn words(fields: &Fields) -> Fields {
    Fields {
        name: fields.name.clone(),
        run_type: fields.run_type.clone(),
        start_time: fields.start_time,
        end_time: fields.end_time,
        status: fields.status.clone(),
        error: fields.error.as_ref().map(|error| error.chars().take(1).collect()),
        parent_run_id: fields.parent_run_id,
        trace_id: fields.trace_id,
        dotted_order: fields.dotted_order.clone(),
        ..Fields::default()
    }
}

impl Layers {
    /// Applies a part.
    pub fn apply(&mut self, part: Part) -> Applied {
        if self.applied.contains(&part.digest) {
            return Applied::Repeat;
        }
        let layer = match part.kind {
            PartKind::Post => &mut self.post,
            PartKind::Patch => &mut self.patch,
        };
        absorb(layer, part.fields);
        if self.applied.len() >= REMEMBERED {
            self.applied.remove(0);
        }
        self.applied.push(part.digest);
        Applied::Changed
    }

    /// Where the run stands, as far as it can be told: nowhere until its start is known.
    #[must_use]
    pub fn standpoint(&self, run_id: RunId) -> Option<Standpoint> {
        let said = self.read(light(&self.post, &self.patch));
        let start_time = said.start_time?;
        Some(Lineage::of(&said, self.inferred.as_deref(), run_id, start_time).standpoint(start_time))
    }

    /// What has been said, as lists show it; `None` until the run's name, type and start are known.
    #[must_use]
    pub fn outline(&self, run_id: RunId) -> Option<Outline> {
        outline(self.read(light(&self.post, &self.patch)), self.inferred.as_deref(), run_id, || self.thread())
    }

    /// Of a signpost, the run it leads to; of a run, the id of its signpost.
    #[must_use]
    pub fn alias(&self) -> Option<RunId> {
        self.patch.alias.or(self.post.alias)
    }

    /// Lets the server say which run the parent is that the client names by another id.
    pub fn read_parent(&mut self, named: RunId, run: RunId) {
        self.parent = Some(Meant { named, run });
    }

    /// What has been said, with the parent that is meant.
    fn read(&self, mut said: Fields) -> Fields {
        if let Some(Meant { named, run }) = self.parent
            && said.parent_run_id == Some(named)
        {
            said.parent_run_id = Some(run);
        }
        said
    }

    /// The thread that both layers together name.
    fn thread(&self) -> Option<String> {
        let (post, patch) = (self.post.extra.as_ref(), self.patch.extra.as_ref());
        if ![post, patch].into_iter().flatten().any(thread::may_name) {
            return None;
        }
        let mut extra = post.cloned();
        unite_extra(&mut extra, patch.cloned());
        extra.as_ref().and_then(thread::named)
    }

    /// Lets the server say what path a run has whose client says none that is of use, or that it is not known any more.
    /// It is the lowest word: any path of the client's wins, and a path under another parent than the run's counts for
    /// nothing.
    pub fn infer_path(&mut self, path: Option<&DottedOrder>) {
        self.inferred = path.map(ToString::to_string);
    }

    /// Has the run cost what its tokens cost by these prices, unless its client says it.
    pub fn price(&mut self, prices: &Prices) {
        let may_say = |side: &Fields| usage::may_be_in(side.outputs.as_ref(), side.extra.as_ref());
        self.priced = None;
        if !prices.is_empty() && (may_say(&self.post) || may_say(&self.patch)) {
            let what_counts = |side: &Fields| Fields {
                start_time: side.start_time,
                outputs: side.outputs.clone(),
                extra: side.extra.clone(),
                ..Fields::default()
            };
            let mut said = what_counts(&self.post);
            absorb(&mut said, what_counts(&self.patch));
            self.priced = priced(&said, prices);
        }
    }

    /// What has been said, as a run; `None` until its name, type and start are known.
    #[must_use]
    pub fn resolve(
        mut self,
        tenant: TenantId,
        project: ProjectId,
        run_id: RunId,
        modified_at: Timestamp,
    ) -> Option<Run> {
        let mut said = std::mem::take(&mut self.post);
        absorb(&mut said, std::mem::take(&mut self.patch));
        let said = self.read(said);
        let start_time = said.start_time?;
        let place = Lineage::of(&said, self.inferred.as_deref(), run_id, start_time);
        let used = usage::of(said.outputs.as_ref(), said.extra.as_ref());
        let error = said.error.filter(|error| !error.is_empty());
        Some(Run {
            tenant_id: tenant,
            project_id: project,
            id: run_id,
            trace_id: place.trace_id,
            parent_run_id: place.parent_run_id,
            dotted_order: match said.dotted_order {
                Some(path) if !place.mended => path,
                _ => place.path.to_string(),
            },
            name: said.name?,
            run_type: said.run_type?,
            start_time,
            end_time: said.end_time,
            status: status(said.status.as_deref(), error.is_some(), said.end_time.is_some()),
            usage: match self.priced {
                Some(costs) if !used.has_a_cost() => used.charged(costs),
                _ => used,
            },
            first_token_time: said.events.as_ref().and_then(usage::first_token),
            error,
            tags: said.tags.unwrap_or_default(),
            reference_example_id: said.reference_example_id,
            inputs: said.inputs,
            outputs: said.outputs,
            extra: said.extra,
            events: said.events,
            serialized: said.serialized,
            attachments: said.attachments,
            modified_at,
        })
    }
}

/// The client's word, if it is more than `pending` about a run that has plainly ended.
fn status(word: Option<&str>, failed: bool, ended: bool) -> Status {
    match word {
        Some(word) if !word.is_empty() && (word != "pending" || !(failed || ended)) => Status::from(word),
        _ if failed => Status::Error,
        _ if ended => Status::Success,
        _ => Status::Pending,
    }
}

/// A value that may say nothing.
trait Word {
    /// Whether it says nothing: it never replaces another.
    fn is_hollow(&self) -> bool;

    /// Whether it is as good as absent.
    fn is_null(&self) -> bool {
        false
    }
}

macro_rules! always_full {
    ($($type:ty),*) => {$(
        impl Word for $type {
            fn is_hollow(&self) -> bool {
                false
            }
        }
    )*};
}

always_full!(Timestamp, RunId, TraceId, Uuid);

impl Word for String {
    fn is_hollow(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Word for Vec<T> {
    fn is_hollow(&self) -> bool {
        self.is_empty()
    }
}

impl Word for RawJson {
    fn is_hollow(&self) -> bool {
        Self::is_hollow(self)
    }

    fn is_null(&self) -> bool {
        Self::is_null(self)
    }
}

impl Word for Payload {
    fn is_hollow(&self) -> bool {
        matches!(self, Self::Inline(json) if json.is_hollow())
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Inline(json) if json.is_null())
    }
}

/// The law for one field.
fn say<T: Word>(kept: &mut Option<T>, later: Option<T>) {
    if let Some(later) = later
        && !later.is_null()
        && (kept.is_none() || !later.is_hollow())
    {
        *kept = Some(later);
    }
}

/// Lays `later` over `kept`. The same law holds within a layer and between the layers.
fn absorb(kept: &mut Fields, later: Fields) {
    say(&mut kept.name, later.name);
    say(&mut kept.run_type, later.run_type);
    say(&mut kept.start_time, later.start_time);
    say(&mut kept.end_time, later.end_time);
    say(&mut kept.status, later.status);
    say(&mut kept.error, later.error);
    say(&mut kept.tags, later.tags);
    if let (Some(path), Some(parent), None) = (&kept.dotted_order, later.parent_run_id, &later.dotted_order)
        && leads_past(path, parent)
    {
        kept.dotted_order = None;
    }
    say(&mut kept.parent_run_id, later.parent_run_id);
    say(&mut kept.trace_id, later.trace_id);
    say(&mut kept.dotted_order, later.dotted_order);
    say(&mut kept.reference_example_id, later.reference_example_id);
    say(&mut kept.inputs, later.inputs);
    say(&mut kept.outputs, later.outputs);
    say(&mut kept.events, later.events);
    say(&mut kept.serialized, later.serialized);
    say(&mut kept.alias, later.alias);
    unite_extra(&mut kept.extra, later.extra);
    unite_attachments(&mut kept.attachments, later.attachments);
}

fn unite_attachments(kept: &mut Vec<Attachment>, later: Vec<Attachment>) {
    for attachment in later {
        match kept.binary_search_by(|known| known.name.cmp(&attachment.name)) {
            Ok(index) => {
                if let Some(known) = kept.get_mut(index) {
                    *known = attachment;
                }
            }
            Err(index) => kept.insert(index, attachment),
        }
    }
}

fn unite_extra(kept: &mut Option<RawJson>, later: Option<RawJson>) {
    let united = match (&kept, &later) {
        (Some(old), Some(new)) => unite_objects(old, new, &|key, old, new| {
            if key == "metadata" { unite_objects(old, new, &|_, _, _| None) } else { None }
        }),
        _ => None,
    };
    match united {
        Some(united) => *kept = Some(united),
        None => say(kept, later),
    }
}

/// How a value that both sides have is united; `None` means that one of them is taken whole.
type Deeper<'a> = &'a dyn Fn(&str, &RawJson, &RawJson) -> Option<RawJson>;

/// Unites two objects key by key. `None` when there is nothing to unite: they are equal, or one is no object with keys.
fn unite_objects(old: &RawJson, new: &RawJson, deeper: Deeper<'_>) -> Option<RawJson> {
    if old == new || old.is_hollow() || new.is_hollow() {
        return None;
    }
    let mut united: BTreeMap<String, RawJson> = old.read().ok()?;
    let later: BTreeMap<String, RawJson> = new.read().ok()?;
    for (key, value) in later {
        match united.get_mut(&key) {
            None => {
                united.insert(key, value);
            }
            Some(kept) => {
                if let Some(both) = deeper(&key, kept, &value) {
                    *kept = both;
                } else if kept.is_null() || !value.is_hollow() {
                    *kept = value;
                }
            }
        }
    }
    RawJson::of(&united).ok()
}

/// A run's place in its trace.
struct Lineage {
    trace_id: TraceId,
    parent_run_id: Option<RunId>,
    path: DottedOrder,
    /// Whether the client's own path is of no use as it is.
    mended: bool,
    /// Whether the client says no more than the parent.
    follows: bool,
}

impl Lineage {
    /// A path that ends in the run and has ancestors says most, and wins over a trace or a parent that contradict it.
    /// A path that ends in the parent is taken for the parent's. Any other path is of no use.
    fn of(said: &Fields, inferred: Option<&str>, id: RunId, start_time: Timestamp) -> Self {
        let named_parent = said.parent_run_id.filter(|parent| *parent != id);
        let text = said.dotted_order.as_deref().unwrap_or_default();
        let mut spelled = Uuid::encode_buffer();
        let own_id = id.0.hyphenated().encode_lower(&mut spelled);
        let (path, mended) = match DottedOrder::parse(text).ok() {
            Some(path) if ends_in(&path, Some(id)) => (path, !text.ends_with(&*own_id)),
            Some(path) if ends_in(&path, named_parent) => (path.child(start_time, id), true),
            _ => (DottedOrder::root(start_time, id), true),
        };
        let parent_run_id = path.ancestors().last().map(|segment| segment.run_id).or(named_parent);
        let follows = path.ancestors().is_empty() && parent_run_id.is_some();
        let told = inferred.filter(|_| follows).and_then(|text| DottedOrder::parse(text).ok());
        let (path, mended) = match told.filter(|told| is_of(told, parent_run_id, id, start_time)) {
            Some(told) => (told, true),
            None => (path, mended),
        };
        let first = path.first().map(|segment| TraceId::from(segment.run_id)).filter(|_| !path.ancestors().is_empty());
        let trace_id = match (first, parent_run_id) {
            (Some(first), _) => first,
            (None, Some(parent)) => said.trace_id.unwrap_or_else(|| parent.into()),
            (None, None) if mended => said.trace_id.unwrap_or_else(|| id.into()),
            (None, None) => id.into(),
        };
        Self { trace_id, parent_run_id, path, mended, follows }
    }

    fn standpoint(self, start_time: Timestamp) -> Standpoint {
        match self.parent_run_id {
            Some(parent) if self.follows => {
                let path = Some(self.path).filter(|path| !path.ancestors().is_empty());
                Standpoint::Under { parent, start_time, path }
            }
            _ => Standpoint::Rooted(self.path),
        }
    }
}

/// Whether a path that was told is that of the run as it is now.
fn is_of(told: &DottedOrder, parent: Option<RunId>, run: RunId, start_time: Timestamp) -> bool {
    let own = told.last().is_some_and(|segment| (segment.run_id, segment.start_time) == (run, start_time));
    own && told.ancestors().last().map(|segment| segment.run_id) == parent
}

/// Whether a path with ancestors leads through another parent than this one. One that ends in the parent is the parent's.
fn leads_past(path: &str, parent: RunId) -> bool {
    let Ok(path) = DottedOrder::parse(path) else { return false };
    let through = path.ancestors().last().map(|segment| segment.run_id);
    through.is_some_and(|through| through != parent) && !ends_in(&path, Some(parent))
}

fn ends_in(path: &DottedOrder, run: Option<RunId>) -> bool {
    run.is_some() && path.last().map(|segment| segment.run_id) == run
}

#[cfg(test)]
mod tests;
