//! How an endpoint is doing, as its attempts tell.

use serde::{Deserialize, Serialize};

use crate::model::delivery::AttemptResult;
use crate::model::time::Timestamp;

/// What is remembered of an endpoint that fails. Nothing, of one that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// When the first attempt failed after the last one that succeeded.
    pub failing_since: Option<Timestamp>,
    /// Why nothing is sent there for now.
    pub circuit: Option<Circuit>,
}

/// An open circuit: nothing is sent before its instant, and then one attempt at a time until one of them decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    /// When the next probe is made.
    pub until: Timestamp,
    /// How often it has opened, one time after the other.
    pub openings: u32,
}

/// A change of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is open from now on.
    Open(Circuit),
    /// It is closed: all is well.
    Close,
}

/// What an attempt tells of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The endpoint took it.
    Taken,
    /// It answers, and does not want this.
    Unwilling,
    /// It does not answer, or it says that it cannot now.
    Unable,
    /// Nothing: no request was made.
    Nothing,
}

impl AttemptResult {
    /// What it tells of the endpoint.
    #[must_use]
    pub fn sign(&self) -> Sign {
        match self {
            Self::Answered { status: 200..=299, .. } => Sign::Taken,
            Self::Answered { status: 408 | 425 | 429 | 500..=599, .. }
            | Self::NotConnected { .. }
            | Self::Broken { .. }
            | Self::TimedOut => Sign::Unable,
            Self::Answered { .. } => Sign::Unwilling,
            Self::Refused { .. } => Sign::Nothing,
        }
    }

    /// Whether the endpoint failed to take it.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.sign(), Sign::Unwilling | Sign::Unable)
    }
}
