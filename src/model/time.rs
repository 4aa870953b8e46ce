//! Instants: microseconds since the epoch, and the spellings clients and receivers use for them.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// An instant, in microseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// The text given was not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: write ISO 8601, such as 2026-11-22T08:30:00Z (no offset means UTC)")]
pub struct InvalidTime(pub String);

impl Timestamp {
    /// Reads ISO 8601 with an offset, with `Z`, naive (UTC), or a date alone.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        let trimmed = text.trim();
        if let Ok(at) = DateTime::parse_from_rfc3339(trimmed) {
            return Ok(Self(at.timestamp_micros()));
        }
        for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
            if let Ok(at) = NaiveDateTime::parse_from_str(trimmed, format) {
                return Ok(Self(at.and_utc().timestamp_micros()));
            }
        }
        for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
            if let Ok(at) = DateTime::parse_from_str(trimmed, format) {
                return Ok(Self(at.timestamp_micros()));
            }
        }
        NaiveDate::parse_from_str(trimmed, "%Y-%m-%d")
            .ok()
            .and_then(|day| day.and_hms_opt(0, 0, 0))
            .map(|at| Self(at.and_utc().timestamp_micros()))
            .ok_or_else(|| InvalidTime(text.chars().take(64).collect()))
    }

    /// The instant that many milliseconds after the epoch, fractions included.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that large is clamped, and no client clock gets there"
    )]
    pub fn from_millis(millis: f64) -> Self {
        Self((millis * 1000.0).round() as i64)
    }

    /// From chrono's type, to the microsecond.
    #[must_use]
    pub fn from_chrono(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_micros())
    }

    /// As chrono's type; instants out of its range become the epoch.
    #[must_use]
    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// `2024-04-05T01:28:54.085649`: the spelling inside a payload's runs. Six digits, no offset, UTC.
    #[must_use]
    pub fn naive(self) -> String {
        self.to_chrono().format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
    }

    /// `2024-04-05T01:28:54.734491+00:00`: the spelling of a payload's own edges.
    #[must_use]
    pub fn with_offset(self) -> String {
        self.to_chrono().to_rfc3339_opts(SecondsFormat::Micros, false)
    }

    /// This instant moved later; saturates at the end of time.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This instant moved earlier; saturates at the beginning of time.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long from `earlier` to this instant; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// `2024-04-05T01:28:54.734491Z`: the spelling of Runhook's own surfaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_chrono().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the time comes from. Only loops and request handlers hold one.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_chrono(Utc::now())
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at this instant.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap_or(0), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
