//! Finding runs: what LangSmith's clients ask for, a page at a time.
//!
//! A question is a scope and up to three filters, whatever parameters it came in. The store narrows it as far as columns
//! go; what it gives are candidates, in the order asked for. Their bodies are read in bounded batches and judged by the
//! same evaluator that judges rules, unless the store's word is final. So the answer never depends on which backend
//! narrowed, or how well; only its price does.
//!
//! Nothing here is remembered between pages: a page ends at a run, and the next one begins behind it. A page that had to
//! look at very many candidates ends early rather than late, as long as it has found something; one that is empty is the
//! last.

mod family;
pub mod feedback;
mod finder;
mod page;
pub mod projects;
mod stats;
mod threads;
mod tree;

use crate::filter::Filter;
use crate::model::id::{ProjectId, RunId, TraceId};
use crate::model::time::Timestamp;

pub use family::{Family, families, sums};
pub use finder::Finder;
pub use page::{Page, page};
pub use stats::{Spread, Stats, of_project, stats};
pub use threads::{Thread, Threads, threads};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Among which runs.
    pub scope: Scope,
    /// On the run itself.
    pub filter: Filter,
    /// On the root of its trace.
    pub trace_filter: Option<Filter>,
    /// On some run of its trace, the run itself included.
    pub tree_filter: Option<Filter>,
    /// Whether those that started last come first.
    pub newest_first: bool,
}

/// Among which runs is looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of these projects.
    Projects(Vec<ProjectId>),
    /// Those of a trace.
    Trace(TraceId),
    /// These.
    Runs(Vec<RunId>),
}

impl Scope {
    /// Whether a run is in it of whose trace another run is.
    fn holds(&self, run: RunId) -> bool {
        match self {
            Self::Runs(runs) => runs.contains(&run),
            Self::Projects(_) | Self::Trace(_) => true,
        }
    }
}

/// Where a page ended: the start and the id of its last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// When that run started.
    pub start_time: Timestamp,
    /// The run.
    pub run_id: RunId,
}

impl Position {
    /// Reads what [`Display`](std::fmt::Display) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (start, run) = text.split_once('.')?;
        Some(Self { start_time: Timestamp(start.parse().ok()?), run_id: run.parse().ok()? })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.start_time.0, self.run_id)
    }
}
