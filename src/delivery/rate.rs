//! Rates of endpoints: how many attempts may be made now, and when the next one may.
//!
//! Counting is `governor`'s (GCRA). A pass asks how much is left without taking it, because what it then claims may be
//! less; what was claimed is taken. The present is the pass's. Each replica counts what it sends itself.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::model::id::EndpointId;
use crate::model::pace::{Pace, Rate};
use crate::model::time::Timestamp;

/// So many endpoints with a rate are remembered, whether or not anything need be remembered of them.
const MANY: usize = 1024;

/// What an endpoint's rate leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// How many attempts may be made now.
    pub(super) count: u32,
    /// When one more may, if there is none now.
    pub(super) again: Option<Timestamp>,
}

/// The rates of all endpoints that have one.
pub(super) struct Rates {
    usual: Option<Rate>,
    present: Present,
    limiters: HashMap<EndpointId, Limiter>,
}

/// One endpoint's.
struct Limiter {
    rate: Rate,
    burst: NonZeroU32,
    counter: RateLimiter<NotKeyed, Due, Present, StateInformationMiddleware>,
    due: Due,
}

/// The instant of the pass, in nanoseconds.
#[derive(Debug, Clone, Default)]
struct Present(Arc<AtomicU64>);

impl Present {
    fn is(&self, now: Timestamp) {
        let nanos = u64::try_from(now.0).unwrap_or(0).saturating_mul(1_000);
        self.0.store(nanos, Ordering::Relaxed);
    }
}

impl Clock for Present {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.load(Ordering::Relaxed))
    }
}

/// When the next attempt would be due if all came evenly: what GCRA remembers. Clones are the same one.
#[derive(Clone, Default)]
struct Due(Arc<Remembered>);

#[derive(Default)]
struct Remembered {
    /// 0 before the first.
    nanos: AtomicU64,
    /// Whether asking leaves everything as it is.
    is_asking: AtomicBool,
}

impl StateStore for Due {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let before = Some(self.0.nanos.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0);
        let (decision, after) = decide(before.map(Nanos::from))?;
        if !self.0.is_asking.load(Ordering::Relaxed) {
            self.0.nanos.store(after.as_u64(), Ordering::Relaxed);
        }
        Ok(decision)
    }
}

impl Limiter {
    fn new(rate: Rate, burst: NonZeroU32, present: &Present) -> Option<Self> {
        let quota = Quota::with_period(rate.interval())?.allow_burst(burst);
        let due = Due::default();
        let counter = RateLimiter::new(quota, due.clone(), present.clone());
        Some(Self { rate, burst, counter, due })
    }

    fn left(&self) -> Left {
        self.due.0.is_asking.store(true, Ordering::Relaxed);
        let answer = self.counter.check();
        self.due.0.is_asking.store(false, Ordering::Relaxed);
        match answer {
            // It says what there is after one more.
            Ok(after) => Left { count: after.remaining_burst_capacity().saturating_add(1), again: None },
            Err(not_until) => {
                let micros = not_until.earliest_possible().as_u64().div_ceil(1_000);
                Left { count: 0, again: Some(Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))) }
            }
        }
    }
}

impl Rates {
    /// `usual` is the rate of endpoints that say nothing of theirs.
    pub(super) fn new(usual: Option<Rate>) -> Self {
        Self { usual, present: Present::default(), limiters: HashMap::new() }
    }

    /// What is left for an endpoint.
    pub(super) fn left(&mut self, endpoint: EndpointId, pace: Pace, now: Timestamp) -> Left {
        self.present.is(now);
        let everything = Left { count: u32::MAX, again: None };
        let Some(rate) = pace.rate.or(self.usual) else {
            self.limiters.remove(&endpoint);
            return everything;
        };
        let burst = pace.burst.unwrap_or_else(|| rate.usual_burst());
        let known = self.limiters.get(&endpoint).filter(|limiter| (limiter.rate, limiter.burst) == (rate, burst));
        if let Some(limiter) = known {
            return limiter.left();
        }
        let Some(limiter) = Limiter::new(rate, burst, &self.present) else { return everything };
        let left = limiter.left();
        self.forget_full();
        self.limiters.insert(endpoint, limiter);
        left
    }

