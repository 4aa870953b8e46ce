//! Rules and endpoints.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::model::endpoint::Endpoint;
use crate::model::id::{EndpointId, ProjectId, RuleId, TenantId};
use crate::model::project::Project;
use crate::model::rule::{Rule, RuleState};
use crate::model::sealed::Sealed;
use crate::model::time::Timestamp;
use crate::store::placement::{Ground, Moves, Scene};
use crate::store::rules::{RuleChanges, RuleSnapshot, RuleStore};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::failure::is_repeat;
use crate::store::sqlite::row::{Cells, Insert, id_list, insert, json_text, readable};
use crate::store::sqlite::{endpoints, outbox, standing};
use crate::store::{Result, StoreError};

const VERSION: &str = "SELECT value FROM counters WHERE name = 'rules_version'";

const BUMP_VERSION: &str = "UPDATE counters SET value = value + 1 WHERE name = 'rules_version'";

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
        self.queue.write(move |connection| Box::pin(apply(connection, tenant, changes, now))).await
    }

    async fn set_rule_state(&self, tenant: TenantId, id: RuleId, state: RuleState, now: Timestamp) -> Result<bool> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(&mut *connection).await?;
                    let Some(row) = row else { return Ok(false) };
                    let rule = rule(&row)?;
                    if rule.state != state {
                        let put_rules = vec![Rule { state, ..rule }];
                        apply(connection, tenant, RuleChanges { put_rules, ..RuleChanges::default() }, now).await?;
                    }
                    Ok(true)
                })
            })
            .await
    }

    async fn list_rules(&self, tenant: TenantId) -> Result<Vec<Rule>> {
        readable(&sqlx::query(LIST).bind(tenant.0).fetch_all(&self.readers).await?, rule)
    }

    async fn list_endpoints(&self, tenant: TenantId) -> Result<Vec<Endpoint>> {
        endpoints::list(&self.readers, tenant).await
    }

    async fn rules_version(&self) -> Result<i64> {
        Ok(sqlx::query_scalar(VERSION).fetch_one(&self.readers).await?)
    }

    async fn active_rules(&self) -> Result<RuleSnapshot> {
        let rows = sqlx::query(ACTIVE).fetch_all(&self.readers).await?;
        let version = rows.first().map(|row| Cells::of("counters", row).take()).transpose()?.unwrap_or_default();
        let rules = readable(&rows, |row| {
            let mut cells = Cells::of("rules", row);
            cells.take::<i64>()?;
            cells.json_or_none()
        })?;
        Ok(RuleSnapshot { version, rules: rules.into_iter().flatten().collect() })
    }

    async fn sealed_targets(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<(EndpointId, Sealed)>> {
        endpoints::sealed(&self.readers, after, limit).await
    }

    async fn reseal_target(&self, id: EndpointId, old: &Sealed, new: Sealed) -> Result<bool> {
        let old = old.clone();
        self.queue.write(move |connection| Box::pin(endpoints::reseal(connection, id, old, new))).await
    }
}

/// Marks that what rules see has changed, so that no evaluation that began before is committed.
pub(super) async fn bump_version(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query(BUMP_VERSION).execute(connection).await?;
    Ok(())
}

/// The version of the rules, as the transaction sees it.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64> {
    Ok(sqlx::query_scalar(VERSION).fetch_one(connection).await?)
}

fn rule(row: &SqliteRow) -> Result<Rule> {
    Cells::of("rules", row).json()
}

async fn apply(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    changes: RuleChanges,
    now: Timestamp,
) -> Result<()> {
    let mut scene = scene(connection, tenant).await?;
    let mut moves = Moves::default();
    remove(connection, tenant, &changes.remove_rules, &mut scene, now).await?;
    endpoints::remove(connection, tenant, &changes.remove_endpoints).await?;
    outbox::fail_removed(connection, tenant, &changes.remove_endpoints, now).await?;
    for rule in &changes.put_rules {
        for (project, instant) in scene.instants(rule) {
            let seq = last_before(connection, tenant, project, instant).await?;
            scene.before.insert((project, instant), seq);
        }
        scene.put(rule, now, &mut moves);
    }
    put(connection, tenant, &changes.put_rules).await?;
    endpoints::put(connection, tenant, &changes.put_endpoints).await?;
    standing::store_moves(connection, tenant, &moves).await?;
    bump_version(connection).await
}

/// Moves rules as the new name of a project asks. To be called while it still has the old one.
pub(super) async fn rename_project(connection: &mut SqliteConnection, to: &Project, now: Timestamp) -> Result<()> {
    let mut scene = scene(connection, to.tenant_id).await?;
    let mut moves = Moves::default();
    scene.rename(to.id, &to.name, now, &mut moves);
    standing::store_moves(connection, to.tenant_id, &moves).await?;
    bump_version(connection).await
}

async fn scene(connection: &mut SqliteConnection, tenant: TenantId) -> Result<Scene> {
    let rows = sqlx::query(GROUNDS).bind(tenant.0).fetch_all(&mut *connection).await?;
    let grounds = rows.iter().map(ground).collect::<Result<_>>()?;
    let rows = sqlx::query(LIST).bind(tenant.0).fetch_all(&mut *connection).await?;
    let rules = readable(&rows, rule)?;
    let mut scene = Scene::new(grounds, rules);
    scene.cursors = standing::cursors(connection, tenant).await?;
    scene.starts = standing::starts(connection, tenant).await?;
    Ok(scene)
}

fn ground(row: &SqliteRow) -> Result<Ground> {
    let mut cells = Cells::of("projects", row);
    Ok(Ground { project_id: ProjectId(cells.take()?), name: cells.take()?, last_seq: cells.take()? })
}

async fn last_before(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    project: ProjectId,
    instant: Timestamp,
) -> Result<i64> {
    let query = sqlx::query_scalar(BEFORE).bind(tenant.0).bind(project.0).bind(instant.0);
    Ok(query.fetch_optional(connection).await?.unwrap_or(0))
}

/// Takes rules out, with the endpoints written in them.
async fn remove(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    rules: &[RuleId],
    scene: &mut Scene,
    now: Timestamp,
) -> Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    for rule in rules {
        scene.remove(*rule);
    }
    let ids = id_list(rules.iter().map(|rule| rule.0));
    sqlx::query(DELETE).bind(tenant.0).bind(&ids).execute(&mut *connection).await?;
    standing::forget_rules(connection, tenant, &ids).await?;
    endpoints::remove_of_rules(connection, tenant, &ids).await?;
    outbox::fail_rules(connection, tenant, &ids, now).await
}

async fn put(connection: &mut SqliteConnection, tenant: TenantId, rules: &[Rule]) -> Result<()> {
    let mut keys = HashSet::new();
    if let Some(twice) = rules.iter().find(|rule| !keys.insert(rule.key.as_str())) {
        return Err(StoreError::Conflict(format!("a rule with the key `{}`", twice.key)));
    }
    let rows =
        rules.iter().map(|rule| Ok((rule, json_text(&rule.state)?, json_text(rule)?))).collect::<Result<Vec<_>>>()?;
    let written = insert(connection, &UPSERT, &rows, |values, (rule, state, text)| {
        values.push(tenant.0).push(rule.id.0).push(rule.key.as_str());
        values.push(state.trim_matches('"')).push(text.as_str());
    })
    .await;
    match written {
        Ok(_) => Ok(()),
        Err(error) if is_repeat(&error) => Err(StoreError::Conflict("a rule with one of these keys".to_owned())),
        Err(error) => Err(error.into()),
    }
}
