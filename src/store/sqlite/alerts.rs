//! Alerts.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::model::alert::{Alert, Kept};
use crate::model::audit::Entry;
use crate::model::delivery::Delivery;
use crate::model::id::{AlertId, ProjectId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::alerts::{self, AlertCommit, AlertPut, AlertRows, AlertStore, COLUMNS, Put, StandingRow, kept};
use crate::store::records::ALERT_REMOVED;
use crate::store::row::readable;
use crate::store::sqlite::row::id_list;
use crate::store::sqlite::{SqliteStore, audit, outbox};

const HOLD: &str = "SELECT EXISTS (SELECT 1 FROM projects WHERE tenant_id = $1 AND project_id = $2)";

const COUNT: &str = "SELECT count(*) FROM alerts WHERE tenant_id = $1";

const STORED: &str = "SELECT version, alert, evaluated_at FROM alerts WHERE tenant_id = $1 AND alert_id = $2";

const INSERT: &str = "INSERT INTO alerts (tenant_id, alert_id, project_id, created_at, version, evaluated_at, seen_seq, \
     restless, alert, standing) VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9)";

const REWRITE: &str =
    "UPDATE alerts SET alert = $4, version = version + 1 WHERE tenant_id = $1 AND alert_id = $2 AND version = $3";

const RESTAND: &str = "UPDATE alerts SET standing = $4, evaluated_at = $5, seen_seq = $6, restless = $7, \
     version = version + $8 WHERE tenant_id = $1 AND alert_id = $2 AND version = $3";

const DELETE: &str = "DELETE FROM alerts WHERE tenant_id = $1 AND alert_id = $2 AND project_id = $3";

const DELETE_ENDPOINTS: &str = "DELETE FROM endpoints WHERE tenant_id = $1 AND alert_id = $2";

const ONE: &str = " WHERE a.tenant_id = $1 AND a.alert_id = $2";

const LIST: &str = " WHERE a.tenant_id = $1 ORDER BY a.created_at, a.alert_id";

const DUE: &str = " WHERE a.evaluated_at < $1 AND (a.restless = 1 OR p.last_seq > a.seen_seq) \
     AND (a.tenant_id, a.alert_id) > ($2, $3) ORDER BY a.tenant_id, a.alert_id LIMIT $4";

#[async_trait]
impl AlertStore for SqliteStore {
    async fn put_alert(&self, put: AlertPut) -> Result<Put> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let done = alerts::put(&mut *connection, &put, false).await?;
                    if done == Put::Stored {
                        audit::write(connection, put.told.as_slice()).await?;
                    }
                    Ok(done)
                })
            })
            .await
    }

    async fn remove_alert(
        &self,
        tenant: TenantId,
        project: ProjectId,
        id: AlertId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let removed = connection.delete(tenant, project, id, now).await?;
                    if removed {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(removed)
                })
            })
            .await
    }

    async fn alert(&self, tenant: TenantId, id: AlertId) -> Result<Option<Kept>> {
        let query = sqlx::query(AssertSqlSafe([COLUMNS, ONE].concat())).bind(tenant.0).bind(id.0);
        query.fetch_optional(&self.readers).await?.as_ref().map(kept).transpose()
    }

    async fn list_alerts(&self, tenant: TenantId) -> Result<Vec<Kept>> {
        let query = sqlx::query(AssertSqlSafe([COLUMNS, LIST].concat())).bind(tenant.0);
        readable(&query.fetch_all(&self.readers).await?, kept)
    }

    async fn due_alerts(&self, minute: Timestamp, after: Option<(TenantId, AlertId)>, limit: u32) -> Result<Vec<Kept>> {
        let bytes = |id: Option<uuid::Uuid>| id.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        let (tenant, alert) = (bytes(after.map(|after| after.0.0)), bytes(after.map(|after| after.1.0)));
        let query = sqlx::query(AssertSqlSafe([COLUMNS, DUE].concat())).bind(minute.0).bind(tenant).bind(alert);
        readable(&query.bind(limit).fetch_all(&self.readers).await?, kept)
    }

    async fn commit_alert(&self, commit: AlertCommit) -> Result<()> {
        self.queue
            .write(move |connection| Box::pin(async move { alerts::commit(connection, &commit, false).await }))
            .await
    }
}

