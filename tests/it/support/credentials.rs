//! What gives temporary credentials to a container: an HTTP server on loopback, as container services run one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use runhook::model::time::{Clock as _, SystemClock};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::s3::S3Server;
use crate::support::server::Settings;

const WORD: &str = "the-word-of-the-container";

/// A running server. It ends when it is dropped.
pub(crate) struct CredentialsServer {
    url: String,
    given: Arc<Mutex<Option<String>>>,
    _serving: JoinSet<()>,
}

impl CredentialsServer {
    /// Starts one that has no credentials yet.
    pub(crate) async fn start() -> Self {
        let given = Arc::new(Mutex::new(None));
        let app = axum::Router::new().fallback(give).with_state(Arc::clone(&given));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/credentials", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, given, _serving: serving }
    }

    /// Gives credentials of this name from now on, which the S3 server takes; they say that they end after this long.
    pub(crate) fn give(&self, name: &str, lasting: Duration, s3: &S3Server) {
        let (secret, token) = (format!("secret-of-{name}"), format!("token-of-{name}"));
        s3.take(name, &secret, Some(&token));
        let end = SystemClock.now().after(lasting).to_string();
        let document = json!({"AccessKeyId": name, "SecretAccessKey": secret, "Token": token, "Expiration": end});
        *self.given.lock().unwrap() = Some(document.to_string());
    }

    /// Gives none any more.
    pub(crate) fn stop_giving(&self) {
        *self.given.lock().unwrap() = None;
    }

    /// Settings of a process that asks it, and nobody else.
    pub(crate) fn asked_by(&self, settings: Settings) -> Settings {
        settings
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &self.url)
            .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", WORD)
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
            .env("AWS_CONFIG_FILE", "/nowhere")
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }
}

async fn give(State(given): State<Arc<Mutex<Option<String>>>>, headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|word| word != WORD) {
        return StatusCode::FORBIDDEN.into_response();
    }
    given.lock().unwrap().clone().map_or(StatusCode::INTERNAL_SERVER_ERROR.into_response(), |document| {
        ([("content-type", "application/json")], document).into_response()
    })
}
