//! The one place that knows which databases there are: it takes them, opens them, looks at them.
//!
//! A file belongs to one process, which owns a data directory with it. A PostgreSQL is shared: any number of replicas
//! use it, none owns anything, and there is no data directory at all. So what an embedded server may make for itself
//! (keys, a directory of blobs) replicas must be given, the same to each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::app::{DataDir, DataDirError, database_in};
use crate::config::{Config, DatabaseUrl, PostgresUrl};
use crate::model::time::{Clock, SystemClock};
use crate::store::postgres::{self, PgStore, SharedClock, Topic};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{Result, Store, StoreError};
use crate::task::{Poke, Supervisor};

/// A database, and the right to use it.
#[derive(Debug)]
pub enum Storage {
    /// A file that this process owns.
    Embedded(DataDir),
    /// A PostgreSQL that others use too.
    Shared(PostgresUrl),
}

/// The loops that what others write wakes.
#[derive(Debug, Clone)]
pub(super) struct Pokes {
    /// There are changes, or other rules.
    pub(super) scheduler: Poke,
    /// There are deliveries.
    pub(super) delivery: Poke,
}

/// Hears what other replicas write until it is cancelled, and pokes.
pub(super) type Listening = Box<dyn FnOnce(Pokes, CancellationToken) -> BoxFuture<'static, ()> + Send + Sync>;

/// An open database.
pub(super) struct Opened {
    /// The store.
    pub(super) store: Arc<dyn Store>,
    /// The time: this machine's, or that of the database that replicas share.
    pub(super) clock: Arc<dyn Clock>,
    /// For a process that stays; absent where nobody else writes.
    pub(super) listening: Option<Listening>,
}

/// What a database is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Migrations that were applied, oldest first.
    pub applied: Vec<i64>,
    /// Migrations that the next start applies.
    pub pending: Vec<i64>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

impl Storage {
    /// Takes what the configuration names: a file with its data directory, which another process may have, or a server.
    pub fn take(config: &Config) -> std::result::Result<Self, DataDirError> {
        match &config.database_url {
            Some(DatabaseUrl::Postgres(url)) => Ok(Self::Shared(url.clone())),
            Some(DatabaseUrl::Sqlite(file)) => Ok(Self::Embedded(DataDir::take_with(&config.data_dir, file)?)),
            None => Ok(Self::Embedded(DataDir::take(&config.data_dir)?)),
        }
    }

    /// The data directory, if there is one.
    #[must_use]
    pub fn data_dir(&self) -> Option<&DataDir> {
        match self {
            Self::Embedded(data_dir) => Some(data_dir),
            Self::Shared(_) => None,
        }
    }

    /// What may be shown of where the database is.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Embedded(data_dir) => data_dir.database().display().to_string(),
            Self::Shared(url) => url.to_string(),
        }
    }

    /// Opens the database, and brings its schema up to date. What it needs to run is handed to the supervisor.
    pub(super) async fn open(&self, supervisor: &Supervisor, clock: Arc<dyn Clock>) -> Result<Opened> {
        match self {
            Self::Embedded(data_dir) => {
                let (store, writer) = SqliteStore::open(data_dir.database()).await?;
                supervisor.spawn("writer", writer.run(supervisor.soft()));
                Ok(Opened { store: Arc::new(store), clock, listening: None })
            }
            Self::Shared(url) => {
                // A pool only says that it had to wait too long; this says why.
                postgres::inspect(url.secret(), &options(url)).await?;
                let store = PgStore::connect(url.secret(), &options(url)).await?;
                let clock = Arc::new(store.clock(clock).await?);
                let listening = listening(store.clone(), Arc::clone(&clock));
                Ok(Opened { store: Arc::new(store), clock, listening: Some(listening) })
            }
        }
    }

    /// Brings the schema up to date and does nothing else. Which migrations that took, and the version it is at now.
    pub async fn migrate(&self) -> Result<(Vec<i64>, i64)> {
        let before = match self {
            Self::Embedded(data_dir) if !data_dir.database().exists() => Vec::new(),
            _ => self.inspect().await?.applied,
        };
        let supervisor = Supervisor::default();
        let opened = self.open(&supervisor, Arc::new(SystemClock)).await?;
        supervisor.stop();
        opened.store.close().await;
        let ended = supervisor.finished(std::future::pending()).await;
        ended.map_err(|error| StoreError::Internal(Box::new(error)))?;
        let after = self.inspect().await?.applied;
        let version = after.last().copied().unwrap_or(0);
        Ok((after.into_iter().filter(|version| !before.contains(version)).collect(), version))
    }

    /// Looks at the database and changes nothing.
    pub async fn inspect(&self) -> Result<Inspection> {
        match self {
            Self::Embedded(data_dir) => inspect_file(data_dir.database()).await,
            Self::Shared(url) => inspect_server(url).await,
        }
    }
}

pub(super) fn options(url: &PostgresUrl) -> postgres::Options {
    postgres::Options { behind_pgbouncer: url.behind_pgbouncer(), ..postgres::Options::default() }
}

fn listening(store: PgStore, clock: Arc<SharedClock>) -> Listening {
    Box::new(move |pokes, cancelled| {
        Box::pin(async move {
            let on_poke = move |topic| match topic {
                Topic::Changes | Topic::Rules => pokes.scheduler.poke(),
                Topic::Deliveries => pokes.delivery.poke(),
            };
            tokio::select! {
                () = store.listen(on_poke) => {}
                () = store.keep_time(&clock) => {}
                () = cancelled.cancelled() => {}
            }
        })
    })
}

/// Looks at a database file and changes nothing.
pub async fn inspect_file(file: &Path) -> Result<Inspection> {
    let sqlite::Inspection { applied, pending, problems } = sqlite::inspect(file).await?;
    Ok(Inspection { applied, pending, problems })
}

/// Looks at a PostgreSQL and changes nothing.
pub async fn inspect_server(url: &PostgresUrl) -> Result<Inspection> {
    let postgres::Inspection { applied, pending, problems } = postgres::inspect(url.secret(), &options(url)).await?;
    Ok(Inspection { applied, pending, problems })
}

/// The database file of an embedded configuration.
#[must_use]
pub fn file_of(config: &Config) -> Option<PathBuf> {
    match &config.database_url {
        None => Some(database_in(&config.data_dir)),
        Some(DatabaseUrl::Sqlite(file)) => Some(file.clone()),
        Some(DatabaseUrl::Postgres(_)) => None,
    }
}
