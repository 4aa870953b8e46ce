//! A store that fails, or lets something else happen first, where it is told to. All else goes to the real one.

mod asides;
mod events;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use runhook::model::audit::Entry;
use runhook::model::delivery::{Attempt, Delivery, Lease};
use runhook::model::endpoint::{Disabled, Endpoint};
use runhook::model::feedback::Feedback;
use runhook::model::id::{
    ApiKeyId, DeliveryId, EndpointId, FeedbackId, MessageId, ProjectId, RuleId, RunId, TenantId, ThreadId, TraceId,
};
use runhook::model::message::Message;
use runhook::model::project::Project;
use runhook::model::rule::{Rule, RuleState};
use runhook::model::run::{BlobKey, StoredRun};
use runhook::model::sealed::Sealed;
use runhook::model::time::Timestamp;
use runhook::model::window::{Change, Seq, Window};
use runhook::store::keys::ApiKey;
use runhook::store::outbox::{Claim, Claimant, DeliveryQuery, Finished, Share, Waiting};
use runhook::store::projects::ProjectQuery;
use runhook::store::retention::{Aged, Dropped, DroppedMessages, DroppedRuns, Ended, OldRuns};
use runhook::store::rule_log::{LogEntry, LogQuery};
use runhook::store::rules::{RuleChanges, RuleSnapshot};
use runhook::store::runs::{Accepted, Batch, FeedbackQuery, Kin, RunQuery};
use runhook::store::search::{Found, Search};
use runhook::store::threads::{ThreadStore, Turn};
use runhook::store::windows::{ProjectKey, Standing, Stirred, WindowCommit};
use runhook::store::{
    KeyStore, OutboxStore, ProjectStore, Result, RetentionStore, RuleLogStore, RuleStore, RunStore, Store, StoreError,
    WindowStore,
};
use uuid::Uuid;

/// What happens to the next commit of a window.
pub(crate) enum Fault {
    /// The process dies before it: nothing is written, and the answer is lost.
    Before,
    /// The process dies after it: all is written, and the answer is lost.
    After,
    /// Someone else does this first.
    Meanwhile(Box<dyn FnOnce(Arc<dyn Store>) -> BoxFuture<'static, ()> + Send>),
}

/// How leases of projects go wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Leases {
    /// They do not.
    #[default]
    Kept,
    /// Nothing is given back: who holds a project dies with it.
    Lost,
    /// Everybody gets what he asks for: clocks differ.
    Blind,
}

/// What is to go wrong, and what was asked for.
#[derive(Default)]
pub(crate) struct Faults {
    leases: Mutex<Leases>,
    committed: Mutex<usize>,
    commits: Mutex<VecDeque<Fault>>,
    reads: Mutex<usize>,
    loaded: Mutex<usize>,
}

impl Faults {
    pub(crate) fn at_commit(&self, fault: Fault) {
        self.commits.lock().unwrap().push_back(fault);
    }

    /// Nothing more goes wrong.
    pub(super) fn forget(&self) {
        self.commits.lock().unwrap().clear();
    }

    /// How often something was asked of a single project since this was last asked.
    pub(super) fn take_reads(&self) -> usize {
        std::mem::take(&mut *self.reads.lock().unwrap())
    }

    /// How many runs and traces were asked for whole since this was last asked.
    pub(super) fn take_loaded(&self) -> usize {
        std::mem::take(&mut *self.loaded.lock().unwrap())
    }

    pub(super) fn leases(&self, leases: Leases) {
        *self.leases.lock().unwrap() = leases;
    }

    /// How often a window was to be committed since this was last asked.
    pub(super) fn take_commits(&self) -> usize {
        std::mem::take(&mut *self.committed.lock().unwrap())
    }

    fn leases_are(&self) -> Leases {
        *self.leases.lock().unwrap()
    }

    fn next(&self) -> Option<Fault> {
        self.commits.lock().unwrap().pop_front()
    }

    fn read(&self) {
        *self.reads.lock().unwrap() += 1;
    }
}

pub(crate) struct FaultyStore {
    pub(super) real: Arc<dyn Store>,
    faults: Arc<Faults>,
}

