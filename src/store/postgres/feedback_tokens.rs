//! Tokens that let their holders give feedback.

use async_trait::async_trait;

use crate::model::feedback::FeedbackToken;
use crate::model::id::{FeedbackTokenId, RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::feedback_tokens::{FeedbackTokenStore, read};
use crate::store::postgres::PgStore;
use crate::store::postgres::session::Session;
use crate::store::retention::Dropped;
use crate::store::row::json_text;

/// An earlier try that was committed has left just these rows.
const CREATE: &str = "INSERT INTO feedback_tokens (tenant_id, token_id, run_id, created_at, expires_at, body) \
     SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[]) \
     ON CONFLICT (tenant_id, token_id) DO NOTHING";

const ONE: &str = "SELECT body FROM feedback_tokens WHERE token_id = $1";

const OF_RUN: &str = "SELECT body FROM feedback_tokens WHERE tenant_id = $1 AND run_id = $2 AND expires_at > $3 \
     ORDER BY created_at DESC, token_id DESC LIMIT $4 OFFSET $5";

const DROP_EXPIRED: &str = "WITH old AS MATERIALIZED (SELECT tenant_id, token_id FROM feedback_tokens \
     WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
     DELETE FROM feedback_tokens t USING old WHERE t.tenant_id = old.tenant_id AND t.token_id = old.token_id";

#[async_trait]
impl FeedbackTokenStore for PgStore {
    async fn create_feedback_tokens(&self, tenant: TenantId, tokens: Vec<FeedbackToken>) -> Result<()> {
        let bodies = tokens.iter().map(json_text).collect::<Result<Vec<String>>>()?;
        let (tokens, bodies) = (&tokens, &bodies);
        self.run("create_feedback_tokens", |mut this| {
            Box::pin(async move {
                create(&mut this, tenant, tokens, bodies).await?;
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn feedback_token(&self, id: FeedbackTokenId) -> Result<Option<FeedbackToken>> {
        self.read(async {
            let row = sqlx::query(ONE).bind(id.0).fetch_optional(&mut *self.reader().await?).await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    async fn list_feedback_tokens(
        &self,
        tenant: TenantId,
        run: RunId,
        now: Timestamp,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<FeedbackToken>> {
        self.read(async {
            let query = sqlx::query(OF_RUN).bind(tenant.0).bind(run.0).bind(now.0);
            let query = query.bind(i64::from(limit)).bind(i64::from(offset));
            query.fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
        })
        .await
    }

    async fn drop_feedback_tokens(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.run("drop_feedback_tokens", |mut this| {
            Box::pin(async move {
                let query = sqlx::query(DROP_EXPIRED).bind(before.0).bind(i64::from(limit));
                let rows = query.execute(&mut *this).await?.rows_affected();
                Ok(this.done(Dropped { rows, more: rows >= u64::from(limit) }))
            })
        })
        .await
    }
}

async fn create(connection: &mut Session, tenant: TenantId, tokens: &[FeedbackToken], bodies: &[String]) -> Result<()> {
    sqlx::query(CREATE)
        .bind(tenant.0)
        .bind(tokens.iter().map(|token| token.id.0).collect::<Vec<_>>())
        .bind(tokens.iter().map(|token| token.run_id.0).collect::<Vec<_>>())
        .bind(tokens.iter().map(|token| token.created_at.0).collect::<Vec<_>>())
        .bind(tokens.iter().map(|token| token.expires_at.0).collect::<Vec<_>>())
        .bind(bodies)
        .execute(connection)
        .await?;
    Ok(())
}

/// Hot statements, each with the indexes that serve it.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, &[&str])] =
    &[(ONE, &["feedback_tokens_by_id"]), (OF_RUN, &["feedback_tokens_by_run"])];
