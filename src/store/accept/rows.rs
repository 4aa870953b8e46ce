//! The rows that accepting reads and writes, as each backend serves them.
//!
//! A method is one statement or two (or one for each chunk of rows) inside the transaction of the batch; nothing here decides.
//! Between [`Rows::lock_runs`] and the end of the transaction nobody else's transaction changes what is read of those
//! runs, or reads it to change it. A backend with one writer has that for nothing.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, ProjectId, RunId, TenantId, TraceId};
use crate::model::run::Outline;
use crate::model::time::Timestamp;
use crate::model::window::{Change, Seq};
use crate::store::Result;

/// What is known of a run, packed.
pub(in crate::store) struct BodyRow {
    pub(in crate::store) run_id: RunId,
    pub(in crate::store) project_id: ProjectId,
    pub(in crate::store) body: Bytes,
    /// Whether nothing is stored of it yet.
    pub(in crate::store) is_new: bool,
}

/// A part that waits for its run's project, packed.
pub(in crate::store) struct WaitingRow {
    pub(in crate::store) run_id: RunId,
    pub(in crate::store) digest: u64,
    pub(in crate::store) part: Vec<u8>,
}

/// A complete run as pages and the scheduler look at it.
pub(in crate::store) struct RunRow {
    pub(in crate::store) run_id: RunId,
    pub(in crate::store) project_id: ProjectId,
    pub(in crate::store) outline: Arc<Outline>,
    /// Whether nothing was stored of it before.
    pub(in crate::store) is_new: bool,
    pub(in crate::store) seq: Seq,
    pub(in crate::store) at: Timestamp,
}

/// A feedback record with the columns it is found by.
pub(in crate::store) struct FeedbackRow<'a> {
    pub(in crate::store) feedback: &'a Feedback,
    pub(in crate::store) project_id: Option<ProjectId>,
    pub(in crate::store) source: Option<String>,
    pub(in crate::store) body: String,
}

/// Where a complete run is.
pub(in crate::store) type Place = (RunId, ProjectId, TraceId);

/// The rows that accepting reads and writes.
#[async_trait]
pub(in crate::store) trait Rows: Send {
    /// Keeps other transactions away from `runs` until this one ends, whether they are stored or not. What is stored of
    /// those of them that are in `read`.
    async fn lock_runs(&mut self, tenant: TenantId, runs: &[RunId], read: &[RunId]) -> Result<Vec<BodyRow>>;

    /// Stores what is known of runs; a run never changes its project. The projects stay until the transaction ends, if
    /// they are held or give numbers before that.
    async fn put_bodies(&mut self, tenant: TenantId, rows: &[BodyRow]) -> Result<()>;

    /// Parts of these runs that wait, in the order of their arrival.
    async fn waiting(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<Vec<WaitingRow>>;

    /// Lets parts wait; one that waits already is left as it is.
    async fn put_waiting(&mut self, tenant: TenantId, rows: &[WaitingRow]) -> Result<()>;

    /// Drops the waiting parts of these runs.
    async fn drop_waiting(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<()>;

    /// Notes that something came of runs that are not complete.
    async fn touch_incomplete(&mut self, tenant: TenantId, runs: &[RunId], now: Timestamp) -> Result<()>;

    /// Complete runs under these parents whose clients say no path.
    async fn strays(&mut self, tenant: TenantId, parents: &[RunId]) -> Result<Vec<RunId>>;

    /// The projects with one of these names or ids.
    async fn projects(
        &mut self,
        tenant: TenantId,
        names: &[String],
        ids: &[ProjectId],
    ) -> Result<Vec<(ProjectId, String)>>;

    /// Creates a project, unless its id or its name is taken. Whether it did.
    async fn create_project(&mut self, tenant: TenantId, id: ProjectId, name: &str, now: Timestamp) -> Result<bool>;

    /// Those of these feedback records that are stored.
    async fn feedback(&mut self, tenant: TenantId, ids: &[FeedbackId]) -> Result<Vec<Feedback>>;

    /// Stores feedback, by id.
    async fn put_feedback(&mut self, tenant: TenantId, rows: &[FeedbackRow<'_>]) -> Result<()>;

    /// Where those of these runs are that are complete.
    async fn places(&mut self, tenant: TenantId, runs: &[RunId]) -> Result<Vec<Place>>;

    /// Keeps projects that give no numbers from being removed until the transaction ends.
    async fn hold_projects(&mut self, tenant: TenantId, projects: &[ProjectId]) -> Result<()>;

    /// Takes so many numbers from each project's row, which stays locked until the transaction ends: so numbers are
    /// committed in their order. The projects come in the order of their ids, in which everyone locks them. Returns the
    /// last number of each, and the instant of these changes: the clock may step back, a project's changes never do. A
    /// project that was made before anyone knew the time begins with its first change.
    async fn take_numbers(
        &mut self,
        tenant: TenantId,
        counts: &[(ProjectId, i64)],
        now: Timestamp,
    ) -> Result<HashMap<ProjectId, (Seq, Timestamp)>>;

    /// Appends changes.
    async fn put_changes(&mut self, tenant: TenantId, changes: &[(ProjectId, Change)]) -> Result<()>;

    /// Stores complete runs.
    async fn put_runs(&mut self, tenant: TenantId, rows: &[RunRow]) -> Result<()>;

    /// Puts the numbers of the changes after `before` onto the runs they are about.
    async fn number_runs(&mut self, tenant: TenantId, project: ProjectId, runs: &[RunId], before: Seq) -> Result<()>;
}
