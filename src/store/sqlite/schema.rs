//! The schema of the file, and whose file it is.

use std::path::Path;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteConnection;

use crate::store::{Result, StoreError};

/// What brings a file's schema up to date.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const TABLES: &str =
    "SELECT count(*), count(*) FILTER (WHERE name = '_sqlx_migrations') FROM sqlite_master WHERE type = 'table'";

/// Brings the schema up to date. A newer schema, or somebody else's file, is left as it is.
pub(super) async fn migrate(connection: &mut SqliteConnection, file: &Path) -> Result<()> {
    let (tables, ours): (i64, i64) =
        sqlx::query_as(TABLES).fetch_one(&mut *connection).await.map_err(|error| super::unusable(file, error))?;
    if tables > 0 && ours == 0 {
        return Err(StoreError::Unusable(format!(
            "{} is the database of another program: name another data directory",
            file.display()
        )));
    }
    MIGRATIONS.run(connection).await.map_err(|error| explain(file, error))
}

fn explain(file: &Path, error: MigrateError) -> StoreError {
    let file = file.display();
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => StoreError::Unusable(
            format!("{file} was written by a newer version of runhook (its schema is {version}): start that version"),
        ),
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => StoreError::Unusable(format!(
            "{file} has a schema {version} that this version of runhook did not make: restore it from a backup"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Internal(Box::new(other)),
    }
}
