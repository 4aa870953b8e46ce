//! The HTTP client: one for the process, and the only place that sends.
//!
//! One call is one request. Nothing is followed or decoded; what comes of it is an [`AttemptResult`], in words that never
//! hold the URL and that tell a tenant nothing of the network: what exactly was refused is in the log. Names are resolved
//! by [`Vetting`], and the connection is made to the addresses it returned; addresses written into the URL never reach a
//! resolver, so they are checked before.
//!
//! Connections are used again, and a server may close one at the moment the next request is written to it. That breaks
//! at once and says nothing of the receiver, so such a request is sent again, until a connection of its own breaks.
//!
//! No proxy is used but the one that the operator configured, and then for everything. That proxy resolves names itself,
//! so what this machine can learn of a name is vetted before, and the proxy has the last word.
//!
//! Whether a failure came before or after the connection decides what a policy does, and the client learns it from the
//! request's body: it is asked for only when a connection stands. Then the answer's clock starts.
//!
//! TLS is rustls on aws-lc-rs; this client names its provider itself unless the process has installed one.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::DateTime;
use futures_util::stream;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Body, Response};
use secrecy::ExposeSecret;
use tokio::sync::oneshot;
use tower::util::MapFutureLayer;
use url::Url;

use crate::config::EgressProxy;
use crate::delivery::guard::Forbidden;
use crate::delivery::lookup::{LookupError, Vetting};
use crate::delivery::policy::Patience;
use crate::delivery::request::Request;
use crate::model::delivery::{AttemptResult, Cut};

/// How long an unused connection is kept: less than the five seconds after which common servers close it.
const IDLE: Duration = Duration::from_secs(4);

/// Unused connections kept to one host: as many as are used to one at a time, or a busy host gets new ones all the time.
const IDLE_PER_HOST: usize = 32;

/// How long the rest of an answer is read after its head. The connection can be used again if it ends within.
const REST: Duration = Duration::from_millis(250);

/// The longest a connection takes; spread over a name's addresses, so a dead one leaves time for the next.
const CONNECT: Duration = Duration::from_secs(5);

/// How soon a connection breaks that its server had closed.
const STALE: Duration = Duration::from_secs(1);

/// The longest reason kept of a failure.
const LONGEST_REASON: usize = 300;

tokio::task_local! {
    /// The request under way.
    static UNDER_WAY: UnderWay;
}

/// What those who connect for a request cannot be told by the client, or cannot tell it.
#[derive(Clone)]
struct UnderWay {
    /// A resolver is asked for a name alone.
    port: Option<u16>,
    /// Whether a connection was made for it: otherwise it was sent on one that was there.
    has_connected: Arc<AtomicBool>,
}

/// The client could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct ClientError(String);

/// Gives the client of the process.
pub type Clients = Arc<dyn Fn() -> Result<Client, ClientError> + Send + Sync>;

/// Sends requests. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    vetting: Vetting,
    response_bytes: usize,
    is_proxied: bool,
}

impl Client {
    /// A client that connects to what passes `vetting`, and reads at most `response_bytes` of an answer.
    pub fn new(vetting: Vetting, response_bytes: u32) -> Result<Self, ClientError> {
        Self::through(None, vetting, response_bytes)
    }

    /// The same through a proxy.
    pub fn through(proxy: Option<&EgressProxy>, vetting: Vetting, response_bytes: u32) -> Result<Self, ClientError> {
        let unusable = |error: reqwest::Error| ClientError(deepest(&error.without_url()));
        let http = match builder(&vetting, proxy).map_err(unusable)?.build() {
            Ok(http) => http,
            Err(error) => {
                // Without any root certificate, http targets still work, and https ones fail with a reason.
                let reason = deepest(&error.without_url());
                tracing::warn!(reason, "no root certificates: https targets will fail until some are installed");
                let bare = builder(&vetting, proxy).map_err(unusable)?.tls_certs_only(std::iter::empty()).build();
                bare.map_err(unusable)?
            }
        };
        let response_bytes = usize::try_from(response_bytes).unwrap_or(usize::MAX);
        Ok(Self { http, vetting, response_bytes, is_proxied: proxy.is_some() })
    }