impl FaultyStore {
    pub(crate) fn new(real: Arc<dyn Store>, faults: Arc<Faults>) -> Self {
        Self { real, faults }
    }
}

fn died() -> StoreError {
    StoreError::Internal("the process died".into())
}

#[async_trait]
impl WindowStore for FaultyStore {
    async fn stirred_projects(&self) -> Result<Vec<Stirred>> {
        self.real.stirred_projects().await
    }

    async fn lease_projects(&self, claimant: Claimant, projects: &[ProjectKey], limit: u32) -> Result<Vec<ProjectKey>> {
        if self.faults.leases_are() == Leases::Blind {
            return Ok(projects.iter().take(limit as usize).copied().collect());
        }
        self.real.lease_projects(claimant, projects, limit).await
    }

    async fn release_projects(&self, holder: Uuid, projects: &[ProjectKey]) -> Result<()> {
        if self.faults.leases_are() == Leases::Lost {
            return Ok(());
        }
        self.real.release_projects(holder, projects).await
    }

    async fn standing(&self, tenant: TenantId, project: ProjectId) -> Result<Standing> {
        self.faults.read();
        self.real.standing(tenant, project).await
    }

    async fn starts(&self, tenant: TenantId, project: ProjectId, beyond: Seq) -> Result<HashMap<RuleId, Seq>> {
        self.faults.read();
        self.real.starts(tenant, project, beyond).await
    }

    async fn changes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        after: Seq,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Change>> {
        self.faults.read();
        self.real.changes(tenant, project, after, until, limit).await
    }

    async fn matched(&self, tenant: TenantId, pairs: &[(RuleId, RunId)]) -> Result<HashSet<(RuleId, RunId)>> {
        self.real.matched(tenant, pairs).await
    }

    async fn commit_window(&self, commit: WindowCommit) -> Result<()> {
        *self.faults.committed.lock().unwrap() += 1;
        match self.faults.next() {
            None => self.real.commit_window(commit).await,
            Some(Fault::Before) => Err(died()),
            Some(Fault::After) => {
                self.real.commit_window(commit).await?;
                Err(died())
            }
            Some(Fault::Meanwhile(other)) => {
                other(Arc::clone(&self.real)).await;
                self.real.commit_window(commit).await
            }
        }
    }

    async fn settle_project(&self, tenant: TenantId, project: ProjectId, seq: Seq, rules_version: i64) -> Result<()> {
        self.real.settle_project(tenant, project, seq, rules_version).await
    }

    async fn rule_windows(&self, tenant: TenantId, rule: RuleId, limit: u32) -> Result<Vec<(Window, u32)>> {
        self.real.rule_windows(tenant, rule, limit).await
    }
}

#[async_trait]
impl RunStore for FaultyStore {
    async fn accept(&self, tenant: TenantId, batch: Batch, now: Timestamp) -> Result<Accepted> {
        self.real.accept(tenant, batch, now).await
    }

    async fn run(&self, tenant: TenantId, id: RunId) -> Result<Option<StoredRun>> {
        self.real.run(tenant, id).await
    }

    async fn runs(&self, tenant: TenantId, ids: &[RunId]) -> Result<Vec<StoredRun>> {
        self.faults.read();
        *self.faults.loaded.lock().unwrap() += ids.len();
        self.real.runs(tenant, ids).await
    }

    async fn traces(&self, tenant: TenantId, project: ProjectId, ids: &[TraceId]) -> Result<Vec<StoredRun>> {
        self.faults.read();
        *self.faults.loaded.lock().unwrap() += ids.len();
        self.real.traces(tenant, project, ids).await
    }

    async fn kin(&self, tenant: TenantId, project: ProjectId, ids: &[TraceId]) -> Result<Vec<Kin>> {
        self.faults.read();
        self.real.kin(tenant, project, ids).await
    }

    async fn list_runs(&self, tenant: TenantId, query: &RunQuery) -> Result<Vec<StoredRun>> {
        self.real.list_runs(tenant, query).await
    }

