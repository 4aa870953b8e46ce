//! Alerts: through the router, over a real database, to a real receiver, under a clock that stands still until it is moved.

mod crashes;
mod numbers;
mod surface;
mod telling;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use runhook::alert::{self, Watcher};
use runhook::api::auth::Auth;
use runhook::api::{self, Api};
use runhook::blob::directory::Directory;
use runhook::config::Limits;
use runhook::crypto::Keyring;
use runhook::delivery::policy::Patience;
use runhook::delivery::{self, Client, Guard, Sender, Vetting};
use runhook::ingest::Budget;
use runhook::model::id::TenantId;
use runhook::model::time::{Clock, ManualClock, Timestamp};
use runhook::store::Store;
use runhook::store::outbox::DeliveryQuery;
use runhook::task::{Activity as _, Poke, Status, Supervisor};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::support::home::Home;

pub(super) const TENANT: TenantId = TenantId::DEFAULT;

/// Long enough for any answer that comes, on any machine.
const PATIENT: Patience = Patience { connect: Duration::from_secs(30), answer: Duration::from_secs(30) };

/// Everything but the loops that others have, run by hand.
pub(super) struct House {
    pub(super) clock: Arc<ManualClock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) session: String,
    pub(super) home: Home,
    router: Router,
    sender: Sender,
    supervisor: Supervisor,
    runs: u32,
}

