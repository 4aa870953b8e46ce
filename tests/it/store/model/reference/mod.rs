//! A store in memory that is as plain as can be: maps, loops over everything, and a copy of it all for each operation, so
//! that one that fails has changed nothing. It knows no SQL, no indexes, no locks and no batches of rows.
//!
//! What is pure and has laws and tests of its own (how parts merge into a run, how ids are derived) is taken from `model`.

mod asides;
mod events;
mod names;
mod outbox;
mod projects;
mod retention;
mod rules;
mod runs;
mod search;
mod threads;
mod windows;

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use runhook::model::audit::Entry;
use runhook::model::delivery::{Attempt, Delivery};
use runhook::model::endpoint::Endpoint;
use runhook::model::feedback::Feedback;
use runhook::model::id::{ApiKeyId, DeliveryId, EndpointId, FeedbackId, MessageId, ProjectId, RuleId, RunId, TenantId};
use runhook::model::message::Message;
use runhook::model::project::Project;
use runhook::model::rule::Rule;
use runhook::model::run::{Layers, Part, Run};
use runhook::model::time::Timestamp;
use runhook::model::window::{Change, Cursor, GroupKey, Seq, Window};
use runhook::store::keys::ApiKey;
use runhook::store::windows::ProjectKey;
use runhook::store::{KeyStore, Result, StoreError};
use uuid::Uuid;

/// The store.
pub(super) struct Reference(Mutex<State>);

#[derive(Clone, Default)]
struct State {
    rules_version: i64,
    tenants: BTreeMap<TenantId, Tenant>,
    keys: Vec<ApiKey>,
    markers: BTreeMap<String, Vec<u8>>,
    /// Who holds a project, and until when.
    leases: BTreeMap<ProjectKey, (Uuid, Timestamp)>,
}

#[derive(Clone, Default)]
struct Tenant {
    projects: BTreeMap<ProjectId, Log>,
    runs: BTreeMap<RunId, Known>,
    waiting: BTreeMap<RunId, Vec<Part>>,
    /// Feedback, and the project it is in as long as its run is not known.
    feedback: BTreeMap<FeedbackId, (Feedback, Option<ProjectId>)>,
    rules: BTreeMap<RuleId, Rule>,
    starts: BTreeMap<(ProjectId, RuleId), Seq>,
    /// From after the last number through the value.
    spans: BTreeMap<(ProjectId, RuleId, Seq), Seq>,
    cursors: BTreeMap<GroupKey, Cursor>,
    matches: BTreeMap<(RuleId, RunId), ProjectId>,
    windows: Vec<(Window, BTreeMap<RuleId, u32>)>,
    messages: BTreeMap<MessageId, Message>,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    deliveries: BTreeMap<DeliveryId, Sent>,
}

#[derive(Clone)]
struct Log {
    project: Project,
    changes: Vec<Change>,
    settled: Seq,
}

/// What is known of a run whose project is. It is there for readers when it is complete.
#[derive(Clone)]
struct Known {
    project: ProjectId,
    layers: Layers,
    run: Option<Run>,
    seq: Seq,
}

#[derive(Clone)]
struct Sent {
    delivery: Delivery,
    /// When it can be claimed: at `due_at`, or when the lease ends.
    ready: Timestamp,
    holder: Option<Uuid>,
    attempts: Vec<Attempt>,
}

impl Log {
    fn last(&self) -> Seq {
        self.changes.last().map_or(0, |change| change.seq)
    }
}

impl Reference {
    pub(super) fn new() -> Self {
        let mut state = State::default();
        state.tenant(TenantId::DEFAULT).ensure_default(TenantId::DEFAULT);
        Self(Mutex::new(state))
    }

    /// Does all of an operation or nothing.
    fn change<T>(&self, operation: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.0.lock().unwrap();
        let mut changed = state.clone();
        let outcome = operation(&mut changed)?;
        *state = changed;
        Ok(outcome)
    }

    fn look<T>(&self, at: impl FnOnce(&State) -> T) -> T {
        at(&self.0.lock().unwrap())
    }

    fn look_at<T>(&self, tenant: TenantId, at: impl FnOnce(&Tenant) -> T) -> T {
        self.look(|state| at(state.tenants.get(&tenant).unwrap_or(&Tenant::default())))
    }
}

impl State {
    fn tenant(&mut self, id: TenantId) -> &mut Tenant {
        self.tenants.entry(id).or_default()
    }
}

fn conflict<T>(what: &str) -> Result<T> {
    Err(StoreError::Conflict(what.to_owned()))
}

#[async_trait]
impl KeyStore for Reference {
    async fn put_api_key(&self, key: ApiKey, _: Option<Entry>) -> Result<()> {
        self.change(|state| {
            if state.keys.iter().any(|known| known.hash == key.hash) {
                return Ok(());
            }
            if state.keys.iter().any(|known| known.id == key.id) {
                return conflict("an API key");
            }
            state.keys.push(key);
            Ok(())
        })
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        let mut keys = self.look(|state| state.keys.clone());
        keys.sort_by_key(|key| (key.created_at, key.id));
        Ok(keys)
    }

    async fn revoke_api_key(&self, id: ApiKeyId, now: Timestamp, _: Option<Entry>) -> Result<bool> {
        self.change(|state| {
            let valid = state.keys.iter_mut().find(|key| key.id == id && key.revoked_at.is_none());
            Ok(valid.map(|key| key.revoked_at = Some(now)).is_some())
        })
    }

    async fn marker(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.look(|state| state.markers.get(name).cloned()))
    }

    async fn set_marker(&self, name: &str, value: &[u8]) -> Result<()> {
        self.change(|state| {
            state.markers.insert(name.to_owned(), value.to_vec());
            Ok(())
        })
    }

    async fn check_writable(&self, _now: Timestamp) -> Result<()> {
        Ok(())
    }

    async fn check_schema(&self) -> Result<()> {
        Ok(())
    }

    async fn wipe(&self, _: Option<Entry>) -> Result<()> {
        self.change(|state| {
            state.tenants.clear();
            state.tenant(TenantId::DEFAULT).ensure_default(TenantId::DEFAULT);
            state.rules_version += 1;
            Ok(())
        })
    }

    async fn wipe_tenant(&self, tenant: TenantId, _: Option<Entry>) -> Result<()> {
        self.change(|state| {
            state.tenants.remove(&tenant);
            state.tenant(tenant).ensure_default(tenant);
            state.rules_version += 1;
            Ok(())
        })
    }

    async fn close(&self) {}
}
