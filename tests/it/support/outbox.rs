//! Claiming and recording in short: what a sender does for many at once, for whoever has one.

use runhook::model::delivery::{Attempt, Lease, Outcome};
use runhook::store::outbox::{Claim, Claimant, Finished, Share, Waiting};
use runhook::store::{OutboxStore, Result};

/// The same share for everyone something waits for: so many first attempts and so many retries.
pub(crate) fn shares(waiting: &[Waiting], each: u32) -> Vec<Share> {
    let share = |one: &Waiting| Share { endpoint_id: one.endpoint_id, firsts: each, retries: each };
    waiting.iter().map(share).collect()
}

/// Claims what waits for every endpoint, up to so many first attempts and retries each.
pub(crate) async fn claim(store: &(impl OutboxStore + ?Sized), claimant: Claimant, each: u32) -> Result<Vec<Claim>> {
    let waiting = store.waiting(None, 1_000).await?;
    store.claim_deliveries(claimant, &shares(&waiting, each)).await
}

/// Records one attempt.
pub(crate) async fn finish(
    store: &(impl OutboxStore + ?Sized),
    lease: &Lease,
    attempt: Attempt,
    outcome: Outcome,
) -> Result<()> {
    let finished = [Finished::new(lease.clone(), attempt, outcome)];
    store.finish_attempts(&finished).await?.into_iter().collect()
}
