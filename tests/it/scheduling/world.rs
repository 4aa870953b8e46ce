//! A database, a clock that stands still until it is moved, and a scheduler whose passes are run by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runhook::blob::BlobStore;
use runhook::blob::directory::Directory;
use runhook::config::Limits;
use runhook::crypto::{Keyring, random};
use runhook::model::endpoint::{Endpoint, Format, Overrides, Policy, ShownTarget};
use runhook::model::feedback::{Feedback, Score};
use runhook::model::health::Health;
use runhook::model::id::{EndpointId, FeedbackId, ProjectId, RuleId, RunId, TenantId, TraceId};
use runhook::model::json::RawJson;
use runhook::model::merge::digest;
use runhook::model::project::ProjectRef;
use runhook::model::rule::{Actions, BatchLimits, Cadence, Rule, RuleState};
use runhook::model::run::{Fields, Part, PartKind, Payload};
use runhook::model::sealed::Sealed;
use runhook::model::time::{Clock, ManualClock, Timestamp};
use runhook::model::window::{Change, Window};
use runhook::scheduler::{Parts, Scheduler};
use runhook::store::Store;
use runhook::store::outbox::DeliveryQuery;
use runhook::store::rules::RuleChanges;
use runhook::store::runs::Batch;
use runhook::task::{Activity as _, Next, Poke, Supervisor};
use serde::Deserialize;
use uuid::Uuid;

use super::faults::{Faults, FaultyStore};
use crate::support::home::Home;

pub(super) const TENANT: TenantId = TenantId::DEFAULT;
pub(super) const PROJECT: &str = "bot";

pub(super) struct World {
    pub(super) store: Arc<dyn Store>,
    pub(super) faults: Arc<Faults>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) blobs: Arc<Directory>,
    pub(super) delivery: Poke,
    pub(super) limits: Limits,
    schedulers: AtomicU32,
    _supervisor: Supervisor,
    home: Home,
}

/// One message as its receiver would see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) runs: Vec<u128>,
}

#[derive(Deserialize)]
struct Body {
    start_time: String,
    end_time: String,
    runs: Vec<BodyRun>,
}

#[derive(Deserialize)]
struct BodyRun {
    id: RunId,
    total_tokens: i64,
}