#[async_trait]
impl AlertRows for SqliteConnection {
    async fn hold(&mut self, tenant: TenantId, project: ProjectId) -> Result<bool> {
        Ok(sqlx::query_scalar(HOLD).bind(tenant.0).bind(project.0).fetch_one(self).await?)
    }

    async fn count(&mut self, tenant: TenantId) -> Result<i64> {
        Ok(sqlx::query_scalar(COUNT).bind(tenant.0).fetch_one(self).await?)
    }

    async fn stored(&mut self, tenant: TenantId, id: AlertId) -> Result<Option<(i64, String, i64)>> {
        Ok(sqlx::query_as(STORED).bind(tenant.0).bind(id.0).fetch_optional(self).await?)
    }

    async fn insert(&mut self, alert: &Alert, text: &str, standing: &StandingRow) -> Result<()> {
        let query = sqlx::query(INSERT).bind(alert.tenant_id.0).bind(alert.id.0).bind(alert.project_id.0);
        let query = query.bind(alert.created_at.0).bind(standing.evaluated_at).bind(standing.seen);
        let query = query.bind(standing.restless).bind(text.to_owned()).bind(standing.standing.clone());
        query.execute(self).await?;
        Ok(())
    }

    async fn rewrite(&mut self, alert: &Alert, text: &str, before: i64) -> Result<bool> {
        let query = sqlx::query(REWRITE).bind(alert.tenant_id.0).bind(alert.id.0).bind(before).bind(text.to_owned());
        Ok(query.execute(self).await?.rows_affected() > 0)
    }

    async fn restand(
        &mut self,
        tenant: TenantId,
        id: AlertId,
        standing: &StandingRow,
        before: i64,
        rises: bool,
    ) -> Result<bool> {
        let query = sqlx::query(RESTAND).bind(tenant.0).bind(id.0).bind(before).bind(standing.standing.clone());
        let query = query.bind(standing.evaluated_at).bind(standing.seen).bind(standing.restless);
        Ok(query.bind(i64::from(rises)).execute(self).await?.rows_affected() > 0)
    }

    async fn delete(&mut self, tenant: TenantId, project: ProjectId, id: AlertId, now: Timestamp) -> Result<bool> {
        let query = sqlx::query(DELETE).bind(tenant.0).bind(id.0).bind(project.0);
        if query.execute(&mut *self).await?.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(DELETE_ENDPOINTS).bind(tenant.0).bind(id.0).execute(&mut *self).await?;
        outbox::fail_sources(self, tenant, &id_list([id.0]), now, ALERT_REMOVED).await?;
        Ok(true)
    }

    async fn tell(&mut self, _tenant: TenantId, messages: &[Message], deliveries: &[Delivery]) -> Result<()> {
        outbox::store_messages(self, messages).await?;
        outbox::store_deliveries(self, deliveries).await
    }
}

/// The statements that loops and requests run, each with the steps its plan must have.
#[cfg(test)]
pub(super) fn planned() -> Vec<(String, &'static [&'static str])> {
    const PROJECT: &str = "SEARCH p USING PRIMARY KEY (tenant_id=? AND project_id=?)";
    let read = |rest: &str| [COLUMNS, rest].concat();
    vec![
        (read(DUE), &["SEARCH a USING PRIMARY KEY ((tenant_id,alert_id)>(?,?))", PROJECT]),
        (read(ONE), &["SEARCH a USING PRIMARY KEY (tenant_id=? AND alert_id=?)", PROJECT]),
        (read(LIST), &["SEARCH a USING PRIMARY KEY (tenant_id=?)", PROJECT]),
        (RESTAND.to_owned(), &["SEARCH alerts USING PRIMARY KEY (tenant_id=? AND alert_id=?)"]),
    ]
}
