//! What SQLite's error codes mean for the caller.

use std::time::Duration;

use sqlx::sqlite::SqliteError;

use crate::store::StoreError;

/// When a caller that found the store busy may try again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

const BUSY: i32 = 5;
const FULL: i32 = 13;
const NOT_A_DATABASE: i32 = 26;
/// A write to the file failed; on a full disk SQLite meets this where it could not reserve the space beforehand.
const WRITE_FAILED: i32 = 778;
/// The write-ahead log's index could not grow.
const INDEX_FAILED: i32 = 4874;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match code(&error) {
            Some(FULL | WRITE_FAILED | INDEX_FAILED) => Self::Full,
            Some(BUSY) => Self::Busy { retry_after: RETRY_AFTER },
            _ => Self::Internal(Box::new(error)),
        }
    }
}

/// The extended result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    let database = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    sqlx::error::DatabaseError::code(database)?.parse().ok()
}

/// Whether the file is something else than a database.
pub(super) fn is_not_a_database(error: &sqlx::Error) -> bool {
    code(error) == Some(NOT_A_DATABASE)
}

/// Whether a unique key was there already.
pub(super) fn is_repeat(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// The same failure for one more caller of a group that failed together.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        StoreError::Busy { retry_after } => StoreError::Busy { retry_after: *retry_after },
        other => StoreError::Internal(with_sources(other).into()),
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// The writer is not there to answer.
pub(super) fn no_writer() -> StoreError {
    StoreError::Internal("the writer has stopped".into())
}
