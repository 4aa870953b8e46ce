//! Feedback: a score, a value or a comment about a run.

use serde::{Deserialize, Serialize};

use crate::model::id::{FeedbackId, FeedbackTokenId, ProjectId, RunId, TenantId, TraceId};
use crate::model::json::RawJson;
use crate::model::time::Timestamp;

/// One feedback record. Upserted by id; it may arrive before its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// Its id.
    pub id: FeedbackId,
    /// The run it is about; feedback on a whole project has none.
    pub run_id: Option<RunId>,
    /// The trace of that run, when the client said so.
    pub trace_id: Option<TraceId>,
    /// The project of that run, when the client said so.
    pub session_id: Option<ProjectId>,
    /// What is judged.
    pub key: String,
    /// The score: a number, or a boolean as 0 or 1.
    pub score: Option<Score>,
    /// A label or any other value.
    pub value: Option<RawJson>,
    /// Free text.
    pub comment: Option<String>,
    /// What the answer should have been.
    pub correction: Option<RawJson>,
    /// `{type, metadata, ...}`: who gave it.
    pub source: Option<RawJson>,
    /// Further keys the client sent: `extra`, `feedback_config`, `feedback_group_id`, ...
    pub extra: Option<RawJson>,
    /// Whether the evaluator failed.
    pub error: Option<bool>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub modified_at: Timestamp,
}

/// A token that lets its holder give feedback on one run, under one key, without an API key: what its URL ends with is its
/// id. Anyone may be handed one, so that is all it can be used for, and it expires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedbackToken {
    /// Whose run it is.
    pub tenant_id: TenantId,
    /// Its id: nobody guesses it.
    pub id: FeedbackTokenId,
    /// The run the feedback is about.
    pub run_id: RunId,
    /// What is judged.
    pub key: String,
    /// How scores under the key are meant, as its maker said.
    pub config: Option<RawJson>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is of no use.
    pub expires_at: Timestamp,
}

/// A score as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Score {
    /// A yes or no.
    Bool(bool),
    /// A number.
    Number(f64),
}

impl Score {
    /// The score as a number.
    #[must_use]
    pub fn number(self) -> f64 {
        match self {
            Self::Bool(yes) => f64::from(u8::from(yes)),
            Self::Number(number) => number,
        }
    }
}
