//! Running transactions, and running them again.
//!
//! An operation is a function of a transaction. If the transaction fails because of others (a deadlock, a serialization
//! failure, a project that was removed meanwhile), or the connection is lost before COMMIT was sent, nothing has happened
//! and the operation runs again, a bounded number of times. If the connection is lost while COMMIT is under way, nobody
//! knows: the operation runs again and is told that it is in doubt, so that it can recognise its own work. Accepting
//! recognises it by the digests of parts, a window by its id, an attempt by its number and instant, a revision of rules
//! leaves everything as it was. So an operation that is answered has happened, once.
//!
//! An operation that gives up on a lost connection answers `Unavailable`: it may have happened, and may be repeated by
//! whoever asked for it. So does one that the server leaves without an answer for too long.
//!
//! What writes has no `statement_timeout`, only limits on waiting for locks and on idling. That limit would fall upon
//! COMMIT too, and there PostgreSQL takes it as leave to stop waiting for a synchronous standby: it would answer that all
//! is well although the standby has nothing of it.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::AssertSqlSafe;

use crate::store::failure::{RETRY_AFTER, postgres_code};
use crate::store::postgres::connections::Pool;
use crate::store::postgres::session::Session;
use crate::store::postgres::{Options, PgStore};
use crate::store::{Result, StoreError};

/// How long to wait before each further try. Together they outlast a deadlock, not a failover: that is the caller's
/// business, who is told to come again.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
    Duration::from_millis(1280),
];

/// How transactions begin.
#[derive(Debug)]
pub(super) struct Beginnings {
    write: String,
    read: String,
    snapshot: String,
    /// Reads stand in a transaction too, and no statement has a name: a connection behind PgBouncer is the same one only
    /// that long.
    transactional: bool,
}

impl Beginnings {
    pub(super) fn of(options: &Options) -> Self {
        let (statement, idle) = (options.statement_timeout.as_millis(), options.idle_timeout.as_millis());
        let idles = format!("; SET LOCAL idle_in_transaction_session_timeout = {idle}");
        let (reading, writing) = if options.behind_pgbouncer {
            (
                format!("; SET LOCAL statement_timeout = {statement}{idles}"),
                format!("; SET LOCAL lock_timeout = {statement}{idles}"),
            )
        } else {
            (String::new(), String::new())
        };
        Self {
            write: format!("BEGIN; SET LOCAL statement_timeout = 0{writing}"),
            read: format!("BEGIN{reading}"),
            snapshot: format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{reading}"),
            transactional: options.behind_pgbouncer,
        }
    }
}

/// One try of an operation.
pub(super) struct Try {
    session: Session,
    /// An earlier try may have been committed.
    pub(super) in_doubt: bool,
}

impl Try {
    /// Says what came of it, if it can be committed.
    pub(super) fn done<T>(self, outcome: T) -> (Self, T) {
        (self, outcome)
    }
}

impl Deref for Try {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Try {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// A connection that reads.
pub(super) struct Reader(Session);

impl Deref for Reader {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.0
    }
}

impl Reader {
    /// Commits what a statement did by the way, if it stands in a transaction.
    pub(super) async fn end(self) -> Result<()> {
        self.0.commit().await
    }
}

/// Something an operation decided on was gone when it came to write: it looks again.
#[derive(Debug, thiserror::Error)]
#[error("{0} went away meanwhile")]
struct Gone(&'static str);

/// The error that makes an operation look again.
pub(super) fn gone(what: &'static str) -> StoreError {
    StoreError::Internal(Box::new(Gone(what)))
}

/// The server has left an operation without an answer for too long.
#[derive(Debug, thiserror::Error)]
#[error("the server did not answer within {0:?}")]
struct Silent(Duration);

impl PgStore {
    /// Runs an operation in a transaction until it is committed.
    pub(super) async fn run<'a, T: Send>(
        &self,
        name: &'static str,
        work: impl Fn(Try) -> BoxFuture<'a, Result<(Try, T)>> + Send + Sync,
    ) -> Result<T> {
        self.run_within(name, self.patience, work).await
    }

    /// Runs an operation that takes as long as it needs.
    pub(super) async fn run_long<'a, T: Send>(
        &self,
        name: &'static str,
        work: impl Fn(Try) -> BoxFuture<'a, Result<(Try, T)>> + Send + Sync,
    ) -> Result<T> {
        self.run_within(name, Duration::MAX, work).await
    }

