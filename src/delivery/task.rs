//! The delivery loop: takes what is due into free slots.
//!
//! A pass never waits for an endpoint. It looks at the endpoints that something waits for, divides the free slots among
//! them ([`share`]), claims that much, starts the attempts, and looks again, until nothing is due or no slot is left for
//! it; then it returns. Attempts that end hand their outcome to the recorder, which leaves the slots of all that it
//! recorded together and pokes the loop, if something waits for a slot. The attempts belong to the loop: when it finishes
//! it waits for them, and when it is dropped they are dropped, and their leases bring them back.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::blob::BlobStore;
use crate::config::Limits;
use crate::crypto::Keyring;
use crate::delivery::aftermath::{Conduct, Consequences};
use crate::delivery::attempt::{self, PREPARING, Tools};
use crate::delivery::breaker::Breakers;
use crate::delivery::client::Client;
use crate::delivery::opening::{Opening, together};
use crate::delivery::policy::Patience;
use crate::delivery::rate::Rates;
use crate::delivery::recorder::{self, Made, What};
use crate::delivery::share::{Bounds, Division, Room, divide};
use crate::delivery::slots::Slots;
use crate::delivery::turns::{Queue, Turns};
use crate::model::delivery::{Attempt, Outcome};
use crate::model::endpoint::Policy;
use crate::model::health::Sign;
use crate::model::id::derived;
use crate::model::pace::Rate;
use crate::model::time::{Clock, Timestamp};
use crate::store::outbox::{Claim, Claimant, Share, Waiting};
use crate::store::{OutboxStore, StoreError};
use crate::task::{Activity, Next, Poke};

/// How long a lease lasts beyond the waits of an attempt: its turn, preparing, reading the rest of an answer, recording.
const SLACK: Duration = PREPARING.saturating_add(PREPARING).saturating_add(Duration::from_secs(5));

/// The longest that a quick attempt takes.
const QUICK_MS: u64 = 50;

/// Endpoints looked at in one statement.
const PAGE: u32 = 512;

/// After a claim no other follows at once for less than one in so many of the attempts under way: their ends poke the loop.
const LITTLE: usize = 3;

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
    /// When endpoints are given up, and who hears of it.
    pub conduct: Conduct,
    /// The poke of this very loop: attempts that end use it.
    pub poke: Poke,
    /// A random value of this process, from which the holders of its leases are derived.
    pub instance: Uuid,
}

/// Sends what is due.
pub struct Sender {
    tools: Arc<Tools>,
    instance: Uuid,
    bounds: Bounds,
    slots: Slots,
    turns: Turns,
    rates: Rates,
    claims_made: u64,
    in_flight: JoinSet<()>,
    made: mpsc::Sender<Made>,
    /// What the recorder begins with, until it is started.
    conduct: Conduct,
    /// What the recorder reads, until it is started.
    unread: Option<mpsc::Receiver<Made>>,
    recording: JoinSet<()>,
}

impl Sender {
    /// A loop with nothing in flight.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, blobs, keyring, clock, limits, client, patience, conduct, poke, instance } = parts;
        let bounds = Bounds {
            slots: number(limits.concurrent_deliveries),
            of_endpoint: number(limits.concurrent_deliveries_per_endpoint),
        };
        let usual = limits.deliveries_per_second_per_endpoint.map(Rate::per_second);
        let tools = Arc::new(Tools { store, blobs, keyring, clock, limits, client, patience });
        let (made, unread) = mpsc::channel(bounds.slots);
        Self {
            tools,
            instance,
            bounds,
            slots: Slots::new(bounds.slots, poke),
            turns: Turns::default(),
            rates: Rates::new(usual),
            claims_made: 0,
            in_flight: JoinSet::new(),
            made,
            conduct,
            unread: Some(unread),
            recording: JoinSet::new(),
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

    fn start(&mut self, claim: Claim, opening: Arc<Opening>) {
        let mut slot = self.slots.take(&claim);
        let endpoint = claim.endpoint.as_ref();
        let own = endpoint.overrides.pace.concurrency.map_or(usize::MAX, |most| number(most.get()));
        let turns = self.turns.of(endpoint.id, self.bounds.of_endpoint.min(own));
        let (tools, slots, made) = (Arc::clone(&self.tools), self.slots.clone(), self.made.clone());
        self.in_flight.spawn(async move {
            let what = match attempt(&tools, &claim, &opening, &turns).await {
                Tried::Made(attempt, outcome) => {
                    if attempt.result.sign() == Sign::Unable {
                        slot.falter();
                    } else {
                        slot.end(is_quick(&attempt));
                    }
                    What::Tried(attempt, outcome)
                }
                Tried::NotYet => {
                    slot.falter();
                    What::PutBack
                }
                Tried::Postponed => {
                    drop(slot);
                    return slots.wake();
                }
            };
            // Where nobody records any more the loop is being dropped.
            made.send(Made { claim, what, slot }).await.unwrap_or_default();
        });
    }

    fn start_recorder(&mut self) {
        if let Some(unread) = self.unread.take() {
            let (conduct, clock) = (std::mem::take(&mut self.conduct), Arc::clone(&self.tools.clock));
            let consequences = Consequences { conduct, clock, breakers: Breakers::default() };
            let store = Arc::clone(&self.tools.store);
            self.recording.spawn(recorder::run(store, self.slots.clone(), consequences, unread));
        }
    }

    /// All endpoints that something waits for.
    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let mut waiting: Vec<Waiting> = Vec::new();
        loop {
            let after = waiting.last().map(|last| last.endpoint_id);
            let page = self.tools.store.waiting(after, PAGE).await?;
            let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            waiting.extend(page);
            if is_last {
                return Ok(waiting);
            }
        }
    }

