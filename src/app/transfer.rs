//! Moving from a data directory to PostgreSQL: rows, secrets and blobs, so that replicas go on where one server stopped.
//!
//! Promises: a server that owns the data directory is left alone, and so is a target that is not empty; the directory is
//! only read; nothing begins before the key file has opened the data. Sealed values go over as they are, so the replicas
//! need the same key file. A copy that was cut off goes on when it is run again, and whatever was copied is compared with
//! where it came from before the target can be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt as _};
use url::Url;

use crate::api::native::keys::MARKER;
use crate::app::engine::shown;
use crate::app::storage::options;
use crate::app::{DataDir, KeyFile, KeyFileError, StartError};
use crate::blob::directory::Directory;
use crate::blob::{self, BlobError, BlobStore, BlobUrl};
use crate::config::PostgresUrl;
use crate::crypto::Keyring;
use crate::model::run::BlobKey;
use crate::store::postgres;
use crate::store::transfer::{BatchSize, TABLES, Transfer, TransferError};

pub use crate::store::transfer::Beginning;

/// Blobs that are copied at a time.
const AT_A_TIME: usize = 8;
/// Blobs after which it is remembered how far they are.
const MARKED: usize = 64;

/// Why there is no copy yet.
#[derive(Debug, thiserror::Error)]
pub enum TransferFailed {
    /// The rows.
    #[error(transparent)]
    Rows(#[from] TransferError),
    /// The keys or the storage for blobs.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A blob could not be read or written.
    #[error("the blob {key} was not copied: {cause}")]
    Blob {
        /// Which.
        key: String,
        /// Why.
        cause: BlobError,
    },
    /// A blob that was written does not come back as it was.
    #[error("the blob {0} does not come back from the target as it was written")]
    BlobDiffers(String),
}

impl From<KeyFileError> for TransferFailed {
    fn from(error: KeyFileError) -> Self {
        Self::Start(error.into())
    }
}

/// What is copied, and where to.
#[derive(Debug)]
pub struct Move {
    /// What is copied. This process owns it.
    pub from: DataDir,
    /// Where its blobs are.
    pub blobs: PathBuf,
    /// The PostgreSQL.
    pub to: PostgresUrl,
    /// Where the replicas' blobs are to be.
    pub blob_url: String,
    /// The key file of both.
    pub key_file: KeyFile,
    /// How large a transaction gets.
    pub batch: BatchSize,
    /// Whether an unfinished copy in the target is thrown away.
    pub start_over: bool,
}

/// One stretch of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Copying this table.
    Copy(&'static str),
    /// Copying blobs.
    Blobs,
    /// Comparing this table.
    Compare(&'static str),
}

/// Who is told how far it is.
pub trait Progress: Send {
    /// Whether it begins, goes on, or is over.
    fn begins(&mut self, beginning: Beginning);
    /// A step begins, of which so much was done before.
    fn step(&mut self, step: Step, total: u64, done: u64);
    /// So many more rows or blobs are done.
    fn advance(&mut self, by: u64);
    /// The step is done.
    fn end(&mut self);
}

/// A table that is the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Which.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// Their checksum.
    pub checksum: String,
}

/// What became of the blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blobs {
    /// So many are in the new place, and none is missing.
    Copied(u64),
    /// They stay where they are: the new place is the old one.
    Same,
}

/// What was copied. No tables when an earlier run had finished it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The tables.
    pub tables: Vec<Compared>,
    /// The blobs, unless an earlier run had finished it.
    pub blobs: Option<Blobs>,
}

impl Move {
    /// Copies what is left to copy, and compares.
    pub async fn run(&self, progress: &mut dyn Progress) -> Result<Moved, TransferFailed> {
        let keyring = Arc::new(self.key_file.read()?);
        let mut transfer = self.open().await?;
        let moved = self.go(&mut transfer, keyring, progress).await;
        transfer.close().await;
        moved
    }

    async fn open(&self) -> Result<Transfer, TransferFailed> {
        // Copying and comparing take as long as they need.
        let unhurried = postgres::Options {
            statement_timeout: std::time::Duration::ZERO,
            idle_timeout: std::time::Duration::ZERO,
            application_name: "runhook migrate".to_owned(),
            ..options(&self.to)
        };
        Ok(Transfer::open(self.from.database(), self.to.secret(), &unhurried).await?)
    }

