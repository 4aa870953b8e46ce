//! API keys, and the state of the database as a whole.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::model::audit::Entry;
use crate::model::id::{ApiKeyId, TenantId};
use crate::model::time::Timestamp;
use crate::store::accept::ensure_default;
use crate::store::failure::is_repeat;
use crate::store::keys::{ApiKey, KeyStore};
use crate::store::records::api_key;
use crate::store::revision::RuleRows as _;
use crate::store::sqlite::{SqliteStore, audit, schema};
use crate::store::{Result, StoreError};

const PUT: &str = "INSERT INTO api_keys (tenant_id, key_id, name, hash, prefix, scopes, created_at, revoked_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (hash) DO NOTHING";

const LIST: &str = "SELECT tenant_id, key_id, name, hash, prefix, scopes, created_at, revoked_at FROM api_keys \
     ORDER BY created_at, key_id";

const REVOKE: &str = "UPDATE api_keys SET revoked_at = $2 WHERE key_id = $1 AND revoked_at IS NULL";

const MARKER: &str = "SELECT value FROM markers WHERE name = $1";

const SET_MARKER: &str = "INSERT INTO markers (name, value) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";

const CHECK: &str = "UPDATE counters SET value = $1 WHERE name = 'checked_at'";

const WIPE: [&str; 32] = [
    "DELETE FROM projects",
    "DELETE FROM removed_projects",
    "DELETE FROM run_bodies",
    "DELETE FROM runs",
    "DELETE FROM waiting_parts",
    "DELETE FROM incomplete_runs",
    "DELETE FROM feedback",
    "DELETE FROM feedback_tokens",
    "DELETE FROM changes",
    "DELETE FROM alerts",
    "DELETE FROM rules",
    "DELETE FROM rule_starts",
    "DELETE FROM rule_spans",
    "DELETE FROM group_cursors",
    "DELETE FROM matches",
    "DELETE FROM windows",
    "DELETE FROM window_finds",
    "DELETE FROM messages",
    "DELETE FROM message_links",
    "DELETE FROM endpoints",
    "DELETE FROM deliveries",
    "DELETE FROM attempts",
    "DELETE FROM collections",
    "DELETE FROM examples",
    "DELETE FROM example_links",
    "DELETE FROM queued_runs",
    "DELETE FROM event_types",
    "DELETE FROM applications",
    "DELETE FROM subscriptions",
    "DELETE FROM subscribed_types",
    "DELETE FROM events",
    "DELETE FROM errands",
];

#[async_trait]
impl KeyStore for SqliteStore {
    async fn put_api_key(&self, key: ApiKey, told: Option<Entry>) -> Result<()> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    if put(connection, key).await? {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        sqlx::query(LIST).fetch_all(&self.readers).await?.iter().map(api_key).collect()
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: Timestamp, told: Option<Entry>) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(REVOKE).bind(id.0).bind(now.0).execute(&mut *connection).await?;
                    let revoked = done.rows_affected() > 0;
                    if revoked {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(revoked)
                })
            })
            .await
    }

    async fn marker(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(sqlx::query_scalar(MARKER).bind(name).fetch_optional(&self.readers).await?)
    }

    async fn set_marker(&self, name: &str, value: &[u8]) -> Result<()> {
        let (name, value) = (name.to_owned(), value.to_vec());
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(SET_MARKER).bind(name).bind(value).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn check_writable(&self, now: Timestamp) -> Result<()> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    sqlx::query(CHECK).bind(now.0).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn check_schema(&self) -> Result<()> {
        schema::check(&mut *self.readers.acquire().await?, "the database").await
    }

    async fn wipe(&self, told: Option<Entry>) -> Result<()> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    wipe(connection).await?;
                    audit::write(connection, told.as_slice()).await
                })
            })
            .await
    }

    async fn wipe_tenant(&self, tenant: TenantId, told: Option<Entry>) -> Result<()> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    wipe_tenant(connection, tenant).await?;
                    audit::write(connection, told.as_slice()).await
                })
            })
            .await
    }

    async fn close(&self) {
        self.queue.close().await;
        self.readers.close().await;
    }
}

/// Stores a key's record. Whether it was not there.
async fn put(connection: &mut SqliteConnection, key: ApiKey) -> Result<bool> {
    let put = sqlx::query(PUT)
        .bind(key.tenant_id.0)
        .bind(key.id.0)
        .bind(key.name)
        .bind(key.hash.to_vec())
        .bind(key.prefix)
        .bind(key.scopes.to_string())
        .bind(key.created_at.0)
        .bind(key.revoked_at.map(|at| at.0))
        .execute(connection)
        .await;
    match put {
        Ok(done) => Ok(done.rows_affected() > 0),
        Err(error) if is_repeat(&error) => Err(StoreError::Conflict("an API key with this id".to_owned())),
        Err(error) => Err(error.into()),
    }
}

async fn wipe(connection: &mut SqliteConnection) -> Result<()> {
    for statement in WIPE {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    connection.bump_version().await?;
    ensure_default(connection, TenantId::DEFAULT).await
}

async fn wipe_tenant(connection: &mut SqliteConnection, tenant: TenantId) -> Result<()> {
    for statement in WIPE {
        let statement = AssertSqlSafe(format!("{statement} WHERE tenant_id = $1"));
        sqlx::query(statement).bind(tenant.0).execute(&mut *connection).await?;
    }
    connection.bump_version().await?;
    ensure_default(connection, tenant).await
}
