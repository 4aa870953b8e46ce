//! The embedded store: one SQLite file, one writer with group commit, a pool of readers.
//!
//! What is answered is on the disk: WAL with `synchronous=FULL`, and an answer only after the commit. Readers never
//! wait for the writer, and see what was committed before they asked. The file belongs to one process.
//!
//! A bare `LIMIT ?` is looked at when a statement is planned, so SQLite plans it anew each time it is bound; the hot ones
//! say `LIMIT ? + 0`.
//!
//! Statements are constants, so that their plans can be tested; their texts do not depend on how many rows they are
//! about, save for INSERTs, which come in a few sizes.

mod accept;
mod alerts;
mod audit;
mod catalog;
mod checkpoints;
mod collections;
#[expect(clippy::duplicate_mod, reason = "it is this backend's here, and the other's there")]
#[path = "../either/mod.rs"]
mod either;
mod endpoints;
mod events;
mod failed;
mod failure;
mod feedback;
mod feedback_tokens;
mod fresh;
mod health;
mod inspect;
mod keys;
mod leases;
mod names;
mod outbox;
#[cfg(test)]
mod plans;
mod projects;
mod removal;
mod retention;
mod row;
mod rule_log;
mod rules;
mod runs;
pub(in crate::store) mod schema;
mod search;
mod standing;
mod threads;
mod windows;
mod writer;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _};
use tokio_util::sync::CancellationToken;

use crate::model::delivery::Delivery;
use crate::model::id::TenantId;
use crate::model::message::Message;
use crate::store::group::Bounds;
use crate::store::{Result, StoreError};

pub use inspect::{Inspection, inspect};
pub use writer::Writer;

use outbox::fail_endpoints;

/// What statements are run on.
type Connection = SqliteConnection;

/// The embedded store.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    readers: SqlitePool,
    queue: writer::Queue,
    fresh: fresh::Fresh,
    leases: leases::Leases,
}

/// How an embedded store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Jobs that may wait for the writer.
    pub queued_jobs: usize,
    /// Parts and feedback records that may wait for the writer; beyond that batches are refused as busy.
    pub queued_items: u32,
    /// Bytes of batches, roughly, that may wait for the writer or be written by it; beyond that they are refused as busy.
    pub queued_bytes: u64,
    /// Connections that read.
    pub readers: u32,
    /// Pages of 16 KiB the file may grow to; beyond that the disk counts as full.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queued_jobs: 1024,
            queued_items: 32 * 1024,
            queued_bytes: 128 * 1024 * 1024,
            readers: 4,
            max_pages: None,
        }
    }
}

/// Rows of a few kilobytes pack well into pages of this size: measured at twice the throughput of SQLite's default.
const PAGE_SIZE: u32 = 16 * 1024;
/// Pages of WAL after which the writer itself copies into the file what has not been copied yet.
const CHECKPOINT_PAGES: u32 = 4_000;
/// Kinds of statement, times the sizes they come in.
const STATEMENTS: usize = 256;

impl SqliteStore {
    /// Opens (or creates) the database file and brings its schema up to date. The store works while the writer runs.
    /// Leases found in the file are void: whoever held them is gone, or this process could not have the file.
    pub async fn open(file: &Path) -> Result<(Self, Writer)> {
        Self::open_with(file, &Options::default()).await
    }

    /// Opens with other options than the default ones.
    pub async fn open_with(file: &Path, options: &Options) -> Result<(Self, Writer)> {
        let mut connection = connect(file, options).await?;
        schema::migrate(&mut connection, file).await?;
        crate::store::accept::ensure_default(&mut connection, TenantId::DEFAULT).await?;
        outbox::release_leases(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(base(file).read_only(true));
        let room = Bounds { items: options.queued_items, bytes: options.queued_bytes };
        let checkpoints = checkpoints::Checkpoints::of(base(file).synchronous(SqliteSynchronous::Full));
        let (queue, writer) = writer::queue(connection, readers.clone(), checkpoints, options.queued_jobs, room);
        let fresh = writer.fresh();
        Ok((Self { readers, queue, fresh, leases: leases::Leases::default() }, writer))
    }

    /// Cancelled when the writer is no more: by `close`, or because it died. A process whose writer died must end.
    #[must_use]
    pub fn writer_died(&self) -> CancellationToken {
        self.queue.stopped()
    }
}

/// Stores messages and their deliveries.
async fn store_told(
    connection: &mut Connection,
    _tenant: TenantId,
    messages: &[Message],
    deliveries: &[Delivery],
) -> Result<()> {
    outbox::store_messages(&mut *connection, messages).await?;
    outbox::store_deliveries(connection, deliveries).await
}

fn base(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(false)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

async fn connect(file: &Path, options: &Options) -> Result<SqliteConnection> {
    let mut writing = base(file)
        .create_if_missing(true)
        .page_size(PAGE_SIZE)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-49152")
        // What takes a statement or a savepoint back is a few pages, for which no file need be made and removed.
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", "67108864");
    if let Some(pages) = options.max_pages {
        writing = writing.pragma("max_page_count", pages.to_string());
    }
    SqliteConnection::connect_with(&writing).await.map_err(|error| unusable(file, error))
}

/// Tells a file that is no database from a failure.
pub(in crate::store) fn unusable(file: &Path, error: sqlx::Error) -> StoreError {
    if crate::store::failure::is_not_a_database(&error) {
        let file = file.display();
        return StoreError::Unusable(format!(
            "{file} is not a database: move it away to start with an empty one, or name another data directory"
        ));
    }
    match StoreError::from(error) {
        StoreError::Internal(source) => StoreError::Unusable(format!("{} cannot be opened: {source}", file.display())),
        other => other,
    }
}
