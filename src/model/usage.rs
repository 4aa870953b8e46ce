//! Tokens and costs of a run, as its client reported them.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Tokens and costs. Tokens default to zero; a cost nobody stated is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens in.
    pub prompt_tokens: i64,
    /// Tokens out.
    pub completion_tokens: i64,
    /// Both, or what the client says both are.
    pub total_tokens: i64,
    /// What the prompt cost.
    pub prompt_cost: Option<Decimal>,
    /// What the completion cost.
    pub completion_cost: Option<Decimal>,
    /// What both cost.
    pub total_cost: Option<Decimal>,
}
