//! Multipart requests: a run in one part, its heavy fields, attachments and feedback in parts of their own.
//!
//! The parts of one run and kind are folded into one. A second run object of the same run and kind begins a new one:
//! that is a client which patched twice. Neither `Content-Length` nor any other header of a part is needed.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use futures_util::stream::Stream;
use multer::{Field, Multipart};

use crate::config::Limits;
use crate::ingest::error::IngestError;
use crate::ingest::feedback;
use crate::ingest::intake::{File, Gathered, Loose};
use crate::ingest::normalise::{self, Draft};
use crate::ingest::opening;
use crate::ingest::part_name::{Heavy, PartName};
use crate::ingest::receipt::Refused;
use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, RunId};
use crate::model::run::{Fields, PartKind};
use crate::model::time::Timestamp;

/// How many refusals a request is told of. What is beyond is refused all the same.
const MOST_REFUSALS: usize = 100;

/// The boundary named by a `Content-Type`.
pub(crate) fn boundary(content_type: Option<&str>) -> Result<String, IngestError> {
    content_type
        .and_then(|value| multer::parse_boundary(value).ok())
        .ok_or_else(|| IngestError::Unsupported("Content-Type must be multipart/form-data with a boundary".to_owned()))
}

/// Reads all parts of a request.
pub(crate) async fn read(
    body: impl Stream<Item = Result<Bytes, IngestError>> + Send + 'static,
    boundary: String,
    limits: &Limits,
    now: Timestamp,
) -> Result<Gathered, IngestError> {
    let mut multipart = Multipart::new(body, boundary);
    let mut folding = Folding::new(limits, now);
    loop {
        let field = match multipart.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => {
                folding.broke_off(error)?;
                break;
            }
        };
        if let Err(error) = folding.take(field).await {
            folding.broke_off(error)?;
            break;
        }
        folding.check_count()?;
    }
    Ok(folding.finish())
}

/// One run and kind, as far as its parts have come.
struct Slot {
    run_id: RunId,
    kind: PartKind,
    /// What the run object said; `Err` when it could not be read: then the fields around it mean nothing.
    object: Option<Result<Draft, ()>>,
    heavy: Fields,
    files: Vec<File>,
}

struct Folding<'a> {
    limits: &'a Limits,
    now: Timestamp,
    slots: Vec<Slot>,
    newest: HashMap<(PartKind, RunId), usize>,
    files: Vec<(RunId, File)>,
    feedback: Vec<Feedback>,
    refused: Vec<Refused>,
}

impl<'a> Folding<'a> {
    fn new(limits: &'a Limits, now: Timestamp) -> Self {
        Self {
            limits,
            now,
            slots: Vec::new(),
            newest: HashMap::new(),
            files: Vec::new(),
            feedback: Vec::new(),
            refused: Vec::new(),
        }
    }

    async fn take(&mut self, field: Field<'_>) -> multer::Result<()> {
        let Some(label) = field.name().map(str::to_owned) else {
            self.refuse("(unnamed)", "a part without a name");
            return Ok(());
        };
        match PartName::parse(&label) {
            Err(reason) => self.refuse(&label, &reason),
            Ok(PartName::Attachment { run_id, name }) => {
                let mime_type = mime_type(&field);
                match capped(field, self.limits.attachment_bytes).await? {
                    Some(bytes) => self.files.push((run_id, File { name, mime_type, bytes })),
                    None => self.refuse(
                        &label,
                        &format!("the attachment is larger than {} bytes", self.limits.attachment_bytes),
                    ),
                }
            }
            Ok(PartName::Feedback(id)) => {
                let json = field.bytes().await?;
                self.feedback(&label, id, &json);
            }
            Ok(PartName::Run { kind, run_id, field: None }) => {
                let json = field.bytes().await?;
                self.object(&label, kind, run_id, &json);
            }
            Ok(PartName::Run { kind, run_id, field: Some(heavy) }) => {
                let json = field.bytes().await?;
                self.heavy(&label, (kind, run_id), heavy, &json);
            }
        }
        Ok(())
    }

    fn feedback(&mut self, label: &str, named: Option<FeedbackId>, json: &[u8]) {
        // Without an id of its own a record could not be told from a repeat of itself.
        let read =
            feedback::read(json, named.unwrap_or(FeedbackId(uuid::Uuid::nil())), self.now, self.limits.json_depth);
        match read {
            Ok(feedback) if feedback.id.0.is_nil() => self.refuse(label, "`id` is missing"),
            Ok(feedback) => self.feedback.push(feedback),
            Err(invalid) => self.refuse(label, &invalid),
        }
    }