    /// Takes one of what was left for an endpoint.
    pub(super) fn take(&mut self, endpoint: EndpointId) {
        if let Some(limiter) = self.limiters.get(&endpoint) {
            // No more are claimed than were left.
            limiter.counter.check().map(drop).unwrap_or_default();
        }
    }

    /// Of endpoints that may send all they ever may, nothing need be remembered.
    fn forget_full(&mut self) {
        if self.limiters.len() >= MANY {
            self.limiters.retain(|_, limiter| limiter.left().count < limiter.burst.get());
        }
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rates({})", self.limiters.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000_000);

    fn endpoint(number: u128) -> EndpointId {
        EndpointId(Uuid::from_u128(number))
    }

    fn pace(rate: &str, burst: Option<u32>) -> Pace {
        Pace { rate: rate.parse().ok(), burst: burst.and_then(NonZeroU32::new), concurrency: None }
    }

    /// Takes all that is left, and says how much that was and when there is more.
    fn drained(rates: &mut Rates, pace: Pace, now: Timestamp) -> (u32, Option<Timestamp>) {
        let left = rates.left(endpoint(1), pace, now);
        assert_eq!(rates.left(endpoint(1), pace, now), left, "asking takes nothing");
        (0..left.count).for_each(|_| rates.take(endpoint(1)));
        let rest = rates.left(endpoint(1), pace, now);
        assert_eq!(rest.count, 0);
        (left.count, rest.again)
    }

    #[test]
    fn a_burst_is_followed_by_an_even_rate() {
        for (rate, burst, first, interval) in [
            ("10/s", None, 10, 100),
            ("10/s", Some(20), 20, 100),
            ("60/m", Some(3), 3, 1_000),
            ("60/h", None, 1, 60_000),
        ] {
            let (pace, interval) = (pace(rate, burst), Duration::from_millis(interval));
            let mut rates = Rates::new(None);
            let next = START.after(interval);
            assert_eq!(drained(&mut rates, pace, START), (first, Some(next)), "{rate} {burst:?}");
            assert_eq!(rates.left(endpoint(1), pace, Timestamp(next.0 - 1)).count, 0);
            assert_eq!(drained(&mut rates, pace, next), (1, Some(next.after(interval))));
            let rested = next.after(interval * 1_000);
            assert_eq!(drained(&mut rates, pace, rested).0, first, "rest does not add up to more than a burst");
        }
    }

    #[test]
    fn each_endpoint_has_a_rate_of_its_own_or_the_usual_one() {
        let mut rates = Rates::new(Some("2/s".parse().unwrap()));
        assert_eq!(drained(&mut rates, Pace::default(), START).0, 2);
        assert_eq!(rates.left(endpoint(2), Pace::default(), START).count, 2);
        assert_eq!(drained(&mut rates, pace("5/s", None), START).0, 5, "another rate begins afresh");
        assert_eq!(Rates::new(None).left(endpoint(1), Pace::default(), START), Left { count: u32::MAX, again: None });
    }

    #[test]
    fn endpoints_that_have_rested_are_forgotten() {
        let mut rates = Rates::new(None);
        let pace = pace("1/s", None);
        for number in 0..MANY as u128 {
            rates.left(endpoint(number), pace, START);
            rates.take(endpoint(number));
        }
        rates.left(endpoint(u128::MAX), pace, START);
        assert_eq!(rates.limiters.len(), MANY + 1, "all of them have sent just now");
        rates.left(endpoint(u128::MAX - 1), pace, START.after(Duration::from_mins(1)));
        assert_eq!(rates.limiters.len(), 1);
    }
}
