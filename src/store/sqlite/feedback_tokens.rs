//! Tokens that let their holders give feedback.

use async_trait::async_trait;

use crate::model::feedback::FeedbackToken;
use crate::model::id::{FeedbackTokenId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::feedback_tokens::{FeedbackTokenStore, read};
use crate::store::retention::Dropped;
use crate::store::row::json_text;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::row::{Insert, insert};

const CREATE: Insert = Insert {
    head: "INSERT INTO feedback_tokens (tenant_id, token_id, run_id, created_at, expires_at, body) VALUES",
    columns: 6,
    tail: "",
};

const ONE: &str = "SELECT body FROM feedback_tokens WHERE token_id = $1";

const OF_RUN: &str = "SELECT body FROM feedback_tokens INDEXED BY feedback_tokens_by_run \
     WHERE tenant_id = $1 AND run_id = $2 AND expires_at > $3 ORDER BY created_at DESC, token_id DESC LIMIT $4 OFFSET $5";

const DROP_EXPIRED: &str = "DELETE FROM feedback_tokens WHERE (tenant_id, token_id) IN \
     (SELECT tenant_id, token_id FROM feedback_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[async_trait]
impl FeedbackTokenStore for SqliteStore {
    async fn create_feedback_tokens(&self, tenant: TenantId, tokens: Vec<FeedbackToken>) -> Result<()> {
        let rows = tokens.into_iter().map(|token| Ok((json_text(&token)?, token))).collect::<Result<Vec<_>>>()?;
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    insert(connection, &CREATE, &rows, |values, (body, token)| {
                        values.push(tenant.0).push(token.id.0).push(token.run_id.0);
                        values.push(token.created_at.0).push(token.expires_at.0).push(body.clone());
                    })
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn feedback_token(&self, id: FeedbackTokenId) -> Result<Option<FeedbackToken>> {
        let row = sqlx::query(ONE).bind(id.0).fetch_optional(&self.readers).await?;
        row.as_ref().map(read).transpose()
    }

    async fn list_feedback_tokens(
        &self,
        tenant: TenantId,
        run: RunId,
        now: Timestamp,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<FeedbackToken>> {
        let query = sqlx::query(OF_RUN).bind(tenant.0).bind(run.0).bind(now.0).bind(limit).bind(offset);
        query.fetch_all(&self.readers).await?.iter().map(read).collect()
    }

    async fn drop_feedback_tokens(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(DROP_EXPIRED).bind(before.0).bind(limit).execute(connection).await?;
                    let rows = done.rows_affected();
                    Ok(Dropped { rows, more: rows >= u64::from(limit) })
                })
            })
            .await
    }
}

/// The statements that requests and loops run, each with the step its plan must have.
#[cfg(test)]
pub(super) const PLANNED: [(&str, &str); 3] = [
    (ONE, "SEARCH feedback_tokens USING INDEX feedback_tokens_by_id (token_id=?)"),
    (OF_RUN, "SEARCH feedback_tokens USING INDEX feedback_tokens_by_run (tenant_id=? AND run_id=?)"),
    (DROP_EXPIRED, "SEARCH feedback_tokens USING COVERING INDEX feedback_tokens_by_expiry (expires_at<?)"),
];
