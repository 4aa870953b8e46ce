//! Group commit: batches that wait to be accepted, and how they are put together.
//!
//! Many callers bring a batch each, and a transaction costs the same whether it holds one batch or fifty. So whoever
//! writes takes what has come meanwhile as one group. What waits is bounded, by what it holds and by its bytes: a caller
//! who finds no room hears so at once, and nothing is kept of what he brought. A batch takes its room until it is
//! answered.
//!
//! How a group is committed, and what becomes of it when that fails, is the backend's.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::model::id::TenantId;
use crate::model::time::Timestamp;
use crate::store::accept::Ready;
use crate::store::failure::RETRY_AFTER;
use crate::store::runs::{Accepted, Batch};
use crate::store::{Result, StoreError, weight};
use crate::task;

/// Batches are accepted as one up to this many parts and feedback records.
const MERGED_ITEMS: usize = 1_000;

/// Batches of more bytes than this, roughly, are made ready apart, a few at a time.
const LARGE: usize = 256 * 1024;

/// Bytes are taken in units of this many: permits are numbered in 32 bits.
const UNIT: u64 = 1024;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Parts and feedback records.
    pub(super) items: u32,
    /// Bytes, roughly.
    pub(super) bytes: u64,
}

/// The room in which batches wait.
#[derive(Debug, Clone)]
pub(super) struct Room {
    items: Dimension,
    units: Dimension,
    /// To make large batches ready.
    benches: Arc<Semaphore>,
}

/// One measure of the room.
#[derive(Debug, Clone)]
struct Dimension {
    free: Arc<Semaphore>,
    whole: u32,
}

/// A batch that waits.
pub(super) struct AcceptJob {
    pub(super) tenant: TenantId,
    ready: Ready,
    now: Timestamp,
    reply: Reply,
    taken: Taken,
}

/// The room of a batch, as long as this is there.
pub(super) type Taken = [OwnedSemaphorePermit; 2];

/// The way back to a caller.
pub(super) struct Reply(oneshot::Sender<Result<Accepted>>);

/// What a caller waits for; an error when nobody is left to answer.
pub(super) type Answer = oneshot::Receiver<Result<Accepted>>;

impl Dimension {
    fn of(whole: u32) -> Self {
        let whole = whole.max(1);
        Self { free: Arc::new(Semaphore::new(usize::try_from(whole).unwrap_or(Semaphore::MAX_PERMITS))), whole }
    }

    /// Something larger than the whole room gets in when it is empty.
    fn take(&self, wanted: u32) -> Result<OwnedSemaphorePermit> {
        let taken = Arc::clone(&self.free).try_acquire_many_owned(wanted.clamp(1, self.whole));
        taken.map_err(|_| StoreError::Busy { retry_after: RETRY_AFTER })
    }
}

impl Room {
    /// An empty room.
    pub(super) fn of(bounds: Bounds) -> Self {
        let units = u32::try_from(bounds.bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let benches = thread::available_parallelism().map_or(1, NonZero::get);
        let benches = Arc::new(Semaphore::new(benches));
        Self { items: Dimension::of(bounds.items), units: Dimension::of(units), benches }
    }

    /// Lets a batch in and makes it ready; `Busy` when there is no room for it.
    pub(super) async fn enter(&self, tenant: TenantId, batch: Batch, now: Timestamp) -> Result<(AcceptJob, Answer)> {
        let bytes = weight::of_batch(&batch);
        let items = self.items.take(u32::try_from(items(&batch)).unwrap_or(u32::MAX))?;
        let units = u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(UNIT);
        let units = self.units.take(u32::try_from(units).unwrap_or(u32::MAX))?;
        let ready = self.make_ready(batch, bytes).await?;
        let (reply, answer) = oneshot::channel();
        Ok((AcceptJob { tenant, ready, now, reply: Reply(reply), taken: [items, units] }, answer))
    }

    /// Packing a large batch would keep a thread of the runtime from everyone else's requests.
    async fn make_ready(&self, batch: Batch, bytes: usize) -> Result<Ready> {
        if bytes < LARGE {
            return Ready::of(batch);
        }
        let _bench = self.benches.acquire().await;
        let made = task::blocking(|| Ready::of(batch)).await;
        made.unwrap_or_else(|error| Err(StoreError::Internal(Box::new(error))))
    }
}

impl Reply {
    pub(super) fn send(self, answer: Result<Accepted>) {
        // A caller that has gone away wants no answer.
        let _unheard = self.0.send(answer);
    }
}

impl AcceptJob {
    pub(super) fn answer(self, answer: Result<Accepted>) {
        self.reply.send(answer);
    }

    /// The way back to the caller, when the batch is done with.
    pub(super) fn into_reply(self) -> Reply {
        self.reply
    }

