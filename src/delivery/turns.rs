//! Whose turn it is: an endpoint is asked no more at a time than it may be, though more may be claimed for it.
//!
//! What waits for its turn when the endpoint fails another attempt does not get one: it is put back, so that an endpoint
//! that dies fails what it was being asked, and not all that was claimed for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::model::id::EndpointId;

/// The turns of endpoints for which something is claimed.
#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<EndpointId, (usize, Arc<Queue>)>);

/// Those who wait for their turn at one endpoint.
#[derive(Debug)]
pub(super) struct Queue {
    turns: Semaphore,
    failed: Notify,
}

impl Turns {
    /// Those of an endpoint that is asked so many at a time.
    pub(super) fn of(&mut self, endpoint: EndpointId, at_once: usize) -> Arc<Queue> {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        let known = self.0.get(&endpoint).filter(|(known, _)| *known == at_once);
        let queue = known.map_or_else(|| Arc::new(Queue::of(at_once)), |(_, queue)| Arc::clone(queue));
        self.0.insert(endpoint, (at_once, Arc::clone(&queue)));
        queue
    }

    /// Forgets endpoints for which nothing is under way.
    pub(super) fn forget_idle(&mut self) {
        self.0.retain(|_, (_, queue)| Arc::strong_count(queue) > 1);
    }
}

impl Queue {
    fn of(at_once: usize) -> Self {
        Self { turns: Semaphore::new(at_once), failed: Notify::new() }
    }

    /// Waits for a turn, which lasts as long as what is returned. None if the endpoint fails meanwhile, or is busy for longer
    /// than that.
    pub(super) async fn turn(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Some(turn);
        }
        tokio::select! {
            biased;
            () = self.failed.notified() => None,
            turn = tokio::time::timeout(patience, self.turns.acquire()) => turn.ok()?.ok(),
        }
    }

    /// Sends away all who wait now.
    pub(super) fn fail(&self) {
        self.failed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use uuid::Uuid;

    use super::*;

    const PATIENT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn an_endpoint_has_so_many_turns_at_a_time_and_is_forgotten_when_nobody_waits_for_one() {
        let (mut turns, one) = (Turns::default(), EndpointId(Uuid::from_u128(1)));
        let mine = turns.of(one, 2);
        let held = [mine.turn(PATIENT).await.unwrap(), mine.turn(PATIENT).await.unwrap()];
        assert!(turns.of(one, 2).turn(Duration::ZERO).await.is_none(), "whoever asks, they are the same");
        assert!(turns.of(EndpointId(Uuid::from_u128(2)), 2).turn(PATIENT).await.is_some());
        turns.forget_idle();
        assert_eq!(turns.0.len(), 1);
        drop(held);
        assert!(turns.of(one, 2).turn(PATIENT).await.is_some());
        assert!(turns.of(one, 0).turn(PATIENT).await.is_some(), "none at all would never end");
        drop(mine);
        turns.forget_idle();
        assert!(turns.0.is_empty());
    }

    #[tokio::test]
    async fn who_waits_when_the_endpoint_fails_is_sent_away_and_who_comes_later_is_not() {
        let queue = Queue::of(1);
        let held = queue.turn(PATIENT).await.unwrap();
        let waiting = join_all([queue.turn(PATIENT), queue.turn(PATIENT)]);
        let failing = async {
            queue.fail();
            drop(held);
        };
        let (waited, ()) = tokio::join!(waiting, failing);
        assert!(waited.iter().all(Option::is_none));
        assert!(queue.turn(PATIENT).await.is_some());
    }
}
