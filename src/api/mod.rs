//! The HTTP surfaces: one folder each, one file for each endpoint.
//!
//! Handlers translate. They hold a [`Poke`] and a status, never a loop, and decide nothing about runs, rules or
//! deliveries.

pub mod auth;
pub mod langsmith;
pub mod native;
pub mod problem;

use std::sync::Arc;

use axum::Router;
use tokio::sync::watch;

use crate::blob::BlobStore;
use crate::config::Limits;
use crate::crypto::Keyring;
use crate::delivery::Guard;
use crate::model::time::Clock;
use crate::store::Store;
use crate::task::{Poke, Status};

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
    /// Limits.
    pub limits: Arc<Limits>,
    /// Which targets are allowed.
    pub guard: Arc<Guard>,
    /// Who may call.
    pub auth: Arc<auth::Auth>,
    /// Wakes the scheduler.
    pub scheduler: Poke,
    /// Wakes the delivery loop.
    pub delivery: Poke,
    /// What the scheduler does.
    pub scheduler_status: watch::Receiver<Status>,
    /// What the delivery loop does.
    pub delivery_status: watch::Receiver<Status>,
}

/// All routes, with the layers every request passes.
pub fn router(_api: Api) -> Router {
    Router::new()
}
