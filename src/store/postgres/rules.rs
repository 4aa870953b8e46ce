//! Rules and endpoints.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;

use crate::model::audit::Entry;
use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::model::rule::{Rule, RuleState};
use crate::model::sealed::Sealed;
use crate::model::time::Timestamp;
use crate::store::postgres::either::notices;
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, Topic, audit, endpoints, outbox};
use crate::store::row::readable;
use crate::store::rules::{RuleChanges, RuleSnapshot, RuleStore};
use crate::store::{Result, records, revision};

const VERSION: &str = "SELECT value FROM counters WHERE name = 'rules_version'";

/// Holds the version: it stays what it is until the transaction ends.
const SHARED_VERSION: &str = "SELECT value FROM counters WHERE name = 'rules_version' FOR SHARE";

/// Holds the version alone.
const OWN_VERSION: &str = "SELECT value FROM counters WHERE name = 'rules_version' FOR UPDATE";

pub(super) const LIST: &str = "SELECT rule FROM rules WHERE tenant_id = $1 ORDER BY key COLLATE \"C\"";

const ACTIVE: &str = "SELECT c.value, r.rule FROM counters c LEFT JOIN rules r ON r.state = 'active' \
     WHERE c.name = 'rules_version'";

const ONE: &str = "SELECT rule FROM rules WHERE tenant_id = $1 AND rule_id = $2";

#[async_trait]
impl RuleStore for PgStore {
    async fn apply_rules(&self, tenant: TenantId, changes: RuleChanges, now: Timestamp) -> Result<()> {
        let changes = &changes;
        self.run("apply_rules", |mut this| {
            Box::pin(async move {
                own_version(&mut this).await?;
                if this.in_doubt {
                    revision::apply(&mut *this, tenant, &changes.again(), now).await?;
                } else {
                    revision::apply(&mut *this, tenant, changes, now).await?;
                }
                audit::write(&mut this, &changes.told).await?;
                Ok(this.done(()))
            })
        })
        .await?;
        self.poke(Topic::Rules);
        Ok(())
    }

    async fn set_rule_state(
        &self,
        tenant: TenantId,
        id: RuleId,
        state: RuleState,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        let told = told.as_slice();
        let there = self
            .run("set_rule_state", |mut this| {
                Box::pin(async move {
                    own_version(&mut this).await?;
                    let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(&mut *this).await?;
                    let Some(row) = row else { return Ok(this.done(false)) };
                    revision::set_state(&mut *this, tenant, records::rule(&row)?, state, now).await?;
                    audit::write(&mut this, told).await?;
                    Ok(this.done(true))
                })
            })
            .await?;
        self.poke(Topic::Rules);
        Ok(there)
    }

    async fn list_rules(&self, tenant: TenantId) -> Result<Vec<Rule>> {
        self.read(async {
            readable(&sqlx::query(LIST).bind(tenant.0).fetch_all(&mut *self.reader().await?).await?, records::rule)
        })
        .await
    }

    async fn list_endpoints(&self, tenant: TenantId) -> Result<Vec<Endpoint>> {
        self.read(async { endpoints::list(&mut *self.reader().await?, tenant).await }).await
    }

    async fn set_endpoint_state(
        &self,
        tenant: TenantId,
        id: EndpointId,
        disabled: Option<Disabled>,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        let (disabled, told) = (disabled.as_ref(), told.as_slice());
        self.run("set_endpoint_state", |mut this| {
            Box::pin(async move {
                let there = endpoints::set_disabled(&mut this, tenant, id, disabled).await?;
                if let Some(disabled) = disabled.filter(|_| there) {
                    notices::disabled(&mut this, tenant, id, (&disabled.reason, disabled.at)).await?;
                    outbox::fail_endpoints(&mut this, tenant, &[id], now, records::ENDPOINT_DISABLED).await?;
                }
                if there {
                    audit::write(&mut this, told).await?;
                }
                Ok(this.done(there))
            })
        })
        .await
    }

    async fn rules_version(&self) -> Result<i64> {
        self.read(async { Ok(sqlx::query_scalar(VERSION).fetch_one(&mut *self.reader().await?).await?) }).await
    }

    async fn active_rules(&self) -> Result<RuleSnapshot> {
        self.read(async {
            let mut snapshot = RuleSnapshot::default();
            let mut reader = self.reader().await?;
            let mut rows = sqlx::query(ACTIVE).fetch(&mut *reader);
            while let Some(row) = rows.try_next().await? {
                records::join(&mut snapshot, &row)?;
            }
            Ok(snapshot)
        })
        .await
    }

    async fn sealed_targets(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<(EndpointId, Sealed)>> {
        self.read(async { endpoints::sealed(&mut *self.reader().await?, after, limit).await }).await
    }

    async fn reseal_target(&self, id: EndpointId, old: &Sealed, new: Sealed) -> Result<bool> {
        let new = &new;
        self.run("reseal_target", |mut this| {
            Box::pin(async move {
                let mut resealed = endpoints::reseal(&mut this, id, old, new).await?;
                if !resealed && this.in_doubt {
                    resealed = endpoints::is_sealed_as(&mut this, id, new).await?;
                }
                Ok(this.done(resealed))
            })
        })
        .await
    }
}

/// The version of the rules, which stays until the transaction ends.
pub(super) async fn shared_version(connection: &mut Session) -> Result<i64> {
    Ok(sqlx::query_scalar(SHARED_VERSION).fetch_one(connection).await?)
}

/// Keeps other revisions and all commits of windows away until the transaction ends. What is read from here on is read
/// after theirs.
pub(super) async fn own_version(connection: &mut Session) -> Result<()> {
    sqlx::query(OWN_VERSION).execute(connection).await?;
    Ok(())
}
