//! Rules: filter, cadence, sampling and actions on a project.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::id::{DatasetId, EndpointId, ProjectId, QueueId, RuleId, TenantId};
use crate::model::time::Timestamp;

/// A rule as it is stored. Its filters have parsed when it was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: RuleId,
    /// Its stable identity in the files it came from.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// The projects it watches: a name, or a glob.
    pub project: String,
    /// What the run must be.
    pub filter: Option<String>,
    /// What the root of its trace must be.
    pub trace_filter: Option<String>,
    /// What some run of its trace must be.
    pub tree_filter: Option<String>,
    /// The share of matching runs that are notified, 0 to 1.
    pub sampling_rate: f64,
    /// When it is evaluated.
    pub cadence: Cadence,
    /// How long a trace must be quiet, or a thread idle; zero when the rule looks at single runs only.
    pub settle: Duration,
    /// From when on runs count that arrived before the rule.
    pub backfill_from: Option<Timestamp>,
    /// How batches are cut.
    pub batch: BatchLimits,
    /// Where its notifications go, in the order of the file.
    pub endpoints: Vec<EndpointId>,
    /// Whether it is evaluated.
    pub state: RuleState,
    /// The file it came from.
    pub origin: Option<String>,
    /// What becomes of its matches beside notifications.
    #[serde(default)]
    pub actions: Actions,
    /// What it is told by: single runs, or threads.
    #[serde(default)]
    pub group_by: Option<GroupBy>,
    /// What is known of a rule that was made through the API. Others come from files.
    #[serde(default)]
    pub registration: Option<Registration>,
    /// The type of the events it tells of, where it is there for those who subscribe to that and for nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

impl Rule {
    /// Whether it was made through the API: then no file may change it.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// Whether it belongs to this project, whatever the project is called.
    #[must_use]
    pub fn belongs_to(&self, project: ProjectId) -> bool {
        self.registration.as_ref().is_some_and(|registration| registration.project_id == project)
    }
}

/// What becomes of a rule's matches beside notifications. Each happens once for each match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actions {
    /// The dataset that gets an example made of the run.
    pub add_to_dataset_id: Option<DatasetId>,
    /// Whether a correction given as feedback stands in for the run's outputs there.
    pub prefer_correction: bool,
    /// The queue that the run is put into.
    pub add_to_annotation_queue_id: Option<QueueId>,
}

impl Actions {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add_to_dataset_id.is_none() && self.add_to_annotation_queue_id.is_none()
    }
}

/// What a rule is told by instead of single runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupBy {
    /// The threads that runs belong to.
    #[serde(rename = "thread_id")]
    Thread,
}

/// What the API remembers of a rule that was made through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The project it watches, under whatever name.
    pub project_id: ProjectId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was last told to look back.
    pub backfilled_at: Option<Timestamp>,
}

/// When a rule is evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    /// As soon as something arrives.
    Immediate,
    /// At this interval.
    Every(Duration),
    /// At the instants of a cron expression, in a time zone.
    Cron {
        /// Five or six fields.
        expression: String,
        /// An IANA name.
        timezone: String,
    },
}

impl Cadence {
    /// The cadence of rules that name none.
    pub const DEFAULT: Self = Self::Every(Duration::from_mins(1));
}

/// How a window's matches are cut into messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchLimits {
    /// Runs in one message.
    pub max_runs: u32,
    /// Bytes of one message's body.
    pub max_bytes: u64,
    /// Bytes of inputs or outputs that still travel inside the body.
    pub inline_bytes: u64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_runs: 250, max_bytes: 4 * 1024 * 1024, inline_bytes: 64 * 1024 }
    }
}

/// Whether a rule is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleState {
    /// It is.
    Active,
    /// It keeps its matches, and starts again at the newest change when resumed.
    Paused,
}