    /// Whether a target may be saved: what sending to it would be refused for now.
    pub async fn check(&self, url: &Url) -> Result<(), Forbidden> {
        self.vetting.check_url(url)?;
        self.vetting.check_name(url).await
    }

    /// Makes one attempt.
    pub async fn send(&self, request: Request, patience: Patience) -> AttemptResult {
        let id = id_of(&request);
        if let Err(forbidden) = self.check_before(&request.url).await {
            return refused(&forbidden, &id);
        }
        let headers = match header_map(&request) {
            Ok(headers) => headers,
            Err(reason) => return AttemptResult::Refused { reason },
        };
        match self.answer(&request, &headers, patience).await {
            Ok(response) => {
                let status = response.status().as_u16();
                let retry_after = seconds_of(response.headers());
                let (body, cut) = self.read(response).await;
                AttemptResult::Answered { status, retry_after, excerpt: request.masks.excerpt(&body), cut }
            }
            Err(Failed::Forbidden(forbidden)) => refused(&forbidden, &id),
            Err(Failed::Otherwise(result)) => result,
        }
    }

    /// Sends, and again for as long as connections break at once that were there before.
    async fn answer(&self, request: &Request, headers: &HeaderMap, patience: Patience) -> Result<Response, Failed> {
        let began = Instant::now();
        loop {
            let way = UnderWay { port: request.url.port_or_known_default(), has_connected: Arc::default() };
            let (body, connected) = announcing(request.body.clone());
            let answer = self.http.post(request.url.clone()).headers(headers.clone()).body(body).send();
            let answer = in_time(UNDER_WAY.scope(way.clone(), answer), connected, patience).await;
            let broke = matches!(answer, Err(Failed::Otherwise(AttemptResult::Broken { .. })));
            if !broke || way.has_connected.load(Ordering::Relaxed) || began.elapsed() > STALE {
                return answer;
            }
        }
    }

    /// What is checked before anything is asked of the network. A proxy is sent names as they are.
    async fn check_before(&self, url: &Url) -> Result<(), Forbidden> {
        if self.is_proxied { self.check(url).await } else { self.vetting.check_url(url) }
    }

    /// Reads the rest of an answer, up to the limits.
    async fn read(&self, mut response: Response) -> (Vec<u8>, Option<Cut>) {
        let mut body = Vec::new();
        let reading = async {
            loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => {
                        let left = self.response_bytes.saturating_sub(body.len());
                        body.extend_from_slice(chunk.get(..left).unwrap_or(&chunk));
                        if chunk.len() > left {
                            return Some(Cut::TooLong);
                        }
                    }
                    Ok(None) => return None,
                    Err(_) => return Some(Cut::Broken),
                }
            }
        };
        let cut = tokio::time::timeout(REST, reading).await.unwrap_or(Some(Cut::TooSlow));
        (body, cut)
    }
}

/// The message's id: what the log knows a request by.
fn id_of(request: &Request) -> String {
    let id = request.headers.iter().find(|(name, _)| name == "webhook-id");
    id.map(|(_, id)| id.expose_secret().to_owned()).unwrap_or_default()
}

/// The tenant's part of a refusal; the operator's goes to the log.
fn refused(forbidden: &Forbidden, message: &str) -> AttemptResult {
    tracing::warn!(message.id = message, reason = forbidden.exact, "a target is not allowed: nothing was sent");
    AttemptResult::Refused { reason: forbidden.to_string() }
}

/// How many seconds an answer asks to wait. It may name an instant instead, which is read against its own date: whatever
/// either clock says, the difference is what is meant.
fn seconds_of(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let instant = |text: &str| DateTime::parse_from_rfc2822(text).ok().map(|at| at.timestamp());
    let now = headers.get(DATE).and_then(|date| instant(date.to_str().ok()?))?;
    u64::try_from(instant(text)?.saturating_sub(now)).ok()
}

fn builder(vetting: &Vetting, proxy: Option<&EgressProxy>) -> reqwest::Result<reqwest::ClientBuilder> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .connector_layer(MapFutureLayer::new(noting));
    Ok(match proxy {
        None => builder.dns_resolver(VettingResolver(vetting.clone())),
        // The one name that is looked up is the proxy's, which is the operator's.
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.secret())?),
    })
}

