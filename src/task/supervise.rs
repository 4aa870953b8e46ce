//! Who owns the tasks: every one is named, its panic is noticed, and the process stops in two steps.

use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A task ended that should have run until shutdown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task `{0}` ended unexpectedly")]
pub struct TaskFailed(pub &'static str);

/// Owns tasks. `soft` asks them to finish what they hold; `hard` drops them.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
    failed: Arc<Mutex<Option<TaskFailed>>>,
}

/// Trips the soft stop when a task ends before it was asked to, by return or by panic.
struct Tripwire {
    name: &'static str,
    supervisor: Supervisor,
}

impl Drop for Tripwire {
    fn drop(&mut self) {
        if self.supervisor.soft.is_cancelled() {
            return;
        }
        tracing::error!(task = self.name, "task ended unexpectedly; shutting down");
        if let Ok(mut failed) = self.supervisor.failed.lock() {
            failed.get_or_insert(TaskFailed(self.name));
        }
        self.supervisor.soft.cancel();
    }
}

impl Supervisor {
    /// The token that asks tasks to finish.
    #[must_use]
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Starts a task that runs until shutdown; if it ends earlier, the process stops.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let tripwire = Tripwire { name, supervisor: self.clone() };
        let hard = self.hard.clone();
        self.tracker.spawn(async move {
            let _tripwire = tripwire;
            tokio::select! {
                () = task => {}
                () = hard.cancelled() => {}
            }
        });
    }

    /// Asks every task to finish.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Waits for every task to end; `give_up` resolving first drops those that have not.
    pub async fn finished(&self, give_up: impl Future<Output = ()>) -> Result<(), TaskFailed> {
        self.tracker.close();
        tokio::select! {
            () = self.tracker.wait() => {}
            () = give_up => {
                self.hard.cancel();
                self.tracker.wait().await;
            }
        }
        let failed = self.failed.lock().ok().and_then(|failed| failed.clone());
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn tasks_that_end_when_asked_to_are_a_clean_stop() {
        let supervisor = Supervisor::default();
        let soft = supervisor.soft();
        supervisor.spawn("patient", async move { soft.cancelled().await });
        supervisor.stop();
        assert_eq!(supervisor.finished(pending()).await, Ok(()));
    }

    #[tokio::test]
    async fn a_task_that_returns_early_stops_the_others_and_is_named() {
        let supervisor = Supervisor::default();
        let soft = supervisor.soft();
        supervisor.spawn("patient", async move { soft.cancelled().await });
        supervisor.spawn("hasty", async {});
        assert_eq!(supervisor.finished(pending()).await, Err(TaskFailed("hasty")));
    }

    #[tokio::test]
    async fn a_panic_is_noticed() {
        let supervisor = Supervisor::default();
        supervisor.spawn("clumsy", async { panic!("on purpose") });
        assert_eq!(supervisor.finished(pending()).await, Err(TaskFailed("clumsy")));
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_dropped_when_patience_ends() {
        let supervisor = Supervisor::default();
        supervisor.spawn("deaf", pending());
        supervisor.stop();
        assert_eq!(supervisor.finished(ready(())).await, Ok(()));
    }
}
