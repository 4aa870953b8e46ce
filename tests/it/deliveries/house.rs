//! A delivery loop and its API on a real database, with a rule that has matched.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as HttpBody, to_bytes};
use axum::http::{Request, StatusCode, header};
use runhook::api::auth::Auth;
use runhook::api::{self, Api};
use runhook::config::Limits;
use runhook::crypto::{Keyring, seal_target, shown};
use runhook::delivery::{Conduct, Guard, Parts, Sender, Vetting};
use runhook::ingest::Budget;
use runhook::model::delivery::{Delivery, DeliveryState};
use runhook::model::endpoint::{Endpoint, Format, Overrides, Policy, Target};
use runhook::model::event::Subscription;
use runhook::model::health::Health;
use runhook::model::id::{
    ApplicationId, DeliveryId, EndpointId, MessageId, ProjectId, RuleId, RunId, TenantId, TraceId, WindowId,
};
use runhook::model::merge;
use runhook::model::message::{Body, Message, Source};
use runhook::model::project::ProjectRef;
use runhook::model::rule::{Actions, BatchLimits, Cadence, Rule, RuleState};
use runhook::model::run::{Fields, Part, PartKind};
use runhook::model::signing::{Signature, Signing};
use runhook::model::time::{Clock, ManualClock, Timestamp};
use runhook::model::window::{GroupKey, Progress, Window};
use runhook::store::Store;
use runhook::store::catalog::{Presence, Subscriber};
use runhook::store::collections::ActionsTaken;
use runhook::store::rules::RuleChanges;
use runhook::store::runs::Batch;
use runhook::store::windows::WindowCommit;
use runhook::task::{Activity, Poke, Status, Supervisor};
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;
use uuid::Uuid;

use super::stage::{Blobs, PATIENT, ScriptedLookup, client, target};
use crate::support::home::Home;

const TENANT: TenantId = TenantId::DEFAULT;

pub(super) struct House {
    pub(super) clock: Arc<ManualClock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) sender: Sender,
    pub(super) rule: RuleId,
    pub(super) endpoint: EndpointId,
    api: Api,
    keyring: Arc<Keyring>,
    supervisor: Supervisor,
    home: Home,
}

