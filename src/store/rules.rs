//! Rules and endpoints.

use async_trait::async_trait;

use crate::model::audit::Entry;
use crate::model::endpoint::{Disabled, Endpoint};
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::model::rule::{Rule, RuleState};
use crate::model::sealed::Sealed;
use crate::model::time::Timestamp;
use crate::store::Result;

/// A set of changes to a tenant's rules, applied whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct RuleChanges {
    /// Rules to add or replace, by id.
    pub put_rules: Vec<Rule>,
    /// Endpoints to add or replace, by id. Those that are disabled stay so, and the others do not become it.
    pub put_endpoints: Vec<Endpoint>,
    /// Rules to remove. What they matched and sent stays; their waiting deliveries fail as `rule removed`.
    pub remove_rules: Vec<RuleId>,
    /// Endpoints to remove. Their waiting deliveries fail as `endpoint removed`.
    pub remove_endpoints: Vec<EndpointId>,
    /// Rules that see at once what there is, whatever their cadence.
    pub hasten_rules: Vec<RuleId>,
    /// What must hold of endpoints. Where it does not nothing is applied, and it is `Stale`.
    pub demands: Vec<(EndpointId, Demand)>,
    /// What the audit log tells of them.
    pub told: Vec<Entry>,
}

/// What must hold of an endpoint for changes to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It is there before them.
    There,
    /// It is not there before them.
    NotThere,
    /// No rule sends to it after them.
    Unused,
}

impl RuleChanges {
    /// The same for a second try, when nobody knows whether the first one was applied: what it added may be there.
    pub(super) fn again(&self) -> Self {
        let demands = self.demands.iter().copied().filter(|(_, demand)| *demand != Demand::NotThere).collect();
        Self { demands, ..self.clone() }
    }
}

/// The rules of all tenants at one moment.
#[derive(Debug, Clone, Default)]
pub struct RuleSnapshot {
    /// Rises with every change to any rule.
    pub version: i64,
    /// All active rules.
    pub rules: Vec<Rule>,
}

/// Rules and endpoints.
#[async_trait]
pub trait RuleStore: Send + Sync {
    /// Applies changes in one transaction. For every existing project a rule matches: a new rule starts at the newest
    /// change (a span brings it what arrived since its `backfill_from`); an edited rule keeps its place, also when its
    /// cadence or settle time puts it into another group (see [`crate::store::placement`]).
    async fn apply_rules(&self, tenant: TenantId, changes: RuleChanges, now: Timestamp) -> Result<()>;

    /// Pauses or resumes a rule. A resumed rule starts at the newest change. Whether it was there.
    async fn set_rule_state(
        &self,
        tenant: TenantId,
        id: RuleId,
        state: RuleState,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool>;

    /// A tenant's rules, by key.
    async fn list_rules(&self, tenant: TenantId) -> Result<Vec<Rule>>;

    /// A tenant's endpoints, in no order.
    async fn list_endpoints(&self, tenant: TenantId) -> Result<Vec<Endpoint>>;

    /// Disables an endpoint (its waiting deliveries fail as `endpoint disabled`) or enables it. Whether it was there.
    async fn set_endpoint_state(
        &self,
        tenant: TenantId,
        id: EndpointId,
        disabled: Option<Disabled>,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool>;

    /// The version of the rules: cheap enough for every pass.
    async fn rules_version(&self) -> Result<i64>;

    /// All active rules of all tenants.
    async fn active_rules(&self) -> Result<RuleSnapshot>;

    /// Up to `limit` sealed targets after this endpoint, in order of id: for sealing them anew.
    async fn sealed_targets(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<(EndpointId, Sealed)>>;

    /// Replaces a sealed target if it is still `old`. Whether it was.
    async fn reseal_target(&self, id: EndpointId, old: &Sealed, new: Sealed) -> Result<bool>;
}
