//! Outcomes, recorded many at a time.
//!
//! Attempts end one by one, and a transaction costs the same whether it records one or a hundred. So whoever made an
//! attempt hands it over, and the recorder takes what has come meanwhile as one group: alone when little is sent, large
//! when much is. An attempt keeps its slot until it is recorded, so what waits here is bounded by the slots. Claims for which
//! there was no attempt after all come the same way, and are put back.
//!
//! What cannot be recorded is dropped with a word in the log: its lease brings it back, and it is sent again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::delivery::aftermath::{self, Consequences};
use crate::delivery::slots::{Slot, Slots};
use crate::model::delivery::{Attempt, Lease, Outcome};
use crate::model::endpoint::Endpoint;
use crate::store::outbox::{Claim, Finished};
use crate::store::{OutboxStore, Result, StoreError};

/// The most that is recorded in one transaction.
const MOST: usize = 256;

/// So many are recorded without waiting for more...
const MANY: usize = 64;

/// ...and fewer after this time. Their endpoints are asked something else meanwhile.
const MOMENT: Duration = Duration::from_millis(10);

/// How often recording is tried while the database is busy or its disk is full.
const RECORDINGS: u32 = 5;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A claim that its holder is done with, with its place.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) claim: Claim,
    pub(super) what: What,
    pub(super) slot: Slot,
}

/// What became of a claim.
#[derive(Debug)]
pub(super) enum What {
    /// An attempt was made.
    Tried(Attempt, Outcome),
    /// None was: it can be claimed again.
    PutBack,
}

/// What is recorded together.
#[derive(Default)]
struct Group {
    finished: Vec<Finished>,
    /// Those of what is finished.
    endpoints: Vec<Arc<Endpoint>>,
    put_back: Vec<Lease>,
    slots: Vec<Slot>,
}

/// Records what comes, until nobody is left to make an attempt.
pub(super) async fn run(
    store: Arc<dyn OutboxStore>,
    slots: Slots,
    mut consequences: Consequences,
    mut made: mpsc::Receiver<Made>,
) {
    let mut group = Vec::new();
    while gather(&mut made, &mut group, &slots).await {
        let Group { finished, endpoints, put_back: unused, slots: places } =
            group.drain(..).fold(Group::default(), |group, made| group.with(&mut consequences, made));
        let answers = AssertUnwindSafe(record(store.as_ref(), &finished)).catch_unwind().await;
        let answers = answers.unwrap_or_else(|_| {
            tracing::error!("recording attempts broke down");
            Err(StoreError::Stale("recording broke down"))
        });
        let is_settled = settle(&finished, &endpoints, answers) && unused.is_empty();
        put_back(store.as_ref(), &unused).await;
        slots.leave(places);
        if !is_settled {
            slots.wake();
        }
    }
}

/// Takes what has come, and waits a moment for more of what is under way. Whether there is anything.
async fn gather(made: &mut mpsc::Receiver<Made>, group: &mut Vec<Made>, slots: &Slots) -> bool {
    if made.recv_many(group, MOST).await == 0 {
        return false;
    }
    let until = Instant::now().checked_add(MOMENT);
    while group.len() < MANY.min(slots.soon()) {
        let Some(until) = until else { break };
        let more = tokio::time::timeout_at(until, made.recv_many(group, MOST.saturating_sub(group.len())));
        if !more.await.is_ok_and(|came| came > 0) {
            break;
        }
    }
    true
}

impl Group {
    fn with(mut self, consequences: &mut Consequences, Made { claim, what, slot }: Made) -> Self {
        match what {
            What::Tried(attempt, outcome) => {
                let aftermath = consequences.follow(&claim, &attempt, &outcome);
                self.finished.push(Finished { lease: claim.lease, attempt, outcome, aftermath });
                self.endpoints.push(claim.endpoint);
            }
            What::PutBack => self.put_back.push(claim.lease),
        }
        self.slots.push(slot);
        self
    }
}

/// Gives leases up. Where that fails they expire.
async fn put_back(store: &dyn OutboxStore, unused: &[Lease]) {
    if !unused.is_empty()
        && let Err(error) = store.put_back(unused).await
    {
        tracing::warn!(%error, deliveries = unused.len(), "deliveries could not be put back; they wait for their leases");
    }
}

async fn record(store: &dyn OutboxStore, finished: &[Finished]) -> Result<Vec<Result<()>>> {
    if finished.is_empty() {
        return Ok(Vec::new());
    }
    let mut left = RECORDINGS;
    loop {
        left = left.saturating_sub(1);
        let pause = match store.finish_attempts(finished).await {
            Err(StoreError::Busy { retry_after }) if left > 0 => retry_after.min(LONGEST_PAUSE),
            Err(StoreError::Full | StoreError::Unavailable(_)) if left > 0 => LONGEST_PAUSE,
            answered => return answered,
        };
        tokio::time::sleep(pause).await;
    }
}

/// Says what came of attempts. Whether nothing but ends of deliveries did: else the loop has to look when the rest is due,
/// or what else has come.
fn settle(finished: &[Finished], endpoints: &[Arc<Endpoint>], answers: Result<Vec<Result<()>>>) -> bool {
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => {
            for one in finished {
                unrecorded(one, &error);
            }
            return false;
        }
    };
    let mut is_settled = true;
    for ((one, endpoint), answer) in finished.iter().zip(endpoints).zip(answers) {
        match answer {
            Ok(()) => {
                report(one);
                aftermath::report(endpoint, &one.outcome, &one.aftermath);
            }
            Err(StoreError::Stale(_)) => lost(one),
            Err(error) => unrecorded(one, &error),
        }
        // What failed may be told of.
        is_settled &= matches!(one.outcome, Outcome::Delivered);
        is_settled &= one.aftermath.turn.is_none() && one.aftermath.notice.is_none();
        // What an alert said later may have waited for this.
        is_settled &= endpoint.alert_id.is_none();
    }
    is_settled
}

fn report(finished: &Finished) {
    let Finished { attempt, outcome, .. } = finished;
    match outcome {
        Outcome::Delivered => count("delivered"),
        Outcome::Retry(_) => count("retried"),
        Outcome::Failed(reason) | Outcome::Gone(reason) => {
            count("failed");
            return failed(finished, reason);
        }
    }
    let delivery = finished.lease.delivery_id;
    tracing::debug!(%delivery, attempt = attempt.number, result = ?attempt.result, ?outcome, "attempt made");
}

fn failed(Finished { lease, attempt, .. }: &Finished, reason: &str) {
    tracing::warn!(delivery = %lease.delivery_id, attempt = attempt.number, reason, "a delivery failed");
}

fn lost(finished: &Finished) {
    count("lost");
    let delivery = finished.lease.delivery_id;
    tracing::info!(%delivery, "the lease was lost; whoever has it records the outcome");
}

fn unrecorded(finished: &Finished, error: &StoreError) {
    count("unrecorded");
    let delivery = finished.lease.delivery_id;
    tracing::error!(%delivery, %error, "an outcome could not be recorded; the message will be sent again");
}

/// Counts an attempt by what followed.
pub(super) fn count(outcome: &'static str) {
    metrics::counter!("runhook_deliveries_total", "outcome" => outcome).increment(1);
}
