//! The one writer, and group commit.
//!
//! Everything that writes goes through one queue to one thread with one connection. It opens a transaction, does
//! what is waiting, each job so that it can be taken back and a bad one fails alone, commits when the queue is empty or the
//! group is old or large enough, and only then answers. So a caller that has an answer has it from the disk, and many
//! callers share one `fsync`. Batches of one tenant that wait together are accepted as one.
//!
//! It never drops a job without an answer: when it stops, or dies, everyone waiting gets an error. A failed commit (a
//! full disk) fails its group, and the next group is tried afresh.

use std::collections::{HashMap, VecDeque};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{slice, thread};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::model::id::{RunId, TenantId};
use crate::model::time::Timestamp;
use crate::store::accept::{AsMade, Outcome, accept};
use crate::store::failure::{RETRY_AFTER, again};
use crate::store::group::{AcceptJob, Bounds, Queued, Reply, Room, Taken, batches, gather};
use crate::store::runs::{Accepted, Batch};
use crate::store::sqlite::checkpoints::Checkpoints;
use crate::store::sqlite::failure::no_writer;
use crate::store::sqlite::fresh::Fresh;
use crate::store::{Result, StoreError};

/// A group takes no more jobs than this...
const GROUP_JOBS: usize = 512;
/// ...and none that come later than this.
const GROUP_TIME: Duration = Duration::from_millis(2);

/// What can be done with the connection, inside the group's transaction.
pub(super) type Work<T> =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send + 'static>;

/// The way to the writer.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    jobs: mpsc::Sender<Job>,
    room: Room,
    closing: CancellationToken,
    stopped: CancellationToken,
}

/// The task that writes. Run it once, for as long as the store is used.
#[derive(Debug)]
#[must_use = "nothing is written until it runs"]
pub struct Writer {
    connection: SqliteConnection,
    readers: SqlitePool,
    checkpoints: Checkpoints,
    fresh: Fresh,
    jobs: mpsc::Receiver<Job>,
    closing: CancellationToken,
    stopped: DropGuard,
}

/// The part of it that takes jobs and does them.
struct Hand {
    connection: SqliteConnection,
    /// Whether the transaction has a savepoint.
    saved: bool,
    jobs: mpsc::Receiver<Job>,
    closing: CancellationToken,
    committed: Arc<Notify>,
    fresh: Fresh,
    /// What was accepted in the transaction.
    written: Vec<Written>,
}

/// Batches of one tenant that were accepted, and which of their runs are stored as they say.
struct Written {
    tenant: TenantId,
    batches: Vec<(Batch, Taken)>,
    as_made: HashMap<RunId, AsMade>,
}

enum Job {
    Accept(AcceptJob),
    Work(Box<dyn Perform>),
}

impl Queued for Job {
    fn as_batch(&self) -> Option<&AcceptJob> {
        match self {
            Self::Accept(job) => Some(job),
            Self::Work(_) => None,
        }
    }

    fn into_batch(self) -> std::result::Result<AcceptJob, Self> {
        match self {
            Self::Accept(job) => Ok(job),
            other @ Self::Work(_) => Err(other),
        }
    }
}

