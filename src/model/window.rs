//! Windows: what a group of rules looks at in one evaluation, half-open in change order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::id::{
    MessageId, ProjectId, RuleId, RunId, TenantId, ThreadId, TraceId, WindowId, derived, derived_at,
};
use crate::model::rule::Cadence;
use crate::model::time::Timestamp;

/// The number of a change in its project. The first is 1; 0 is "before everything".
pub type Seq = i64;

/// One entry of a project's ordered log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub seq: Seq,
    /// The run that was written, or whose feedback was.
    pub run_id: RunId,
    /// That run's trace.
    pub trace_id: TraceId,
    /// When the server accepted it.
    pub at: Timestamp,
    /// The thread the run was a turn of before and is not any more.
    pub left: Option<ThreadId>,
}

/// The rules of one project that share cursor and read: those of one cadence and one settle time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupKey {
    /// The owner.
    pub tenant_id: TenantId,
    /// The project.
    pub project_id: ProjectId,
    /// When its rules are evaluated.
    pub cadence: Cadence,
    /// How long a trace must be quiet.
    pub settle: Duration,
}

/// How far an evaluation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Changes up to this number have been looked at.
    pub seq: Seq,
    /// The end of the last window: the next one starts here. [`Self::NEVER`] when there was none.
    pub at: Timestamp,
}

impl Cursor {
    /// The end of the last window of a group that had none: its first is due at once, whatever the interval.
    pub const NEVER: Timestamp = Timestamp(0);
}

/// Changes one rule still has to see outside its group: its backfill, or what it would have missed by moving from one
/// group to another. Half-open: `after` has been seen, `through` has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The owner.
    pub tenant_id: TenantId,
    /// The project.
    pub project_id: ProjectId,
    /// The rule.
    pub rule_id: RuleId,
    /// Seen up to here.
    pub after: Seq,
    /// To be seen up to here.
    pub through: Seq,
}

/// Whose progress a window is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// A group's.
    Group(GroupKey),
    /// A single rule's, over a span.
    Span(RuleId),
}

/// One evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its id, a function of what it covers and of the rules it was evaluated with.
    pub id: WindowId,
    /// The owner.
    pub tenant_id: TenantId,
    /// The project.
    pub project_id: ProjectId,
    /// Whose progress it is.
    pub progress: Progress,
    /// Changes after this number...
    pub after: Seq,
    /// ...up to this one.
    pub through: Seq,
    /// The end of the window before.
    pub start_time: Timestamp,
    /// This window's end.
    pub end_time: Timestamp,
}

impl WindowId {
    /// The id of the window that covers these changes for this group or rule. The version of the rules tells it from a
    /// window over the same numbers in an earlier life of the project or the rule: a progress goes back, or begins
    /// again, in a new version only. No instant would do, for a window over old changes ends when they arrived.
    #[must_use]
    pub fn of(tenant: TenantId, project: ProjectId, progress: &Progress, after: Seq, rules_version: i64) -> Self {
        let whose = match progress {
            Progress::Group(key) => format!("{:?}/{:?}", key.cadence, key.settle),
            Progress::Span(rule) => rule.to_string(),
        };
        let (after, version) = (after.to_be_bytes(), rules_version.to_be_bytes());
        let parts: [&[u8]; 5] = [tenant.0.as_bytes(), project.0.as_bytes(), whose.as_bytes(), &after, &version];
        Self(derived("window", &parts))
    }
}

impl MessageId {
    /// The id of one part of what a rule found in a window, which is told at an instant.
    #[must_use]
    pub fn of(window: WindowId, rule: RuleId, part: u32, at: Timestamp) -> Self {
        Self(derived_at(at, "message", &[window.0.as_bytes(), rule.0.as_bytes(), &part.to_be_bytes()]))
    }
}
