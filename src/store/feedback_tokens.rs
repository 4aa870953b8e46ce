//! Tokens that let their holders give feedback without an API key.

use async_trait::async_trait;

use crate::model::feedback::FeedbackToken;
use crate::model::id::{FeedbackTokenId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::retention::Dropped;
use crate::store::row::{Cells, Columns};

/// Tokens that let their holders give feedback without an API key.
#[async_trait]
pub trait FeedbackTokenStore: Send + Sync {
    /// Stores tokens of one tenant, all or none. Their run need not be there.
    async fn create_feedback_tokens(&self, tenant: TenantId, tokens: Vec<FeedbackToken>) -> Result<()>;

    /// A token, whoever's it is: its holder is known by nothing else. It may have expired.
    async fn feedback_token(&self, id: FeedbackTokenId) -> Result<Option<FeedbackToken>>;

    /// A run's tokens that have not expired, newest first.
    async fn list_feedback_tokens(
        &self,
        tenant: TenantId,
        run: RunId,
        now: Timestamp,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<FeedbackToken>>;

    /// Drops up to `limit` tokens that expired before an instant. Those of a run that is dropped go with it.
    async fn drop_feedback_tokens(&self, before: Timestamp, limit: u32) -> Result<Dropped>;
}

/// What a row stands for.
pub(super) fn read(row: &impl Columns) -> Result<FeedbackToken> {
    Cells::of("feedback_tokens", row).json()
}
