//! Datasets with their examples, and annotation queues with their runs.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::collection::{Collection, CollectionKind, Example, Queued};
use crate::model::id::{DatasetId, ExampleId, QueueId, RuleId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::row::json_text;
use crate::store::windows::WindowCommit;

/// Which collections are asked for, newest first.
#[derive(Debug, Clone, Default)]
pub struct CollectionQuery {
    /// Only these; all when empty.
    pub ids: Vec<Uuid>,
    /// Only that of this name.
    pub name: Option<String>,
    /// Only those whose name holds this, whatever its case.
    pub name_contains: Option<String>,
    /// How many.
    pub limit: u32,
    /// How many are skipped.
    pub offset: u32,
}

/// Which examples are asked for, newest first.
#[derive(Debug, Clone, Default)]
pub struct ExampleQuery {
    /// Only of this dataset.
    pub dataset_id: Option<DatasetId>,
    /// Only these; all when empty.
    pub ids: Vec<ExampleId>,
    /// How many.
    pub limit: u32,
    /// How many are skipped.
    pub offset: u32,
}

/// What collections hold of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shelved {
    /// Whether some example was made of it.
    pub in_dataset: bool,
    /// When it was last put into a queue, of those that it is in.
    pub queued_at: Option<Timestamp>,
}

/// What becomes of a window's matches beside messages. It happens in the transaction that commits the window: with its
/// matches, or not at all.
#[derive(Debug, Clone, Default)]
pub struct ActionsTaken {
    /// Examples to add, each with the rule that made it.
    pub examples: Vec<(RuleId, Example)>,
    /// Runs to put into queues, each with the rule that does.
    pub queued: Vec<(RuleId, Queued)>,
}

/// Datasets with their examples, and annotation queues with their runs.
#[async_trait]
pub trait CollectionStore: Send + Sync {
    /// Makes a collection. A name that another of its kind has, or an id, is a conflict.
    async fn create_collection(&self, collection: Collection) -> Result<()>;

    /// Replaces a collection that is there.
    async fn update_collection(&self, collection: Collection) -> Result<()>;

    /// Removes a collection with all it holds. Whether it was there.
    async fn delete_collection(
        &self,
        tenant: TenantId,
        kind: CollectionKind,
        id: Uuid,
        told: Option<Entry>,
    ) -> Result<bool>;

    /// Collections of a kind, each with how much it holds.
    async fn list_collections(
        &self,
        tenant: TenantId,
        kind: CollectionKind,
        query: &CollectionQuery,
    ) -> Result<Vec<(Collection, u64)>>;

    /// Adds examples or replaces those with their ids. All of them, or none: when one of the datasets is not there.
    async fn put_examples(&self, tenant: TenantId, examples: Vec<Example>) -> Result<()>;

    /// Examples, newest first.
    async fn list_examples(&self, tenant: TenantId, query: &ExampleQuery) -> Result<Vec<Example>>;

    /// Removes an example. Whether it was there.
    async fn delete_example(&self, tenant: TenantId, id: ExampleId, told: Option<Entry>) -> Result<bool>;

    /// Puts runs into a queue, in this order; those that are in it stay where they are. Whether the queue is there.
    async fn enqueue(&self, tenant: TenantId, queue: QueueId, runs: &[RunId], now: Timestamp) -> Result<bool>;

    /// A queue's runs that are there, those that came first first, each with the instant it came.
    async fn queued_runs(
        &self,
        tenant: TenantId,
        queue: QueueId,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<(RunId, Timestamp)>>;

    /// What collections hold of these runs; nothing of those that are in none.
    async fn shelved(&self, tenant: TenantId, runs: &[RunId]) -> Result<HashMap<RunId, Shelved>>;

    /// Takes a run out of a queue. Whether it was in it.
    async fn dequeue(&self, tenant: TenantId, queue: QueueId, run: RunId, told: Option<Entry>) -> Result<bool>;
}

/// What collections hold of runs: these are in datasets, and those in queues.
pub(in crate::store) fn shelved(in_datasets: Vec<RunId>, queued: Vec<(RunId, Timestamp)>) -> HashMap<RunId, Shelved> {
    let mut shelved: HashMap<RunId, Shelved> = HashMap::new();
    for run in in_datasets {
        shelved.entry(run).or_default().in_dataset = true;
    }
    for (run, at) in queued {
        shelved.entry(run).or_default().queued_at = Some(at);
    }
    shelved
}

impl ActionsTaken {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty() && self.queued.is_empty()
    }

    /// The collections they are about, each once, in the order in which everyone locks them.
    pub(in crate::store) fn collections(&self) -> Vec<Uuid> {
        let datasets = self.examples.iter().map(|(_, example)| example.dataset_id.0);
        let queues = self.queued.iter().map(|(_, queued)| queued.queue_id.0);
        let mut all: Vec<Uuid> = datasets.chain(queues).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Leaves those whose collection is there.
    pub(in crate::store) fn possible(&self, there: &HashSet<Uuid>) -> Self {
        let mut left = self.clone();
        left.examples.retain(|(_, example)| there.contains(&example.dataset_id.0));
        left.queued.retain(|(_, queued)| there.contains(&queued.queue_id.0));
        left
    }
}

/// What became of the actions on each match, as the log tells it; nothing for matches without any. In the order of the
/// matches.
pub(in crate::store) fn outcomes(commit: &WindowCommit, there: &HashSet<Uuid>) -> Result<Vec<Option<String>>> {
    let mut told: HashMap<(RuleId, RunId), BTreeMap<&str, Value>> = HashMap::new();
    for (rule, example) in &commit.actions.examples {
        let Some(run) = example.source_run_id else { continue };
        let outcome = if there.contains(&example.dataset_id.0) {
            json!({ "outcome": "success", "payload": { "dataset_id": example.dataset_id, "example_id": example.id } })
        } else {
            json!({ "outcome": "error", "payload": { "detail": "there is no such dataset any more" } })
        };
        told.entry((*rule, run)).or_default().insert("add_to_dataset", outcome);
    }
    for (rule, queued) in &commit.actions.queued {
        let outcome = if there.contains(&queued.queue_id.0) {
            json!({ "outcome": "success", "payload": { "queue_id": queued.queue_id } })
        } else {
            json!({ "outcome": "error", "payload": { "detail": "there is no such annotation queue any more" } })
        };
        told.entry((*rule, queued.run_id)).or_default().insert("add_to_annotation_queue", outcome);
    }
    commit.matches.iter().map(|matched| told.get(matched).map(json_text).transpose()).collect()
}
