//! Time: the only place that asks the machine.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The machine's wall clock as it was at one instant, moved on by the monotonic one: it never steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    wall: u64,
}

impl Clock {
    /// A clock that is right now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), wall: wall_micros() }
    }

    /// Microseconds since the epoch.
    pub(crate) fn micros(&self) -> u64 {
        self.micros_at(Instant::now())
    }

    /// Microseconds since the epoch at an instant.
    pub(crate) fn micros_at(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        self.wall.saturating_add(micros(since))
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How much CPU the calling thread has used.
pub(crate) fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(used.tv_nsec).unwrap_or_default())
}

fn wall_micros() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default() / 1000)
}

/// The day and the time of day, as file names and tables show it.
pub(crate) fn today() -> String {
    let seconds = i64::try_from(wall_micros() / 1_000_000).unwrap_or_default();
    chrono::DateTime::from_timestamp(seconds, 0)
        .map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default()
}
