//! Runs: what a client says of one ([`Part`]), what is kept of it ([`Layers`]), and what it amounts to ([`Run`]).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::dotted_order::DottedOrder;
use crate::model::feedback::Feedback;
use crate::model::id::{ProjectId, RunId, TenantId, ThreadId, TraceId};
use crate::model::json::RawJson;
use crate::model::project::ProjectRef;
use crate::model::time::Timestamp;
use crate::model::usage::{Costs, Usage};

/// Which request a part came by. What a patch says wins over what the post says, whichever arrives first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// The run as it began.
    Post,
    /// A later word about it.
    Patch,
}

/// One part of a run, as a client sent it and `ingest` normalised it.
#[derive(Debug, Clone)]
pub struct Part {
    /// The run it is about.
    pub run_id: RunId,
    /// Which side of the run it speaks for.
    pub kind: PartKind,
    /// The project it names; a patch often names none.
    pub project: Option<ProjectRef>,
    /// What it says.
    pub fields: Fields,
    /// A hash of all it says: a part with the same digest has been applied already.
    pub digest: u64,
}

/// What one side of a run says. Absent is "no word", never "cleared".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fields {
    /// The run's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `chain`, `llm`, `tool`, ...; unknown types are kept as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_type: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// The status, when the client says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The error's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The parent run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_run_id: Option<RunId>,
    /// The trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The path from the root, in wire form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dotted_order: Option<String>,
    /// The dataset example this run answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_example_id: Option<Uuid>,
    /// Inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Payload>,
    /// Outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Payload>,
    /// `extra`: metadata, runtime, invocation parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<RawJson>,
    /// Events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<RawJson>,
    /// The serialized callable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serialized: Option<RawJson>,
    /// Attachments, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Another id the run goes by, when those who know no better name it by that one as their parent. Under the other id
    /// a signpost is stored with the run: fields that say nothing but this run's id, here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<RunId>,
}

impl Fields {
    /// Whether some value is a `null` that was not taken for absent: no word, once parts are merged.
    #[must_use]
    pub fn says_null(&self) -> bool {
        let payloads = [&self.inputs, &self.outputs].into_iter().flatten();
        let inline = payloads.filter_map(|payload| match payload {
            Payload::Inline(json) => Some(json),
            Payload::Blob(_) => None,
        });
        inline.chain([&self.extra, &self.events, &self.serialized].into_iter().flatten()).any(RawJson::is_null)
    }

    /// The blobs it names.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobKey> {
        let payloads = [&self.inputs, &self.outputs].into_iter().filter_map(|payload| match payload {
            Some(Payload::Blob(blob)) => Some(&blob.key),
            _ => None,
        });
        payloads.chain(self.attachments.iter().map(|attachment| &attachment.key))
    }
}

/// Inputs or outputs: here, or in blob storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// The JSON itself.
    Inline(RawJson),
    /// A blob.
    Blob(BlobRef),
}

/// Inputs or outputs that left for blob storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Where the bytes are.
    pub key: BlobKey,
    /// How many they are.
    pub bytes: u64,
    /// The same JSON with long strings and long lists cut: what filters see.
    pub extract: RawJson,
}

/// A blob's name: `tenant/run/field-digest`. The same content of the same run has the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobKey(pub String);

/// A file that came with a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub mime_type: String,
    /// Where its bytes are.
    pub key: BlobKey,
    /// How many they are.
    pub bytes: u64,
}

/// All that has been said of a run: what the posts said and what the patches said, kept apart so that the order in
/// which they arrive does not matter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    /// What posts said.
    pub post: Fields,
    /// What patches said.
    pub patch: Fields,
    /// Digests of the parts that were applied.
    pub applied: Vec<u64>,
    /// What its tokens cost by the prices when it was last written, if the client does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priced: Option<Costs>,
    /// Its path as the server tells it from the parent's, in wire form, if the client says none that is of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred: Option<String>,
    /// Which run its parent is, if the client names it by another id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Meant>,
}