pub(super) fn run_id(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

/// A finished run of this name.
pub(super) fn finished(name: &str) -> Fields {
    Fields { end_time: Some(Timestamp(2_000_000)), ..begun(name) }
}

/// A run of this name that has not finished.
pub(super) fn begun(name: &str) -> Fields {
    Fields {
        name: Some(name.to_owned()),
        run_type: Some("chain".to_owned()),
        start_time: Some(Timestamp(1_000_000)),
        ..Fields::default()
    }
}

/// The patch that finishes a run.
pub(super) fn ended() -> Fields {
    Fields { end_time: Some(Timestamp(2_000_000)), ..Fields::default() }
}

/// The same under a parent, which is the root.
pub(super) fn below(root: u128, fields: Fields) -> Fields {
    Fields { parent_run_id: Some(run_id(root)), trace_id: Some(TraceId(Uuid::from_u128(root))), ..fields }
}

pub(super) fn part(number: u128, kind: PartKind, fields: Fields) -> Part {
    let run_id = run_id(number);
    let digest = digest(&fields, kind, run_id);
    Part { run_id, kind, project: Some(ProjectRef::Name(PROJECT.to_owned())), fields, digest }
}

/// A rule on finished runs named `a`, at once, with an endpoint.
pub(super) fn rule(key: &str) -> Rule {
    Rule {
        tenant_id: TENANT,
        id: RuleId::of_key(TENANT, key),
        key: key.to_owned(),
        name: key.to_owned(),
        project: PROJECT.to_owned(),
        filter: Some("eq(name, \"a\")".to_owned()),
        trace_filter: None,
        tree_filter: None,
        sampling_rate: 1.0,
        cadence: Cadence::Immediate,
        settle: Duration::ZERO,
        backfill_from: None,
        batch: BatchLimits::default(),
        endpoints: vec![endpoint().id],
        state: RuleState::Active,
        origin: None,
        actions: Actions::default(),
        group_by: None,
        registration: None,
        event: None,
    }
}

pub(super) fn every(seconds: u64) -> Cadence {
    Cadence::Every(Duration::from_secs(seconds))
}

pub(super) fn cron(expression: &str, timezone: &str) -> Cadence {
    Cadence::Cron { expression: expression.to_owned(), timezone: timezone.to_owned() }
}

fn endpoint() -> Endpoint {
    Endpoint {
        tenant_id: TENANT,
        id: EndpointId(Uuid::from_u128(77)),
        key: Some("sink".to_owned()),
        rule_id: None,
        alert_id: None,
        target: Sealed(vec![1]),
        shown: ShownTarget {
            url: "https://sink.example.com/…".to_owned(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            secrets: [].into(),
            signing: None,
        },
        format: Format::Langsmith,
        policy: Policy::Langsmith,
        overrides: Overrides::default(),
        origin: None,
        disabled: None,
        health: Health::default(),
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let (home, supervisor) = (Home::new(), Supervisor::default());
        let store = home.open(&supervisor).await;
        let faults = Arc::new(Faults::default());
        let store = Arc::new(FaultyStore::new(store, Arc::clone(&faults)));
        let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &random::<32>())).unwrap());
        let base_url = "http://127.0.0.1:4710".parse().unwrap();
        let world = Self {
            store,
            faults,
            clock: Arc::new(ManualClock::at(Timestamp::parse("2026-11-22T08:00:00Z").unwrap())),
            blobs: Arc::new(Directory::new(home.path().join("blobs"), base_url, keyring)),
            delivery: Poke::default(),
            limits,
            schedulers: AtomicU32::new(1),
            _supervisor: supervisor,
            home,
        };
        let changes = RuleChanges { put_endpoints: vec![endpoint()], ..RuleChanges::default() };
        world.store.apply_rules(TENANT, changes, world.now()).await.unwrap();
        world
    }

    /// Blob storage takes nothing any more, until it is told to again.
    pub(super) fn refuse_blobs(&self, refuse: bool) {
        let place = self.home.path().join("blobs");
        if refuse { std::fs::write(place, b"a file where a directory should be") } else { std::fs::remove_file(place) }
            .unwrap();
    }

    /// Has what is stored of a run not decode any more.
    pub(super) async fn break_run(&self, number: u128) {
        let run = self.store.run(TENANT, run_id(number)).await.unwrap().unwrap();
        // From now on it is read, and not told from memory.
        self.store.runs(TENANT, &[run_id(number)]).await.unwrap();
        // Bytes that say nothing, where every backend finds them.
        self.store.set_marker("garbage", &[0, 9]).await.unwrap();
        let of_run = format!("(SELECT run_id FROM runs WHERE changed_seq = {})", run.changed_seq);
        let garbage = "(SELECT value FROM markers WHERE name = 'garbage')";
        self.home.sql(&format!("UPDATE run_bodies SET body = {garbage} WHERE run_id = {of_run}")).await;
        assert!(!matches!(self.store.run(TENANT, run_id(number)).await, Ok(Some(_))));
    }

    pub(super) async fn sql(&self, statement: &str) {
        self.home.sql(statement).await;
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A scheduler that knows nothing yet: what a start of the process makes.
    pub(super) fn scheduler(&self) -> Scheduler {
        Scheduler::new(self.parts())
    }

    /// What a scheduler is made of, each time of another one.
    pub(super) fn parts(&self) -> Parts {
        Parts {
            store: Arc::clone(&self.store),
            blobs: Arc::clone(&self.blobs) as Arc<dyn BlobStore>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            limits: self.limits.clone(),
            delivery: self.delivery.clone(),
            poke: Poke::default(),
            instance: Uuid::from_u128(self.schedulers.fetch_add(1, Ordering::Relaxed).into()),
        }
    }

    pub(super) async fn apply(&self, rules: &[Rule]) {
        let changes = RuleChanges { put_rules: rules.to_vec(), ..RuleChanges::default() };
        self.store.apply_rules(TENANT, changes, self.now()).await.unwrap();
    }

    pub(super) async fn set_state(&self, key: &str, state: RuleState) {
        assert!(self.store.set_rule_state(TENANT, RuleId::of_key(TENANT, key), state, self.now(), None).await.unwrap());
    }

    pub(super) async fn send(&self, parts: Vec<Part>) {
        let accepted = self
            .store
            .accept(TENANT, Batch { parts, feedback: Vec::new(), ..Batch::default() }, self.now())
            .await
            .unwrap();
        assert!(accepted.refused.is_empty(), "{accepted:?}");
    }

    pub(super) async fn post(&self, number: u128, fields: Fields) {
        self.send(vec![part(number, PartKind::Post, fields)]).await;
    }

    pub(super) async fn patch(&self, number: u128, fields: Fields) {
        self.send(vec![part(number, PartKind::Patch, fields)]).await;
    }

    pub(super) async fn judge(&self, number: u128, key: &str, score: f64) {
        let feedback = Feedback {
            id: FeedbackId(Uuid::from_u128(number << 8)),
            run_id: Some(run_id(number)),
            trace_id: None,
            session_id: None,
            key: key.to_owned(),
            score: Some(Score::Number(score)),
            value: None,
            comment: None,
            correction: None,
            source: None,
            extra: None,
            error: None,
            created_at: self.now(),
            modified_at: self.now(),
        };
        let batch = Batch { parts: Vec::new(), feedback: vec![feedback], ..Batch::default() };
        self.store.accept(TENANT, batch, self.now()).await.unwrap();
    }

    /// What was said for a rule, in the order in which it was found.
    pub(super) async fn told(&self, key: &str) -> Vec<Told> {
        let mut told = Vec::new();
        for text in self.bodies(key).await {
            let body: Body = serde_json::from_str(&text).unwrap();
            told.push(Told {
                start: Timestamp::parse(&body.start_time).unwrap(),
                end: Timestamp::parse(&body.end_time).unwrap(),
                runs: body.runs.iter().map(|run| run.id.0.as_u128()).collect(),
            });
        }
        told
    }

    /// The tokens that were told for a rule, run by run.
    pub(super) async fn told_tokens(&self, key: &str) -> Vec<i64> {
        let bodies = self.bodies(key).await;
        let bodies = bodies.iter().map(|text| serde_json::from_str::<Body>(text).unwrap());
        bodies.flat_map(|body| body.runs).map(|run| run.total_tokens).collect()
    }

    /// The same as it would be sent.
    pub(super) async fn bodies(&self, key: &str) -> Vec<String> {
        let rule_id = Some(RuleId::of_key(TENANT, key));
        let query = DeliveryQuery { rule_id, limit: 10_000, ..DeliveryQuery::default() };
        let mut deliveries = self.store.list_deliveries(TENANT, &query).await.unwrap();
        deliveries.sort_by_key(|delivery| delivery.created_at);
        let mut bodies = Vec::new();
        for delivery in deliveries {
            let message = self.store.message(TENANT, delivery.message_id).await.unwrap().unwrap();
            let body: Body = serde_json::from_str(&message.body.json).unwrap();
            assert_eq!(message.runs as usize, body.runs.len());
            bodies.push(message.body.json.clone());
        }
        bodies
    }

    /// The runs that were told for a rule, message by message.
    pub(super) async fn told_runs(&self, key: &str) -> Vec<Vec<u128>> {
        self.told(key).await.into_iter().map(|told| told.runs).collect()
    }

    /// A rule's windows with matches, oldest first.
    pub(super) async fn windows(&self, key: &str) -> Vec<(Window, u32)> {
        let mut windows = self.store.rule_windows(TENANT, RuleId::of_key(TENANT, key), 10_000).await.unwrap();
        windows.reverse();
        windows
    }

    pub(super) async fn changes(&self) -> Vec<Change> {
        let project = ProjectId::of_name(TENANT, PROJECT);
        self.store.changes(TENANT, project, 0, Timestamp(i64::MAX), u32::MAX).await.unwrap()
    }

    pub(super) async fn pass(&self, scheduler: &mut Scheduler) -> Next {
        // Each pass has an instant of its own, so that what it made can be put in order.
        self.clock.advance(Duration::from_millis(1));
        scheduler.pass().await.unwrap()
    }

    /// Runs passes until nothing is due now.
    pub(super) async fn settle(&self, scheduler: &mut Scheduler) -> Next {
        let mut next = Next::Now;
        let mut passes = 0;
        while next == Next::Now {
            passes += 1;
            assert!(passes < 1_000, "the scheduler found no rest");
            next = self.pass(scheduler).await;
        }
        next
    }
}

/// Inputs of about that many bytes.
pub(super) fn inputs(bytes: usize) -> Payload {
    let text = format!("{{\"text\":\"{}\"}}", "x".repeat(bytes));
    Payload::Inline(RawJson::parse(text).unwrap())
}