impl House {
    /// A rule `low-score` with an endpoint `oncall` at this URL, and nothing sent yet.
    pub(super) async fn new(url: &str) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-22T08:30:00Z").unwrap()));
        let house = Self::on(Home::new(), clock, Uuid::from_u128(1)).await;
        house.apply_rule(url).await;
        house
    }

    /// The same, where endpoints that fail are given up.
    pub(super) async fn with_conduct(url: &str, conduct: Conduct) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-22T08:30:00Z").unwrap()));
        let house = Self::conducted(Home::new(), clock, Uuid::from_u128(1), conduct).await;
        house.apply_rule(url).await;
        house
    }

    /// An endpoint `ops` at this URL, which signs.
    pub(super) async fn put_ops(&self, url: &str) {
        let id = EndpointId(Uuid::from_u128(10));
        let secret = format!("whsec_{}", "a".repeat(32));
        let target = Target { signing: Signing::with(secret.into(), Signature::Standard), ..target(url) };
        self.put(self.made(id, "ops", &target)).await;
    }

    /// Has the endpoint tried as Standard Webhooks recommends.
    pub(super) async fn set_standard(&self) {
        let endpoint = self.store.endpoint_of_key(TENANT, "oncall").await.unwrap().unwrap();
        self.put(Endpoint { policy: Policy::Standard, ..endpoint }).await;
    }

    /// An endpoint at this URL that hears of these types in an application.
    pub(super) async fn put_subscriber(
        &self,
        app: ApplicationId,
        number: u128,
        url: &str,
        types: &[&str],
    ) -> EndpointId {
        let id = EndpointId(Uuid::from_u128(number));
        let made = self.made(id, "", &target(url));
        let endpoint = Endpoint { key: None, format: Format::Event, policy: Policy::Standard, ..made };
        let subscription = Subscription {
            endpoint_id: id,
            application_id: app,
            uid: None,
            number: 0,
            event_types: Some(types.iter().map(|name| (*name).to_owned()).collect()),
            channels: None,
            description: String::new(),
            metadata: BTreeMap::new(),
            version: 1,
            rate_limit: None,
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
        };
        let subscriber = Subscriber { endpoint, subscription };
        self.store.subscribe(TENANT, subscriber, Presence::New, None).await.unwrap().endpoint_id
    }

    async fn put(&self, endpoint: Endpoint) {
        let changes = RuleChanges { put_endpoints: vec![endpoint], ..RuleChanges::default() };
        self.store.apply_rules(TENANT, changes, self.clock.now()).await.unwrap();
    }

    /// Drops the loop with all it has under way and opens the database again.
    pub(super) async fn crash(self) -> Self {
        let Self { clock, home, sender, store, api, supervisor, .. } = self;
        drop((sender, store, api));
        // A file belongs to one writer.
        supervisor.stop();
        supervisor.finished(pending()).await.unwrap();
        Self::on(home, clock, Uuid::from_u128(2)).await
    }

    /// Waits for the leases of a process that is gone, where others than its successor might have them.
    pub(super) fn outlive_leases(&self) {
        if self.home.is_shared() {
            self.clock.advance(Duration::from_mins(2));
        }
    }

    async fn on(home: Home, clock: Arc<ManualClock>, instance: Uuid) -> Self {
        Self::conducted(home, clock, instance, Conduct::default()).await
    }

    async fn conducted(home: Home, clock: Arc<ManualClock>, instance: Uuid, conduct: Conduct) -> Self {
        let supervisor = Supervisor::default();
        let store = home.open(&supervisor).await;
        let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &[7; 32])).unwrap());
        let blobs = Arc::new(Blobs::default());
        let limits = Arc::new(Limits::default());
        let poke = Poke::default();
        let sender = Sender::new(Parts {
            store: Arc::<dyn Store>::clone(&store),
            blobs: Arc::<Blobs>::clone(&blobs),
            keyring: Arc::clone(&keyring),
            clock: Arc::<ManualClock>::clone(&clock),
            limits: Arc::clone(&limits),
            client: client(Arc::new(ScriptedLookup::default())),
            patience: |_| PATIENT,
            conduct,
            poke: poke.clone(),
            instance,
        });
        let api = Api {
            store: Arc::clone(&store),
            blobs,
            keyring: Arc::clone(&keyring),
            public_url: "http://runhook.test".parse().unwrap(),
            clock: Arc::<ManualClock>::clone(&clock),
            budget: Budget::new(&limits),
            trusted_proxies: [].into(),
            limits,
            prices: Arc::default(),
            vetting: Vetting::new(Arc::new(Guard::default()), Vec::new()),
            client: Arc::new(|| Ok(client(Arc::new(ScriptedLookup::default())))),
            auth: Arc::new(Auth::default()),
            metrics: None,
            scheduler: Poke::default(),
            delivery: poke,
            alerts: Poke::default(),
            scheduler_status: watch::channel(Status::default()).1,
            delivery_status: watch::channel(Status::default()).1,
            retention_status: watch::channel(Status::default()).1,
        };
        let (rule, endpoint) = (RuleId::of_key(TENANT, "low-score"), EndpointId(Uuid::from_u128(9)));
        Self { clock, store, sender, rule, endpoint, api, keyring, supervisor, home }
    }

    fn made(&self, id: EndpointId, key: &str, target: &Target) -> Endpoint {
        Endpoint {
            tenant_id: TENANT,
            id,
            key: Some(key.to_owned()),
            rule_id: None,
            alert_id: None,
            target: seal_target(&self.keyring, id, target).unwrap(),
            shown: shown(target),
            format: Format::Langsmith,
            policy: Policy::Langsmith,
            overrides: Overrides::default(),
            origin: None,
            disabled: None,
            health: Health::default(),
        }
    }

    async fn apply_rule(&self, url: &str) {
        let endpoint = self.made(self.endpoint, "oncall", &target(url));
        let rule = Rule {
            tenant_id: TENANT,
            id: self.rule,
            key: "low-score".to_owned(),
            name: "Low score".to_owned(),
            project: "support-bot".to_owned(),
            filter: None,
            trace_filter: None,
            tree_filter: None,
            sampling_rate: 1.0,
            cadence: Cadence::Immediate,
            settle: Duration::ZERO,
            backfill_from: None,
            batch: BatchLimits::default(),
            endpoints: vec![self.endpoint],
            state: RuleState::Active,
            origin: None,
            actions: Actions::default(),
            group_by: None,
            registration: None,
            event: None,
        };
        let changes = RuleChanges { put_rules: vec![rule], put_endpoints: vec![endpoint], ..RuleChanges::default() };
        self.store.apply_rules(TENANT, changes, self.clock.now()).await.unwrap();
    }

    /// Takes the endpoint away.
    pub(super) async fn remove_endpoint(&self) {
        let changes = RuleChanges { remove_endpoints: vec![self.endpoint], ..RuleChanges::default() };
        self.store.apply_rules(TENANT, changes, self.clock.now()).await.unwrap();
    }

    /// A run arrives and matches: one window, one delivery for each of its parts, each a second younger than the last.
    pub(super) async fn matched(&self, parts: u32) -> Vec<DeliveryId> {
        let run_id = RunId(Uuid::from_u128(1000));
        self.accept(run_id).await;
        let project_id = ProjectId::of_name(TENANT, "support-bot");
        let key = GroupKey { tenant_id: TENANT, project_id, cadence: Cadence::Immediate, settle: Duration::ZERO };
        let progress = Progress::Group(key);
        let now = self.clock.now();
        let window = Window {
            id: WindowId::of(TENANT, project_id, &progress, 0, 1),
            tenant_id: TENANT,
            project_id,
            progress,
            after: 0,
            through: 1,
            start_time: now,
            end_time: now,
        };
        let messages: Vec<Message> = (1..=parts).map(|part| self.message(window.id, part, parts)).collect();
        let deliveries: Vec<Delivery> = messages.iter().map(|message| self.delivery(message)).collect();
        let ids = deliveries.iter().map(|delivery| delivery.id).collect();
        let rules_version = self.store.rules_version().await.unwrap();
        let matches = vec![(self.rule, run_id)];
        let commit = WindowCommit {
            window,
            rules_version,
            matches,
            messages,
            deliveries,
            events: Vec::new(),
            actions: ActionsTaken::default(),
            applied_at: now,
            settles: None,
        };
        self.store.commit_window(commit).await.unwrap();
        ids
    }

    async fn accept(&self, run_id: RunId) {
        let now = self.clock.now();
        let fields = Fields {
            name: Some("agent".to_owned()),
            run_type: Some("chain".to_owned()),
            start_time: Some(now),
            end_time: Some(now),
            trace_id: Some(TraceId(run_id.0)),
            ..Fields::default()
        };
        let kind = PartKind::Post;
        let digest = merge::digest(&fields, kind, run_id);
        let project = Some(ProjectRef::Name("support-bot".to_owned()));
        let part = Part { run_id, kind, project, fields, digest };
        let accepted = self
            .store
            .accept(TENANT, Batch { parts: vec![part], feedback: Vec::new(), ..Batch::default() }, now)
            .await
            .unwrap();
        assert_eq!(accepted.refused, []);
    }

    fn message(&self, window_id: WindowId, part: u32, parts: u32) -> Message {
        let created_at = self.clock.now().before(Duration::from_secs((parts - part).into()));
        Message {
            tenant_id: TENANT,
            id: MessageId::of(window_id, self.rule, part, created_at),
            source: Source::Rule(self.rule),
            window_id: Some(window_id),
            part,
            parts,
            runs: 1,
            body: Body { json: format!(r#"{{"part":{part}}}"#), links: Vec::new() },
            created_at,
            event_type: None,
        }
    }

    fn delivery(&self, message: &Message) -> Delivery {
        Delivery {
            tenant_id: TENANT,
            id: DeliveryId::of(message.id, self.endpoint),
            message_id: message.id,
            endpoint_id: self.endpoint,
            source: Source::Rule(self.rule),
            state: DeliveryState::Pending,
            attempts: 0,
            due_at: message.created_at,
            created_at: message.created_at,
            finished_at: None,
        }
    }

    /// One pass; then waits for the attempts under way.
    pub(super) async fn round(&mut self) {
        self.sender.pass().await.unwrap();
        self.sender.finish().await;
    }

    /// Calls the API.
    pub(super) async fn call(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(HttpBody::from(body.to_string())).unwrap();
        let response = api::router(self.api.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// Posts what must be taken.
    pub(super) async fn post(&self, path: &str) -> Value {
        let (status, answer) = self.call("POST", path, &Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// Gets what must be there.
    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, &Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }
}
