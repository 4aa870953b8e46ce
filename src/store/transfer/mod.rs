//! Copying a database file into an empty PostgreSQL, so that replicas go on where one server stopped.
//!
//! Promises: the file is only read. Every row arrives as it is, in batches, each in one transaction with the mark that
//! says how far the copy is; so whatever dies at whatever moment, the same copy run again goes on there, and no row is
//! missed or comes twice. What was there before in the PostgreSQL stops the copy, as does a file that has changed since
//! the copy began. While a copy is unfinished no replica starts on it. At its end both sides are read in full and compared
//! by count and checksum, table by table.
//!
//! Assumes that the caller owns the file, so that nobody writes to it, and that both schemas are the newest this binary
//! knows. Sealed values are copied as they are: this never opens one.

mod source;
mod tables;
mod target;
mod tuple;

use std::path::Path;

use crate::store::StoreError;
use crate::store::postgres::Options;

use source::Source;
use tables::Table;
use target::{Mark, Target};

pub use tables::TABLES;
pub use target::Beginning;
pub use tuple::Digest;

/// Why a copy does not begin, go on, or hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file was written by another version.
    #[error(
        "the database to copy is not at schema {known}, which this version of runhook makes: if it is older, bring it up \
         to date with `runhook migrate` on its data directory; if it is newer, copy with the version that made it"
    )]
    SourceSchema {
        /// What this binary makes.
        known: i64,
    },
    /// The target was migrated by a newer version.
    #[error("the target is not at schema {known} as this version of runhook makes it: copy with the newer version")]
    TargetSchema {
        /// What this binary makes.
        known: i64,
    },
    /// No server has ever started on the file.
    #[error(
        "the database to copy was never used by a server, so there is nothing to copy: start replicas on the target"
    )]
    Unused,
    /// The target is somebody's.
    #[error(
        "the target holds data already (its table `{0}` is not empty): give it an empty database, or an empty schema"
    )]
    Occupied(&'static str),
    /// Another file's copy was begun in the target.
    #[error(
        "the target holds an unfinished copy of another database: give it an empty one, or begin anew with --start-over"
    )]
    OtherSource,
    /// The file was written to, or opened by a server, after the copy began.
    #[error(
        "the database to copy was used after its copy began, so what was copied may be out of date: begin anew with \
         --start-over"
    )]
    SourceChanged,
    /// Someone else moved the mark.
    #[error("another copy into the same target is at work")]
    Raced,
    /// The sides differ.
    #[error(
        "table `{table}` differs: {source_rows} rows with checksum {source_sum} in the file, {target_rows} rows with \
         checksum {target_sum} in the target; something else has written to the target, or a row was damaged: begin \
         anew with --start-over"
    )]
    Differs {
        /// Where.
        table: &'static str,
        /// Rows of the file.
        source_rows: u64,
        /// Their checksum.
        source_sum: String,
        /// Rows of the target.
        target_rows: u64,
        /// Their checksum.
        target_sum: String,
    },
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for TransferError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, TransferError>;

/// How large a transaction gets; whichever bound is met first ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Rows.
    pub rows: u64,
    /// Bytes of rows.
    pub bytes: usize,
}

impl Default for BatchSize {
    fn default() -> Self {
        Self { rows: 5_000, bytes: 8 << 20 }
    }
}

/// A copy of one file into one PostgreSQL.
#[derive(Debug)]
pub struct Transfer {
    source: Source,
    target: Target,
    tables: Vec<Table>,
}

impl Transfer {
    /// Opens both sides and brings the target's schema up to date.
    pub async fn open(file: &Path, url: &str, options: &Options) -> Result<Self> {
        let mut source = Source::open(file).await?;
        let mut target = Target::open(url, options).await?;
        let mut tables = Vec::with_capacity(TABLES.len());
        for name in TABLES {
            let columns = target.columns(name).await?;
            tables.push(Table::new(name, columns, &source.key(name).await?)?);
        }
        Ok(Self { source, target, tables })
    }

    /// What the file keeps under this name to tell whether a key file is the right one.
    pub async fn marker(&mut self, name: &str) -> Result<Vec<u8>> {
        self.source.marker(name).await?.ok_or(TransferError::Unused)
    }

    /// Claims the target for this file's copy, or finds the copy that was begun. `identity` tells this file from others.
    /// To start over empties a target that holds an unfinished copy, and no other.
    pub async fn begin(&mut self, identity: &[u8], start_over: bool) -> Result<Beginning> {
        let state = self.source.state()?;
        self.target.begin(identity, &state, start_over).await
    }

    /// How many rows a table of the file has, and how many of them were copied.
    pub async fn progress(&mut self, table: &str) -> Result<(u64, u64)> {
        let table = find(&self.tables, table)?;
        Ok((self.source.count(table).await?, self.target.mark(table.name).await?.copied))
    }

    /// Copies what is left of a table, and says so batch by batch.
    pub async fn copy(&mut self, table: &str, size: BatchSize, on_rows: &mut (dyn FnMut(u64) + Send)) -> Result<()> {
        let table = find(&self.tables, table)?;
        let mut mark = self.target.mark(table.name).await?;
        if mark.done {
            return Ok(());
        }
        let mut rows = self.source.rows(table, mark.after.as_deref());
        let mut batch = source::batch(table, &mut rows, size).await?;
        loop {
            let next = Mark {
                copied: mark.copied.saturating_add(batch.rows),
                done: batch.rows == 0,
                after: batch.last.take().or_else(|| mark.after.clone()),
            };
            // The next rows are read while these are written.
            let (written, following) = tokio::join!(
                self.target.write(table, &batch.bytes, &mark, &next),
                source::batch(table, &mut rows, size)
            );
            written?;
            on_rows(batch.rows);
            if next.done {
                return Ok(());
            }
            (mark, batch) = (next, following?);
        }
    }

    /// How far the blobs are that go to this place.
    pub async fn blobs_copied(&mut self, place: &str) -> Result<Option<String>> {
        self.target.blobs_copied(place).await
    }

    /// Remembers that all blobs up to this one are at this place.
    pub async fn mark_blobs(&mut self, place: &str, last: &str) -> Result<()> {
        self.target.mark_blobs(place, last).await
    }

    /// Reads a table on both sides and compares.
    pub async fn verify(&mut self, table: &str, on_rows: &mut (dyn FnMut(u64) + Send)) -> Result<Digest> {
        let table = find(&self.tables, table)?;
        let (ours, theirs) =
            tokio::join!(source::digest(table, self.source.rows(table, None), on_rows), self.target.digest(table));
        let (ours, theirs) = (ours?, theirs?);
        if ours == theirs {
            return Ok(ours);
        }
        Err(TransferError::Differs {
            table: table.name,
            source_rows: ours.rows,
            source_sum: ours.checksum(),
            target_rows: theirs.rows,
            target_sum: theirs.checksum(),
        })
    }

    /// Ends the copy: from now on the target is the database.
    pub async fn finish(&mut self) -> Result<()> {
        self.target.finish(&self.tables).await
    }

    /// Closes both sides.
    pub async fn close(self) {
        self.source.close().await;
        self.target.close().await;
    }
}

fn find<'t>(tables: &'t [Table], name: &str) -> Result<&'t Table> {
    tables.iter().find(|table| table.name == name).ok_or(TransferError::Store(StoreError::NotFound("table")))
}
