//! A look at a database that changes nothing in it, over a connection of its own, so that what is wrong with the way
//! there is said as it is. Its statements are plain text: outside of transactions nothing else works behind PgBouncer.

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::store::failure::UNNAMED_PGBOUNCER;
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

/// What a session was told when it began.
const TOLD: &str = "SELECT setting FROM pg_settings WHERE name = 'lock_timeout'";

/// Looks at a database.
pub async fn inspect(url: &str, options: &Options) -> Result<Inspection> {
    let connecting = connect_options(url, options)?;
    let connected = tokio::time::timeout(options.acquire_timeout, connecting.connect()).await;
    let late = |_| StoreError::Unavailable("the server does not answer".into());
    let mut connection = connected.map_err(late)??;
    if !options.behind_pgbouncer {
        let told: String = sqlx::raw_sql(TOLD).fetch_one(&mut connection).await?.try_get(0)?;
        if told != options.statement_timeout.as_millis().to_string() {
            return Err(StoreError::Unusable(UNNAMED_PGBOUNCER.to_owned()));
        }
    }
    let found = look(&mut connection).await?;
    // What was read was read.
    let _closed = connection.close().await;
    Ok(found)
}

async fn look(connection: &mut PgConnection) -> Result<Inspection> {
    let is_read_only: bool = sqlx::raw_sql(READ_ONLY).fetch_one(&mut *connection).await?.try_get(0)?;
    let versions = schema::versions(connection).await?;
    let mut problems = Vec::new();
    if is_read_only {
        problems.push("it takes no writes: it is a standby, or set to read only".to_owned());
    }
    problems.extend(versions.refusal(&MIGRATIONS).map(|why| format!("it {why}")));
    Ok(Inspection { pending: versions.pending(&MIGRATIONS), applied: versions.applied, problems })
}
