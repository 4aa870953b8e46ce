//! What runs are set aside in, for people and for tests: datasets of examples, and queues of runs to be looked at.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::id::{DatasetId, ExampleId, QueueId, RuleId, RunId, TenantId, derived};
use crate::model::json::RawJson;
use crate::model::run::{BlobKey, Payload, StoredRun};
use crate::model::time::Timestamp;

/// What a collection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CollectionKind {
    /// Examples.
    Dataset,
    /// Runs that wait for people to look at them.
    Queue,
}

impl CollectionKind {
    /// The word it is stored as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Queue => "queue",
        }
    }
}

/// A dataset or an annotation queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collection {
    /// Its owner.
    pub tenant_id: TenantId,
    /// What it holds.
    pub kind: CollectionKind,
    /// Its id: that of a dataset, or that of a queue.
    pub id: Uuid,
    /// Its name, unique among the tenant's of its kind.
    pub name: String,
    /// What its owner wrote about it.
    pub description: Option<String>,
    /// Further keys, as its owner sent them.
    pub details: Option<RawJson>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub modified_at: Timestamp,
}

/// Inputs, and the outputs one would like to see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: ExampleId,
    /// The dataset it belongs to.
    pub dataset_id: DatasetId,
    /// Inputs.
    pub inputs: Option<Payload>,
    /// Outputs.
    pub outputs: Option<Payload>,
    /// Anything its owner attached to it; `dataset_split` names the splits it is in.
    pub metadata: Option<RawJson>,
    /// The run it was made of.
    pub source_run_id: Option<RunId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub modified_at: Timestamp,
}

impl Example {
    /// The example that a rule makes of a run: the same one, however often it is made. The newest correction that was
    /// given as feedback stands in for the outputs where corrections are preferred.
    #[must_use]
    pub fn of_run(
        stored: &StoredRun,
        dataset: DatasetId,
        rule: RuleId,
        prefers_correction: bool,
        now: Timestamp,
    ) -> Self {
        let run = &stored.run;
        let corrections = stored.feedback.iter().rev().filter_map(|feedback| feedback.correction.as_ref());
        let correction = corrections.filter(|_| prefers_correction).find(|correction| !correction.is_hollow());
        Self {
            tenant_id: run.tenant_id,
            id: ExampleId(derived("example", &[rule.0.as_bytes(), run.id.0.as_bytes()])),
            dataset_id: dataset,
            inputs: run.inputs.clone(),
            outputs: correction.cloned().map(Payload::Inline).or_else(|| run.outputs.clone()),
            metadata: None,
            source_run_id: Some(run.id),
            created_at: now,
            modified_at: now,
        }
    }

    /// The blobs it names.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobKey> {
        [&self.inputs, &self.outputs].into_iter().filter_map(|payload| match payload {
            Some(Payload::Blob(blob)) => Some(&blob.key),
            _ => None,
        })
    }
}

/// A run that waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// The queue.
    pub queue_id: QueueId,
    /// The run.
    pub run_id: RunId,
}
