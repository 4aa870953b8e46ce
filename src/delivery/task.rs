//! The delivery loop: takes what is due into free slots.
//!
//! A pass never waits for an endpoint. It claims as many deliveries as there are free slots, starts their attempts, and
//! returns; an attempt that ends frees its slot and pokes the loop. The attempts belong to the loop: when it finishes it
//! waits for them, and when it is dropped they are dropped, and their leases bring them back.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::blob::BlobStore;
use crate::config::Limits;
use crate::crypto::Keyring;
use crate::delivery::attempt::{self, PREPARING, Tools};
use crate::delivery::client::Client;
use crate::delivery::policy::Patience;
use crate::model::endpoint::Policy;
use crate::model::id::{EndpointId, derived};
use crate::model::time::Clock;
use crate::store::OutboxStore;
use crate::store::outbox::{Claim, Claimant};
use crate::task::{Activity, Next, Poke};

/// How long a lease lasts beyond the waits of an attempt: preparing, reading the rest of an answer, recording.
const SLACK: Duration = PREPARING.saturating_add(Duration::from_secs(5));

/// Deliveries claimed in one transaction.
const BATCH: u32 = 32;

/// What a [`Sender`] is made of.
pub struct Parts {
    /// Where deliveries are claimed and attempts recorded.
    pub store: Arc<dyn OutboxStore>,
    /// Blob storage, for links.
    pub blobs: Arc<dyn BlobStore>,
    /// Opens targets.
    pub keyring: Arc<Keyring>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Limits.
    pub limits: Arc<Limits>,
    /// Sends.
    pub client: Client,
    /// How long attempts wait: [`crate::delivery::policy::patience`], unless a test is in a hurry.
    pub patience: fn(Policy) -> Patience,
    /// The poke of this very loop: attempts that end use it.
    pub poke: Poke,
    /// A random value of this process, from which the holders of its leases are derived.
    pub instance: Uuid,
}

/// Sends what is due.
pub struct Sender {
    tools: Arc<Tools>,
    poke: Poke,
    instance: Uuid,
    slots: Arc<Semaphore>,
    under_way: UnderWay,
    claims_made: u64,
    in_flight: JoinSet<()>,
}

impl Sender {
    /// A loop with nothing in flight.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, blobs, keyring, clock, limits, client, patience, poke, instance } = parts;
        let slots = usize::try_from(limits.concurrent_deliveries).unwrap_or(1).max(1);
        let tools = Arc::new(Tools { store, blobs, keyring, clock, limits, client, patience });
        Self {
            tools,
            poke,
            instance,
            slots: Arc::new(Semaphore::new(slots)),
            under_way: UnderWay::default(),
            claims_made: 0,
            in_flight: JoinSet::new(),
        }
    }

    fn claimant(&mut self) -> Claimant {
        self.claims_made = self.claims_made.wrapping_add(1);
        let holder = derived("lease", &[self.instance.as_bytes(), &self.claims_made.to_be_bytes()]);
        let Patience { connect, answer } = Patience::LONGEST;
        let lasts = connect.saturating_add(answer).saturating_add(SLACK);
        let now = self.tools.clock.now();
        Claimant { holder, now, until: now.after(lasts) }
    }

    fn start(&mut self, claim: Claim) {
        // There is a slot for every claim: no more were asked for than were free, and only this loop takes any. A store
        // that returned more would have the rest come back with their leases.
        let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        self.under_way.begin(claim.delivery.endpoint_id);
        let slot = Slot {
            permit: Some(permit),
            endpoint: claim.delivery.endpoint_id,
            under_way: self.under_way.clone(),
            poke: self.poke.clone(),
        };
        let tools = Arc::clone(&self.tools);
        self.in_flight.spawn(async move {
            let _slot = slot;
            if AssertUnwindSafe(attempt::make(&tools, &claim)).catch_unwind().await.is_err() {
                tracing::error!(delivery = %claim.delivery.id, "an attempt panicked");
                attempt::break_down(&tools, &claim).await;
            }
        });
    }
}

/// A place for one attempt. When it is left, however the attempt ended, the loop looks for the next.
struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    endpoint: EndpointId,
    under_way: UnderWay,
    poke: Poke,
}

/// How many attempts each endpoint has under way.
#[derive(Debug, Clone, Default)]
struct UnderWay(Arc<Mutex<HashMap<EndpointId, usize>>>);

impl UnderWay {
    fn counts(&self) -> MutexGuard<'_, HashMap<EndpointId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, endpoint: EndpointId) {
        let mut counts = self.counts();
        let count = counts.entry(endpoint).or_default();
        *count = count.saturating_add(1);
    }

    fn end(&self, endpoint: EndpointId) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(&endpoint) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&endpoint);
            }
        }
    }

    /// Endpoints that hold no fewer slots than are free. Passing them over leaves room for all others: a slow endpoint
    /// with a long backlog gets about half of the slots, a second one half of the rest, and the last slots go to
    /// endpoints that hold none.
    fn crowded(&self, free: usize) -> Vec<EndpointId> {
        self.counts().iter().filter(|(_, count)| **count >= free).map(|(endpoint, _)| *endpoint).collect()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.under_way.end(self.endpoint);
        drop(self.permit.take());
        self.poke.poke();
    }
}

#[async_trait]
impl Activity for Sender {
    fn name(&self) -> &'static str {
        "delivery"
    }

    async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        while self.in_flight.try_join_next().is_some() {}
        loop {
            let free = self.slots.available_permits();
            if free == 0 {
                // The first attempt to end pokes.
                return Ok(Next::Idle);
            }
            // What is claimed together may all be for one endpoint, so it is never all that is free.
            let limit = u32::try_from(free.div_ceil(4)).unwrap_or(BATCH).min(BATCH);
            let claimant = self.claimant();
            let crowded = self.under_way.crowded(free);
            let claims = self.tools.store.claim_deliveries(claimant, limit, &crowded).await?;
            let drained = claims.len() < usize::try_from(limit).unwrap_or(usize::MAX);
            for claim in claims {
                self.start(claim);
            }
            if drained {
                // What waits for a crowded endpoint is looked for when one of its attempts ends, which pokes.
                let crowded = self.under_way.crowded(self.slots.available_permits());
                return Ok(self.tools.store.next_due(&crowded).await?.map_or(Next::Idle, Next::At));
            }
        }
    }

    /// Lets the attempts under way come to their end. Each has its limits, so this has too.
    async fn finish(&mut self) {
        while self.in_flight.join_next().await.is_some() {}
    }
}
