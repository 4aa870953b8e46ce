//! Errors of the store, by what the caller should do.

use std::time::Duration;

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a store operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting to be written; nothing was stored. Answered with 503 and `Retry-After`.
    #[error("the store is busy")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk is full; nothing was stored. Answered with 503 and `Retry-After`.
    #[error("the disk that holds the database is full")]
    Full,
    /// The database cannot be reached, or went away; nothing is known to be stored. Answered with 503 and `Retry-After`.
    #[error("the database does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another holder was faster: a cursor moved, or a lease was lost. The caller drops its work.
    #[error("someone else was faster: {0}")]
    Stale(&'static str),
    /// A name is taken.
    #[error("{0} exists already")]
    Conflict(String),
    /// Nothing has this id.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The database was written by a newer version, or is not a Runhook database.
    #[error("{0}")]
    Unusable(String),
    /// A row does not decode.
    #[error("{table}: a row does not decode: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// Why.
        reason: String,
    },
    /// The database failed.
    #[error("the database failed")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}