    /// The way back to the caller, and the batch with its room.
    pub(super) fn into_reply_and_batch(self) -> (Reply, (Batch, Taken)) {
        (self.reply, (self.ready.batch, self.taken))
    }
}

/// What may stand in a queue: a batch, or something else.
pub(super) trait Queued: Sized {
    /// The batch, if it is one.
    fn as_batch(&self) -> Option<&AcceptJob>;

    /// The batch, or itself back.
    fn into_batch(self) -> std::result::Result<AcceptJob, Self>;
}

impl Queued for AcceptJob {
    fn as_batch(&self) -> Option<&AcceptJob> {
        Some(self)
    }

    fn into_batch(self) -> std::result::Result<AcceptJob, Self> {
        Ok(self)
    }
}

/// A batch with those waiting that can be accepted with it: the same tenant's, in their order, up to a size.
pub(super) fn gather<J: Queued>(first: AcceptJob, waiting: &mut VecDeque<J>) -> Vec<AcceptJob> {
    let (tenant, mut held) = (first.tenant, first.items());
    let (mut group, mut full) = (vec![first], false);
    let mut rest = VecDeque::with_capacity(waiting.len());
    for job in waiting.drain(..) {
        let own = job.as_batch().filter(|job| job.tenant == tenant).map(AcceptJob::items);
        let Some(more) = own.filter(|_| !full) else {
            rest.push_back(job);
            continue;
        };
        full = held.saturating_add(more) > MERGED_ITEMS;
        if full {
            rest.push_back(job);
            continue;
        }
        held = held.saturating_add(more);
        match job.into_batch() {
            Ok(job) => group.push(job),
            Err(other) => rest.push_back(other),
        }
    }
    *waiting = rest;
    group
}

impl AcceptJob {
    /// Parts and feedback records.
    fn items(&self) -> usize {
        items(&self.ready.batch)
    }
}

/// Parts and feedback records.
fn items(batch: &Batch) -> usize {
    batch.parts.len().saturating_add(batch.feedback.len())
}

/// The batches of a group, as they are accepted.
pub(super) fn batches(group: &[AcceptJob]) -> Vec<(&Ready, Timestamp)> {
    group.iter().map(|job| (&job.ready, job.now)).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::id::RunId;
    use crate::model::json::RawJson;
    use crate::model::run::{Fields, Part, PartKind, Payload};

    fn batch(parts: usize, bytes: usize) -> Batch {
        let json = RawJson::parse(format!("\"{}\"", "x".repeat(bytes))).unwrap();
        let fields = Fields { inputs: Some(Payload::Inline(json)), ..Fields::default() };
        let part = Part { run_id: RunId(Uuid::nil()), kind: PartKind::Post, project: None, fields, digest: 0 };
        Batch { parts: vec![part; parts], feedback: Vec::new(), ..Batch::default() }
    }

    fn tenant(number: u128) -> TenantId {
        TenantId(Uuid::from_u128(number))
    }

    async fn job(owner: u128, parts: usize) -> AcceptJob {
        let room = Room::of(Bounds { items: 10_000, bytes: 1 << 30 });
        room.enter(tenant(owner), batch(parts, 1), Timestamp(0)).await.unwrap().0
    }

    fn sizes(group: &[AcceptJob]) -> Vec<usize> {
        group.iter().map(AcceptJob::items).collect()
    }

    #[tokio::test]
    async fn a_group_is_one_tenants_in_order_and_bounded() {
        let mut waiting = VecDeque::new();
        for (owner, parts) in [(1, 10), (2, 20), (1, 30), (1, 980), (1, 1)] {
            waiting.push_back(job(owner, parts).await);
        }
        let first = waiting.pop_front().unwrap();
        assert_eq!(sizes(&gather(first, &mut waiting)), [10, 30], "nobody overtakes the one that does not fit");
        assert_eq!(sizes(waiting.make_contiguous()), [20, 980, 1]);
        let first = waiting.pop_front().unwrap();
        assert_eq!(sizes(&gather(first, &mut waiting)), [20]);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_by_its_bytes_too_and_makes_room_when_it_is_answered() {
        let room = Room::of(Bounds { items: 100, bytes: 64 * 1024 });
        let enter = |bytes| room.enter(tenant(1), batch(1, bytes), Timestamp(0));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(enter(16 * 1024).await.unwrap());
        }
        assert!(matches!(enter(16 * 1024).await, Err(StoreError::Busy { .. })));
        held.push(enter(100).await.unwrap());
        for (job, _) in held {
            job.answer(Ok(Accepted::default()));
        }
        let (large, _answer) = enter(1024 * 1024).await.expect("one larger than the room gets in when it is empty");
        assert!(matches!(enter(1).await, Err(StoreError::Busy { .. })));
        drop(large);
        assert!(enter(1).await.is_ok());
    }
}
