//! Blob storage: where large inputs, outputs and attachments live, and links that let receivers fetch them.
//!
//! A blob is written once under a key that names its content, so storing it again is harmless and nothing is ever
//! overwritten with something else. Promises: what `put` stored is durable when it returns, and counts as stored at that
//! moment even if it was there before; a link opens one blob, until it expires. Assumes that keys come from [`key_of`].
//! Never stores a link: they are made when a message is sent.

pub mod directory;
mod key;
mod listing;
#[cfg(feature = "s3")]
pub mod s3;
mod url;

use std::sync::Arc;
use std::time::Duration;

use ::url::Url;
use async_trait::async_trait;
use bytes::Bytes;

use crate::crypto::Keyring;
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;

pub use self::url::{BlobUrl, InvalidBlobUrl, Patience, S3Credentials, S3Settings};
pub use key::{key_of, owner_of};
pub use listing::{BlobPages, Listed};

/// Why a blob could not be stored, read or linked.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The storage does not answer, or is full; the caller may try again.
    #[error("blob storage is unavailable: {0}")]
    Unavailable(String),
    /// The storage answered that it will not do it; trying again does not help.
    #[error("blob storage refused: {0}")]
    Refused(String),
}

/// A place for blobs.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Stores bytes durably under a key; the same key always gets the same bytes.
    async fn put(&self, key: &BlobKey, bytes: Bytes, mime_type: &str) -> Result<(), BlobError>;

    /// The bytes under a key.
    async fn get(&self, key: &BlobKey) -> Result<Option<Bytes>, BlobError>;

    /// Removes a key; a missing one is no error.
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError>;

    /// Removes a key unless it was put at an instant or later. Whether it did; a missing one was not removed.
    async fn delete_older(&self, key: &BlobKey, than: Timestamp) -> Result<bool, BlobError>;

    /// Goes through all blobs.
    fn pages(&self) -> Box<dyn BlobPages>;

    /// A link that anyone holding it can download from until it expires. Storage that can tell without a request refuses
    /// to link to a blob that is not there.
    async fn link(&self, key: &BlobKey, now: Timestamp, lasts: Duration) -> Result<Url, BlobError>;

    /// Proves that the storage can be written.
    async fn check(&self) -> Result<(), BlobError>;

    /// The directory whose links this server itself answers at `/blobs/…`, if that is where blobs are.
    fn as_directory(&self) -> Option<&directory::Directory> {
        None
    }
}

/// Opens the storage a URL names. `base_url` is where receivers reach this server; the keyring signs links to it.
pub async fn open(url: &BlobUrl, base_url: Url, keyring: Arc<Keyring>) -> Result<Arc<dyn BlobStore>, BlobError> {
    match url {
        BlobUrl::Directory(root) => {
            let directory = directory::Directory::new(root.clone(), base_url, keyring);
            directory.prepare().await?;
            Ok(Arc::new(directory))
        }
        BlobUrl::S3(settings) => open_bucket(settings).await,
    }
}

/// Opens a bucket. Says nothing to it yet: [`BlobStore::check`] does.
#[cfg(feature = "s3")]
pub async fn open_bucket(settings: &S3Settings) -> Result<Arc<dyn BlobStore>, BlobError> {
    Ok(Arc::new(s3::S3Blobs::connect(settings).await))
}

/// There are no buckets in this build.
#[cfg(not(feature = "s3"))]
pub async fn open_bucket(_settings: &S3Settings) -> Result<Arc<dyn BlobStore>, BlobError> {
    Err(BlobError::Refused("this build has no S3; build it with the feature `s3`".into()))
}