/// A connecting that is noted on its request.
async fn noting<T>(connecting: impl Future<Output = T>) -> T {
    let connected = connecting.await;
    // A connecting may have lost its request, which took a connection that became free; it goes on for the next one.
    let _noted = UNDER_WAY.try_with(|way| way.has_connected.store(true, Ordering::Relaxed));
    connected
}

/// A body that says when it is asked for, which is when a connection stands.
fn announcing(bytes: Bytes) -> (Body, oneshot::Receiver<()>) {
    let (announce, announced) = oneshot::channel();
    let body = stream::once(async move {
        announce.send(()).ok();
        Ok::<_, Infallible>(bytes)
    });
    (Body::wrap_stream(body), announced)
}

/// Why there is no answer.
enum Failed {
    Forbidden(Forbidden),
    Otherwise(AttemptResult),
}

/// Waits for a connection, then for the head of the answer, each within its limit.
async fn in_time(
    answer: impl Future<Output = reqwest::Result<Response>>,
    mut connected: oneshot::Receiver<()>,
    patience: Patience,
) -> Result<Response, Failed> {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answered = &mut answer => {
            let was_connected = connected.try_recv().is_ok();
            return answered.map_err(|error| failure(error, was_connected));
        }
        Ok(()) = &mut connected => {}
        () = tokio::time::sleep(patience.connect) => {
            let reason = format!("no connection within {:?}", patience.connect);
            return Err(Failed::Otherwise(AttemptResult::NotConnected { reason }));
        }
    }
    match tokio::time::timeout(patience.answer, answer).await {
        Ok(answered) => answered.map_err(|error| failure(error, true)),
        Err(_) => Err(Failed::Otherwise(AttemptResult::TimedOut)),
    }
}

fn failure(error: reqwest::Error, was_connected: bool) -> Failed {
    let error = error.without_url();
    if let Some(LookupError::Forbidden(forbidden)) = lookup_error(&error) {
        return Failed::Forbidden(forbidden.clone());
    }
    let timed_out = error.is_timeout() && !was_connected;
    let reason = if timed_out { "no connection in time".to_owned() } else { deepest(&error) };
    Failed::Otherwise(if was_connected {
        AttemptResult::Broken { reason }
    } else {
        AttemptResult::NotConnected { reason }
    })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

fn lookup_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LookupError> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// What the innermost cause says: the outer ones only say that sending failed.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let text = causes(error).last().map(ToString::to_string).unwrap_or_default();
    let plain = TLS.iter().find(|(cause, _)| text.contains(cause)).map(|(_, plain)| *plain);
    let text = plain.map_or(text.clone(), |plain| format!("{plain} ({text})"));
    text.chars().take(LONGEST_REASON).collect()
}

/// What rustls says of handshakes that fail, and what it means.
const TLS: [(&str, &str); 6] = [
    ("certificate expired", "its certificate has expired"),
    ("certificate not valid yet", "its certificate is not valid yet"),
    ("certificate not valid for name", "its certificate is not for this host"),
    ("UnknownIssuer", "its certificate is not from an authority that is trusted here"),
    ("CaUsedAsEndEntity", "its certificate is not from an authority that is trusted here"),
    ("InvalidContentType", "what answers does not speak TLS"),
];

/// The headers, all of them kept out of logs. The length is set by hand, or the body would be sent in chunks, which
/// some receivers do not read.
fn header_map(request: &Request) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::with_capacity(request.headers.len().saturating_add(1));
    for (name, value) in &request.headers {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err("an endpoint's header has a name that cannot be sent".to_owned());
        };
        let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) else {
            return Err(format!("the endpoint's header `{parsed}` has a value that cannot be sent"));
        };
        value.set_sensitive(true);
        map.append(parsed, value);
    }
    map.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    Ok(map)
}

struct VettingResolver(Vetting);

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let vetting = self.0.clone();
        // Outside the request's own task the port is not known; the vetting is then stricter.
        let port = UNDER_WAY.try_with(|way| way.port).unwrap_or(None);
        Box::pin(async move {
            let addresses = vetting.addresses(name.as_str(), port).await?;
            // The port here is a placeholder: the connector puts the URL's in its place.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}