    async fn go(
        &self,
        transfer: &mut Transfer,
        keyring: Arc<Keyring>,
        progress: &mut dyn Progress,
    ) -> Result<Moved, TransferFailed> {
        let marker = transfer.marker(MARKER).await?;
        keyring.check_marker(&marker).map_err(|cause| self.key_file.wrong(cause))?;
        let place = self.blob_url.parse().map_err(StartError::BlobUrl)?;
        let blobs = if self.is_same(&place) { None } else { Some(open_blobs(&place, &keyring).await?) };
        let beginning = transfer.begin(&marker, self.start_over).await?;
        progress.begins(beginning);
        if beginning == Beginning::Finished {
            return Ok(Moved { tables: Vec::new(), blobs: None });
        }
        for table in TABLES {
            let (rows, copied) = transfer.progress(table).await?;
            progress.step(Step::Copy(table), rows, copied);
            transfer.copy(table, self.batch, &mut |rows| progress.advance(rows)).await?;
            progress.end();
        }
        let blobs = match blobs {
            Some(to) => Blobs::Copied(self.copy_blobs(transfer, to.as_ref(), &keyring, progress).await?),
            None => Blobs::Same,
        };
        let mut tables = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            progress.step(Step::Compare(table), transfer.progress(table).await?.0, 0);
            let digest = transfer.verify(table, &mut |rows| progress.advance(rows)).await?;
            tables.push(Compared { table, rows: digest.rows, checksum: digest.checksum() });
            progress.end();
        }
        transfer.finish().await?;
        Ok(Moved { tables, blobs: Some(blobs) })
    }

    /// Whether blobs are to stay in the directory where they are.
    fn is_same(&self, place: &BlobUrl) -> bool {
        let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
        matches!(place, BlobUrl::Directory(path) if whole(path) == whole(&self.blobs))
    }

    /// Copies the blobs behind the last one that is known to be there. How many there are in all.
    async fn copy_blobs(
        &self,
        transfer: &mut Transfer,
        to: &dyn BlobStore,
        keyring: &Arc<Keyring>,
        progress: &mut dyn Progress,
    ) -> Result<u64, TransferFailed> {
        let from = Directory::new(self.blobs.clone(), no_links()?, Arc::clone(keyring));
        let place = BlobUrl::Directory(self.blobs.clone());
        let keys = keys_in_order(&from).await.map_err(|cause| unusable(&place, cause))?;
        let last = transfer.blobs_copied(&self.blob_url).await?;
        let done = keys.partition_point(|key| last.as_ref().is_some_and(|last| key.0 <= *last));
        progress.step(Step::Blobs, keys.len() as u64, done as u64);
        for some in keys.get(done..).unwrap_or_default().chunks(MARKED) {
            stream::iter(some.iter().map(Ok))
                .try_for_each_concurrent(AT_A_TIME, |key| copy_blob(key, &from, to))
                .await?;
            if let Some(last) = some.last() {
                transfer.mark_blobs(&self.blob_url, &last.0).await?;
            }
            progress.advance(some.len() as u64);
        }
        progress.end();
        Ok(keys.len() as u64)
    }
}

/// All that is there. In order, so that one key says how far a copy has come.
async fn keys_in_order(blobs: &Directory) -> Result<Vec<BlobKey>, BlobError> {
    let (mut pages, mut keys) = (blobs.pages(), Vec::new());
    while let Some(page) = pages.next().await? {
        keys.extend(page.into_iter().map(|listed| listed.key));
    }
    keys.sort_unstable();
    Ok(keys)
}

/// Copies a blob and reads it back.
async fn copy_blob(key: &BlobKey, from: &Directory, to: &dyn BlobStore) -> Result<(), TransferFailed> {
    let failed = |cause| TransferFailed::Blob { key: key.0.clone(), cause };
    // One that has gone since it was listed is nobody's any more.
    let Some(blob) = from.download(key).await.map_err(failed)? else { return Ok(()) };
    let bytes: Bytes = blob.bytes;
    to.put(key, bytes.clone(), &blob.mime_type).await.map_err(failed)?;
    match to.get(key).await.map_err(failed)? {
        Some(there) if there == bytes => Ok(()),
        _ => Err(TransferFailed::BlobDiffers(key.0.clone())),
    }
}

async fn open_blobs(place: &BlobUrl, keyring: &Arc<Keyring>) -> Result<Arc<dyn BlobStore>, TransferFailed> {
    let failed = |cause| unusable(place, cause);
    let blobs = blob::open(place, no_links()?, Arc::clone(keyring)).await.map_err(failed)?;
    blobs.check().await.map_err(failed)?;
    Ok(blobs)
}

fn unusable(place: &BlobUrl, cause: BlobError) -> TransferFailed {
    TransferFailed::Start(StartError::Blobs { place: shown(place), cause })
}

/// Where links would lead, which nobody makes here.
fn no_links() -> Result<Url, TransferFailed> {
    Url::parse("http://localhost").map_err(|_| TransferFailed::Start(StartError::NoUrl))
}
