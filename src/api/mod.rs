//! The HTTP surfaces: one folder each, one file for each endpoint.
//!
//! Handlers translate. They hold a [`Poke`] and a status, never a loop, and decide nothing about runs, rules or
//! deliveries. No handler, layer or log line ever shows a header's value or a query string: both may hold secrets.

mod argilla;
pub mod audit;
pub mod auth;
mod blobs;
mod forwarded;
mod gate;
pub mod langsmith;
pub mod native;
mod needs;
mod observe;
mod otlp;
mod prefix;
pub mod problem;
mod request;
mod subscribing;
mod svix;

use std::any::Any;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use url::Url;

use crate::api::problem::Problem;
use crate::blob::{BlobError, BlobStore};
use crate::config::{Limits, Role, Roles};
use crate::crypto::Keyring;
use crate::delivery::{Clients, Vetting};
use crate::ingest::{Budget, Intake};
use crate::model::price::Prices;
use crate::model::run::BlobKey;
use crate::model::time::Clock;
use crate::store::Store;
use crate::task::{Poke, Status};
use crate::telemetry::panics;

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Blob storage.
    pub blobs: Arc<dyn BlobStore>,
    /// For sealing what rules bring, and for links.
    pub keyring: Arc<Keyring>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How clients reach this server, for the links it hands out.
    pub public_url: Url,
    /// Limits.
    pub limits: Arc<Limits>,
    /// What tokens cost, unless clients say.
    pub prices: Arc<Prices>,
    /// How many bytes of bodies may be in memory, over all requests.
    pub budget: Budget,
    /// Proxies that are believed when they say who asks.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Which targets are allowed.
    pub vetting: Vetting,
    /// Gives the client that the delivery loop sends with.
    pub client: Clients,
    /// Who may call.
    pub auth: Arc<auth::Auth>,
    /// What `/metrics` shows; absent where nothing is recorded.
    pub metrics: Option<PrometheusHandle>,
    /// Wakes the scheduler.
    pub scheduler: Poke,
    /// Wakes the delivery loop.
    pub delivery: Poke,
    /// Wakes the watcher of alerts.
    pub alerts: Poke,
    /// What the scheduler does.
    pub scheduler_status: watch::Receiver<Status>,
    /// What the delivery loop does.
    pub delivery_status: watch::Receiver<Status>,
    /// What retention does.
    pub retention_status: watch::Receiver<Status>,
}

impl Api {
    /// The way in for runs and feedback.
    #[must_use]
    pub fn intake(&self) -> Intake {
        Intake {
            store: Arc::clone(&self.store),
            blobs: Arc::clone(&self.blobs),
            clock: Arc::clone(&self.clock),
            limits: Arc::clone(&self.limits),
            prices: Arc::clone(&self.prices),
            budget: self.budget.clone(),
            scheduler: self.scheduler.clone(),
            delivery: self.delivery.clone(),
        }
    }

    /// A link to a blob; none to one that is gone, which must not keep the rest of its run from being seen.
    async fn link(&self, key: &BlobKey) -> Result<Option<Url>, Problem> {
        match self.blobs.link(key, self.clock.now(), self.limits.link_lasts).await {
            Ok(url) => Ok(Some(url)),
            Err(BlobError::Refused(reason)) => {
                tracing::error!(key = key.0, reason, "no link to a blob that a run refers to");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// All routes, with the layers every request passes.
pub fn router(api: Api) -> Router {
    router_for(api, &Roles::default())
}

/// The routes of a replica with these roles. Health, metrics and links to blobs are every replica's.
pub fn router_for(api: Api, roles: &Roles) -> Router {
    let gate = gate::Gate::new(api.limits.concurrent_requests);
    let mut routes = Router::new().merge(native::health()).route("/blobs/{*key}", routing::get(blobs::download));
    if roles.has(Role::Ingest) {
        routes = routes.merge(langsmith::routes()).merge(otlp::routes());
    }
    if roles.has(Role::Api) {
        routes = routes.merge(native::routes()).merge(svix::routes()).merge(argilla::routes());
    }
    let places = Arc::<str>::from(places(roles));
    let routes = routes
        .fallback(async move |method: Method, uri: Uri| unknown_path(&method, &uri, &places))
        .method_not_allowed_fallback(wrong_method)
        .layer(
            ServiceBuilder::new()
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                .layer(PropagateRequestIdLayer::x_request_id())
                .layer(from_fn(observe::observe))
                .layer(CatchPanicLayer::custom(panicked))
                .layer(from_fn(readable_path))
                .layer(from_fn_with_state(gate, gate::pass)),
        )
        .with_state(api);
    // The prefix is gone before a route is looked for, and so is a trailing slash.
    Router::new().fallback_service(ServiceBuilder::new().layer(MapRequestLayer::new(prefix::strip)).service(routes))
}

/// A path whose escapes are no text names nothing. Without this the router would answer in its own words, not in JSON.
async fn readable_path(request: Request, next: Next) -> Response {
    if percent_encoding::percent_decode_str(request.uri().path()).decode_utf8().is_ok() {
        return next.run(request).await;
    }
    let detail = "the path is not UTF-8 text once its % escapes are read";
    Problem::malformed(detail).with("error", detail.into()).into_response()
}

/// Where things are, for whoever asked in the wrong place.
fn places(roles: &Roles) -> String {
    let lacking: Vec<&str> = roles.lacking().map(Role::name).collect();
    let elsewhere = match lacking.as_slice() {
        [] => String::new(),
        lacking => format!("; this replica does not have the roles {}, ask one that does", lacking.join(", ")),
    };
    format!(
        "LangSmith paths (/runs, /sessions, /feedback, /info) are at the root and under /api/v1; \
         OpenTelemetry traces go to /otel/v1/traces or /v1/traces; \
         Runhook's own API is under /v1; /healthz, /readyz and /metrics are at the root{elsewhere}"
    )
}

fn unknown_path(method: &Method, uri: &Uri, places: &str) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    let detail = format!("there is nothing at {method} {path}");
    Problem::new(StatusCode::NOT_FOUND, "unknown-path", detail).hint(places)
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", format!("{path} does not answer {method}"))
        .hint("the Allow header of this answer lists the methods it does answer")
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    tracing::error!(panic = panics::words(panic.as_ref()), "a request handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something failed inside the server")
        .hint("the server's log has the cause under this request's id")
        .into_response()
}
