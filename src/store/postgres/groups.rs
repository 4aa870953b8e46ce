//! Group commit: what callers bring while a transaction is under way is the next one.
//!
//! A batch that finds nobody at work is committed at once, alone. Few groups are under way at a time, because batches of
//! one project follow each other anyway: its row gives out numbers until the commit. A second group makes ready while
//! the first is being committed; more would only wait in line at that row, smaller each. A group that takes long (it
//! waits for a lock that somebody holds for minutes, such as the removal of a project) lends its turn to another, so
//! that one project does not stop all, up to a number that leaves connections for everything else.
//!
//! A group that fails is told to all its callers if the failure was nobody's in particular: the server is away, or
//! full. Otherwise its batches are accepted one by one, and each answers for itself.
//!
//! The work is done in tasks of the store's own, started when there is something to do: a caller that goes away takes
//! nobody else's batch along. If one panics its callers are told, and another takes over what still waits.

use std::collections::VecDeque;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::model::id::TenantId;
use crate::model::time::Timestamp;
use crate::store::accept::accept;
use crate::store::failure::{RETRY_AFTER, again};
use crate::store::group::{AcceptJob, Bounds, Room, batches, gather};
use crate::store::postgres::accept::Held;
use crate::store::postgres::{Options, PgStore, Topic};
use crate::store::runs::{Accepted, Batch};
use crate::store::{Result, StoreError};

/// A group that takes longer lends its turn.
const LONG: Duration = Duration::from_millis(100);

/// So many may have lent their turns at a time.
const LENDERS: usize = 6;

/// Batches that wait, and who is at work on groups of them.
#[derive(Debug)]
pub(super) struct Groups {
    room: Room,
    at_once: usize,
    line: Mutex<Line>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<AcceptJob>,
    at_work: usize,
    lenders: usize,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// The right to be at work. It is given back when nothing waits, or when its holder panics.
struct Turn {
    store: PgStore,
    state: TurnState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TurnState {
    Held,
    Lent,
    Over,
}

impl Groups {
    pub(super) fn of(options: &Options) -> Self {
        Self {
            room: Room::of(Bounds { items: options.queued_items, bytes: options.queued_bytes }),
            at_once: options.groups_at_once.max(1),
            line: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Waits until everything that was brought has been answered.
    pub(super) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Whether one more may go to work. He has to.
    fn begin_turn(&mut self, at_once: usize) -> bool {
        let wanted = !self.waiting.is_empty() && self.at_work < at_once;
        self.at_work = self.at_work.saturating_add(usize::from(wanted));
        wanted
    }
}

impl PgStore {
    /// Accepts a batch, with others if there are any; `Busy` at once when there is no room for it.
    pub(super) async fn accept_in_a_group(&self, tenant: TenantId, batch: Batch, now: Timestamp) -> Result<Accepted> {
        let (job, answer) = self.groups.room.enter(tenant, batch, now).await?;
        let begin = {
            let mut line = self.groups.line();
            line.waiting.push_back(job);
            line.begin_turn(self.groups.at_once)
        };
        if begin {
            self.go_to_work();
        }
        match answer.await.unwrap_or_else(|_| Err(StoreError::Internal("accepting a group broke off".into()))) {
            // What is in its way goes by itself.
            Err(StoreError::Stale(_)) => Err(StoreError::Busy { retry_after: RETRY_AFTER }),
            answer => answer,
        }
    }

    fn go_to_work(&self) {
        self.groups.tasks.spawn(Turn { store: self.clone(), state: TurnState::Held }.work());
    }

    async fn commit_group(&self, group: Vec<AcceptJob>) {
        let error = match self.accept_as_one(&group).await {
            Ok(accepted) => {
                return group.into_iter().zip(accepted).for_each(|(job, accepted)| job.answer(Ok(accepted)));
            }
            Err(error) => error,
        };
        let shared = matches!(error, StoreError::Busy { .. } | StoreError::Full | StoreError::Unavailable(_));
        if shared || group.len() == 1 {
            return fail(group, error);
        }
        tracing::debug!(%error, batches = group.len(), "a group failed; its batches are accepted one by one");
        for job in group {
            let answer = self.accept_as_one(slice::from_ref(&job)).await;
            job.answer(answer.map(|mut accepted| accepted.pop().unwrap_or_default()));
        }
    }

    /// Accepts batches of one tenant in one transaction.
    async fn accept_as_one(&self, group: &[AcceptJob]) -> Result<Vec<Accepted>> {
        let Some(tenant) = group.first().map(|job| job.tenant) else { return Ok(Vec::new()) };
        let batches = &batches(group);
        let accepted = self
            .run("accept", |mut this| {
                Box::pin(async move {
                    let mut held = Held::by(&mut this);
                    let mut accepted = accept(&mut held, tenant, batches).await?.accepted;
                    held.let_go(tenant).await?;
                    // What an earlier try has stored is no news to this one.
                    for accepted in &mut accepted {
                        accepted.changed |= this.in_doubt;
                    }
                    Ok(this.done(accepted))
                })
            })
            .await?;
        if accepted.iter().any(|accepted| accepted.changed) {
            self.poke(Topic::Changes);
        }
        Ok(accepted)
    }
}

/// Tells everyone. The last hears the failure itself.
fn fail(mut group: Vec<AcceptJob>, error: StoreError) {
    let last = group.pop();
    for job in group {
        job.answer(Err(again(&error)));
    }
    if let Some(job) = last {
        job.answer(Err(error));
    }
}

impl Turn {
    async fn work(mut self) {
        while let Some(group) = self.next_group() {
            let store = self.store.clone();
            let commit = store.commit_group(group);
            tokio::pin!(commit);
            tokio::select! {
                () = &mut commit => continue,
                () = tokio::time::sleep(LONG) => self.lend(),
            }
            commit.await;
            if self.state == TurnState::Lent {
                return;
            }
        }
    }

    /// The next group; the turn is over when nothing waits.
    fn next_group(&mut self) -> Option<Vec<AcceptJob>> {
        let mut line = self.store.groups.line();
        let Some(first) = line.waiting.pop_front() else {
            line.at_work = line.at_work.saturating_sub(1);
            self.state = TurnState::Over;
            return None;
        };
        Some(gather(first, &mut line.waiting))
    }

    /// Lets another work in this one's place, which ends with the group it has.
    fn lend(&mut self) {
        let begin = {
            let mut line = self.store.groups.line();
            if line.lenders >= LENDERS {
                return;
            }
            line.lenders = line.lenders.saturating_add(1);
            line.at_work = line.at_work.saturating_sub(1);
            line.begin_turn(self.store.groups.at_once)
        };
        self.state = TurnState::Lent;
        if begin {
            self.store.go_to_work();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let begin = {
            let mut line = self.store.groups.line();
            match self.state {
                TurnState::Over => return,
                TurnState::Lent => line.lenders = line.lenders.saturating_sub(1),
                TurnState::Held => line.at_work = line.at_work.saturating_sub(1),
            }
            // When the whole runtime goes there is nobody to take over.
            std::thread::panicking() && line.begin_turn(self.store.groups.at_once)
        };
        if begin {
            self.store.go_to_work();
        }
    }
}
