//! Outcomes, recorded many at a time.
//!
//! Attempts end one by one, and a transaction costs the same whether it records one or a hundred. So whoever made an
//! attempt hands it over, and the recorder takes what has come meanwhile as one group: alone when little is sent, large
//! when much is. An attempt keeps its slot until it is recorded, so what waits here is bounded by the slots.
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
use crate::model::delivery::{Attempt, Outcome};
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

/// An attempt that was made, with its place.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) claim: Claim,
    pub(super) attempt: Attempt,
    pub(super) outcome: Outcome,
    pub(super) slot: Slot,
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
        let (finished, (endpoints, places)): (Vec<_>, (Vec<_>, Vec<_>)) =
            group.drain(..).map(|made| apart(&mut consequences, made)).unzip();
        let answers = AssertUnwindSafe(record(store.as_ref(), &finished)).catch_unwind().await;
        let answers = answers.unwrap_or_else(|_| {
            tracing::error!("recording attempts broke down");
            Err(StoreError::Stale("recording broke down"))
        });
        let is_settled = settle(&finished, &endpoints, answers);
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

fn apart(consequences: &mut Consequences, made: Made) -> (Finished, (Arc<Endpoint>, Slot)) {
    let Made { claim, attempt, outcome, slot } = made;
    let aftermath = consequences.follow(&claim, &attempt, &outcome);
    (Finished { lease: claim.lease, attempt, outcome, aftermath }, (claim.endpoint, slot))
}

async fn record(store: &dyn OutboxStore, finished: &[Finished]) -> Result<Vec<Result<()>>> {
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
