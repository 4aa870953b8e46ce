//! How commands reach the engine: a server's API, or the same API in process.
//!
//! There is one code path: a near engine is the server's own router, called without a socket. A near call needs no API
//! key, because whoever can open the data directory owns it.

use std::error::Error as _;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::{Host, Url};

use crate::app::Engine;

pub use crate::cli::{Exit, Output};

/// The engine, near or far.
pub struct Client {
    place: Place,
}

enum Place {
    Near(Box<Engine>),
    Far { http: reqwest::Client, base: String, shown: String, api_key: Option<SecretString> },
}

/// An answer of the engine.
struct Answer {
    status: u16,
    body: Bytes,
}

impl Client {
    /// An engine in this process.
    #[must_use]
    pub fn near(engine: Engine) -> Self {
        Self { place: Place::Near(Box::new(engine)) }
    }

    /// The engine behind this URL.
    pub fn far(server: &Url, api_key: Option<SecretString>) -> anyhow::Result<Self> {
        let loopback = match server.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_mins(10))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("runhook/", env!("CARGO_PKG_VERSION")));
        // A proxy of the environment is for the world outside, not for this machine.
        let builder = if loopback { builder.no_proxy() } else { builder };
        let http = builder.build().context("the HTTP client could not be set up")?;
        let base = server.as_str().trim_end_matches('/').to_owned();
        Ok(Self { place: Place::Far { http, base, shown: server.origin().ascii_serialization(), api_key } })
    }

    /// Calls the API and returns its JSON. An answer of 400 or above is an error that carries the problem document.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, CallError> {
        let bytes = body.map(|body| Bytes::from(body.to_string()));
        self.send(method, path, bytes).await
    }

    /// The same with JSON that is sent byte for byte.
    pub async fn send(&self, method: &str, path: &str, body: Option<Bytes>) -> Result<Value, CallError> {
        let answer = match &self.place {
            Place::Near(engine) => near(engine, method, path, body).await?,
            Place::Far { http, base, shown, api_key } => {
                let mut request = http.request(verb(method)?, format!("{base}{path}"));
                if let Some(key) = api_key {
                    request = request.header("x-api-key", key.expose_secret());
                }
                if let Some(body) = body {
                    request = request.header("content-type", "application/json").body(body);
                }
                far(request).await.map_err(|why| CallError::Unreachable(format!("{shown}: {why}")))?
            }
        };
        read(&answer)
    }

    /// Finishes what a near engine has begun.
    pub async fn close(self) {
        if let Place::Near(engine) = self.place
            && let Err(error) = engine.close().await
        {
            tracing::error!(error = %error, "the database was not closed as it should be");
        }
    }
}

fn verb(method: &str) -> Result<reqwest::Method, CallError> {
    method.parse().map_err(|_| CallError::Unreachable(format!("`{method}` is not an HTTP method")))
}

async fn near(engine: &Engine, method: &str, path: &str, body: Option<Bytes>) -> Result<Answer, CallError> {
    let (status, body) =
        engine.call(method, path, body).await.map_err(|error| CallError::Unreachable(error.to_string()))?;
    Ok(Answer { status, body })
}

async fn far(request: reqwest::RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| reason(&error))?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(|error| reason(&error))?;
    Ok(Answer { status, body })
}

/// Why a request failed, without its URL.
fn reason(error: &reqwest::Error) -> String {
    let mut innermost: Option<&dyn std::error::Error> = error.source();
    while let Some(next) = innermost.and_then(std::error::Error::source) {
        innermost = Some(next);
    }
    let cause = innermost.map(|cause| format!(" ({cause})")).unwrap_or_default();
    let what = if error.is_connect() {
        "nothing answers there"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection failed"
    };
    format!("{what}{cause}")
}

fn read(answer: &Answer) -> Result<Value, CallError> {
    let body = if answer.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&answer.body) };
    match (answer.status, body) {
        (200..=299, Ok(body)) => Ok(body),
        (200..=399, _) => Err(CallError::Unreachable(
            "the answer is not one of Runhook's; is the URL that of a Runhook server?".into(),
        )),
        (status, Ok(problem @ Value::Object(_))) => Err(CallError::Problem { status, problem }),
        (status, _) => {
            let problem = json!({"status": status, "detail": format!("the server answered {status}")});
            Err(CallError::Problem { status, problem })
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The engine answered with a problem.
    #[error("{}", .problem.get("detail").and_then(Value::as_str).unwrap_or("the server refused"))]
    Problem {
        /// The HTTP status.
        status: u16,
        /// The problem document.
        problem: Value,
    },
    /// The engine could not be reached.
    #[error("{0}")]
    Unreachable(String),
}

impl CallError {
    /// What to do about it, when the engine said so.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Problem { problem, .. } => problem.get("hint").and_then(Value::as_str),
            Self::Unreachable(_) => None,
        }
    }

    /// What the command ends with: what was asked about is wrong, or it could not run.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Problem { status: 400 | 404 | 409 | 413 | 422, .. } => Exit::Wrong,
            Self::Problem { .. } | Self::Unreachable(_) => Exit::CouldNotRun,
        }
    }
}
