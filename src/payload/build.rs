//! From what a rule found in a window to messages.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::model::id::MessageId;
use crate::model::message::{Message, Source};
use crate::model::rule::Rule;
use crate::model::run::{BlobKey, StoredRun};
use crate::model::thread;
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::payload::chunk::Size;
use crate::payload::links::Room;
use crate::payload::piece::Piece;
use crate::payload::wire::{self, Envelope};
use crate::payload::{chunk, stats};

/// What a rule found in a window.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The window.
    pub window: &'a Window,
    /// The runs that matched, in the order they are to be told.
    pub runs: &'a [&'a StoredRun],
    /// The threads that the runs are turns of, if the rule is told by threads.
    pub threads: &'a [Thread],
    /// The name of their project.
    pub project: &'a str,
    /// The present.
    pub created_at: Timestamp,
}

/// A thread that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// What its turns call it.
    pub name: String,
    /// How many turns it has, those told before included.
    pub count: usize,
    /// When the first of them started.
    pub first: Timestamp,
    /// When the last of them started.
    pub last: Timestamp,
}

/// Messages, and what must be in blob storage before they are committed.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// The messages, one for each part; none when there were no runs.
    pub messages: Vec<Message>,
    /// The blobs they link to and that are not stored yet, each once.
    pub uploads: Vec<Upload>,
}

/// A blob to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its key.
    pub key: BlobKey,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its media type.
    pub mime_type: String,
}

/// Why a body could not be built.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// A value has no JSON.
    #[error("a run has no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// There is nothing to tell.
    #[error("there is no run to tell of")]
    Empty,
}

/// Builds the messages that tell what a rule found in a window: the same request gives the same messages.
pub fn build(request: Request<'_>) -> Result<Built, PayloadError> {
    build_in(request, &Room::narrowing(request.rule.batch.inline_bytes))
}

/// The same for blob storage that takes nothing: all that is not stored yet travels inside, in parts as small as may be.
pub fn build_without_uploads(request: Request<'_>) -> Result<Built, PayloadError> {
    build_in(request, &[Room::UNBOUNDED])
}

/// Builds messages. `rooms` are tried for each run, one after the other, until it fits.
fn build_in(request: Request<'_>, rooms: &[Room]) -> Result<Built, PayloadError> {
    let envelope = Envelope {
        rule: request.rule,
        window: request.window,
        project: request.project,
        part: u32::MAX,
        parts: u32::MAX,
    };
    let envelope_bytes = envelope.write(&[], &[], &[])?.weight();
    let threads = Threads::of(request.threads);
    let room = chunk::room(envelope_bytes, &request.rule.batch);

    let mut pieces = Vec::with_capacity(request.runs.len());
    let mut sizes = Vec::with_capacity(request.runs.len());
    let mut uploads = Vec::new();
    for stored in request.runs {
        let place = threads.place(stored);
        let fitted = fit(stored, rooms, room, place.head)?;
        pieces.push(fitted.piece);
        sizes.push(Size { bytes: fitted.size, ..place });
        uploads.extend(fitted.uploads);
    }
    let groups = chunk::groups(&sizes, envelope_bytes, &request.rule.batch);
    let parts = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    let messages = (1..=parts)
        .zip(groups)
        .map(|(part, group)| {
            let runs = pieces.get(group.clone()).unwrap_or_default();
            let stored = request.runs.get(group).unwrap_or_default();
            let body = Envelope { part, parts, ..envelope }.write(runs, stored, &threads.told(stored)?)?;
            Ok(message(&request, (part, parts), runs.len(), body))
        })
        .collect::<Result<_, PayloadError>>()?;
    let mut seen = HashSet::new();
    uploads.retain(|upload: &Upload| seen.insert(upload.key.clone()));
    Ok(Built { messages, uploads })
}

/// The threads of a request, by their names.
struct Threads<'a> {
    all: &'a [Thread],
    places: HashMap<&'a str, usize>,
}

/// What a run adds to its thread's `run_ids`.
const RUN_ID_BYTES: usize = 39;

impl<'a> Threads<'a> {
    fn of(all: &'a [Thread]) -> Self {
        Self { all, places: all.iter().enumerate().map(|(place, thread)| (thread.name.as_str(), place)).collect() }
    }

    fn find(&self, stored: &StoredRun) -> Option<(usize, &'a Thread)> {
        // Most requests have none, and reading what a run says of its thread takes time.
        let name = if self.all.is_empty() { None } else { stored.run.extra.as_ref().and_then(thread::named) }?;
        let place = *self.places.get(name.as_str())?;
        Some((place, self.all.get(place)?))
    }

    /// What is to be known of a run's thread in order to cut messages.
    fn place(&self, stored: &StoredRun) -> Size {
        let found = self.find(stored);
        let head = found.and_then(|(_, thread)| wire::thread(thread, &[]).ok()).map_or(0, |piece| piece.weight());
        let each = if found.is_some() { RUN_ID_BYTES } else { 0 };
        Size { bytes: 0, each, head, thread: found.map(|(place, _)| place) }
    }

    /// The threads of some runs, each with those of them that are its turns.
    fn told(&self, runs: &[&StoredRun]) -> Result<Vec<Piece>, PayloadError> {
        let found = runs.iter().filter_map(|stored| Some((self.find(stored)?, stored.run.id)));
        let found: Vec<_> = found.collect();
        let of_one = found.chunk_by(|((one, _), _), ((other, _), _)| one == other);
        let of_one = of_one.filter_map(|turns| Some((turns.first()?.0.1, turns)));
        of_one
            .map(|(thread, turns)| wire::thread(thread, &turns.iter().map(|(_, run)| *run).collect::<Vec<_>>()))
            .collect()
    }
}

struct Fitted {
    piece: Piece,
    size: usize,
    uploads: Vec<Upload>,
}

/// Writes a run so that it fits into a message of its own, if it can be made to.
/// Where its thread is told of for the first time, that takes `head`.
fn fit(stored: &StoredRun, rooms: &[Room], room: usize, head: usize) -> Result<Fitted, PayloadError> {
    let beside = stats_bytes(stored)?;
    let write = |room: Room| {
        let (piece, uploads) = wire::run(stored, room)?;
        let size = piece.weight().saturating_add(beside);
        Ok::<_, PayloadError>(Fitted { piece, size, uploads })
    };
    let (first, narrower) = rooms.split_first().unwrap_or((&Room::UNBOUNDED, &[]));
    let mut fitted = write(*first)?;
    for next in narrower {
        if fitted.size.saturating_add(head) < room {
            break;
        }
        fitted = write(*next)?;
    }
    Ok(fitted)
}

/// What a run's feedback adds to the statistics of its message, at most: numbers grow when they are summed.
fn stats_bytes(stored: &StoredRun) -> Result<usize, PayloadError> {
    if stored.feedback.is_empty() {
        return Ok(0);
    }
    let stats = stats::of(&stored.feedback);
    Ok(serde_json::to_string(&stats)?.len().saturating_add(stats.len().saturating_mul(48)))
}

fn message(request: &Request<'_>, (part, parts): (u32, u32), runs: usize, body: Piece) -> Message {
    Message {
        tenant_id: request.rule.tenant_id,
        id: MessageId::of(request.window.id, request.rule.id, part, request.created_at),
        source: Source::Rule(request.rule.id),
        window_id: Some(request.window.id),
        part,
        parts,
        runs: u32::try_from(runs).unwrap_or(u32::MAX),
        body: body.into_body(),
        created_at: request.created_at,
        event_type: None,
    }
}
