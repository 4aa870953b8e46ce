//! Searching runs: which of them pass what a database can decide, page by page in the order of their start.
//!
//! A search names the runs it is about by a project, a trace or their ids, and says in [`Clause`]s what their columns are
//! like. It is written down as SQL in one place, [`render`], for both backends. What is few is
//! counted first and looked up one by one ([`path`]): SQLite knows nothing of what a column holds, and PostgreSQL, which
//! does, supposes that what is few is met evenly on the way, and takes whole projects for that.

pub(super) mod path;
pub(super) mod render;

use crate::filter::sql::Clause;
use crate::model::id::{ProjectId, RunId, TraceId};
use crate::model::time::Timestamp;

/// Which runs are looked for.
#[derive(Debug, Clone)]
pub struct Search {
    /// Among which.
    pub within: Within,
    /// What holds of the run.
    pub run: Clause,
    /// What holds of the root of its trace.
    pub root: Clause,
    /// What holds of some run of its trace.
    pub tree: Clause,
    /// Whether those that started last come first.
    pub newest_first: bool,
    /// Only those that come after this start and run.
    pub after: Option<(Timestamp, RunId)>,
    /// At most this many.
    pub limit: u32,
}

/// Runs that are told apart by an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// Those of a project.
    Project(ProjectId),
    /// Those of a trace, in whatever project.
    Trace(TraceId),
    /// These.
    Runs(Vec<RunId>),
}

/// Where a run is, and when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The run.
    pub run_id: RunId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its trace.
    pub trace_id: TraceId,
    /// Its start.
    pub start_time: Timestamp,
}

impl Search {
    /// All runs of a project, newest first.
    #[must_use]
    pub fn of(within: Within, limit: u32) -> Self {
        Self {
            within,
            run: Clause::Always,
            root: Clause::Always,
            tree: Clause::Always,
            newest_first: true,
            after: None,
            limit,
        }
    }

    /// Whether no run can be found.
    pub(super) fn is_vain(&self) -> bool {
        [&self.run, &self.root, &self.tree].contains(&&Clause::Never) || self.limit == 0
    }
}
