//! Activated loops: a pass is run when it is due or when it is poked, one at a time, and its state can be watched.
//!
//! A loop takes no input. It looks at rows, so a lost [`Poke`] costs latency and never correctness; every pass must be
//! able to run at any moment. The [`Supervisor`] owns every task of the process and notices when one ends.

mod supervise;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::model::time::{Clock, Timestamp};

pub use supervise::{Supervisor, TaskFailed};

/// Makes a loop run its next pass at once. Pokes during a pass are remembered as one.
#[derive(Debug, Clone, Default)]
pub struct Poke(Arc<Notify>);

impl Poke {
    /// Asks for a pass.
    pub fn poke(&self) {
        self.0.notify_one();
    }

    async fn poked(&self) {
        self.0.notified().await;
    }
}

/// When the next pass is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There is more to do now.
    Now,
    /// At this instant, or when poked.
    At(Timestamp),
    /// When poked.
    Idle,
}

/// What can be seen of a loop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Passes finished, failed ones included.
    pub passes: u64,
    /// Passes that failed, in a row.
    pub failures: u32,
    /// What the last pass failed with.
    pub last_error: Option<String>,
    /// When the last pass ended.
    pub last_pass_at: Option<Timestamp>,
}

/// The work of a loop.
#[async_trait::async_trait]
pub trait Activity: Send {
    /// The loop's name in logs.
    fn name(&self) -> &'static str;

    /// One pass: does all that is due now. An error is logged, counted and followed by another pass after a pause.
    async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>>;

    /// Brings to an end what passes have left under way. Called once, when the loop was asked to stop.
    async fn finish(&mut self) {}
}

/// The longest a loop sleeps without looking, so that a poke lost to a crash elsewhere is made good.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Runs an activity until it is cancelled.
pub async fn run(
    mut activity: impl Activity,
    poke: Poke,
    clock: Arc<dyn Clock>,
    status: watch::Sender<Status>,
    cancelled: CancellationToken,
) {
    while !cancelled.is_cancelled() {
        let result = activity.pass().await;
        let wait = match &result {
            Ok(Next::Now) => Duration::ZERO,
            Ok(Next::At(at)) => at.since(clock.now()).min(LONGEST_SLEEP),
            Ok(Next::Idle) => LONGEST_SLEEP,
            Err(_) => pause_after(status.borrow().failures),
        };
        record(&status, activity.name(), result.err(), clock.now());
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = poke.poked() => {}
            () = tokio::time::sleep(wait) => {}
            () = cancelled.cancelled() => {}
        }
    }
    activity.finish().await;
}

fn pause_after(failures: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(2_u32.saturating_pow(failures.min(7)))
}

fn record(
    status: &watch::Sender<Status>,
    name: &'static str,
    error: Option<Box<dyn std::error::Error + Send + Sync>>,
    now: Timestamp,
) {
    if let Some(error) = &error {
        tracing::error!(task = name, error = %error, "pass failed; it will be repeated");
    }
    status.send_modify(|status| {
        status.passes = status.passes.wrapping_add(1);
        status.failures = if error.is_some() { status.failures.saturating_add(1) } else { 0 };
        status.last_error = error.map(|error| error.to_string());
        status.last_pass_at = Some(now);
    });
}
