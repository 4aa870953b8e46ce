//! What a load counted.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::micros;

/// Latencies up to ten minutes, in microseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// Latencies as they are shown, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latencies {
    /// None yet.
    #[expect(clippy::expect_used, reason = "the bounds are constants, and good")]
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds of a histogram"))
    }

    /// Adds one.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.saturating_record(micros(latency).max(1));
    }

    /// Their spread.
    pub(crate) fn spread(&self) -> Spread {
        let at = |quantile| millis(self.0.value_at_quantile(quantile));
        Spread {
            count: self.0.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(self.0.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// The result of a load.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tally {
    /// Requests with runs that were acknowledged.
    pub(crate) requests: u64,
    /// Runs that were.
    pub(crate) runs: u64,
    /// Feedback that was.
    pub(crate) feedback: u64,
    /// Answers that said to come again, and what else was tried again, by what it was.
    pub(crate) retries: BTreeMap<String, u64>,
    /// Requests that were given up, by why.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Bytes of acknowledged bodies.
    pub(crate) bytes: u64,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// Acknowledged runs a second.
    pub(crate) runs_per_second: f64,
    /// Milliseconds from when a request should have been sent to its acknowledgement.
    pub(crate) latency_ms: Spread,
    /// The same for feedback.
    pub(crate) feedback_latency_ms: Spread,
    /// CPU seconds the load itself took for a thousand runs, while it was sending.
    pub(crate) own_cpu_s_per_1000: f64,
}

impl Tally {
    /// Whether everything was taken.
    pub(crate) fn is_whole(&self) -> bool {
        self.dropped.is_empty()
    }
}