    /// Endpoints with what they have room for.
    fn rooms(&mut self, waiting: Vec<Waiting>, now: Timestamp) -> Vec<(Waiting, Room)> {
        let open = waiting.iter().filter(|one| one.circuit.is_some()).count();
        metrics::gauge!("runhook_circuits_open").set(u32::try_from(open).unwrap_or(u32::MAX));
        let rates = &mut self.rates;
        let room = |one: Waiting| {
            let left = rates.left(one.endpoint_id, one.pace, now);
            (one, Room::of(&one, left, now))
        };
        waiting.into_iter().map(room).collect()
    }
}

/// How many deliveries these shares let be claimed.
fn given(shares: &[Share]) -> usize {
    let of = |share: &Share| usize::try_from(share.firsts.saturating_add(share.retries)).unwrap_or(usize::MAX);
    shares.iter().map(of).fold(0, usize::saturating_add)
}

fn number(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(1).max(1)
}

/// Whether an attempt went so that more may be claimed for its endpoint than that is asked at once.
fn is_quick(attempt: &Attempt) -> bool {
    attempt.result.sign() == Sign::Taken && attempt.duration_ms <= QUICK_MS
}

/// What became of a claim.
enum Tried {
    /// An attempt was made.
    Made(Attempt, Outcome),
    /// Its turn did not come: the endpoint fails, or is busy with others.
    NotYet,
    /// It could not be made for reasons of our own.
    Postponed,
}

/// Makes an attempt when it is its turn, and brings one that panics to an end too.
async fn attempt(tools: &Tools, claim: &Claim, opening: &Opening, turns: &Queue) -> Tried {
    let Some(_turn) = turns.turn(PREPARING).await else { return Tried::NotYet };
    let made = match AssertUnwindSafe(attempt::make(tools, claim, opening)).catch_unwind().await {
        Ok(made) => made,
        Err(_panic) => {
            tracing::error!(delivery = %claim.delivery.id, "an attempt panicked");
            Some(attempt::break_down(tools, claim).await)
        }
    };
    let Some((attempt, outcome)) = made else { return Tried::Postponed };
    if attempt.result.sign() == Sign::Unable {
        // While it still is this one's turn: nobody else's comes in between.
        turns.fail();
    }
    Tried::Made(attempt, outcome)
}

#[async_trait]
impl Activity for Sender {
    fn name(&self) -> &'static str {
        "delivery"
    }

    async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        self.start_recorder();
        while self.in_flight.try_join_next().is_some() {}
        self.turns.forget_idle();
        let mut is_first = true;
        loop {
            // Said before looking: a slot that is left while we look is not missed.
            self.slots.want(true);
            let waiting = self.waiting().await?;
            let now = self.tools.clock.now();
            let waiting = self.rooms(waiting, now);
            let load = self.slots.load();
            let Division { shares, passed_over, next } = divide(now, &waiting, &load, self.bounds);
            let is_too_little = !is_first && given(&shares).saturating_mul(LITTLE) < load.all;
            if shares.is_empty() || is_too_little {
                self.slots.want(passed_over || is_too_little);
                return Ok(next.map_or(Next::Idle, Next::At));
            }
            is_first = false;
            let claimant = self.claimant();
            let claims = self.tools.store.claim_deliveries(claimant, &shares).await?;
            for (claim, opening) in together(claims) {
                self.rates.take(claim.endpoint.id);
                self.start(claim, opening);
            }
        }
    }

    /// Lets the attempts under way come to their end. Each has its limits, so this has too.
    async fn finish(&mut self) {
        while self.in_flight.join_next().await.is_some() {}
        self.slots.emptied().await;
    }
}
