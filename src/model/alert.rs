//! Alerts: a number over the runs of one project, what it is compared with, and whom to tell when that changes.
//!
//! Here is what an alert is and how it stands. How the number is counted, and what follows from it, is `alert`'s.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::model::id::{AlertId, EndpointId, MessageId, ProjectId, TenantId, derived};
use crate::model::time::Timestamp;
use crate::model::window::Seq;

/// The longest window, in minutes.
pub const LONGEST_WINDOW: u32 = 60;

/// Minutes that are remembered: the longest window and the longest that it is compared with.
pub const REMEMBERED: i64 = 120;

/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;

/// An alert as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: AlertId,
    /// The project it watches.
    pub project_id: ProjectId,
    /// What people call it.
    pub name: String,
    /// What people say of it.
    pub description: String,
    /// What is counted.
    pub metric: Metric,
    /// When it fires.
    pub condition: Condition,
    /// Whom it tells.
    pub actions: Vec<Action>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Of each run.
    pub attribute: Attribute,
    /// Of all together.
    pub aggregation: Aggregation,
    /// The runs that count; none counts all.
    pub filter: Option<String>,
    /// For a share: the runs it is a share of; none means all.
    pub denominator_filter: Option<String>,
}

/// What of a run is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// How long it took, in seconds.
    Latency,
    /// The same under its newer name.
    RunLatency,
    /// That it failed.
    ErrorCount,
    /// The scores it was given.
    FeedbackScore,
    /// That it is there.
    RunCount,
    /// What it cost.
    TotalCost,
}

/// How runs are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The mean.
    Avg,
    /// The sum.
    Sum,
    /// The share, in percent.
    Pct,
}

/// When it fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// How the number must stand to what it is compared with.
    pub operator: Operator,
    /// How many minutes are looked at together.
    pub window_minutes: u32,
    /// What it is compared with.
    pub against: Against,
}

/// How two numbers must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// At least.
    Gte,
    /// At most.
    Lte,
    /// More.
    Gt,
    /// Less.
    Lt,
}

/// What the number is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// A number.
    Threshold(Decimal),
    /// The same number over the minutes before the window, times this.
    Change {
        /// Times this.
        multiplier: Decimal,
        /// How many minutes before the window.
        window_minutes: u32,
    },
}

/// Whom it tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What kind of receiver that is.
    pub target: Target,
    /// Where it is.
    pub endpoint_id: EndpointId,
    /// How its configuration was written, and is shown.
    pub spelling: Spelling,
    /// How severe PagerDuty is told it is, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
}

/// A kind of receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A URL of one's own.
    Webhook,
    /// Events API v2 of PagerDuty.
    Pagerduty,
}

/// How a configuration was written: as JSON, or as text that holds JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spelling {
    /// All of it is text.
    pub whole: bool,
    /// Headers and body in it are text.
    pub inside: bool,
}

/// Whether an alert has fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It never did.
    #[default]
    Ok,
    /// It did.
    Firing,
    /// It did, and what it fired for is over.
    Resolved,
}

/// What one minute holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bucket {
    /// Which, in minutes since the epoch.
    pub minute: i64,
    /// Runs that changed, whatever the filter says of them.
    pub seen: u64,
    /// What a mean or a share divides by.
    pub of: u64,
    /// What is added up.
    pub sum: Decimal,
}

/// How an alert stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// Whether it has fired.
    pub state: State,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The number, when it was last known.
    pub value: Option<Decimal>,
    /// What it was compared with.
    pub threshold: Option<Decimal>,
    /// The minutes that hold something, oldest first.
    pub buckets: Vec<Bucket>,
    /// Scores that were counted not long ago, each with the minute it was counted in: a run that changes again shows
    /// them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<(i64, u64)>,
}

/// An alert as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What was asked for.
    pub alert: Alert,
    /// Rises with every edit and every evaluation.
    pub version: i64,
    /// How it stands.
    pub standing: Standing,
    /// Up to which minute it was judged: that minute's beginning.
    pub evaluated_at: Timestamp,
    /// The last change it has seen; none before its first evaluation.
    pub seen: Option<Seq>,
    /// What its project is called.
    pub project: String,
}

impl Metric {
    /// Whether this is one: what speaks against it, for people.
    pub fn check(&self) -> Result<(), String> {
        use {Aggregation as By, Attribute as Of};
        let fits = match self.attribute {
            Of::Latency | Of::RunLatency | Of::FeedbackScore | Of::TotalCost => self.aggregation != By::Pct,
            Of::ErrorCount | Of::RunCount => self.aggregation != By::Avg,
        };
        if !fits {
            return Err(
                "does not go with the attribute: runs and errors are counted with `sum` or as a share with `pct`, \
                        everything else is put together with `avg` or `sum`"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Condition {
    /// How many minutes must be known to judge.
    #[must_use]
    pub fn reach(&self) -> i64 {
        let before = match self.against {
            Against::Threshold(_) => 0,
            Against::Change { window_minutes, .. } => window_minutes,
        };
        i64::from(self.window_minutes.saturating_add(before))
    }
}

impl Operator {
    /// Whether two numbers stand so.
    #[must_use]
    pub fn holds(self, value: Decimal, threshold: Decimal) -> bool {
        match self {
            Self::Gte => value >= threshold,
            Self::Lte => value <= threshold,
            Self::Gt => value > threshold,
            Self::Lt => value < threshold,
        }
    }
}

/// The minute an instant is in, since the epoch.
#[must_use]
pub fn minute_of(at: Timestamp) -> i64 {
    at.0.div_euclid(MINUTE)
}

/// The beginning of a minute.
#[must_use]
pub fn beginning_of(minute: i64) -> Timestamp {
    Timestamp(minute.saturating_mul(MINUTE))
}

impl MessageId {
    /// The id of what an alert says when it comes into this state in this minute.
    #[must_use]
    pub fn of_alert(alert: AlertId, minute: i64, state: State) -> Self {
        let state: &[u8] = match state {
            State::Ok => b"ok",
            State::Firing => b"firing",
            State::Resolved => b"resolved",
        };
        Self(derived("alert message", &[alert.0.as_bytes(), &minute.to_be_bytes(), state]))
    }
}
