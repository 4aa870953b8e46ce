//! A look at a database file that changes nothing in it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};

use crate::store::Result;
use crate::store::sqlite::schema::{self, MIGRATIONS};

/// What a database file is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Migrations that were applied, oldest first.
    pub applied: Vec<i64>,
    /// Migrations that the next start applies.
    pub pending: Vec<i64>,
    /// What SQLite finds wrong with its pages and indexes, and what else keeps the file from being used.
    pub problems: Vec<String>,
}

/// Looks at a file.
pub async fn inspect(file: &Path) -> Result<Inspection> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).read_only(true);
    let mut connection = options.connect().await.map_err(|error| super::unusable(file, error))?;
    let found = look(&mut connection).await.map_err(|error| super::unusable(file, error));
    // What was read was read.
    let _closed = connection.close().await;
    found
}

async fn look(connection: &mut SqliteConnection) -> std::result::Result<Inspection, sqlx::Error> {
    let checked = sqlx::query("PRAGMA quick_check(10)").fetch_all(&mut *connection).await?;
    let found = checked.iter().map(|row| row.try_get::<String, _>(0)).collect::<std::result::Result<Vec<_>, _>>()?;
    let versions = schema::versions(connection).await?;
    let damage = found.into_iter().filter(|problem| problem != "ok");
    let problems = damage.chain(versions.refusal(&MIGRATIONS).map(|why| format!("it {why}"))).collect();
    Ok(Inspection { pending: versions.pending(&MIGRATIONS), applied: versions.applied, problems })
}
