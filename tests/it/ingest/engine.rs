//! The routes over a fresh database, called without a socket.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use runhook::api::auth::Auth;
use runhook::api::{Api, router};
use runhook::blob::directory::Directory;
use runhook::config::Limits;
use runhook::crypto::Keyring;
use runhook::ingest::Budget;
use runhook::model::id::{RunId, TenantId};
use runhook::model::price::Prices;
use runhook::model::run::StoredRun;
use runhook::model::time::{ManualClock, Timestamp};
use runhook::store::Store;
use runhook::store::runs::RunQuery;
use runhook::task::Supervisor;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::support::home::{Home, Room};

/// 22 November 2026, 12:00 UTC.
pub(crate) const NOON: Timestamp = Timestamp(1_795_348_800_000_000);

/// An engine without its loops.
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) auth: Arc<Auth>,
    router: Router,
    supervisor: Supervisor,
    pub(crate) home: Home,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Engine {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::at(Home::new(), limits, Room::default()).await
    }

    pub(crate) async fn with_prices(prices: Prices) -> Self {
        Self::charging(Home::new(), Limits::default(), Room::default(), prices).await
    }

    pub(crate) async fn with_room(room: Room) -> Self {
        Self::at(Home::new(), Limits::default(), room).await
    }

    pub(crate) async fn at(home: Home, limits: Limits, room: Room) -> Self {
        Self::charging(home, limits, room, Prices::default()).await
    }

    async fn charging(home: Home, limits: Limits, room: Room, prices: Prices) -> Self {
        let supervisor = Supervisor::default();
        let store = home.open_with(&supervisor, room).await;
        let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &[7; 32])).unwrap());
        let base: url::Url = "http://runhook.test".parse().unwrap();
        let blobs = Directory::new(home.data_dir().join("blobs"), base.clone(), Arc::clone(&keyring));
        blobs.prepare().await.unwrap();
        let clock = Arc::new(ManualClock::at(NOON));
        let auth = Arc::new(Auth::default());
        let api = Api {
            store: Arc::clone(&store),
            blobs: Arc::new(blobs),
            keyring,
            public_url: base,
            clock: Arc::<ManualClock>::clone(&clock),
            budget: Budget::new(&limits),
            trusted_proxies: [].into(),
            limits: Arc::new(limits),
            prices: Arc::new(prices),
            vetting: runhook::delivery::Vetting::new(Arc::default(), Vec::new()),
            client: Arc::new(|| panic!("nothing is sent here")),
            auth: Arc::clone(&auth),
            metrics: None,
            scheduler: runhook::task::Poke::default(),
            delivery: runhook::task::Poke::default(),
            alerts: runhook::task::Poke::default(),
            scheduler_status: watch::channel(runhook::task::Status::default()).1,
            delivery_status: watch::channel(runhook::task::Status::default()).1,
            retention_status: watch::channel(runhook::task::Status::default()).1,
        };
        Self { store, clock, auth, router: router(api), supervisor, home }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.send(Request::builder().method(method).uri(path).body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, json: &Value) -> Answer {
        self.call("POST", path, json.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, json: &Value) -> Answer {
        self.call("PATCH", path, json.to_string()).await
    }

    pub(crate) async fn multipart(&self, parts: &[Part<'_>]) -> Answer {
        self.send(multipart_request(form(parts), None)).await
    }

    /// All runs there are, in order of id.
    pub(crate) async fn runs(&self) -> Vec<StoredRun> {
        let query = RunQuery { limit: 1000, ..RunQuery::default() };
        let mut runs = self.store.list_runs(TenantId::DEFAULT, &query).await.unwrap();
        runs.sort_by_key(|stored| stored.run.id);
        runs
    }

    pub(crate) async fn run(&self, id: &str) -> Option<StoredRun> {
        self.store.run(TenantId::DEFAULT, id.parse::<RunId>().unwrap()).await.unwrap()
    }

    pub(crate) async fn require_key(&self, key: &str) {
        self.require_key_of(TenantId::DEFAULT, key).await;
    }

    pub(crate) async fn require_key_of(&self, tenant_id: TenantId, key: &str) {
        let record = runhook::store::keys::ApiKey {
            id: runhook::model::id::ApiKeyId(uuid::Uuid::from_u128(1)),
            tenant_id,
            name: "test".to_owned(),
            hash: runhook::api::auth::hash(key),
            prefix: "k".to_owned(),
            scopes: runhook::model::scope::Scopes::all(),
            created_at: NOON,
            revoked_at: None,
        };
        self.store.put_api_key(record, None).await.unwrap();
        self.auth.reload(self.store.as_ref()).await.unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.supervisor.stop();
    }
}

/// A part of a multipart body: its name, its media type, its bytes.
pub(crate) type Part<'a> = (&'a str, &'a str, &'a [u8]);

pub(crate) const BOUNDARY: &str = "----LangSmithFormBoundaryAbC";

/// A multipart body, whole.
pub(crate) fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, mime_type, bytes) in parts {
        write!(body, "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n").unwrap();
        write!(body, "Content-Type: {mime_type}\r\n\r\n").unwrap();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    write!(body, "--{BOUNDARY}--\r\n").unwrap();
    body
}

pub(crate) fn multipart_request(body: impl Into<Body>, encoding: Option<&str>) -> Request<Body> {
    let mut request = Request::post("/runs/multipart");
    request = request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    request.body(body.into()).unwrap()
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}
