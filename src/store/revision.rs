//! Revising a tenant's rules: the transaction behind `apply_rules`.
//!
//! Where rules come to stand is [`placement`](crate::store::placement)'s business, the statements are the backend's; here
//! is the order of the steps. A revision excludes other revisions and commits of windows for as long as it runs, and ends
//! in a new version of the rules.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use crate::model::endpoint::Endpoint;
use crate::model::id::{EndpointId, ProjectId, RuleId, TenantId};
use crate::model::project::Project;
use crate::model::rule::{Rule, RuleState};
use crate::model::time::Timestamp;
use crate::model::window::{Cursor, GroupKey, Seq};
use crate::store::placement::{Ground, Moves, Scene};
use crate::store::row::json_text;
use crate::store::rules::{Demand, RuleChanges};
use crate::store::{Result, StoreError};

/// The schema that knows of threads. A binary that knows less would take a rule on threads for one on single runs.
const KNOWS_THREADS: i64 = 20;

/// A rule with the columns it is found by.
pub(in crate::store) struct RuleRow<'a> {
    pub(in crate::store) rule: &'a Rule,
    pub(in crate::store) state: String,
    pub(in crate::store) text: String,
}

/// An endpoint with its JSON columns.
pub(in crate::store) struct EndpointRow<'a> {
    pub(in crate::store) endpoint: &'a Endpoint,
    pub(in crate::store) shown: String,
    pub(in crate::store) format: String,
    pub(in crate::store) policy: String,
    pub(in crate::store) overrides: Option<String>,
}

impl<'a> EndpointRow<'a> {
    pub(in crate::store) fn of(endpoint: &'a Endpoint) -> Result<Self> {
        let (shown, format) = (json_text(&endpoint.shown)?, json_text(&endpoint.format)?);
        let overrides = &endpoint.overrides;
        let overrides = if overrides.is_empty() { None } else { Some(json_text(overrides)?) };
        Ok(Self { endpoint, shown, format, policy: json_text(&endpoint.policy)?, overrides })
    }
}

/// The rows that a revision reads and writes. A method is a few statements; nothing here decides.
#[async_trait]
pub(in crate::store) trait RuleRows: Send {
    /// The tenant's projects.
    async fn grounds(&mut self, tenant: TenantId) -> Result<Vec<Ground>>;

    /// Those of the tenant's rules that decode.
    async fn rules(&mut self, tenant: TenantId) -> Result<Vec<Rule>>;

    /// All cursors of the tenant's groups.
    async fn cursors(&mut self, tenant: TenantId) -> Result<HashMap<GroupKey, Cursor>>;

    /// All starts of the tenant's rules.
    async fn starts(&mut self, tenant: TenantId) -> Result<HashMap<(ProjectId, RuleId), Seq>>;

    /// The last change of a project before an instant, or 0.
    async fn last_before(&mut self, tenant: TenantId, project: ProjectId, instant: Timestamp) -> Result<Seq>;

    /// Those of these endpoints that are there.
    async fn endpoints_there(&mut self, tenant: TenantId, endpoints: &[EndpointId]) -> Result<Vec<EndpointId>>;

    /// Removes rules with their starts, spans and own endpoints; their waiting deliveries fail as `rule removed`.
    async fn remove_rules(&mut self, tenant: TenantId, rules: &[RuleId], now: Timestamp) -> Result<()>;

    /// Removes endpoints; their waiting deliveries fail as `endpoint removed`.
    async fn remove_endpoints(&mut self, tenant: TenantId, endpoints: &[EndpointId], now: Timestamp) -> Result<()>;