impl House {
    /// A house with a session `p`, half a minute past eight.
    pub(super) async fn open() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-22T08:00:30Z").unwrap()));
        let mut house = Self::on(Home::new(), clock, 1, limits).await;
        let (status, session) = house.call("POST", "/sessions", &json!({"name": "p"})).await;
        assert_eq!(status, 200, "{session}");
        session["id"].as_str().unwrap().clone_into(&mut house.session);
        house
    }

    /// Drops all of it as a kill would, and opens the database again.
    pub(super) async fn crash(self) -> Self {
        let Self { clock, home, sender, store, router, supervisor, session, runs, .. } = self;
        drop((sender, store, router));
        // A file belongs to one writer.
        supervisor.stop();
        supervisor.finished(pending()).await.unwrap();
        let house = Self::on(home, clock, 2, Limits::default()).await;
        Self { session, runs, ..house }
    }

    async fn on(home: Home, clock: Arc<ManualClock>, instance: u128, limits: Limits) -> Self {
        let supervisor = Supervisor::default();
        let store = home.open(&supervisor).await;
        let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &[7; 32])).unwrap());
        let base: url::Url = "http://runhook.test".parse().unwrap();
        let blobs = Arc::new(Directory::new(home.path().join("blobs"), base.clone(), Arc::clone(&keyring)));
        let (limits, poke) = (Arc::new(limits), Poke::default());
        let guard = Arc::new(Guard::new(vec!["127.0.0.0/8".parse().unwrap()]));
        let vetting = Vetting::new(guard, Vec::new());
        let client = Client::new(vetting.clone(), 16 * 1024).unwrap();
        let sender = Sender::new(delivery::Parts {
            store: Arc::<dyn Store>::clone(&store),
            blobs: Arc::<Directory>::clone(&blobs),
            keyring: Arc::clone(&keyring),
            clock: Arc::<ManualClock>::clone(&clock),
            limits: Arc::clone(&limits),
            client: client.clone(),
            patience: |_| PATIENT,
            poke: poke.clone(),
            instance: Uuid::from_u128(instance),
            conduct: delivery::Conduct::default(),
        });
        let router = api::router(Api {
            store: Arc::clone(&store),
            blobs,
            keyring,
            public_url: base,
            clock: Arc::<ManualClock>::clone(&clock),
            budget: Budget::new(&limits),
            trusted_proxies: [].into(),
            limits,
            vetting,
            client: Arc::new(move || Ok(client.clone())),
            auth: Arc::new(Auth::default()),
            metrics: None,
            scheduler: Poke::default(),
            delivery: poke,
            prices: Arc::default(),
            alerts: Poke::default(),
            scheduler_status: watch::channel(Status::default()).1,
            delivery_status: watch::channel(Status::default()).1,
            retention_status: watch::channel(Status::default()).1,
        });
        Self { clock, store, session: String::new(), home, router, sender, supervisor, runs: 0 }
    }

    /// A watcher that knows nothing yet, over this store.
    pub(super) fn watcher_over(&self, store: Arc<dyn Store>) -> Watcher {
        Watcher::new(alert::Parts {
            store,
            clock: Arc::<ManualClock>::clone(&self.clock) as Arc<dyn Clock>,
            delivery: Poke::default(),
            public_url: "http://runhook.test".parse().unwrap(),
        })
    }

    /// Evaluates what is due.
    pub(super) async fn watch(&self) {
        self.watcher_over(Arc::clone(&self.store)).pass().await.unwrap();
    }

    /// Lets minutes pass, each evaluated in its turn.
    pub(super) async fn minutes(&self, count: u32) {
        for _ in 0..count {
            self.clock.advance(Duration::from_mins(1));
            self.watch().await;
        }
    }

    /// Sends what is due, and waits for the attempts.
    pub(super) async fn send(&mut self) {
        self.sender.pass().await.unwrap();
        self.sender.finish().await;
    }

    /// Calls the API.
    pub(super) async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// The path of the session's alerts.
    pub(super) fn path(&self) -> String {
        format!("/v1/platform/alerts/{}", self.session)
    }

    /// Makes an alert, which must work.
    pub(super) async fn alert(&self, rule: &Value, actions: &Value) -> Value {
        let (status, alert) = self.call("POST", &self.path(), &json!({"rule": rule, "actions": actions})).await;
        assert_eq!(status, 201, "{alert}");
        alert
    }

    /// What is answered of an alert.
    pub(super) async fn shown(&self, alert: &Value) -> Value {
        let path = format!("{}/{}", self.path(), alert["id"].as_str().unwrap());
        let (status, shown) = self.call("GET", &path, &Value::Null).await;
        assert_eq!(status, 200, "{shown}");
        shown
    }

    /// The state of an alert and its number.
    pub(super) async fn state(&self, alert: &Value) -> (String, Value) {
        let state = self.shown(alert).await["state"].clone();
        (state["state"].as_str().unwrap().to_owned(), state["value"].clone())
    }

    /// Sends a finished run, with these keys on top. Its id.
    pub(super) async fn run(&mut self, more: &Value) -> String {
        self.runs += 1;
        let id = format!("0195c0de-0000-7000-8000-{:012}", self.runs);
        let mut run = json!({
            "id": id, "trace_id": id, "dotted_order": format!("20261122T080000000000Z{id}"), "session_name": "p",
            "name": "answer", "run_type": "chain", "start_time": "2026-11-22T08:00:00Z",
            "end_time": "2026-11-22T08:00:01Z",
        });
        run.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = self.call("POST", "/runs", &run).await;
        assert_eq!(status, 202, "{answer}");
        run["id"].as_str().unwrap().to_owned()
    }

    /// Sends this many finished runs, of which as many failed as are said.
    pub(super) async fn runs(&mut self, count: u32, failed: u32) {
        for number in 0..count {
            let error = (number < failed).then_some("boom");
            self.run(&json!({"error": error})).await;
        }
    }

    /// Gives a score to a run.
    pub(super) async fn score(&self, run: &str, key: &str, score: f64) {
        let body = json!({"run_id": run, "key": key, "score": score});
        let (status, answer) = self.call("POST", "/feedback", &body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// How many deliveries there are.
    pub(super) async fn deliveries(&self) -> usize {
        let query = DeliveryQuery { limit: 1000, ..DeliveryQuery::default() };
        self.store.list_deliveries(TENANT, &query).await.unwrap().len()
    }
}

/// A rule that counts this, and fires from that number on.
pub(super) fn rule(attribute: &str, aggregation: &str, threshold: f64) -> Value {
    json!({
        "name": "Watched", "description": "what is watched", "type": "threshold", "aggregation": aggregation,
        "attribute": attribute, "operator": "gte", "window_minutes": 5, "threshold": threshold,
    })
}

/// The same with these keys on top.
pub(super) fn with(mut rule: Value, more: &Value) -> Value {
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

/// A webhook to this URL.
pub(super) fn webhook(url: &str) -> Value {
    json!([{"target": "webhook", "config": {"url": url}}])
}
