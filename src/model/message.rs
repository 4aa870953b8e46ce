//! Messages: notification bodies, immutable, with a stable id.

use crate::model::id::{MessageId, RuleId, TenantId, WindowId};
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;

/// One notification body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its id: the `webhook-id` of every attempt.
    pub id: MessageId,
    /// The rule it speaks for.
    pub rule_id: RuleId,
    /// The window it was found in.
    pub window_id: WindowId,
    /// Which part of the window's matches it is, from 1.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// How many runs it holds.
    pub runs: u32,
    /// The body, without its links.
    pub body: Body,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Message {
    /// Whether it tells of an endpoint and not of runs: then it belongs to no rule.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        self.rule_id.0.is_nil()
    }
}

/// JSON with places where links go: links are made when sending, so a late retry carries a fresh one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The JSON with `""` where each link goes.
    pub json: String,
    /// Where, in rising order.
    pub links: Vec<Link>,
}

/// A place for a link.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Link {
    /// The byte between the two quotes.
    pub at: usize,
    /// The blob it opens.
    pub key: BlobKey,
}
