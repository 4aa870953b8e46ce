//! A look at a database that changes nothing in it, over a connection of its own, so that what is wrong with the way
//! there is said as it is.

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::store::postgres::schema::{self, MIGRATIONS};
use crate::store::postgres::{Options, connect_options};
use crate::store::{Result, StoreError};

/// What a database is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Migrations that were applied, oldest first.
    pub applied: Vec<i64>,
    /// Migrations that the next start applies.
    pub pending: Vec<i64>,
    /// What keeps this database from being used.
    pub problems: Vec<String>,
}

const READ_ONLY: &str = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'";

/// Looks at a database.
pub async fn inspect(url: &str, options: &Options) -> Result<Inspection> {
    let connecting = connect_options(url, options)?;
    let connected = tokio::time::timeout(options.acquire_timeout, connecting.connect()).await;
    let late = |_| StoreError::Unavailable("the server does not answer".into());
    let mut connection = connected.map_err(late)??;
    let found = look(&mut connection).await?;
    // What was read was read.
    let _closed = connection.close().await;
    Ok(found)
}

async fn look(connection: &mut PgConnection) -> Result<Inspection> {
    let is_read_only: bool = sqlx::query_scalar(READ_ONLY).fetch_one(&mut *connection).await?;
    let versions = schema::versions(connection).await?;
    let mut problems = Vec::new();
    if is_read_only {
        problems.push("it takes no writes: it is a standby, or set to read only".to_owned());
    }
    problems.extend(versions.refusal(&MIGRATIONS).map(|why| format!("it {why}")));
    Ok(Inspection { pending: versions.pending(&MIGRATIONS), applied: versions.applied, problems })
}