    /// Stores rules, by id. A key that another rule has is a conflict.
    async fn put_rules(&mut self, tenant: TenantId, rows: &[RuleRow<'_>]) -> Result<()>;

    /// Stores endpoints, by id. A key that another endpoint has is a conflict.
    async fn put_endpoints(&mut self, tenant: TenantId, rows: &[EndpointRow<'_>]) -> Result<()>;

    /// Writes where rules have come to stand.
    async fn put_moves(&mut self, tenant: TenantId, moves: &Moves) -> Result<()>;

    /// Gives the rules their next version.
    async fn bump_version(&mut self) -> Result<()>;

    /// Raises the least version that a binary must know in order to use the database, if it is lower.
    async fn ask_for(&mut self, version: i64) -> Result<()>;
}

/// Applies changes to a tenant's rules.
pub(super) async fn apply(
    rows: &mut dyn RuleRows,
    tenant: TenantId,
    changes: &RuleChanges,
    now: Timestamp,
) -> Result<()> {
    demand_presence(rows, tenant, &changes.demands).await?;
    let mut scene = scene(rows, tenant).await?;
    let mut moves = Moves::default();
    remove(rows, &mut scene, tenant, changes, now).await?;
    for rule in &changes.put_rules {
        for (project, instant) in scene.instants(rule) {
            let seq = rows.last_before(tenant, project, instant).await?;
            scene.before.insert((project, instant), seq);
        }
        scene.put(rule, &mut moves);
    }
    for rule in &changes.hasten_rules {
        scene.hasten(*rule, &mut moves);
    }
    demand_unused(&scene, &changes.demands)?;
    put_rules(rows, tenant, &changes.put_rules).await?;
    put_endpoints(rows, tenant, &changes.put_endpoints).await?;
    rows.put_moves(tenant, &moves).await?;
    rows.bump_version().await
}

async fn remove(
    rows: &mut dyn RuleRows,
    scene: &mut Scene,
    tenant: TenantId,
    changes: &RuleChanges,
    now: Timestamp,
) -> Result<()> {
    if !changes.remove_rules.is_empty() {
        for rule in &changes.remove_rules {
            scene.remove(*rule);
        }
        rows.remove_rules(tenant, &changes.remove_rules, now).await?;
    }
    if !changes.remove_endpoints.is_empty() {
        rows.remove_endpoints(tenant, &changes.remove_endpoints, now).await?;
    }
    Ok(())
}

/// Finds out whether endpoints are there, or are not, as is asked.
async fn demand_presence(rows: &mut dyn RuleRows, tenant: TenantId, demands: &[(EndpointId, Demand)]) -> Result<()> {
    let asked: Vec<(EndpointId, bool)> = demands
        .iter()
        .filter(|(_, demand)| *demand != Demand::Unused)
        .map(|(endpoint, demand)| (*endpoint, *demand == Demand::There))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let ids: Vec<EndpointId> = asked.iter().map(|(endpoint, _)| *endpoint).collect();
    let there: HashSet<EndpointId> = rows.endpoints_there(tenant, &ids).await?.into_iter().collect();
    if asked.iter().any(|(endpoint, is_there)| there.contains(endpoint) != *is_there) {
        return Err(StoreError::Stale("an endpoint"));
    }
    Ok(())
}

/// Finds out whether rules send to endpoints that must not be used.
fn demand_unused(scene: &Scene, demands: &[(EndpointId, Demand)]) -> Result<()> {
    let mut unused = demands.iter().filter(|(_, demand)| *demand == Demand::Unused);
    if unused.any(|(endpoint, _)| scene.sends_to(*endpoint)) {
        return Err(StoreError::Stale("what a rule sends to"));
    }
    Ok(())
}

/// Applies another state of a stored rule.
pub(super) async fn set_state(
    rows: &mut dyn RuleRows,
    tenant: TenantId,
    rule: Rule,
    state: RuleState,
    now: Timestamp,
) -> Result<()> {
    if rule.state == state {
        return Ok(());
    }
    let put_rules = vec![Rule { state, ..rule }];
    apply(rows, tenant, &RuleChanges { put_rules, ..RuleChanges::default() }, now).await
}

/// Moves rules as the new name of a project asks. To be called while it still has the old one.
pub(super) async fn rename(rows: &mut dyn RuleRows, to: &Project) -> Result<()> {
    let mut scene = scene(rows, to.tenant_id).await?;
    let mut moves = Moves::default();
    let following = scene.rename(to.id, &to.name, &mut moves);
    put_rules(rows, to.tenant_id, &following).await?;
    rows.put_moves(to.tenant_id, &moves).await?;
    rows.bump_version().await
}

async fn scene(rows: &mut dyn RuleRows, tenant: TenantId) -> Result<Scene> {
    let grounds = rows.grounds(tenant).await?;
    let mut scene = Scene::new(grounds, rows.rules(tenant).await?);
    scene.cursors = rows.cursors(tenant).await?;
    scene.starts = rows.starts(tenant).await?;
    Ok(scene)
}

async fn put_rules(rows: &mut dyn RuleRows, tenant: TenantId, rules: &[Rule]) -> Result<()> {
    let mut keys = HashSet::new();
    if let Some(twice) = rules.iter().find(|rule| !keys.insert(rule.key.as_str())) {
        return Err(StoreError::Conflict(format!("a rule with the key `{}`", twice.key)));
    }
    let mut ids = HashSet::new();
    if let Some(twice) = rules.iter().find(|rule| !ids.insert(rule.id)) {
        return Err(StoreError::Conflict(format!("a rule with the id {}", twice.id)));
    }
    let put = rules
        .iter()
        .map(|rule| {
            let state = json_text(&rule.state)?.trim_matches('"').to_owned();
            Ok(RuleRow { rule, state, text: json_text(rule)? })
        })
        .collect::<Result<Vec<_>>>()?;
    if rules.iter().any(|rule| rule.group_by.is_some()) {
        rows.ask_for(KNOWS_THREADS).await?;
    }
    if put.is_empty() { Ok(()) } else { rows.put_rules(tenant, &put).await }
}

/// Stores endpoints, each once.
pub(super) async fn put_endpoints(rows: &mut dyn RuleRows, tenant: TenantId, endpoints: &[Endpoint]) -> Result<()> {
    let mut ids = HashSet::new();
    if let Some(twice) = endpoints.iter().find(|endpoint| !ids.insert(endpoint.id)) {
        return Err(StoreError::Conflict(format!("an endpoint with the id {}", twice.id)));
    }
    let put = endpoints.iter().map(EndpointRow::of).collect::<Result<Vec<_>>>()?;
    if put.is_empty() { Ok(()) } else { rows.put_endpoints(tenant, &put).await }
}
