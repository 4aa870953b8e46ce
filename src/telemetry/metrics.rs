//! The metrics recorder. It keeps numbers only; names are described here, in one place.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// How often histograms are drained; without it they grow until they are read.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0];

/// Starts recording. A later call changes nothing.
pub fn record() {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let recorder = builder.set_buckets(&SECONDS).unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        // Fails when another recorder is there; then this one stays empty, and so does `/metrics`.
        let _other_recorder = metrics::set_global_recorder(recorder);
        describe();
        handle
    });
}

/// Drains histograms. Called every [`UPKEEP_EVERY`].
pub fn upkeep() {
    if let Some(recorder) = RECORDER.get() {
        recorder.run_upkeep();
    }
}

/// What renders all metrics in Prometheus' text form; absent before [`record`].
#[must_use]
pub fn handle() -> Option<PrometheusHandle> {
    RECORDER.get().cloned()
}

fn describe() {
    metrics::describe_gauge!("runhook_build_info", "Always 1; the label is the version");
    metrics::gauge!("runhook_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}
