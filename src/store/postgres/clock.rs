//! The clock that replicas share: the database's.
//!
//! Leases, due instants and the ends of windows are written by one replica and judged by another, so both must mean the
//! same time. Each replica therefore measures how far the database's clock is from its own, again and again, and corrects
//! its own by that. Two replicas then differ by no more than a question to the database takes, whatever their machines'
//! clocks say. A clock that agrees with the database's, as far as can be told, is left as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::model::time::{Clock, Timestamp};
use crate::store::Result;
use crate::store::postgres::PgStore;

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// How long a measurement is good for. A machine's clock that is set meanwhile is wrong for so long.
const AGE: Duration = Duration::from_secs(5);

/// A difference between the clocks that somebody should look at, in microseconds.
const NOTABLE: i64 = 2_000_000;

/// A machine's clock, corrected by what the database's says.
pub struct SharedClock {
    local: Arc<dyn Clock>,
    /// How far the database's clock is ahead of the machine's, in microseconds.
    ahead: AtomicI64,
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.local.now().0.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }
}

impl SharedClock {
    /// Takes over what the database's clock said at some moment between these two of the machine's.
    fn learn(&self, asked: Timestamp, said: Timestamp, answered: Timestamp) {
        if answered < asked {
            // The machine's clock was set back in between; the next measurement will tell.
            return;
        }
        let before = self.ahead.load(Ordering::Relaxed);
        let (least, most) = (said.0.saturating_sub(answered.0), said.0.saturating_sub(asked.0));
        let ahead = before.clamp(least, most);
        self.ahead.store(ahead, Ordering::Relaxed);
        let shown = Duration::from_micros(ahead.unsigned_abs()).as_secs_f64();
        metrics::gauge!("runhook_clock_correction_seconds").set(if ahead < 0 { -shown } else { shown });
        if ahead.saturating_sub(before).saturating_abs() >= NOTABLE {
            let direction = if ahead < 0 { "ahead of" } else { "behind" };
            tracing::warn!("this machine's clock is {shown:.1} s {direction} the database's, which is used instead");
        }
    }
}

impl PgStore {
    /// The machine's clock, corrected once; [`PgStore::keep_time`] keeps it so.
    pub async fn clock(&self, local: Arc<dyn Clock>) -> Result<SharedClock> {
        let clock = SharedClock { local, ahead: AtomicI64::new(0) };
        self.measure(&clock).await?;
        Ok(clock)
    }

    /// Corrects a clock for as long as it is polled. While the database is away it goes on as it was.
    pub async fn keep_time(&self, clock: &SharedClock) {
        loop {
            tokio::time::sleep(AGE).await;
            if let Err(error) = self.measure(clock).await {
                tracing::debug!(%error, "the database's clock could not be read");
            }
        }
    }

    async fn measure(&self, clock: &SharedClock) -> Result<()> {
        self.read(async {
            let mut reader = self.reader().await?;
            let asked = clock.local.now();
            let said: i64 = sqlx::query_scalar(NOW).fetch_one(&mut *reader).await?;
            clock.learn(asked, Timestamp(said), clock.local.now());
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::ManualClock;

    const SECOND: i64 = 1_000_000;

    fn clock() -> SharedClock {
        SharedClock { local: Arc::new(ManualClock::at(Timestamp(100 * SECOND))), ahead: AtomicI64::new(0) }
    }

    fn learn(clock: &SharedClock, asked: i64, said: i64, answered: i64) -> i64 {
        clock.learn(Timestamp(asked * SECOND), Timestamp(said * SECOND), Timestamp(answered * SECOND));
        clock.now().0 / SECOND
    }

    #[test]
    fn a_clock_that_may_agree_is_left_alone() {
        assert_eq!(learn(&clock(), 100, 101, 102), 100);
    }

    #[test]
    fn a_clock_that_is_off_is_corrected_by_no_more_than_is_known() {
        assert_eq!(learn(&clock(), 100, 700, 102), 698, "it is 598 to 600 seconds behind");
        assert_eq!(learn(&clock(), 700, 100, 702), -500, "it is 600 to 602 seconds ahead");
    }

    #[test]
    fn a_slow_answer_spoils_nothing() {
        let clock = clock();
        assert_eq!(learn(&clock, 100, 700, 100), 700);
        assert_eq!(learn(&clock, 100, 700, 160), 700);
    }

    #[test]
    fn a_clock_that_is_set_while_it_is_measured_is_measured_again() {
        let clock = clock();
        assert_eq!(learn(&clock, 100, 100, 40), 100);
        assert_eq!(learn(&clock, 40, 100, 40), 160);
    }
}
