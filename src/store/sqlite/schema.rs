//! The schema of the file, and whose file it is.

use std::path::Path;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteConnection;

use crate::store::versions::{APPLIED, LEAST, Versions};
use crate::store::{Result, StoreError};

/// What brings a file's schema up to date. A schema that is newer still may be used; [`Versions`] says whether.
pub(in crate::store) static MIGRATIONS: Migrator =
    Migrator { ignore_missing: true, ..sqlx::migrate!("migrations/sqlite") };

const TABLES: &str =
    "SELECT count(*), count(*) FILTER (WHERE name = '_sqlx_migrations') FROM sqlite_master WHERE type = 'table'";

const THERE: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1";

/// Brings the schema up to date. One that is too new, or somebody else's file, is left as it is.
pub(super) async fn migrate(connection: &mut SqliteConnection, file: &Path) -> Result<()> {
    let (tables, ours): (i64, i64) =
        sqlx::query_as(TABLES).fetch_one(&mut *connection).await.map_err(|error| super::unusable(file, error))?;
    if tables > 0 && ours == 0 {
        return Err(StoreError::Unusable(format!(
            "{} is the database of another program: name another data directory",
            file.display()
        )));
    }
    check(connection, &file.display().to_string()).await?;
    MIGRATIONS.run(connection).await.map_err(|error| explain(file, error))
}

/// What the schema says of itself.
pub(in crate::store) async fn versions(connection: &mut SqliteConnection) -> sqlx::Result<Versions> {
    let mut found = Versions::default();
    if is_there(connection, "_sqlx_migrations").await? {
        found.applied = sqlx::query_scalar(APPLIED).fetch_all(&mut *connection).await?;
    }
    if is_there(connection, "counters").await? {
        found.least = sqlx::query_scalar(LEAST).fetch_optional(&mut *connection).await?;
    }
    Ok(found)
}

async fn is_there(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<bool> {
    let found: i64 = sqlx::query_scalar(THERE).bind(table).fetch_one(connection).await?;
    Ok(found > 0)
}

/// That this binary may use the schema.
pub(super) async fn check(connection: &mut SqliteConnection, shown: &str) -> Result<()> {
    match versions(connection).await?.refusal(&MIGRATIONS) {
        Some(why) => Err(StoreError::Unusable(format!("{shown} {why}"))),
        None => Ok(()),
    }
}

fn explain(file: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => StoreError::Unusable(format!(
            "{} has a schema {version} that this version of runhook did not make: restore it from a backup",
            file.display()
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Internal(Box::new(other)),
    }
}