    async fn search_runs(&self, tenant: TenantId, search: &Search) -> Result<Vec<Found>> {
        self.real.search_runs(tenant, search).await
    }

    async fn feedback(&self, tenant: TenantId, id: FeedbackId) -> Result<Option<Feedback>> {
        self.real.feedback(tenant, id).await
    }

    async fn list_feedback(&self, tenant: TenantId, query: &FeedbackQuery) -> Result<Vec<Feedback>> {
        self.real.list_feedback(tenant, query).await
    }

    async fn delete_feedback(
        &self,
        tenant: TenantId,
        id: FeedbackId,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.real.delete_feedback(tenant, id, now, told).await
    }
}

#[async_trait]
impl RuleStore for FaultyStore {
    async fn apply_rules(&self, tenant: TenantId, changes: RuleChanges, now: Timestamp) -> Result<()> {
        self.real.apply_rules(tenant, changes, now).await
    }

    async fn set_rule_state(
        &self,
        tenant: TenantId,
        id: RuleId,
        state: RuleState,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.real.set_rule_state(tenant, id, state, now, told).await
    }

    async fn set_endpoint_state(
        &self,
        tenant: TenantId,
        id: EndpointId,
        disabled: Option<Disabled>,
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<bool> {
        self.real.set_endpoint_state(tenant, id, disabled, now, told).await
    }

    async fn list_rules(&self, tenant: TenantId) -> Result<Vec<Rule>> {
        self.real.list_rules(tenant).await
    }

    async fn list_endpoints(&self, tenant: TenantId) -> Result<Vec<Endpoint>> {
        self.real.list_endpoints(tenant).await
    }

    async fn rules_version(&self) -> Result<i64> {
        self.real.rules_version().await
    }

    async fn active_rules(&self) -> Result<RuleSnapshot> {
        self.real.active_rules().await
    }

    async fn sealed_targets(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<(EndpointId, Sealed)>> {
        self.real.sealed_targets(after, limit).await
    }

    async fn reseal_target(&self, id: EndpointId, old: &Sealed, new: Sealed) -> Result<bool> {
        self.real.reseal_target(id, old, new).await
    }
}

#[async_trait]
impl ThreadStore for FaultyStore {
    async fn threads_of(&self, tenant: TenantId, project: ProjectId, runs: &[RunId]) -> Result<Vec<(RunId, ThreadId)>> {
        self.faults.read();
        self.real.threads_of(tenant, project, runs).await
    }

    async fn turns(&self, tenant: TenantId, project: ProjectId, threads: &[ThreadId], limit: u32) -> Result<Vec<Turn>> {
        self.faults.read();
        self.real.turns(tenant, project, threads, limit).await
    }
}

#[async_trait]
impl RuleLogStore for FaultyStore {
    async fn rule_log(&self, tenant: TenantId, rule: RuleId, query: &LogQuery) -> Result<Vec<LogEntry>> {
        self.real.rule_log(tenant, rule, query).await
    }

    async fn last_change_before(&self, tenant: TenantId, project: ProjectId, instant: Timestamp) -> Result<Seq> {
        self.real.last_change_before(tenant, project, instant).await
    }
}

#[async_trait]
impl OutboxStore for FaultyStore {
    async fn waiting(&self, after: Option<EndpointId>, limit: u32) -> Result<Vec<Waiting>> {
        self.real.waiting(after, limit).await
    }

    async fn claim_deliveries(&self, claimant: Claimant, shares: &[Share]) -> Result<Vec<Claim>> {
        self.real.claim_deliveries(claimant, shares).await
    }

    async fn finish_attempts(&self, finished: &[Finished]) -> Result<Vec<Result<()>>> {
        self.real.finish_attempts(finished).await
    }

    async fn put_back(&self, leases: &[Lease]) -> Result<()> {
        self.real.put_back(leases).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.real.next_due().await
    }

    async fn message(&self, tenant: TenantId, id: MessageId) -> Result<Option<Message>> {
        self.real.message(tenant, id).await
    }

    async fn delivery(&self, tenant: TenantId, id: DeliveryId) -> Result<Option<(Delivery, Vec<Attempt>)>> {
        self.real.delivery(tenant, id).await
    }

    async fn list_deliveries(&self, tenant: TenantId, query: &DeliveryQuery) -> Result<Vec<Delivery>> {
        self.real.list_deliveries(tenant, query).await
    }

    async fn replay(&self, tenant: TenantId, ids: &[DeliveryId], now: Timestamp, told: Option<Entry>) -> Result<u64> {
        self.real.replay(tenant, ids, now, told).await
    }
}

#[async_trait]
impl ProjectStore for FaultyStore {
    async fn create_project(&self, project: Project) -> Result<Project> {
        self.real.create_project(project).await
    }

    async fn update_project(&self, project: Project) -> Result<()> {
        self.real.update_project(project).await
    }

    async fn delete_project(&self, tenant: TenantId, id: ProjectId, told: Option<Entry>) -> Result<bool> {
        self.real.delete_project(tenant, id, told).await
    }

    async fn project(&self, tenant: TenantId, id: ProjectId) -> Result<Option<Project>> {
        self.real.project(tenant, id).await
    }

    async fn list_projects(&self, tenant: TenantId, query: &ProjectQuery) -> Result<Vec<Project>> {
        self.real.list_projects(tenant, query).await
    }
}

#[async_trait]
impl RetentionStore for FaultyStore {
    async fn aged_projects(&self, before: Timestamp) -> Result<Vec<Aged>> {
        self.real.aged_projects(before).await
    }

    async fn drop_runs(&self, old: OldRuns) -> Result<DroppedRuns> {
        self.real.drop_runs(old).await
    }

    async fn drop_traces(
        &self,
        tenant: TenantId,
        project: ProjectId,
        traces: &[TraceId],
        now: Timestamp,
        told: Option<Entry>,
    ) -> Result<u64> {
        self.real.drop_traces(tenant, project, traces, now, told).await
    }

    async fn drop_messages(&self, before: Timestamp, after: Option<Ended>, limit: u32) -> Result<DroppedMessages> {
        self.real.drop_messages(before, after, limit).await
    }

    async fn drop_windows(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.real.drop_windows(before, limit).await
    }

    async fn drop_incomplete(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.real.drop_incomplete(before, limit).await
    }

    async fn forget_matches(&self, before: Timestamp, limit: u32) -> Result<Dropped> {
        self.real.forget_matches(before, limit).await
    }

    async fn unnamed_blobs(
        &self,
        tenant: TenantId,
        blobs: &[(RunId, BlobKey)],
        quiet_since: Timestamp,
    ) -> Result<Vec<BlobKey>> {
        self.real.unnamed_blobs(tenant, blobs, quiet_since).await
    }

    async fn drop_removed(&self, limit: u32) -> Result<Dropped> {
        self.real.drop_removed(limit).await
    }

    async fn begin_sweep(&self, now: Timestamp, since: Timestamp) -> Result<bool> {
        self.real.begin_sweep(now, since).await
    }
}

#[async_trait]
impl KeyStore for FaultyStore {
    async fn put_api_key(&self, key: ApiKey, told: Option<Entry>) -> Result<()> {
        self.real.put_api_key(key, told).await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.real.api_keys().await
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: Timestamp, told: Option<Entry>) -> Result<bool> {
        self.real.revoke_api_key(id, now, told).await
    }

    async fn marker(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.real.marker(name).await
    }

    async fn set_marker(&self, name: &str, value: &[u8]) -> Result<()> {
        self.real.set_marker(name, value).await
    }

    async fn check_writable(&self, now: Timestamp) -> Result<()> {
        self.real.check_writable(now).await
    }

    async fn check_schema(&self) -> Result<()> {
        self.real.check_schema().await
    }

    async fn wipe(&self, told: Option<Entry>) -> Result<()> {
        self.real.wipe(told).await
    }

    async fn wipe_tenant(&self, tenant: TenantId, told: Option<Entry>) -> Result<()> {
        self.real.wipe_tenant(tenant, told).await
    }

    async fn close(&self) {
        self.real.close().await;
    }
}