/// A run that is named by another id than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meant {
    /// The id it is named by.
    pub named: RunId,
    /// The run.
    pub run: RunId,
}

/// A run's state. `Pending` until it ended; unknown words of the client are kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not finished.
    Pending,
    /// Finished without an error.
    Success,
    /// Finished with one.
    Error,
    /// Another word of the client's, such as `interrupted`.
    #[serde(untagged)]
    Other(String),
}

impl Status {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Error => "error",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for Status {
    fn from(word: &str) -> Self {
        match word {
            "pending" => Self::Pending,
            "success" => Self::Success,
            "error" => Self::Error,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A run as it stands: its layers resolved. It has a name, a type and a start; what lacks one is not a run yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its id.
    pub id: RunId,
    /// Its trace; a root's own id when the client said nothing else.
    pub trace_id: TraceId,
    /// Its parent.
    pub parent_run_id: Option<RunId>,
    /// Its path from the root, in wire form.
    pub dotted_order: String,
    /// Its name.
    pub name: String,
    /// Its type.
    pub run_type: String,
    /// When it started.
    pub start_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Its status.
    pub status: Status,
    /// The error's text.
    pub error: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The dataset example it answers.
    pub reference_example_id: Option<Uuid>,
    /// Inputs; absent when the run had none.
    pub inputs: Option<Payload>,
    /// Outputs; absent when the run had none.
    pub outputs: Option<Payload>,
    /// `extra`.
    pub extra: Option<RawJson>,
    /// Events.
    pub events: Option<RawJson>,
    /// The serialized callable.
    pub serialized: Option<RawJson>,
    /// Attachments.
    pub attachments: Vec<Attachment>,
    /// Tokens and costs, its own.
    pub usage: Usage,
    /// When the first token came, from the `new_token` event.
    pub first_token_time: Option<Timestamp>,
    /// When the server last changed it.
    pub modified_at: Timestamp,
}

impl Run {
    /// Whether it is the root of its trace.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.parent_run_id.is_none()
    }

    /// Whether it is finished.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.status != Status::Pending
    }
}

/// A run as lists and the scheduler's log show it: what it amounts to, without its bodies.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// Its trace; a root's own id when the client said nothing else.
    pub trace_id: TraceId,
    /// Its parent.
    pub parent_run_id: Option<RunId>,
    /// Where it stands in its trace.
    pub standpoint: Standpoint,
    /// Its name.
    pub name: String,
    /// Its type.
    pub run_type: String,
    /// When it started.
    pub start_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Its status.
    pub status: Status,
    /// The thread it is a turn of: only roots are.
    pub thread: Option<ThreadId>,
}

/// Where a run stands in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standpoint {
    /// Its client says its path, or that it is a root.
    Rooted(DottedOrder),
    /// Under a parent, and its client says no more.
    Under {
        /// The parent.
        parent: RunId,
        /// When the run started.
        start_time: Timestamp,
        /// The path from the root, if it was told.
        path: Option<DottedOrder>,
    },
}

impl Standpoint {
    /// The path from the root, if it is known.
    #[must_use]
    pub fn path(&self) -> Option<&DottedOrder> {
        match self {
            Self::Rooted(path) => Some(path),
            Self::Under { path, .. } => path.as_ref(),
        }
    }
}

impl Outline {
    /// Whether it is the root of its trace.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.parent_run_id.is_none()
    }

    /// Whether it is a child whose path its client does not say: it follows its parent's.
    #[must_use]
    pub fn is_stray(&self) -> bool {
        matches!(self.standpoint, Standpoint::Under { .. })
    }
}

/// A run as the store holds it, with its feedback.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The run.
    pub run: Run,
    /// Feedback on it, oldest first.
    pub feedback: Vec<Feedback>,
    /// The number of its newest change.
    pub changed_seq: i64,
}
