//! What becomes of endpoints that fail.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::amount::Period;

/// What becomes of endpoints that fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// An endpoint that has taken nothing for so long is disabled; none: never.
    pub disable_after: Option<Duration>,
    /// The key of the endpoint that is told of it.
    pub notices: Option<String>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self { disable_after: Some(Duration::from_hours(5 * 24)), notices: None }
    }
}

/// What becomes of endpoints that fail.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Endpoints")]
pub struct EndpointsDocument {
    /// An endpoint that has taken nothing for so long is disabled. `null` is never.
    pub disable_after: Option<Period>,
    /// The key of an endpoint that is sent a message, `endpoint.disabled`, when another one is disabled because it failed.
    pub notices: Option<String>,
}

impl Default for EndpointsDocument {
    fn default() -> Self {
        let Endpoints { disable_after, notices } = Endpoints::default();
        Self { disable_after: disable_after.map(Period), notices }
    }
}

impl From<EndpointsDocument> for Endpoints {
    fn from(document: EndpointsDocument) -> Self {
        Self { disable_after: document.disable_after.map(|period| period.0), notices: document.notices }
    }
}

impl EndpointsDocument {
    /// A time in which nobody can put a receiver right.
    pub(super) fn hasty(&self) -> Option<ConfigError> {
        let is_hasty = self.disable_after.is_some_and(|after| after.0 < Duration::from_hours(1));
        is_hasty.then(|| {
            ConfigError::Wrong(
                "`endpoints.disable_after` is less than 1h, in which nobody can put a receiver right: write more, such as \
                 5d, or null to disable none"
                    .to_owned(),
            )
        })
    }
}
