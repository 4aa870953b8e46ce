//! From what a rule found in a window to messages.

use std::collections::HashSet;

use bytes::Bytes;

use crate::model::id::MessageId;
use crate::model::message::{Message, Source};
use crate::model::rule::Rule;
use crate::model::run::{BlobKey, StoredRun};
use crate::model::time::Timestamp;
use crate::model::window::Window;
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
    /// The name of their project.
    pub project: &'a str,
    /// The present.
    pub created_at: Timestamp,
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
    let envelope_bytes = envelope.write(&[], &[])?.weight();
    let room = chunk::room(envelope_bytes, &request.rule.batch);

    let mut pieces = Vec::with_capacity(request.runs.len());
    let mut sizes = Vec::with_capacity(request.runs.len());
    let mut uploads = Vec::new();
    for stored in request.runs {
        let fitted = fit(stored, rooms, room)?;
        pieces.push(fitted.piece);
        sizes.push(fitted.size);
        uploads.extend(fitted.uploads);
    }
    let groups = chunk::groups(&sizes, envelope_bytes, &request.rule.batch);
    let parts = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    let messages = (1..=parts)
        .zip(groups)
        .map(|(part, group)| {
            let runs = pieces.get(group.clone()).unwrap_or_default();
            let stored = request.runs.get(group).unwrap_or_default();
            let body = Envelope { part, parts, ..envelope }.write(runs, stored)?;
            Ok(message(&request, (part, parts), runs.len(), body))
        })
        .collect::<Result<_, PayloadError>>()?;
    let mut seen = HashSet::new();
    uploads.retain(|upload: &Upload| seen.insert(upload.key.clone()));
    Ok(Built { messages, uploads })
}

struct Fitted {
    piece: Piece,
    size: usize,
    uploads: Vec<Upload>,
}

/// Writes a run so that it fits into a message of its own, if it can be made to.
fn fit(stored: &StoredRun, rooms: &[Room], room: usize) -> Result<Fitted, PayloadError> {
    let beside = stats_bytes(stored)?;
    let write = |room: Room| {
        let (piece, uploads) = wire::run(stored, room)?;
        let size = piece.weight().saturating_add(beside);
        Ok::<_, PayloadError>(Fitted { piece, size, uploads })
    };
    let (first, narrower) = rooms.split_first().unwrap_or((&Room::UNBOUNDED, &[]));
    let mut fitted = write(*first)?;
    for next in narrower {
        if fitted.size < room {
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
        id: MessageId::of(request.window.id, request.rule.id, part),
        source: Source::Rule(request.rule.id),
        window_id: Some(request.window.id),
        part,
        parts,
        runs: u32::try_from(runs).unwrap_or(u32::MAX),
        body: body.into_body(),
        created_at: request.created_at,
    }
}
