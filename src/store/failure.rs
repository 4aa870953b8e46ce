//! What the databases' error codes mean for the caller.

use std::time::Duration;

use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use crate::store::StoreError;

/// When a caller that found the store busy, or away, may try again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// SQLite: the file is locked.
const BUSY: i32 = 5;
/// SQLite: the disk is full.
const FULL: i32 = 13;
/// SQLite: the file is something else than a database.
const NOT_A_DATABASE: i32 = 26;
/// SQLite: a write to the file failed; on a full disk SQLite meets this where it could not reserve the space beforehand.
const WRITE_FAILED: i32 = 778;
/// SQLite: the write-ahead log's index could not grow.
const INDEX_FAILED: i32 = 4874;

/// PgBouncer shows itself by refusing what a session is given, or by mixing up sessions.
pub(super) const UNNAMED_PGBOUNCER: &str = "something between here and PostgreSQL shares out its sessions, as PgBouncer \
     does: add `pgbouncer=true` to the database URL";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(code) = postgres_code(&error) {
            return match code.as_str() {
                // A parameter of the session is refused; a prepared statement is gone, or another's is there.
                "08P01" if error.to_string().contains("startup parameter") => {
                    Self::Unusable(UNNAMED_PGBOUNCER.to_owned())
                }
                "26000" | "42P05" => Self::Unusable(UNNAMED_PGBOUNCER.to_owned()),
                // The disk is full.
                "53100" => Self::Full,
                // A limit of the server: of memory, connections, locks; or the statement took longer than it may, or
                // waited longer for a lock.
                "53000" | "53200" | "53300" | "53400" | "55P03" | "57014" => Self::Busy { retry_after: RETRY_AFTER },
                // The server shuts down, starts, or is a standby that must not be written to.
                "57P01" | "57P02" | "57P03" | "57P05" | "25006" => Self::Unavailable(Box::new(error)),
                // The connection was ended: by its class, or because it idled in a transaction.
                other if other.starts_with("08") || other == "25P03" => Self::Unavailable(Box::new(error)),
                _ => Self::Internal(Box::new(error)),
            };
        }
        match (sqlite_code(&error), &error) {
            (Some(FULL | WRITE_FAILED | INDEX_FAILED), _) => Self::Full,
            (Some(BUSY), _) => Self::Busy { retry_after: RETRY_AFTER },
            (
                None,
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::WorkerCrashed,
            ) => Self::Unavailable(Box::new(error)),
            _ => Self::Internal(Box::new(error)),
        }
    }
}

/// The same failure for one more caller of a group that failed together.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        StoreError::Busy { retry_after } => StoreError::Busy { retry_after: *retry_after },
        StoreError::Unavailable(source) => StoreError::Unavailable(with_sources(source.as_ref()).into()),
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

/// PostgreSQL's five characters.
pub(super) fn postgres_code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code().to_owned())
}

/// SQLite's extended result code.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let database = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    sqlx::error::DatabaseError::code(database)?.parse().ok()
}

/// Whether the file is something else than a SQLite database.
pub(super) fn is_not_a_database(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(NOT_A_DATABASE)
}

/// Whether a unique key was there already.
pub(super) fn is_repeat(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