    async fn run_within<'a, T: Send>(
        &self,
        name: &'static str,
        patience: Duration,
        work: impl Fn(Try) -> BoxFuture<'a, Result<(Try, T)>> + Send + Sync,
    ) -> Result<T> {
        let (mut in_doubt, mut pauses) = (false, PAUSES.iter());
        loop {
            let pool = self.connections.current();
            let tried = tokio::time::timeout(patience, self.run_once(&pool, in_doubt, &work)).await;
            let (error, unknown) = match tried.unwrap_or_else(|_| Err((silent(patience), true))) {
                Ok(outcome) => return Ok(outcome),
                Err(failed) => failed,
            };
            in_doubt |= unknown;
            self.note(&pool, &error);
            if !may_pass(&error) {
                return Err(error);
            }
            let Some(pause) = pauses.next() else { return Err(give_up(error)) };
            metrics::counter!("runhook_store_retries_total", "operation" => name).increment(1);
            tracing::debug!(operation = name, in_doubt, error = ?error, "a transaction is run again");
            tokio::time::sleep(*pause).await;
        }
    }

    /// Runs it once. With the error comes whether the transaction may have been committed all the same.
    async fn run_once<'a, T>(
        &self,
        pool: &Pool,
        in_doubt: bool,
        work: &(impl Fn(Try) -> BoxFuture<'a, Result<(Try, T)>> + Sync),
    ) -> std::result::Result<T, (StoreError, bool)> {
        let session = self.begin_on(pool, &self.begin.write).await.map_err(|error| (error, false))?;
        let (this, outcome) = work(Try { session, in_doubt }).await.map_err(|error| (error, false))?;
        let committed = this.session.commit().await;
        committed.map(|()| outcome).map_err(|error| {
            let unknown = matches!(error, StoreError::Unavailable(_));
            (error, unknown)
        })
    }

    /// Reads, for as long as the server answers in time.
    pub(super) async fn read<T>(&self, reading: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let pool = self.connections.current();
        let read = tokio::time::timeout(self.patience, reading).await.unwrap_or_else(|_| Err(silent(self.patience)));
        read.inspect_err(|error| self.note(&pool, error))
    }

    /// A connection for reading.
    pub(super) async fn reader(&self) -> Result<Reader> {
        let pool = self.connections.current();
        if self.begin.transactional {
            return self.begin_on(&pool, &self.begin.read).await.map(Reader);
        }
        let connection = pool.pool.acquire().await.map_err(|error| unconnected(&pool, error))?;
        Ok(Reader(Session::plain(connection)))
    }

    /// A connection on which all statements see the same.
    pub(super) async fn snapshot(&self) -> Result<Reader> {
        self.begin_on(&self.connections.current(), &self.begin.snapshot).await.map(Reader)
    }

    async fn begin_on(&self, pool: &Pool, statement: &str) -> Result<Session> {
        let begun = pool.pool.begin_with(AssertSqlSafe(statement.to_owned())).await;
        let transaction = begun.map_err(|error| unconnected(pool, error))?;
        Ok(Session::within(transaction, !self.begin.transactional))
    }

    /// Leaves a pool whose connections lead to a server that is lost.
    fn note(&self, pool: &Pool, error: &StoreError) {
        if matches!(error, StoreError::Unavailable(_)) {
            self.connections.replace(pool);
        }
    }
}

/// Tells a pool whose connections are all at work from a server that does not answer.
fn unconnected(pool: &Pool, error: sqlx::Error) -> StoreError {
    let all_taken = pool.pool.size() >= pool.pool.options().get_max_connections();
    match error {
        sqlx::Error::PoolTimedOut if all_taken => StoreError::Busy { retry_after: RETRY_AFTER },
        error => error.into(),
    }
}

fn silent(patience: Duration) -> StoreError {
    StoreError::Unavailable(Box::new(Silent(patience)))
}

/// Takes the limit off the locks of a transaction that takes as long as it needs.
pub(super) async fn take_your_time(session: &mut Session) -> Result<()> {
    sqlx::raw_sql("SET LOCAL lock_timeout = 0").execute(session).await?;
    Ok(())
}

/// Whether trying again may help. Who has waited in vain for long enough does not wait again.
fn may_pass(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(source) => {
            !source.is::<Silent>() && !matches!(source.downcast_ref(), Some(sqlx::Error::PoolTimedOut))
        }
        StoreError::Internal(source) => source.is::<Gone>() || is_conflict(source.as_ref()),
        _ => false,
    }
}

/// Whether others were in the way: a serialization failure, or a deadlock.
fn is_conflict(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let code = source.downcast_ref().and_then(postgres_code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// What the caller hears when the last try has failed.
fn give_up(error: StoreError) -> StoreError {
    match error {
        StoreError::Internal(_) => StoreError::Busy { retry_after: RETRY_AFTER },
        other => other,
    }
}