    fn object(&mut self, label: &str, kind: PartKind, run_id: RunId, json: &[u8]) {
        let draft = normalise::run(json, kind, Some(run_id), self.limits.json_depth);
        let draft = draft.map_err(|invalid| self.refuse(label, &invalid));
        let begun = self.slot(kind, run_id).object.is_some();
        if begun {
            self.newest.remove(&(kind, run_id));
        }
        self.slot(kind, run_id).object = Some(draft);
    }

    fn heavy(&mut self, label: &str, (kind, run_id): (PartKind, RunId), field: Heavy, json: &[u8]) {
        let depth = self.limits.json_depth;
        let read = normalise::heavy(field, json, depth, &mut self.slot(kind, run_id).heavy);
        if let Err(invalid) = read {
            self.refuse(label, &invalid);
        }
    }

    fn slot(&mut self, kind: PartKind, run_id: RunId) -> &mut Slot {
        let next = self.slots.len();
        let index = *self.newest.entry((kind, run_id)).or_insert(next);
        if index == next {
            self.slots.push(Slot { run_id, kind, object: None, heavy: Fields::default(), files: Vec::new() });
        }
        #[expect(clippy::indexing_slicing, reason = "the index was given when the slot was pushed; slots never shrink")]
        &mut self.slots[index]
    }

    fn refuse(&mut self, label: &str, reason: &(impl ToString + ?Sized)) {
        if self.refused.len() < MOST_REFUSALS {
            self.refused.push(Refused::new(label, reason));
        }
    }

    /// What a failure of the body means: a limit or a lost connection refuses the request, bad framing only what
    /// follows it.
    fn broke_off(&mut self, error: multer::Error) -> Result<(), IngestError> {
        match error {
            multer::Error::StreamReadFailed(cause) => {
                Err(cause.downcast::<IngestError>().map_or(IngestError::Interrupted, |cause| *cause))
            }
            error => {
                self.refuse("(the rest of the request)", &format!("the multipart framing is broken: {error}"));
                Ok(())
            }
        }
    }

    fn check_count(&self) -> Result<(), IngestError> {
        let limit = self.limits.runs_per_request;
        let (what, count) =
            [("runs", self.slots.len()), ("attachments", self.files.len()), ("feedback", self.feedback.len())]
                .into_iter()
                .max_by_key(|(_, count)| *count)
                .unwrap_or_default();
        if count > limit as usize { Err(IngestError::TooMany { what, limit }) } else { Ok(()) }
    }

    fn finish(mut self) -> Gathered {
        for (run_id, file) in std::mem::take(&mut self.files) {
            let kind =
                if self.newest.contains_key(&(PartKind::Post, run_id)) { PartKind::Post } else { PartKind::Patch };
            self.slot(kind, run_id).files.push(file);
        }
        let named = |slot: Slot| Some((slot.name(), slot.fold()?));
        let folded = std::mem::take(&mut self.slots).into_iter().filter_map(named).collect();
        let parts = opening::whole(folded, |name, invalid| self.refuse(name, invalid));
        Gathered { parts, feedback: self.feedback, refused: self.refused }
    }
}

impl Slot {
    /// The name of its run object's part.
    fn name(&self) -> String {
        match self.kind {
            PartKind::Post => format!("post.{}", self.run_id),
            PartKind::Patch => format!("patch.{}", self.run_id),
        }
    }

    /// The run object with its heavy fields, which win over the same fields inside the object.
    fn fold(self) -> Option<Loose> {
        let draft = self.object.unwrap_or_else(|| Ok(Draft::default())).ok()?;
        let (object, heavy) = (draft.fields, self.heavy);
        let fields = Fields {
            inputs: heavy.inputs.or(object.inputs),
            outputs: heavy.outputs.or(object.outputs),
            events: heavy.events.or(object.events),
            extra: heavy.extra.or(object.extra),
            error: heavy.error.or(object.error),
            serialized: heavy.serialized.or(object.serialized),
            ..object
        };
        Some(Loose { run_id: self.run_id, kind: self.kind, project: draft.project, fields, files: self.files })
    }
}

/// A part's bytes, unless they are more than the limit; then the part is read to its end and dropped.
async fn capped(mut field: Field<'_>, limit: u64) -> multer::Result<Option<Bytes>> {
    let mut bytes = BytesMut::new();
    let mut total = 0_u64;
    while let Some(chunk) = field.chunk().await? {
        total = total.saturating_add(chunk.len() as u64);
        if total <= limit {
            bytes.extend_from_slice(&chunk);
        } else {
            bytes = BytesMut::new();
        }
    }
    Ok((total <= limit).then(|| bytes.freeze()))
}

/// A part's media type, without the `length` that some clients put there.
fn mime_type(field: &Field<'_>) -> String {
    let Some(mime) = field.content_type() else { return "application/octet-stream".to_owned() };
    let parameters = mime.params().filter(|(name, _)| name.as_str() != "length");
    parameters.fold(mime.essence_str().to_owned(), |text, (name, value)| format!("{text}; {name}={value}"))
}
