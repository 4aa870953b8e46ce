//! Rules and endpoints.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;

use crate::model::audit::Entry;
use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::id::{EndpointId, ProjectId, RuleId, TenantId};
use crate::model::rule::{Rule, RuleState};
use crate::model::sealed::Sealed;
use crate::model::time::Timestamp;
use crate::model::window::{Cursor, GroupKey, Seq};
use crate::store::failure::is_repeat;
use crate::store::placement::{Ground, Moves};
use crate::store::revision::{EndpointRow, RuleRow, RuleRows};
use crate::store::row::readable;
use crate::store::rules::{RuleChanges, RuleSnapshot, RuleStore};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::either::notices;
use crate::store::sqlite::row::{Insert, id_list, insert};
use crate::store::sqlite::{audit, endpoints, outbox, standing};
use crate::store::{Result, StoreError, records, revision};

const VERSION: &str = "SELECT value FROM counters WHERE name = 'rules_version'";

const BUMP_VERSION: &str = "UPDATE counters SET value = value + 1 WHERE name = 'rules_version'";

const ASK_FOR: &str = "UPDATE counters SET value = $1 WHERE name = 'least_version' AND value < $1";

const LIST: &str = "SELECT rule FROM rules WHERE tenant_id = $1 ORDER BY key";

const ACTIVE: &str = "SELECT c.value, r.rule FROM counters c LEFT JOIN rules r ON r.state = 'active' \
     WHERE c.name = 'rules_version'";

const ONE: &str = "SELECT rule FROM rules WHERE tenant_id = $1 AND rule_id = $2";

const DELETE: &str = "DELETE FROM rules WHERE tenant_id = $1 AND rule_id IN (SELECT unhex(value) FROM json_each($2))";

const UPSERT: Insert = Insert {
    head: "INSERT INTO rules (tenant_id, rule_id, key, state, rule) VALUES",
    columns: 5,
    tail: "ON CONFLICT (tenant_id, rule_id) DO UPDATE SET key = excluded.key, state = excluded.state, \
           rule = excluded.rule",
};

const GROUNDS: &str = "SELECT project_id, name, last_seq FROM projects WHERE tenant_id = $1";

/// The last change before an instant. Changes never go back in time within a project, so the newest that is old enough
/// is found from the end.
const BEFORE: &str = "SELECT seq FROM changes WHERE tenant_id = $1 AND project_id = $2 AND changed_at < $3 \
     ORDER BY seq DESC LIMIT 1";

#[async_trait]
impl RuleStore for SqliteStore {
    async fn apply_rules(&self, tenant: TenantId, changes: RuleChanges, now: Timestamp) -> Result<()> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    revision::apply(connection, tenant, &changes, now).await?;
                    audit::write(connection, &changes.told).await
                })
            })
            .await
    }

    async fn set_rule_state(
        &self,
        tenant: TenantId,
        id: RuleId,
        state: RuleState,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(&mut *connection).await?;
                    let Some(row) = row else { return Ok(false) };
                    revision::set_state(connection, tenant, records::rule(&row)?, state, now).await?;
                    audit::write(connection, told.as_slice()).await?;
                    Ok(true)
                })
            })
            .await
    }

    async fn list_rules(&self, tenant: TenantId) -> Result<Vec<Rule>> {
        readable(&sqlx::query(LIST).bind(tenant.0).fetch_all(&self.readers).await?, records::rule)
    }

    async fn list_endpoints(&self, tenant: TenantId) -> Result<Vec<Endpoint>> {
        endpoints::list(&self.readers, tenant).await
    }

    async fn set_endpoint_state(
        &self,
        tenant: TenantId,
        id: EndpointId,
        disabled: Option<Disabled>,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let there = endpoints::set_disabled(connection, tenant, id, disabled.as_ref()).await?;
                    if let Some(disabled) = disabled.as_ref().filter(|_| there) {
                        notices::disabled(connection, tenant, id, (&disabled.reason, disabled.at)).await?;
                        outbox::fail_endpoints(connection, tenant, &[id], now, records::ENDPOINT_DISABLED).await?;
                    }
                    if there {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(there)
                })
            })
            .await
    }

    async fn rules_version(&self) -> Result<i64> {
        Ok(sqlx::query_scalar(VERSION).fetch_one(&self.readers).await?)
    }

    async fn active_rules(&self) -> Result<RuleSnapshot> {
        let mut snapshot = RuleSnapshot::default();
        let mut rows = sqlx::query(ACTIVE).fetch(&self.readers);
        while let Some(row) = rows.try_next().await? {
            records::join(&mut snapshot, &row)?;
        }
        Ok(snapshot)
    }

    async fn sealed_targets(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<(EndpointId, Sealed)>> {
        endpoints::sealed(&self.readers, after, limit).await
    }

    async fn reseal_target(&self, id: EndpointId, old: &Sealed, new: Sealed) -> Result<bool> {
        let old = old.clone();
        self.queue.write(move |connection| Box::pin(endpoints::reseal(connection, id, old, new))).await
    }
}