/// A job whose answer's type is its own business.
#[async_trait]
trait Perform: Send {
    async fn perform(&mut self, connection: &mut SqliteConnection) -> Result<()>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct WorkJob<T> {
    work: Option<Work<T>>,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

#[async_trait]
impl<T: Send> Perform for WorkJob<T> {
    async fn perform(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        if let Some(work) = self.work.take() {
            self.outcome = Some(work(connection).await?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let Self { outcome, reply, .. } = *self;
        // A caller that has gone away wants no answer.
        let _unheard = reply.send(committed.and_then(|()| outcome.ok_or_else(no_writer)));
    }
}

/// A job that was done and waits for the commit.
enum Done {
    Accept(Reply, Accepted),
    Work(Box<dyn Perform>),
}

impl Done {
    fn answer(self, committed: Result<()>) {
        match self {
            Self::Accept(reply, accepted) => reply.send(committed.map(|()| accepted)),
            Self::Work(job) => job.answer(committed),
        }
    }
}

/// What is taken back when a job fails.
#[derive(Clone, Copy)]
enum Scope {
    /// The whole transaction: nothing else was done in it so far.
    Transaction,
    /// What was done since the savepoint.
    Savepoint,
}

impl Scope {
    /// Of a job that follows these.
    fn after(done: &[Done]) -> Self {
        if done.is_empty() { Self::Transaction } else { Self::Savepoint }
    }
}

/// A queue of at most so many jobs, in which batches take room.
pub(super) fn queue(
    connection: SqliteConnection,
    readers: SqlitePool,
    checkpoints: Checkpoints,
    jobs: usize,
    room: Bounds,
) -> (Queue, Writer) {
    let (sender, receiver) = mpsc::channel(jobs);
    let (closing, stopped) = (CancellationToken::new(), CancellationToken::new());
    let guard = stopped.clone().drop_guard();
    let (fresh, closes) = (Fresh::default(), closing.clone());
    let writer = Writer { connection, readers, checkpoints, fresh, jobs: receiver, closing: closes, stopped: guard };
    (Queue { jobs: sender, room: Room::of(room), closing, stopped }, writer)
}

impl Queue {
    /// Accepts a batch; `Busy` at once when there is no room for it.
    pub(super) async fn accept(&self, tenant: TenantId, batch: Batch, now: Timestamp) -> Result<Accepted> {
        let (job, answer) = self.room.enter(tenant, batch, now).await?;
        self.jobs.try_send(Job::Accept(job)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy { retry_after: RETRY_AFTER },
            mpsc::error::TrySendError::Closed(_) => no_writer(),
        })?;
        answer.await.unwrap_or_else(|_| Err(no_writer()))
    }

    /// Does other work; waits for a place in the queue.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Work(Box::new(WorkJob { work: Some(Box::new(work)), outcome: None, reply }));
        self.jobs.send(job).await.map_err(|_| no_writer())?;
        answer.await.unwrap_or_else(|_| Err(no_writer()))
    }

    /// Cancelled when the writer is no more, for whatever reason.
    pub(super) fn stopped(&self) -> CancellationToken {
        self.stopped.clone()
    }

    /// Lets the writer finish what is queued, and waits for its end.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.stopped.cancelled().await;
    }
}

impl Writer {
    /// What it has just written.
    pub(super) fn fresh(&self) -> Fresh {
        self.fresh.clone()
    }

    /// Writes until the store is closed, or all its handles are gone, or `cancelled`; what is queued by then is still
    /// written. Whoever stops a process should stop those who write first and close the store last.
    pub async fn run(self, cancelled: CancellationToken) {
        let Self { connection, readers, checkpoints, fresh, jobs, closing, stopped } = self;
        let committed = checkpoints.committed();
        let hand = Hand { connection, saved: false, jobs, closing, committed, fresh, written: Vec::new() };
        let written = CancellationToken::new();
        let writing = async {
            let hand = hand.write_apart(cancelled).await;
            written.cancel();
            hand
        };
        let (hand, ()) = tokio::join!(writing, checkpoints.run(written.clone()));
        // The last connection to go copies the log into the file, and a reader could not: it may only read.
        readers.close().await;
        if let Some(Hand { connection, .. }) = hand
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the database failed");
        }
        drop(stopped);
    }
}

impl Hand {
    /// Writes on a thread of its own until there is nothing more to write, or this is dropped. A group waits for SQLite a
    /// dozen times, and on the runtime's threads it would each time wait for a turn, too, behind requests that are being
    /// read.
    async fn write_apart(mut self, cancelled: CancellationToken) -> Option<Self> {
        let (runtime, dropped) = (Handle::current(), CancellationToken::new());
        let _guard = dropped.clone().drop_guard();
        let (reply, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || {
            if runtime.block_on(dropped.run_until_cancelled(self.write(&cancelled))).is_some() {
                let _nobody_waits = reply.send(self);
            }
        });
        match (ended.await, thread) {
            (Ok(hand), _) => Some(hand),
            (Err(_), Ok(thread)) => {
                // Nothing was sent back: it has panicked.
                if let Err(panic) = thread.join() {
                    resume_unwind(panic);
                }
                None
            }
            (Err(_), Err(error)) => {
                tracing::error!(%error, "the writer has no thread");
                None
            }
        }
    }

