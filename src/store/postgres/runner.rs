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
//! whoever asked for it.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Postgres};

use crate::store::failure::{RETRY_AFTER, postgres_code};
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

type Transaction = sqlx::Transaction<'static, Postgres>;

/// How transactions begin.
#[derive(Debug)]
pub(super) struct Beginnings {
    write: String,
    snapshot: String,
    /// Reads stand in a transaction too: a connection behind PgBouncer is the same one only that long.
    transactional: bool,
}

impl Beginnings {
    pub(super) fn of(options: &Options) -> Self {
        let limits = if options.behind_pgbouncer {
            format!(
                "; SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}",
                options.statement_timeout.as_millis(),
                options.idle_timeout.as_millis()
            )
        } else {
            String::new()
        };
        Self {
            write: format!("BEGIN{limits}"),
            snapshot: format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{limits}"),
            transactional: options.behind_pgbouncer,
        }
    }
}

/// One try of an operation.
pub(super) struct Try {
    transaction: Transaction,
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
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Try {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

/// A connection that reads.
pub(super) enum Reader {
    Plain(PoolConnection<Postgres>),
    Transaction(Transaction),
}

impl Deref for Reader {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Plain(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Plain(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }
}

impl Reader {
    /// Commits what a statement did by the way, if it stands in a transaction.
    pub(super) async fn end(self) -> Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Transaction(transaction) => Ok(transaction.commit().await?),
        }
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

impl PgStore {
    /// Runs an operation in a transaction until it is committed.
    pub(super) async fn run<'a, T: Send>(
        &self,
        name: &'static str,
        work: impl Fn(Try) -> BoxFuture<'a, Result<(Try, T)>> + Send + Sync,
    ) -> Result<T> {
        let (mut in_doubt, mut pauses) = (false, PAUSES.iter());
        loop {
            let (error, unknown) = match self.run_once(in_doubt, &work).await {
                Ok(outcome) => return Ok(outcome),
                Err(failed) => failed,
            };
            in_doubt |= unknown;
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
        in_doubt: bool,
        work: &(impl Fn(Try) -> BoxFuture<'a, Result<(Try, T)>> + Sync),
    ) -> std::result::Result<T, (StoreError, bool)> {
        let transaction = self.begin(&self.begin.write).await.map_err(|error| (error, false))?;
        let (this, outcome) = work(Try { transaction, in_doubt }).await.map_err(|error| (error, false))?;
        match this.transaction.commit().await {
            Ok(()) => Ok(outcome),
            Err(error) => {
                let error = StoreError::from(error);
                let unknown = matches!(error, StoreError::Unavailable(_));
                Err((error, unknown))
            }
        }
    }

    /// A connection for reading.
    pub(super) async fn reader(&self) -> Result<Reader> {
        if self.begin.transactional {
            return self.begin(&self.begin.write).await.map(Reader::Transaction);
        }
        self.pool.acquire().await.map(Reader::Plain).map_err(|error| self.unconnected(error))
    }

    /// A connection on which all statements see the same.
    pub(super) async fn snapshot(&self) -> Result<Reader> {
        self.begin(&self.begin.snapshot).await.map(Reader::Transaction)
    }

    async fn begin(&self, statement: &str) -> Result<Transaction> {
        self.pool.begin_with(AssertSqlSafe(statement.to_owned())).await.map_err(|error| self.unconnected(error))
    }

    /// Tells a pool whose connections are all at work from a server that does not answer.
    fn unconnected(&self, error: sqlx::Error) -> StoreError {
        let all_taken = self.pool.size() >= self.pool.options().get_max_connections();
        match error {
            sqlx::Error::PoolTimedOut if all_taken => StoreError::Busy { retry_after: RETRY_AFTER },
            error => error.into(),
        }
    }
}

/// Takes the limit off the statements of a transaction that takes as long as it needs.
pub(super) async fn take_your_time(connection: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(connection).await?;
    Ok(())
}

/// Whether trying again may help.
fn may_pass(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(source) => !matches!(source.downcast_ref(), Some(sqlx::Error::PoolTimedOut)),
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
