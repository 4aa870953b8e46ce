//! API keys, and the state of the database as a whole.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use crate::model::audit::Entry;
use crate::model::id::{ApiKeyId, TenantId};
use crate::model::time::Timestamp;
use crate::store::accept::ensure_default;
use crate::store::failure::is_repeat;
use crate::store::keys::{ApiKey, KeyStore};
use crate::store::postgres::accept::Held;
use crate::store::postgres::runner::take_your_time;
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, Topic, audit, schema, text};
use crate::store::records::api_key;
use crate::store::revision::RuleRows as _;
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

/// Every table that holds what is a tenant's, but for API keys.
const OWNED: [&str; 33] = [
    "projects",
    "removed_projects",
    "run_bodies",
    "runs",
    "waiting_parts",
    "incomplete_runs",
    "feedback",
    "feedback_tokens",
    "changes",
    "alerts",
    "rules",
    "rule_starts",
    "rule_spans",
    "group_cursors",
    "matches",
    "windows",
    "window_finds",
    "messages",
    "message_links",
    "endpoints",
    "deliveries",
    "attempts",
    "project_leases",
    "collections",
    "examples",
    "example_links",
    "queued_runs",
    "event_types",
    "applications",
    "subscriptions",
    "subscribed_types",
    "events",
    "errands",
];

#[async_trait]
impl KeyStore for PgStore {
    async fn put_api_key(&self, key: ApiKey, told: Option<Entry>) -> Result<()> {
        let (key, told) = (&key, told.as_slice());
        self.run("put_api_key", |mut this| {
            Box::pin(async move {
                if put(&mut this, key).await? {
                    audit::write(&mut this, told).await?;
                }
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.read(async {
            sqlx::query(LIST).fetch_all(&mut *self.reader().await?).await?.iter().map(api_key).collect()
        })
        .await
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: Timestamp, told: Option<Entry>) -> Result<bool> {
        let told = told.as_slice();
        self.run("revoke_api_key", |mut this| {
            Box::pin(async move {
                let done = sqlx::query(REVOKE).bind(id.0).bind(now.0).execute(&mut *this).await?;
                if done.rows_affected() > 0 {
                    audit::write(&mut this, told).await?;
                }
                let revoked = done.rows_affected() > 0 || this.in_doubt;
                Ok(this.done(revoked))
            })
        })
        .await
    }

    async fn marker(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.read(async {
            let mut reader = self.reader().await?;
            Ok(sqlx::query_scalar(MARKER).bind(name).fetch_optional(&mut *reader).await?)
        })
        .await
    }

    async fn set_marker(&self, name: &str, value: &[u8]) -> Result<()> {
        self.run("set_marker", |mut this| {
            Box::pin(async move {
                sqlx::query(SET_MARKER).bind(name).bind(value).execute(&mut *this).await?;
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn check_writable(&self, now: Timestamp) -> Result<()> {
        self.run("check_writable", |mut this| {
            Box::pin(async move {
                sqlx::query(CHECK).bind(now.0).execute(&mut *this).await?;
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn check_schema(&self) -> Result<()> {
        schema::check(self.reader().await?.connection()).await
    }

    async fn wipe(&self, told: Option<Entry>) -> Result<()> {
        let told = told.as_slice();
        self.run_long("wipe", |mut this| {
            Box::pin(async move {
                wipe(&mut this).await?;
                audit::write(&mut this, told).await?;
                Ok(this.done(()))
            })
        })
        .await?;
        self.poke(Topic::Rules);
        Ok(())
    }

    async fn wipe_tenant(&self, tenant: TenantId, told: Option<Entry>) -> Result<()> {
        let told = told.as_slice();
        self.run_long("wipe_tenant", |mut this| {
            Box::pin(async move {
                wipe_tenant(&mut this, tenant).await?;
                audit::write(&mut this, told).await?;
                Ok(this.done(()))
            })
        })
        .await?;
        self.poke(Topic::Rules);
        Ok(())
    }

    async fn close(&self) {
        self.groups.finish().await;
        self.connections.current().pool.close().await;
    }
}

/// Stores a key's record. Whether it was not there.
async fn put(connection: &mut Session, key: &ApiKey) -> Result<bool> {
    let put = sqlx::query(PUT)
        .bind(key.tenant_id.0)
        .bind(key.id.0)
        .bind(text(&key.name))
        .bind(key.hash.as_slice())
        .bind(key.prefix.as_str())
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

async fn wipe(connection: &mut Session) -> Result<()> {
    take_your_time(connection).await?;
    connection.bump_version().await?;
    let truncate = AssertSqlSafe(format!("TRUNCATE {}", OWNED.join(", ")));
    sqlx::query(truncate).execute(&mut *connection).await?;
    let mut held = Held::by(connection);
    ensure_default(&mut held, TenantId::DEFAULT).await?;
    held.let_go(TenantId::DEFAULT).await
}

async fn wipe_tenant(connection: &mut Session, tenant: TenantId) -> Result<()> {
    take_your_time(connection).await?;
    connection.bump_version().await?;
    for table in OWNED {
        let statement = AssertSqlSafe(format!("DELETE FROM {table} WHERE tenant_id = $1"));
        sqlx::query(statement).bind(tenant.0).execute(&mut *connection).await?;
    }
    let mut held = Held::by(connection);
    ensure_default(&mut held, tenant).await?;
    held.let_go(tenant).await
}
