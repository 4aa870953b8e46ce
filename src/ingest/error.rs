//! Why a request, or one part of it, was refused.

use crate::blob::BlobError;
use crate::ingest::receipt::Refused;
use crate::store::StoreError;

/// Why nothing of a request was stored.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It is larger than a limit; sending it again does not help.
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// It holds more than a limit; smaller requests pass.
    #[error("the request holds more than {limit} {what}")]
    TooMany {
        /// What it holds too many of.
        what: &'static str,
        /// The limit.
        limit: u32,
    },
    /// The requests under way hold all the memory there is for bodies; it was not read further.
    #[error("the server is taking in as many bytes as it may at a time")]
    Crowded,
    /// Its `Content-Encoding` or `Content-Type` is none that is read here.
    #[error("{0}")]
    Unsupported(String),
    /// It cannot be read at all.
    #[error("{0}")]
    Malformed(String),
    /// Its sender stopped sending.
    #[error("the request body stopped arriving before its end")]
    Interrupted,
    /// It is one document, and a field of it is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Every part of it was refused.
    #[error("no part of the request could be read")]
    Nothing(Vec<Refused>),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Blob storage did not take its large values.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// A field whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct Invalid {
    /// The field.
    pub field: String,
    /// What is wrong with it, continuing "`field` ...".
    pub reason: String,
}

impl Invalid {
    /// A field and what is wrong with it.
    #[must_use]
    pub fn new(field: &str, reason: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason: reason.into() }
    }
}
