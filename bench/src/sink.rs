//! The sink: a receiver of notifications that answers as fast as it can, or as slowly and badly as a script says, and
//! remembers what arrived and when.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::clock::{Clock, thread_cpu};
use crate::draw::Draw;
use crate::record::Notice;

/// How the sink behaves.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Script {
    /// Milliseconds before it answers
    #[arg(long, default_value_t = 0)]
    pub(crate) delay: u64,
    /// The share of requests that it answers 503
    #[arg(long, default_value_t = 0.0)]
    pub(crate) failing: f64,
    /// Bytes of the answer's body that it lets out one by one, a tenth of a second apart
    #[arg(long, default_value_t = 0)]
    pub(crate) drip: u64,
    /// Bytes of the answer's body
    #[arg(long, default_value_t = 0)]
    pub(crate) bytes: usize,
    /// Where it redirects every request
    #[arg(long, value_name = "URL")]
    pub(crate) redirect: Option<String>,
}

/// A sink that listens, on a thread of its own.
pub(crate) struct Sink {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<Duration>>>,
}

struct Shared {
    script: Script,
    clock: Clock,
    messages: AtomicU64,
    notices: Mutex<Vec<Notice>>,
    draw: Mutex<Draw>,
}

/// What the sink reads of a message.
#[derive(Deserialize)]
struct Message {
    rule_id: Uuid,
    runs: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    id: Uuid,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl Sink {
    /// Begins to listen.
    pub(crate) fn start(listen: SocketAddr, script: Script, clock: Clock) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script,
            clock,
            messages: AtomicU64::new(0),
            notices: Mutex::default(),
            draw: Mutex::new(Draw::seeded(1)),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve(listener, serving, stopped))?;
            Ok(thread_cpu())
        });
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where rules send to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// How many messages have arrived.
    pub(crate) fn messages(&self) -> u64 {
        self.shared.messages.load(Ordering::Relaxed)
    }

    /// What has arrived so far.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops listening. What arrived, and the CPU it took.
    pub(crate) fn stop(mut self) -> anyhow::Result<(Vec<Notice>, Duration)> {
        drop(self.stop.take());
        let cpu = match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended?,
            Some(Err(_)) => anyhow::bail!("the sink panicked"),
            None => Duration::ZERO,
        };
        let notices = std::mem::take(&mut *self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((notices, cpu))
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return Ok(()),
        };
        // A connection that could not be accepted is the sender's to repeat.
        let Ok((stream, _)) = accepted else { continue };
        let _slower = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
            let _ended =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, hyper::Error> {
    let message = request.headers().get("webhook-id").and_then(|value| value.to_str().ok()?.parse::<Uuid>().ok());
    let endpoint = request.uri().path().rsplit('/').next().and_then(|number| number.parse().ok());
    let body = request.into_body().collect().await?.to_bytes();
    let at = shared.clock.micros();
    let script = &shared.script;
    let fails =
        script.failing > 0.0 && shared.draw.lock().unwrap_or_else(PoisonError::into_inner).share() < script.failing;
    let status = match (message, serde_json::from_slice::<Message>(&body)) {
        (Some(message), Ok(told)) => {
            let status = if fails { 503 } else { 200 };
            let runs: Vec<Uuid> = told.runs.into_iter().map(|run| run.id).collect();
            shared.note(Notice { at, message, rule: told.rule_id, endpoint, status, runs });
            status
        }
        _ => 400,
    };
    if script.delay > 0 {
        sleep(Duration::from_millis(script.delay)).await;
    }
    let body = if script.bytes > 0 { long(script.bytes) } else { drip(script.drip) };
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    if let Some(location) = script.redirect.as_ref().and_then(|to| HeaderValue::from_str(to).ok()) {
        *response.status_mut() = hyper::StatusCode::FOUND;
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

fn long(bytes: usize) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(Bytes::from(vec![b'.'; bytes])).boxed_unsync()
}

fn drip(bytes: u64) -> UnsyncBoxBody<Bytes, Infallible> {
    if bytes == 0 {
        return Empty::new().boxed_unsync();
    }
    let drop = |_| async {
        sleep(Duration::from_millis(100)).await;
        Ok(Frame::data(Bytes::from_static(b".")))
    };
    StreamBody::new(stream::iter(0..bytes).then(drop)).boxed_unsync()
}

impl Shared {
    fn note(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}
