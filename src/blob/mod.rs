//! Blob storage: where large inputs, outputs and attachments live, and links that let receivers fetch them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

use crate::model::run::BlobKey;
use crate::model::time::Timestamp;

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

    /// A link that anyone holding it can download from until it expires.
    async fn link(&self, key: &BlobKey, now: Timestamp, lasts: Duration) -> Result<Url, BlobError>;

    /// Proves that the storage can be written.
    async fn check(&self) -> Result<(), BlobError>;
}
