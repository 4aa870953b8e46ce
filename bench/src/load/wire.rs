//! One connection to one of the servers, which is made anew when it breaks.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::body::{BOUNDARY, Wire};

/// How long an answer may take: as long as the SDKs wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take to be made: the same.
const REACH: Duration = Duration::from_secs(3);

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The server has it.
    Taken {
        /// But refused parts of it.
        refused: bool,
    },
    /// It says to come again.
    Later { status: u16, after: Option<Duration> },
    /// It does not want it, ever.
    Refused { status: u16, body: String },
    /// There was no answer.
    Lost(&'static str),
}

/// A way to the servers.
pub(super) struct Way {
    servers: Vec<SocketAddr>,
    /// Which of them is asked.
    at: usize,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Way {
    /// A way that begins at one of the servers.
    pub(super) fn new(servers: &[SocketAddr], first: usize) -> Self {
        Self { servers: servers.to_vec(), at: first, connection: None }
    }

    /// Asks the next of the servers from now on. Whether there is another.
    pub(super) fn move_on(&mut self) -> bool {
        self.at = self.at.wrapping_add(1);
        self.connection = None;
        self.servers.len() > 1
    }

    /// Sends a body of runs.
    pub(super) async fn send_runs(&mut self, wire: Wire, body: Bytes) -> Answer {
        match wire {
            Wire::Batch => self.post("/runs/batch", "application/json", None, body).await,
            Wire::Multipart | Wire::MultipartZstd => {
                let kind = format!("multipart/form-data; boundary={BOUNDARY}");
                let packed = (wire == Wire::MultipartZstd).then_some("zstd");
                self.post("/runs/multipart", &kind, packed, body).await
            }
        }
    }

    /// Sends feedback.
    pub(super) async fn send_feedback(&mut self, body: Bytes) -> Answer {
        self.post("/feedback", "application/json", None, body).await
    }

    async fn post(&mut self, path: &str, kind: &str, encoding: Option<&str>, body: Bytes) -> Answer {
        let Some(server) = self.servers.get(self.at % self.servers.len().max(1)).copied() else {
            return Answer::Lost("no server");
        };
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header(HOST, server.to_string()).header(CONTENT_TYPE, kind);
        let request = encoding.into_iter().fold(request, |request, name| request.header(CONTENT_ENCODING, name));
        let Ok(request) = request.body(Full::new(body)) else { return Answer::Lost("no request") };
        let answer = timeout(PATIENCE, self.exchange(server, request)).await;
        let answer = answer.unwrap_or(Answer::Lost("no answer in time"));
        if matches!(answer, Answer::Lost(_)) {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, server: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
        let connection = match self.connection.take() {
            Some(connection) if !connection.sender.is_closed() => connection,
            _ => match connect(server).await {
                Ok(connection) => connection,
                Err(answer) => return answer,
            },
        };
        let connection = self.connection.insert(connection);
        let Ok(response) = connection.sender.send_request(request).await else {
            return Answer::Lost("the connection broke");
        };
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let Ok(body) = response.into_body().collect().await else { return Answer::Lost("the answer broke off") };
        let body = body.to_bytes();
        match status {
            200..=299 => Answer::Taken { refused: contains(&body, b"\"refused\"") },
            // The server has it already.
            409 => Answer::Taken { refused: false },
            408 | 425 | 429 | 500 | 502 | 503 | 504 => Answer::Later { status, after: after.map(Duration::from_secs) },
            _ => Answer::Refused { status, body: String::from_utf8_lossy(&body).into_owned() },
        }
    }
}

async fn connect(server: SocketAddr) -> Result<Connection, Answer> {
    let stream = timeout(REACH, TcpStream::connect(server)).await;
    let stream =
        stream.map_err(|_| Answer::Lost("no connection in time"))?.map_err(|_| Answer::Lost("no connection"))?;
    let _slower = stream.set_nodelay(true);
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|_| Answer::Lost("the connection broke"))?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // How it ends, the request that is under way hears.
        let _ended = connection.await;
    });
    Ok(Connection { sender, _driver: driver })
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|piece| piece == word)
}
