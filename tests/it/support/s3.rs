//! An S3 server in process, on a real socket, with real signatures. It can be told to be in trouble, and which
//! credentials to take: temporary ones only with their token, as Amazon does.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use runhook::blob::{Patience, S3Credentials, S3Settings};
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;
use url::Url;

use crate::support::receiver::Gate;

/// The access key that a server takes from its start on.
pub(crate) const ACCESS_KEY: &str = "AKIDTEST";
/// Its secret.
pub(crate) const SECRET_KEY: &str = "not-a-real-secret";

const BUCKET: &str = "runs";

/// A server with one empty bucket. It ends when it is dropped.
pub(crate) struct S3Server {
    /// How to reach its bucket.
    pub(crate) settings: S3Settings,
    /// What it stores.
    pub(crate) root: TempDir,
    house: Arc<House>,
    _serving: JoinSet<()>,
}

/// What a server does with a request instead of what it should.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Answers with this status and code.
    Says(u16, &'static str),
    /// Does what it should when the gate opens.
    Held(Gate),
}

#[derive(Default)]
struct House {
    /// Secrets by access key, each with the token that belongs to it.
    credentials: Mutex<HashMap<String, (SecretKey, Option<String>)>>,
    ended: Mutex<Vec<String>>,
    once: Mutex<VecDeque<Trouble>>,
    always: Mutex<Option<Trouble>>,
    arrived: watch::Sender<usize>,
}

impl S3Server {
    /// Starts a server on a free port.
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let house = Arc::new(House::default());
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root.path()).unwrap());
        builder.set_auth(Auth(Arc::clone(&house)));
        let (service, at_the_door) = (builder.build(), Arc::clone(&house));
        let app = axum::Router::new().fallback(move |request: Request| {
            let (service, house) = (service.clone(), Arc::clone(&at_the_door));
            async move { house.answer(service, request).await }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let settings = S3Settings {
            bucket: BUCKET.into(),
            prefix: "a/b".into(),
            endpoint: Some(endpoint),
            region: None,
            credentials: Some(S3Credentials {
                access_key_id: ACCESS_KEY.into(),
                secret_access_key: SECRET_KEY.into(),
                session_token: None,
            }),
            path_style: true,
            public_endpoint: None,
            patience: Patience::default(),
        };
        let server = Self { settings, root, house, _serving: serving };
        server.take(ACCESS_KEY, SECRET_KEY, None);
        server
    }

    /// The bucket as a blob URL.
    pub(crate) fn blob_url(&self) -> String {
        let S3Settings { bucket, prefix, endpoint, .. } = &self.settings;
        format!("s3://{bucket}/{prefix}?endpoint={}", endpoint.as_ref().unwrap())
    }

    /// Takes these credentials from now on.
    pub(crate) fn take(&self, access_key: &str, secret: &str, token: Option<&str>) {
        let value = (SecretKey::from(secret), token.map(str::to_owned));
        self.house.credentials.lock().unwrap().insert(access_key.to_owned(), value);
    }

    /// Temporary credentials have ended.
    pub(crate) fn end(&self, access_key: &str) {
        self.house.ended.lock().unwrap().push(access_key.to_owned());
    }

    /// The next request meets this; requests after it those that were named after it.
    pub(crate) fn once(&self, trouble: Trouble) {
        self.house.once.lock().unwrap().push_back(trouble);
    }

    /// Every request meets this, until it is said to be over.
    pub(crate) fn always(&self, trouble: Option<Trouble>) {
        *self.house.always.lock().unwrap() = trouble;
    }

    /// How many requests have arrived.
    pub(crate) fn count(&self) -> usize {
        *self.house.arrived.borrow()
    }

    /// Waits until this many requests have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        self.house.arrived.subscribe().wait_for(|arrived| *arrived >= count).await.unwrap();
    }
}

impl House {
    async fn answer(&self, service: S3Service, request: Request) -> Response {
        self.arrived.send_modify(|arrived| *arrived += 1);
        let once = self.once.lock().unwrap().pop_front();
        let trouble = once.or_else(|| self.always.lock().unwrap().clone());
        match trouble {
            Some(Trouble::Says(status, code)) => return says(status, code),
            Some(Trouble::Held(gate)) => gate.pass().await,
            None => {}
        }
        if let Some(response) = self.turned_away(&request) {
            return response;
        }
        // The file system behind this would make it.
        if request.uri().path().split('/').nth(1) != Some(BUCKET) {
            return says(404, "NoSuchBucket");
        }
        match service.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    /// Looks at what the signature does not cover: whether temporary credentials have ended, and come with their token.
    fn turned_away(&self, request: &Request) -> Option<Response> {
        let named = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let asked: HashMap<String, String> =
            url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
        let by_header = named("authorization").and_then(|value| Some(value.split_once("Credential=")?.1.to_owned()));
        let scope = by_header.or_else(|| asked.get("X-Amz-Credential").cloned())?;
        let access_key = scope.split('/').next()?;
        if self.ended.lock().unwrap().iter().any(|ended| ended == access_key) {
            return Some(says(400, "ExpiredToken"));
        }
        let token = named("x-amz-security-token").or_else(|| asked.get("X-Amz-Security-Token").cloned());
        let known = self.credentials.lock().unwrap();
        let (_, wanted) = known.get(access_key)?;
        (wanted.is_some() && *wanted != token).then(|| says(403, "InvalidToken"))
    }
}

fn says(status: u16, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as told</Message></Error>");
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}

struct Auth(Arc<House>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let known = self.0.credentials.lock().unwrap();
        let secret = known.get(access_key).map(|(secret, _)| secret.clone());
        secret.ok_or_else(|| s3_error!(InvalidAccessKeyId, "nobody has this key"))
    }
}