    async fn write(&mut self, cancelled: &CancellationToken) {
        while let Some(job) = self.next_job(cancelled).await {
            self.write_group(job).await;
        }
        self.jobs.close();
        while let Some(job) = self.jobs.recv().await {
            self.write_group(job).await;
        }
    }

    async fn next_job(&mut self, cancelled: &CancellationToken) -> Option<Job> {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => None,
            () = self.closing.cancelled() => None,
            job = self.jobs.recv() => job,
        }
    }

    async fn write_group(&mut self, first: Job) {
        let mut waiting = VecDeque::from([first]);
        if let Err(error) = self.begin().await {
            return fail(waiting.drain(..).map(Job::into_done), &error);
        }
        let (mut done, began) = (Vec::new(), Instant::now());
        loop {
            self.fetch(&mut waiting, done.len(), began);
            let Some(job) = waiting.pop_front() else { break };
            let intact = match job {
                Job::Accept(job) => {
                    let merged = gather(job, &mut waiting);
                    self.accept(merged, &mut done).await
                }
                Job::Work(job) => self.perform(job, &mut done).await,
            };
            if let Err(error) = intact {
                // The transaction is lost, and with it what the group had done.
                self.roll_back().await;
                return fail(done.into_iter().chain(waiting.into_iter().map(Job::into_done)), &error);
            }
        }
        self.commit(done).await;
    }

    /// Takes what is queued into the group, as long as the group is small and young.
    fn fetch(&mut self, waiting: &mut VecDeque<Job>, done: usize, began: Instant) {
        if !waiting.is_empty() || (began.elapsed() >= GROUP_TIME && done > 0) {
            return;
        }
        while done.saturating_add(waiting.len()) < GROUP_JOBS {
            let Ok(job) = self.jobs.try_recv() else { return };
            waiting.push_back(job);
        }
    }

    async fn commit(&mut self, done: Vec<Done>) {
        match self.control("COMMIT").await {
            Ok(()) => {
                // Runs are what fills the log; nothing else needs a connection of its own to copy it.
                if done.iter().any(|job| matches!(job, Done::Accept(..))) {
                    self.committed.notify_one();
                }
                for Written { tenant, batches, as_made } in self.written.drain(..) {
                    for (batch, _taken) in batches {
                        self.fresh.keep(tenant, batch, &as_made);
                    }
                }
                for job in done {
                    job.answer(Ok(()));
                }
            }
            Err(error) => {
                self.roll_back().await;
                fail(done, &error);
            }
        }
    }

    /// Does one job so that it can be taken back; what is wrong with it is told to its caller alone. An error here means
    /// that the whole transaction is lost.
    async fn perform(&mut self, mut job: Box<dyn Perform>, done: &mut Vec<Done>) -> Result<()> {
        let scope = Scope::after(done);
        self.open(scope).await?;
        match job.perform(&mut self.connection).await {
            Ok(()) => {
                done.push(Done::Work(job));
                Ok(())
            }
            Err(error) => {
                let undone = self.undo_after(scope, &error).await;
                job.answer(Err(error));
                undone
            }
        }
    }

    /// Accepts batches as one. If that fails they are accepted one by one, to find out whose fault it is.
    async fn accept(&mut self, jobs: Vec<AcceptJob>, done: &mut Vec<Done>) -> Result<()> {
        match self.try_accept(&jobs, Scope::after(done)).await {
            Ok(Ok(outcome)) => {
                self.note(jobs, outcome, done);
                Ok(())
            }
            Ok(Err(_)) if jobs.len() > 1 => {
                let mut jobs = jobs.into_iter();
                while let Some(job) = jobs.next() {
                    if let Err(lost) = Box::pin(self.accept_alone(job, done)).await {
                        for job in jobs {
                            job.answer(Err(again(&lost)));
                        }
                        return Err(lost);
                    }
                }
                Ok(())
            }
            Ok(Err(error)) => {
                jobs.into_iter().take(1).zip([error]).for_each(|(job, error)| job.answer(Err(error)));
                Ok(())
            }
            Err(lost) => {
                for job in jobs {
                    job.answer(Err(again(&lost)));
                }
                Err(lost)
            }
        }
    }

    async fn accept_alone(&mut self, job: AcceptJob, done: &mut Vec<Done>) -> Result<()> {
        match self.try_accept(slice::from_ref(&job), Scope::after(done)).await {
            Ok(Ok(outcome)) => {
                self.note(vec![job], outcome, done);
                Ok(())
            }
            Ok(Err(error)) => {
                job.answer(Err(error));
                Ok(())
            }
            Err(lost) => {
                job.answer(Err(again(&lost)));
                Err(lost)
            }
        }
    }

    fn note(&mut self, jobs: Vec<AcceptJob>, outcome: Outcome, done: &mut Vec<Done>) {
        let Outcome { accepted, as_made } = outcome;
        let Some(tenant) = jobs.first().map(|job| job.tenant) else { return };
        let (replies, batches): (Vec<_>, _) = jobs.into_iter().map(AcceptJob::into_reply_and_batch).unzip();
        done.extend(replies.into_iter().zip(accepted).map(|(reply, accepted)| Done::Accept(reply, accepted)));
        self.written.push(Written { tenant, batches, as_made });
    }

    /// The inner error is the batches', the outer one means that the transaction is lost.
    async fn try_accept(&mut self, jobs: &[AcceptJob], scope: Scope) -> Result<Result<Outcome>> {
        let Some(first) = jobs.first() else { return Ok(Ok(Outcome::default())) };
        self.open(scope).await?;
        let accepted = accept(&mut self.connection, first.tenant, &batches(jobs)).await;
        if let Err(error) = &accepted {
            self.undo_after(scope, error).await?;
        }
        Ok(accepted)
    }

    /// Begins what may have to be taken back. A savepoint stays until the next one takes its place, or the transaction
    /// ends: each statement is a journey to SQLite's thread and back.
    async fn open(&mut self, scope: Scope) -> Result<()> {
        match scope {
            Scope::Transaction => Ok(()),
            Scope::Savepoint if self.saved => self.control("RELEASE job; SAVEPOINT job").await,
            Scope::Savepoint => {
                self.saved = true;
                self.control("SAVEPOINT job").await
            }
        }
    }

    /// Takes back what a failed job did. If that is not possible, the transaction is lost to the job's error.
    async fn undo_after(&mut self, scope: Scope, failed: &StoreError) -> Result<()> {
        let undone = match scope {
            Scope::Transaction => {
                self.roll_back().await;
                self.begin().await
            }
            Scope::Savepoint => self.control("ROLLBACK TO job").await,
        };
        undone.map_err(|_| again(failed))
    }

    async fn begin(&mut self) -> Result<()> {
        self.saved = false;
        self.control("BEGIN IMMEDIATE").await
    }

    async fn roll_back(&mut self) {
        self.written.clear();
        // After some errors SQLite has rolled back by itself, and there is nothing left to do.
        if let Err(error) = self.control("ROLLBACK").await {
            tracing::debug!(%error, "rolling back");
        }
    }

    async fn control(&mut self, statement: &'static str) -> Result<()> {
        sqlx::query(statement).execute(&mut self.connection).await?;
        Ok(())
    }
}

impl Job {
    /// The job as one that can only be answered with an error.
    fn into_done(self) -> Done {
        match self {
            Self::Accept(job) => Done::Accept(job.into_reply(), Accepted::default()),
            Self::Work(job) => Done::Work(job),
        }
    }
}

fn fail(jobs: impl IntoIterator<Item = Done>, error: &StoreError) {
    tracing::error!(error = %again(error), "a group of writes failed");
    for job in jobs {
        job.answer(Err(again(error)));
    }
}
