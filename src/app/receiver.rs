//! A local receiver of notifications: it answers 200 and hands on what arrives.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::task::Supervisor;

/// A notification as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// A receiver on a free loopback port.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Received>,
}

/// What the receiver holds until someone takes it; more makes senders wait.
const HELD: usize = 64;

impl Receiver {
    /// Starts one, owned by the supervisor.
    pub async fn start(supervisor: &Supervisor) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, arrivals) = mpsc::channel(HELD);
        let router = Router::new().fallback(arrive).with_state(sender);
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

    /// The next notification; `None` when the receiver has stopped.
    pub async fn next(&mut self) -> Option<Received> {
        self.arrivals.recv().await
    }
}

async fn arrive(
    State(sender): State<mpsc::Sender<Received>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let received = Received { method: method.to_string(), target: uri.to_string(), headers, body };
    match sender.send(received).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
