//! Whose turn it is: an endpoint is asked no more at a time than it may be, though more may be claimed for it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::model::id::EndpointId;

/// The turns of endpoints for which something is claimed.
#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<EndpointId, (usize, Arc<Semaphore>)>);

impl Turns {
    /// Those of an endpoint that is asked so many at a time. Whoever holds a permit has its turn.
    pub(super) fn of(&mut self, endpoint: EndpointId, at_once: usize) -> Arc<Semaphore> {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        let known = self.0.get(&endpoint).filter(|(known, _)| *known == at_once);
        let turns = known.map_or_else(|| Arc::new(Semaphore::new(at_once)), |(_, turns)| Arc::clone(turns));
        self.0.insert(endpoint, (at_once, Arc::clone(&turns)));
        turns
    }

    /// Forgets endpoints for which nothing is under way.
    pub(super) fn forget_idle(&mut self) {
        self.0.retain(|_, (_, turns)| Arc::strong_count(turns) > 1);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_endpoint_has_so_many_turns_at_a_time_and_is_forgotten_when_nobody_waits_for_one() {
        let (mut turns, one) = (Turns::default(), EndpointId(Uuid::from_u128(1)));
        let mine = turns.of(one, 2);
        let held = [mine.try_acquire().unwrap(), mine.try_acquire().unwrap()];
        assert!(turns.of(one, 2).try_acquire().is_err(), "whoever asks, they are the same");
        assert!(turns.of(EndpointId(Uuid::from_u128(2)), 2).try_acquire().is_ok());
        turns.forget_idle();
        assert_eq!(turns.0.len(), 1);
        drop(held);
        assert!(turns.of(one, 2).try_acquire().is_ok());
        assert!(turns.of(one, 0).try_acquire().is_ok(), "none at all would never end");
        drop(mine);
        turns.forget_idle();
        assert!(turns.0.is_empty());
    }
}
