//! The connections of this process, and what happens when the server behind them is gone.
//!
//! A server that is lost does not always say so: a machine without power ends no connection, a firewall forgets one in
//! silence, and after a failover a connection may lead to what is now a standby. So a connection is made only to a server
//! that takes writes, one that has idled must answer in a moment before it is used, and an operation waits for an answer
//! only so long. Whoever finds the server lost replaces the whole pool: all its connections lead to the same place, and a
//! new one finds out where that is now. What is still under way on the old ones ends by itself and holds nothing up.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use sqlx::Row as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

use crate::store::postgres::Options;

/// How long a connection that has idled may take to answer.
const MOMENT: Duration = Duration::from_secs(2);

/// A transaction begins with its first statement, and so later statements are younger than their transaction.
const IS_IDLE: &str = "SELECT now() = statement_timestamp()";

/// A standby says yes, and so does a server that was set to take no writes.
const IS_READ_ONLY: &str = "SELECT current_setting('transaction_read_only') = 'on'";

/// The server takes no writes.
#[derive(Debug, thiserror::Error)]
#[error("the server takes no writes: it is a standby, or set to read only")]
struct ReadOnly;

/// A pool, of which there is a next one when it is found to lead nowhere.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) pool: PgPool,
    generation: u64,
}

/// The pool in use.
#[derive(Debug)]
pub(super) struct Connections {
    connect: PgConnectOptions,
    most: u32,
    acquire_timeout: Duration,
    current: ArcSwap<Pool>,
    this: Weak<Self>,
}

impl Connections {
    /// None is made yet.
    pub(super) fn new(connect: PgConnectOptions, options: &Options) -> Arc<Self> {
        let (most, acquire_timeout) = (options.connections, options.acquire_timeout);
        Arc::new_cyclic(|this| Self {
            current: ArcSwap::from_pointee(open(&connect, most, acquire_timeout, this, 0)),
            connect,
            most,
            acquire_timeout,
            this: Weak::clone(this),
        })
    }

    /// The pool to take a connection from.
    pub(super) fn current(&self) -> Arc<Pool> {
        self.current.load_full()
    }

    /// Never uses the connections of this pool again.
    pub(super) fn replace(&self, lost: &Pool) {
        self.replace_generation(lost.generation);
    }

    fn replace_generation(&self, lost: u64) {
        let current = self.current.load();
        if current.generation != lost || current.pool.is_closed() || current.pool.size() == 0 {
            return;
        }
        tracing::info!("the database was lost; all connections to it are made anew");
        let next = open(&self.connect, self.most, self.acquire_timeout, &self.this, lost.wrapping_add(1));
        // Whoever was faster has replaced it.
        let _faster = self.current.compare_and_swap(&current, Arc::new(next));
    }
}

fn open(
    connect: &PgConnectOptions,
    most: u32,
    acquire_timeout: Duration,
    connections: &Weak<Connections>,
    generation: u64,
) -> Pool {
    let connections = Weak::clone(connections);
    let pool = PgPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(move |connection, _| {
            let connections = Weak::clone(&connections);
            Box::pin(async move { still_answers(connection, &connections, generation).await })
        })
        .after_connect(|connection, _| takes_writes(connection))
        .connect_lazy_with(connect.clone());
    Pool { pool, generation }
}

async fn still_answers(
    connection: &mut PgConnection,
    connections: &Weak<Connections>,
    generation: u64,
) -> sqlx::Result<bool> {
    if let Ok(is_idle) = tokio::time::timeout(MOMENT, is_idle(connection)).await {
        return is_idle;
    }
    if let Some(connections) = connections.upgrade() {
        connections.replace_generation(generation);
    }
    Err(sqlx::Error::Io(io::Error::from(io::ErrorKind::TimedOut)))
}

/// Whether the connection answers, and is in no transaction. One whose user went away while `BEGIN` was under way is in
/// one that nobody ends; it is closed.
async fn is_idle(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::raw_sql(IS_IDLE).fetch_one(connection).await?.try_get(0)
}

fn takes_writes(connection: &mut PgConnection) -> BoxFuture<'_, sqlx::Result<()>> {
    Box::pin(async move {
        let is_read_only = sqlx::raw_sql(IS_READ_ONLY).fetch_one(connection).await?;
        if is_read_only.try_get(0)? { Err(sqlx::Error::Configuration(Box::new(ReadOnly))) } else { Ok(()) }
    })
}
