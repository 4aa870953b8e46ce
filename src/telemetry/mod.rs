//! What the process tells about itself: logs to stderr, and metrics in Prometheus' text form.
//!
//! Nothing logged or counted holds a secret, a URL with its query, or a header's value; labels are few and small.

pub mod metrics;
pub mod panics;

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// What is logged when nobody says otherwise.
pub const DEFAULT_FILTER: &str = "info";

/// Libraries whose chatter helps nobody, and whose debug lines may show headers.
const QUIET: [&str; 10] = [
    "aws_config=warn",
    "aws_sdk_s3=warn",
    "aws_smithy_http_client=warn",
    "aws_smithy_runtime=warn",
    "aws_runtime=warn",
    "aws_sigv4=warn",
    "h2=warn",
    "hyper=warn",
    "reqwest=warn",
    "sqlx=warn",
];

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
#[error("the log filter is wrong: {0}")]
pub struct LogFilterError(String);

/// Sends the process's log to stderr. A later call changes nothing.
pub fn log_to_stderr(filter: &str, format: LogFormat) -> Result<(), LogFilterError> {
    let mut directives = QUIET.join(",");
    directives.push(',');
    directives.push_str(filter);
    let filter = EnvFilter::try_new(directives).map_err(|error| LogFilterError(error.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    // An error means that a subscriber is there already, as in tests that share a process.
    let _already_there = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
