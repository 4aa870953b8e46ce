//! How long things are kept.
//!
//! Runs are the user's, and may be the only copy: they are kept for ever unless somebody says how long. The rest is the
//! engine's record of its own work, and has a default.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::amount::Period;

/// How long things are kept; none is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs, from the newest change of their trace on.
    pub runs: Option<Duration>,
    /// That a run was told, from when the run was dropped on.
    pub matches: Option<Duration>,
    /// Messages with their deliveries and attempts, from the end of the last of these on.
    pub deliveries: Option<Duration>,
    /// Windows, from their end on.
    pub windows: Option<Duration>,
    /// What belongs to a run that is not complete, from the last thing that was heard of it on.
    pub incomplete_runs: Option<Duration>,
    /// Blobs that nothing names, from when they were last stored on.
    pub unnamed_blobs: Option<Duration>,
    /// The audit log.
    pub audit: Option<Duration>,
}

const DAY: Duration = Duration::from_hours(24);

/// The least there is. What is younger may be under way: in a queue of a client, in an upload, in a slow transaction.
const LEAST: Duration = Duration::from_hours(1);

impl Default for Retention {
    fn default() -> Self {
        Self {
            runs: None,
            matches: Some(90 * DAY),
            deliveries: Some(90 * DAY),
            windows: Some(90 * DAY),
            incomplete_runs: Some(7 * DAY),
            unnamed_blobs: Some(DAY),
            audit: Some(365 * DAY),
        }
    }
}

/// How long things are kept. `null` is for ever. What some rule has not seen, and what waits to be sent, is kept however
/// old it is.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Retention")]
pub struct RetentionDocument {
    /// Runs with their feedback. A trace goes whole, so long after its newest change arrived.
    pub runs: Option<Period>,
    /// How long after a run was dropped it is remembered which rules told it: if it comes again within this time, they do
    /// not tell it again.
    pub matches: Option<Period>,
    /// Messages with their deliveries and attempts, counted from the end of the last delivery.
    pub deliveries: Option<Period>,
    /// What rules show of the windows that found something.
    pub windows: Option<Period>,
    /// Patches and feedback that wait for their run, and runs that never got a name, a type or a start.
    pub incomplete_runs: Option<Period>,
    /// Blobs that nothing names any more, or that a request left behind which was never stored.
    pub unnamed_blobs: Option<Period>,
    /// The audit log.
    pub audit: Option<Period>,
}

impl Default for RetentionDocument {
    fn default() -> Self {
        let default = Retention::default();
        Self {
            runs: default.runs.map(Period),
            matches: default.matches.map(Period),
            deliveries: default.deliveries.map(Period),
            windows: default.windows.map(Period),
            incomplete_runs: default.incomplete_runs.map(Period),
            unnamed_blobs: default.unnamed_blobs.map(Period),
            audit: default.audit.map(Period),
        }
    }
}

impl From<RetentionDocument> for Retention {
    fn from(document: RetentionDocument) -> Self {
        let lasts = |period: Option<Period>| period.map(|period| period.0);
        Self {
            runs: lasts(document.runs),
            matches: lasts(document.matches),
            deliveries: lasts(document.deliveries),
            windows: lasts(document.windows),
            incomplete_runs: lasts(document.incomplete_runs),
            unnamed_blobs: lasts(document.unnamed_blobs),
            audit: lasts(document.audit),
        }
    }
}

impl RetentionDocument {
    /// A time so short that what is under way could be dropped.
    pub(super) fn hasty(&self) -> Option<ConfigError> {
        let periods = [
            ("runs", self.runs, "30d"),
            ("matches", self.matches, "90d"),
            ("deliveries", self.deliveries, "90d"),
            ("windows", self.windows, "90d"),
            ("incomplete_runs", self.incomplete_runs, "7d"),
            ("unnamed_blobs", self.unnamed_blobs, "24h"),
            ("audit", self.audit, "365d"),
        ];
        let (key, _, example) =
            periods.into_iter().find(|(_, period, _)| period.is_some_and(|period| period.0 < LEAST))?;
        Some(ConfigError::Wrong(format!(
            "`retention.{key}` is less than 1h, and what is that young may be under way: write more, such as {example}, \
             or null to keep it for ever"
        )))
    }
}
