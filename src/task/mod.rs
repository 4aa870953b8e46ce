//! Activated loops: a pass is run when it is due or when it is poked, one at a time, and its state can be watched.
//!
//! A loop takes no input. It looks at rows, so a lost [`Poke`] costs latency and never correctness; every pass must be
//! able to run at any moment. The [`Supervisor`] owns every task of the process and notices when one ends.

mod blocking;
mod supervise;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::time::{Clock, Timestamp};

pub use blocking::{Unfinished, blocking};
pub use supervise::{Supervisor, TaskFailed};

/// Makes a loop run its next pass at once. Pokes during a pass are remembered as one.
#[derive(Debug, Clone, Default)]
pub struct Poke(Arc<Notify>);

impl Poke {
    /// Asks for a pass.
    pub fn poke(&self) {
        self.0.notify_one();
    }

    /// Resolves when a pass was asked for, and takes the wish.
    pub(crate) async fn poked(&self) {
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

    /// How long after the beginning of a pass the next one begins at the earliest when it is poked: what comes meanwhile is
    /// done together.
    fn breath(&self) -> Duration {
        Duration::ZERO
    }

    /// Brings to an end what passes have left under way. Called once, when the loop was asked to stop.
    async fn finish(&mut self) {}
}

/// The longest a loop sleeps without looking, so that a poke lost to a crash elsewhere is made good.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Runs an activity until it is cancelled. A pass that has begun is finished. After a failed pass a poke waits for the
/// pause to end, so that a broken disk and a busy client together do not make a hot loop.
pub async fn run(
    mut activity: impl Activity,
    poke: Poke,
    clock: Arc<dyn Clock>,
    status: watch::Sender<Status>,
    cancelled: CancellationToken,
) {
    while !cancelled.is_cancelled() {
        let began = Instant::now();
        let result = activity.pass().await;
        let failed = result.is_err();
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
            () = poke.poked(), if !failed => rest(activity.breath().saturating_sub(began.elapsed())).await,
            () = tokio::time::sleep(wait) => {}
            () = cancelled.cancelled() => {}
        }
    }
    activity.finish().await;
}

async fn rest(lasts: Duration) {
    if !lasts.is_zero() {
        tokio::time::sleep(lasts).await;
    }
}

fn pause_after(failures: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(2_u32.saturating_pow(failures.min(7)))
}

/// An error with its causes, for the log.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn record(
    status: &watch::Sender<Status>,
    name: &'static str,
    error: Option<Box<dyn std::error::Error + Send + Sync>>,
    now: Timestamp,
) {
    if let Some(error) = &error {
        tracing::error!(task = name, error = causes(error.as_ref()), "pass failed; it will be repeated");
        metrics::counter!("runhook_passes_failed_total", "task" => name).increment(1);
    }
    status.send_modify(|status| {
        status.passes = status.passes.wrapping_add(1);
        status.failures = if error.is_some() { status.failures.saturating_add(1) } else { 0 };
        status.last_error = error.map(|error| error.to_string());
        status.last_pass_at = Some(now);
    });
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::model::time::ManualClock;

    type Answer = Result<Next, &'static str>;

    /// Answers as it was told, and asks for the loop's end with the last answer.
    struct Scripted {
        answers: VecDeque<Answer>,
        end: CancellationToken,
        during: Box<dyn Fn() + Send>,
    }

    #[async_trait::async_trait]
    impl Activity for Scripted {
        fn name(&self) -> &'static str {
            "scripted"
        }

        async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
            (self.during)();
            let answer = self.answers.pop_front().unwrap_or(Ok(Next::Idle));
            if self.answers.is_empty() {
                self.end.cancel();
            }
            answer.map_err(Into::into)
        }
    }

    /// Runs a loop over these answers and says what could be seen of it at the end.
    async fn run_through(answers: &[Answer], poke: &Poke, during: impl Fn() + Send + 'static) -> Status {
        let end = CancellationToken::new();
        let activity =
            Scripted { answers: answers.iter().copied().collect(), end: end.clone(), during: Box::new(during) };
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        let (status, seen) = watch::channel(Status::default());
        run(activity, poke.clone(), clock, status, end).await;
        seen.borrow().clone()
    }

    #[tokio::test]
    async fn a_loop_goes_on_without_a_poke_while_there_is_more_to_do() {
        let status = run_through(&[Ok(Next::Now), Ok(Next::Now), Ok(Next::Idle)], &Poke::default(), || {}).await;
        assert_eq!((status.passes, status.failures, status.last_pass_at), (3, 0, Some(Timestamp(1_000_000))));
    }

    #[tokio::test]
    async fn an_instant_that_has_passed_is_due_at_once() {
        let status = run_through(&[Ok(Next::At(Timestamp(5))), Ok(Next::Idle)], &Poke::default(), || {}).await;
        assert_eq!(status.passes, 2);
    }

    #[tokio::test]
    async fn a_poke_during_a_pass_is_not_lost() {
        let poke = Poke::default();
        let during = poke.clone();
        let status = run_through(&[Ok(Next::Idle), Ok(Next::Idle)], &poke, move || during.poke()).await;
        assert_eq!(status.passes, 2);
    }

    #[tokio::test]
    async fn pokes_before_a_pass_are_remembered_as_one() {
        let poke = Poke::default();
        (0..5).for_each(|_| poke.poke());
        let status = run_through(&[Ok(Next::Idle), Ok(Next::Idle)], &poke, || {}).await;
        assert_eq!(status.passes, 2);
        let left = tokio::select! {
            biased;
            () = poke.poked() => true,
            () = std::future::ready(()) => false,
        };
        assert!(!left);
    }

    #[tokio::test]
    async fn a_failed_pass_is_counted_and_repeated_and_a_good_one_ends_the_count() {
        let poke = Poke::default();
        let status = run_through(&[Ok(Next::Now), Err("the disk is full")], &poke, || {}).await;
        assert_eq!((status.failures, status.last_error.as_deref()), (1, Some("the disk is full")));
        let status = run_through(&[Err("the disk is full"), Ok(Next::Idle)], &poke, || {}).await;
        assert_eq!((status.passes, status.failures, status.last_error), (2, 0, None));
    }

    /// Is poked in each pass, and asked to end after so many.
    struct Hurried {
        poke: Poke,
        passes: u32,
        end: CancellationToken,
    }

    #[async_trait::async_trait]
    impl Activity for Hurried {
        fn name(&self) -> &'static str {
            "hurried"
        }

        async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
            self.poke.poke();
            self.passes -= 1;
            if self.passes == 0 {
                self.end.cancel();
            }
            Ok(Next::Idle)
        }

        fn breath(&self) -> Duration {
            Duration::from_millis(2)
        }
    }

    #[tokio::test]
    async fn a_loop_that_is_poked_all_the_time_takes_a_breath_between_its_passes() {
        let (poke, end, began) = (Poke::default(), CancellationToken::new(), Instant::now());
        let activity = Hurried { poke: poke.clone(), passes: 4, end: end.clone() };
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        run(activity, poke, clock, watch::channel(Status::default()).0, end).await;
        assert!(began.elapsed() >= Duration::from_millis(3 * 2), "{:?}", began.elapsed());
    }

    #[test]
    fn the_pause_after_failures_grows_and_stays_bounded() {
        assert_eq!(pause_after(0), Duration::from_millis(100));
        assert_eq!(pause_after(3), Duration::from_millis(800));
        assert_eq!(pause_after(u32::MAX), Duration::from_millis(12_800));
    }
}