/// The version of the rules, as the transaction sees it.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query_scalar(VERSION).fetch_one(connection).await?)
}

#[async_trait]
impl RuleRows for SqliteConnection {
    async fn grounds(&mut self, tenant: TenantId) -> Result<Vec<Ground>> {
        sqlx::query(GROUNDS).bind(tenant.0).fetch_all(self).await?.iter().map(records::ground).collect()
    }

    async fn rules(&mut self, tenant: TenantId) -> Result<Vec<Rule>> {
        readable(&sqlx::query(LIST).bind(tenant.0).fetch_all(self).await?, records::rule)
    }

    async fn cursors(&mut self, tenant: TenantId) -> Result<HashMap<GroupKey, Cursor>> {
        standing::cursors(self, tenant).await
    }

    async fn starts(&mut self, tenant: TenantId) -> Result<HashMap<(ProjectId, RuleId), Seq>> {
        standing::starts(self, tenant).await
    }

    async fn last_before(&mut self, tenant: TenantId, project: ProjectId, instant: Timestamp) -> Result<Seq> {
        let query = sqlx::query_scalar(BEFORE).bind(tenant.0).bind(project.0).bind(instant.0);
        Ok(query.fetch_optional(self).await?.unwrap_or(0))
    }

    async fn endpoints_there(&mut self, tenant: TenantId, endpoints: &[EndpointId]) -> Result<Vec<EndpointId>> {
        endpoints::there(self, tenant, endpoints).await
    }

    async fn remove_rules(&mut self, tenant: TenantId, rules: &[RuleId], now: Timestamp) -> Result<()> {
        let ids = id_list(rules.iter().map(|rule| rule.0));
        sqlx::query(DELETE).bind(tenant.0).bind(&ids).execute(&mut *self).await?;
        standing::forget_rules(self, tenant, &ids).await?;
        endpoints::remove_of_rules(self, tenant, &ids).await?;
        outbox::fail_sources(self, tenant, &ids, now, records::RULE_REMOVED).await
    }

    async fn remove_endpoints(&mut self, tenant: TenantId, endpoints: &[EndpointId], now: Timestamp) -> Result<()> {
        endpoints::remove(self, tenant, endpoints).await?;
        outbox::fail_endpoints(self, tenant, endpoints, now, records::ENDPOINT_REMOVED).await
    }

    async fn put_rules(&mut self, tenant: TenantId, rows: &[RuleRow<'_>]) -> Result<()> {
        let written = insert(self, &UPSERT, rows, |values, row| {
            values.push(tenant.0).push(row.rule.id.0).push(row.rule.key.as_str());
            values.push(row.state.as_str()).push(row.text.as_str());
        })
        .await;
        match written {
            Ok(_) => Ok(()),
            Err(error) if is_repeat(&error) => Err(StoreError::Conflict("a rule with one of these keys".to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_endpoints(&mut self, tenant: TenantId, rows: &[EndpointRow<'_>]) -> Result<()> {
        endpoints::put(self, tenant, rows).await
    }

    async fn put_moves(&mut self, tenant: TenantId, moves: &Moves) -> Result<()> {
        standing::store_moves(self, tenant, moves).await
    }

    async fn bump_version(&mut self) -> Result<()> {
        sqlx::query(BUMP_VERSION).execute(self).await?;
        Ok(())
    }

    async fn ask_for(&mut self, version: i64) -> Result<()> {
        sqlx::query(ASK_FOR).bind(version).execute(self).await?;
        Ok(())
    }
}
