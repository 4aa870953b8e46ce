//! A local receiver of requests: it hands on what arrives, one after the other, and answers what it is told to.
//!
//! What it holds is bounded whatever is sent to it: so many requests at a time, of a body so much, for so long. It decides
//! nothing about them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::task::Supervisor;

/// Bytes of the longest body that is read: several times what a message may have by default.
pub const LONGEST_BODY: usize = 16 * 1024 * 1024;

/// How long a body may take.
const SLOWEST_BODY: Duration = Duration::from_secs(30);

/// Requests that are read, or wait for their answer, at a time; more makes senders wait.
const AT_ONCE: usize = 8;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Result<Bytes, Unread>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is longer than what is read.
    #[error("the body is longer than {LONGEST_BODY} bytes")]
    TooLong,
    /// It took longer than a body may.
    #[error("the body did not come within {} s", SLOWEST_BODY.as_secs())]
    TooSlow,
    /// The connection broke off.
    #[error("the body broke off")]
    Broken,
}

impl Received {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// How long it waits. Requests behind it do not wait for it.
    pub delay: Duration,
}

impl Answer {
    /// Answers with a status and nothing else, at once.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: Duration::ZERO }
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Arrival {
    /// The request.
    pub received: Received,
    reply: oneshot::Sender<Answer>,
}

impl Arrival {
    /// Answers. Whoever asked may have left.
    pub fn answer(self, answer: Answer) -> Received {
        self.reply.send(answer).ok();
        self.received
    }
}

/// A receiver on an address.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
}

#[derive(Clone)]
struct Door {
    arrivals: mpsc::Sender<Arrival>,
    turns: Arc<Semaphore>,
}

impl Receiver {
    /// Starts one, owned by the supervisor.
    pub async fn start(supervisor: &Supervisor, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, arrivals) = mpsc::channel(1);
        let door = Door { arrivals: sender, turns: Arc::new(Semaphore::new(AT_ONCE)) };
        let router = Router::new().fallback(arrive).with_state(door);
        let soft = supervisor.soft();
        supervisor.spawn("receiver", async move {
            let server = axum::serve(listener, router).with_graceful_shutdown(soft.cancelled_owned());
            if let Err(error) = server.await {
                tracing::error!(error = %error, "the receiver failed");
            }
        });
        Ok(Self { address, arrivals })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request; `None` when the receiver has stopped.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }
}

async fn arrive(State(door): State<Door>, request: Request) -> Response {
    match answered(&door, request).await {
        Some(answer) => {
            tokio::time::sleep(answer.delay).await;
            response(answer)
        }
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// What is answered to a request; nothing when the receiver has stopped.
async fn answered(door: &Door, request: Request) -> Option<Answer> {
    let _turn = door.turns.acquire().await.ok()?;
    let (head, body) = request.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = tokio::time::timeout(SLOWEST_BODY, read(body)).await.unwrap_or(Err(Unread::TooSlow));
    let received = Received { method: head.method.to_string(), target: head.uri.to_string(), headers, body };
    let (reply, answer) = oneshot::channel();
    door.arrivals.send(Arrival { received, reply }).await.ok()?;
    answer.await.ok()
}

async fn read(body: Body) -> Result<Bytes, Unread> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        if whole.len().saturating_add(chunk.len()) > LONGEST_BODY {
            return Err(Unread::TooLong);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

fn response(answer: Answer) -> Response {
    let mut response = answer.body.into_response();
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().remove("content-type");
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}
