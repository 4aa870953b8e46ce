//! The schema of the database, and whose database it is.
//!
//! Replicas start together: each takes a lock that ends with its transaction, so that it holds behind PgBouncer too, and
//! migrates inside that transaction. One does the work, the others find it done.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;

use crate::store::postgres::PgStore;
use crate::store::postgres::runner::take_your_time;
use crate::store::versions::{APPLIED, LEAST, Versions};
use crate::store::{Result, StoreError};

/// What brings a database's schema up to date. The lock is ours, not the migrator's, which would hold it in a session. A
/// schema that is newer still may be used; [`Versions`] says whether.
pub(in crate::store) static MIGRATIONS: Migrator =
    Migrator { locking: false, ignore_missing: true, ..sqlx::migrate!("migrations/postgres") };

const LOCK: &str = "SELECT pg_advisory_xact_lock(8245939452187242347)";

const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE table_name = '_sqlx_migrations') \
     FROM information_schema.tables WHERE table_schema = current_schema()";

const THERE: &str = "SELECT to_regclass($1) IS NOT NULL";

const HALF_COPIED: &str = "SELECT EXISTS (SELECT FROM markers WHERE name = 'transfer')";

impl PgStore {
    /// Brings the schema up to date. One that is too new, somebody else's database, or one that is still being filled is
    /// left as it is.
    pub(super) async fn migrate(&self) -> Result<()> {
        self.run("migrate", |mut this| {
            Box::pin(async move {
                migrate(&mut this).await?;
                if sqlx::query_scalar(HALF_COPIED).fetch_one(&mut *this).await? {
                    return Err(StoreError::Unusable(
                        "the database holds a copy that is not finished: run the same `runhook migrate --from …` again, \
                         which goes on with it"
                            .to_owned(),
                    ));
                }
                Ok(this.done(()))
            })
        })
        .await
    }
}

/// Brings the schema up to date within a transaction. Nobody else does until that ends.
pub(in crate::store) async fn migrate(connection: &mut PgConnection) -> Result<()> {
    take_your_time(connection).await?;
    lock(connection).await?;
    let (tables, ours): (i64, i64) = sqlx::query_as(TABLES).fetch_one(&mut *connection).await?;
    if tables > 0 && ours == 0 {
        return Err(StoreError::Unusable(
            "the database holds tables of another program: name an empty database, or a schema of its own".to_owned(),
        ));
    }
    check(connection).await?;
    MIGRATIONS.run_direct(None, connection, false).await.map_err(explain)
}

/// Keeps everyone else from migrating, and from starting, until the transaction ends.
pub(in crate::store) async fn lock(connection: &mut PgConnection) -> Result<()> {
    sqlx::query(LOCK).execute(connection).await?;
    Ok(())
}

/// What the schema says of itself.
pub(in crate::store) async fn versions(connection: &mut PgConnection) -> sqlx::Result<Versions> {
    let mut found = Versions::default();
    if is_there(connection, "_sqlx_migrations").await? {
        found.applied = sqlx::query_scalar(APPLIED).fetch_all(&mut *connection).await?;
    }
    if is_there(connection, "counters").await? {
        found.least = sqlx::query_scalar(LEAST).fetch_optional(&mut *connection).await?;
    }
    Ok(found)
}

async fn is_there(connection: &mut PgConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(THERE).bind(table).fetch_one(connection).await
}

/// That this binary may use the schema.
pub(super) async fn check(connection: &mut PgConnection) -> Result<()> {
    match versions(connection).await?.refusal(&MIGRATIONS) {
        Some(why) => Err(StoreError::Unusable(format!("the database {why}"))),
        None => Ok(()),
    }
}

fn explain(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => StoreError::Unusable(format!(
            "the database has a schema {version} that this version of runhook did not make: restore it from a backup"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Internal(Box::new(other)),
    }
}
