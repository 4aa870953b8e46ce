//! The schema of the database, and whose database it is.
//!
//! Replicas start together: each takes a lock that ends with its transaction, so that it holds behind PgBouncer too, and
//! migrates inside that transaction. One does the work, the others find it done.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;

use crate::store::postgres::PgStore;
use crate::store::postgres::runner::take_your_time;
use crate::store::{Result, StoreError};

/// What brings a database's schema up to date. The lock is ours, not the migrator's, which would hold it in a session.
pub(super) static MIGRATIONS: Migrator = Migrator { locking: false, ..sqlx::migrate!("migrations/postgres") };

const LOCK: &str = "SELECT pg_advisory_xact_lock(8245939452187242347)";

const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE table_name = '_sqlx_migrations') \
     FROM information_schema.tables WHERE table_schema = current_schema()";

impl PgStore {
    /// Brings the schema up to date. A newer schema, or somebody else's database, is left as it is.
    pub(super) async fn migrate(&self) -> Result<()> {
        self.run_long("migrate", |mut this| {
            Box::pin(async move {
                migrate(&mut this).await?;
                Ok(this.done(()))
            })
        })
        .await
    }
}

async fn migrate(connection: &mut PgConnection) -> Result<()> {
    take_your_time(connection).await?;
    sqlx::query(LOCK).execute(&mut *connection).await?;
    let (tables, ours): (i64, i64) = sqlx::query_as(TABLES).fetch_one(&mut *connection).await?;
    if tables > 0 && ours == 0 {
        return Err(StoreError::Unusable(
            "the database holds tables of another program: name an empty database, or a schema of its own".to_owned(),
        ));
    }
    MIGRATIONS.run_direct(None, connection, false).await.map_err(explain)
}

fn explain(error: MigrateError) -> StoreError {
    let why = match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            format!(
                "the database was written by a newer version of runhook (its schema is {version}): start that version"
            )
        }
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => format!(
            "the database has a schema {version} that this version of runhook did not make: restore it from a backup"
        ),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => return error.into(),
        other => return StoreError::Internal(Box::new(other)),
    };
    StoreError::Unusable(why)
}
