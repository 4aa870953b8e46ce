//! Runs and feedback: accepting them, and reading them back.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::audit::Entry;
use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, ProjectId, RunId, TenantId, TraceId};
use crate::model::price::Prices;
use crate::model::run::{Part, StoredRun};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::search::{Found, Search};

/// What one request brought.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Parts of runs, in the request's order.
    pub parts: Vec<Part>,
    /// Feedback, to be upserted by id.
    pub feedback: Vec<Feedback>,
    /// What tokens cost, for its runs whose clients do not say.
    pub prices: Arc<Prices>,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Parts that could not be stored; everything else is durable.
    pub refused: Vec<Refusal>,
    /// Whether anything changed: repeats alone do not.
    pub changed: bool,
}

/// A part that could not be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The run it was about.
    pub run_id: RunId,
    /// Why, for the sender.
    pub reason: String,
}

/// Whose child a run is, in which trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kin {
    /// The run.
    pub run_id: RunId,
    /// Its trace.
    pub trace_id: TraceId,
    /// Its parent; a root has none.
    pub parent_run_id: Option<RunId>,
}

/// Which runs a page lists, newest start first.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    /// Of this project only.
    pub project_id: Option<ProjectId>,
    /// Of this trace only.
    pub trace_id: Option<TraceId>,
    /// Roots only.
    pub roots_only: bool,
    /// Only those that started before this run did (keyset: start, then id).
    pub before: Option<(Timestamp, RunId)>,
    /// At most this many.
    pub limit: u32,
}

/// Which feedback a page lists, newest first.
#[derive(Debug, Clone, Default)]
pub struct FeedbackQuery {
    /// On these runs; empty means any.
    pub runs: Vec<RunId>,
    /// With these keys; empty means any.
    pub keys: Vec<String>,
    /// In these projects; empty means any.
    pub projects: Vec<ProjectId>,
    /// Whose source has one of these types; empty means any.
    pub sources: Vec<String>,
    /// Only on runs, or only on projects as a whole.
    pub on_runs: Option<bool>,
    /// Only what was made at this instant or later.
    pub created_from: Option<Timestamp>,
    /// Only what was made at this instant or earlier.
    pub created_until: Option<Timestamp>,
    /// Only what comes behind this record (keyset: when it was made, then its id).
    pub before: Option<(Timestamp, FeedbackId)>,
    /// At most this many.
    pub limit: u32,
    /// After skipping this many.
    pub offset: u32,
}

/// Runs and feedback.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Stores a batch, and one change for each run it changed, in one transaction. Projects named for the first time
    /// are created. A run is priced as it is after the batch, and a child without a path of its client's has its parent's,
    /// wherever that is now. A patch of an unknown run that names no project waits, durably, for the part that does. Applying a
    /// part a second time changes nothing. Feedback whose run is known appends a change for it. Parts of a run whose row
    /// does not decode are refused.
    async fn accept(&self, tenant: TenantId, batch: Batch, now: Timestamp) -> Result<Accepted>;

    /// A run with its feedback. A run that lacks name, type or start is not there yet. Asked for alone, a run whose row
    /// does not decode is an error; among others it is passed over, with an error in the log and in
    /// `runhook_runs_unreadable_total`.
    async fn run(&self, tenant: TenantId, id: RunId) -> Result<Option<StoredRun>>;

    /// Those of these runs that are there, in no order.
    async fn runs(&self, tenant: TenantId, ids: &[RunId]) -> Result<Vec<StoredRun>>;

    /// All runs of these traces within a project, in no order.
    async fn traces(&self, tenant: TenantId, project: ProjectId, ids: &[TraceId]) -> Result<Vec<StoredRun>>;

    /// Whose child each run of these traces within a project is, in no order. What else a run holds is not looked at.
    async fn kin(&self, tenant: TenantId, project: ProjectId, ids: &[TraceId]) -> Result<Vec<Kin>>;

    /// A page of runs.
    async fn list_runs(&self, tenant: TenantId, query: &RunQuery) -> Result<Vec<StoredRun>>;

    /// Which runs pass a search, in its order. That a run is here says nothing of whether its body decodes.
    async fn search_runs(&self, tenant: TenantId, search: &Search) -> Result<Vec<Found>>;

    /// One feedback record.
    async fn feedback(&self, tenant: TenantId, id: FeedbackId) -> Result<Option<Feedback>>;

    /// A page of feedback.
    async fn list_feedback(&self, tenant: TenantId, query: &FeedbackQuery) -> Result<Vec<Feedback>>;

    /// Removes a feedback record, with a change for its run. Whether it was there.
    async fn delete_feedback(
        &self,
        tenant: TenantId,
        id: FeedbackId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool>;
}
