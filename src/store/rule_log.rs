//! What rules did, match by match.

use async_trait::async_trait;

use crate::model::id::{ProjectId, RuleId, RunId, TenantId};
use crate::model::json::RawJson;
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::Result;

/// One match of a rule: a run, in the window it was found in.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// The run.
    pub run_id: RunId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its name, while the run is there.
    pub run_name: Option<String>,
    /// Its type, while the run is there.
    pub run_type: Option<String>,
    /// When the window was committed.
    pub applied_at: Timestamp,
    /// The window's instants, while it is remembered.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Whether the rule looked back, or was hastened: its window was over a span.
    pub is_span: bool,
    /// What became of each of the rule's actions, as an object; absent when it had none.
    pub outcome: Option<RawJson>,
}

/// Which matches are asked for, newest first.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only of this project.
    pub project_id: Option<ProjectId>,
    /// Only those committed at or after.
    pub from: Option<Timestamp>,
    /// Only those committed before.
    pub until: Option<Timestamp>,
    /// Only those behind this place.
    pub before: Option<(Timestamp, RunId)>,
    /// Only those of windows over a span, or only the others.
    pub is_span: Option<bool>,
    /// How many.
    pub limit: u32,
    /// How many are skipped.
    pub offset: u32,
}

/// What rules did.
#[async_trait]
pub trait RuleLogStore: Send + Sync {
    /// A rule's matches, newest first.
    async fn rule_log(&self, tenant: TenantId, rule: RuleId, query: &LogQuery) -> Result<Vec<LogEntry>>;

    /// The last change of a project before an instant, or 0.
    async fn last_change_before(&self, tenant: TenantId, project: ProjectId, instant: Timestamp) -> Result<Seq>;
}
