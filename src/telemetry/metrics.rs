//! The metrics recorder. It keeps numbers only; names are described here, in one place.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// How often histograms are drained; without it they grow until they are read.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0];

/// All counters.
const COUNTERS: [(&str, &str); 22] = [
    ("runhook_alert_evaluations_total", "Alerts evaluated, by outcome"),
    ("runhook_alert_turns_total", "Changes of state of alerts that were told"),
    ("runhook_blobs_dropped_total", "Blobs deleted because nothing named them"),
    ("runhook_circuit_turns_total", "Times that the circuit of an endpoint opened or closed"),
    ("runhook_deliveries_total", "Attempts that ended, by outcome"),
    ("runhook_endpoints_disabled_total", "Endpoints disabled because they failed, or said that they are gone"),
    ("runhook_evaluation_failures_total", "Evaluations of a project that failed and are repeated"),
    ("runhook_feedback_accepted_total", "Feedback records made durable"),
    ("runhook_http_requests_total", "Requests answered, by method, route and status"),
    ("runhook_limit_refusals_total", "Requests refused for a limit, by limit"),
    ("runhook_matches_total", "Runs that matched a rule, each once a rule"),
    ("runhook_parts_accepted_total", "Parts of runs made durable, repeats included"),
    ("runhook_parts_refused_total", "Parts of runs that could not be read or stored"),
    ("runhook_passes_failed_total", "Passes of a loop that failed and are repeated, by task"),
    ("runhook_requests_turned_away_total", "Requests answered 429 before they were read"),
    ("runhook_rows_dropped_total", "Rows that left by age, by kind"),
    ("runhook_rule_files_total", "Times that rule files were applied or refused, by source (folder, api) and outcome"),
    ("runhook_rows_unreadable_total", "Stored rows other than runs that did not decode and were passed over"),
    ("runhook_threads_cut_total", "Threads of which rules looked at the last turns only"),
    ("runhook_runs_unreadable_total", "Stored runs that did not decode, or could not be written, and were passed over"),
    ("runhook_store_retries_total", "Transactions run again after a conflict or a lost connection, by operation"),
    ("runhook_windows_total", "Windows committed, by whose progress they are"),
];

/// All gauges.
const GAUGES: [(&str, &str); 5] = [
    ("runhook_build_info", "Always 1; the label is the version"),
    ("runhook_changes_behind", "Changes that some rule has not seen yet"),
    ("runhook_circuits_open", "Endpoints that something waits for and whose circuit is open"),
    (
        "runhook_clock_correction_seconds",
        "How far this machine's clock is behind the database's, which is used instead",
    ),
    ("runhook_retention_held_back", "Projects whose old runs are kept because some rule has not seen them"),
];

/// All histograms, in seconds.
const HISTOGRAMS: [(&str, &str); 3] = [
    ("runhook_delivery_attempt_seconds", "How long attempts took"),
    ("runhook_http_request_seconds", "How long requests took, by route"),
    ("runhook_pass_seconds", "How long the scheduler's passes took"),
];

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
    for (name, what) in COUNTERS {
        metrics::describe_counter!(name, what);
    }
    for (name, what) in GAUGES {
        metrics::describe_gauge!(name, what);
    }
    for (name, what) in HISTOGRAMS {
        metrics::describe_histogram!(name, metrics::Unit::Seconds, what);
    }
    metrics::gauge!("runhook_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handbook_for_operators_names_every_metric() {
        let handbook = include_str!("../../docs/operations.md");
        for (name, _) in COUNTERS.iter().chain(&GAUGES).chain(&HISTOGRAMS) {
            assert!(handbook.contains(&format!("`{name}`")), "{name} is not in docs/operations.md");
        }
    }
}
