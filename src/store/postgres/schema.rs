//! The schema of the database, and whose database it is.
//!
//! Replicas start together: each takes a lock that ends with its transaction, so that it holds behind PgBouncer too, and
//! migrates inside that transaction. One does the work, the others find it done.

use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Row as _, raw_sql};

use crate::store::postgres::PgStore;
use crate::store::versions::{APPLIED, LEAST, Versions};
use crate::store::{Result, StoreError};

/// What brings a database's schema up to date. The migrator itself is not run: its lock and its prepared statements live
/// in a session. Its table is kept as it would keep it. A schema that is newer still may be used; [`Versions`] says
/// whether.
pub(in crate::store) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

const LOCK: &str = "SELECT pg_advisory_xact_lock(8245939452187242347)";

/// Migrating takes as long as it needs.
const NO_HURRY: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";

const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE table_name = '_sqlx_migrations') \
     FROM information_schema.tables WHERE table_schema = current_schema()";

const TRACK: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, \
     description TEXT NOT NULL, installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, \
     checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL)";

const TRACKED: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";

const COUNTED: &str = "SELECT to_regclass('counters') IS NOT NULL";

const CHECKSUMS: &str = "SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version";

const NOTE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     VALUES ($1, $2, true, $3, 0)";

const HALF_COPIED: &str = "SELECT EXISTS (SELECT FROM markers WHERE name = 'transfer')";

impl PgStore {
    /// Brings the schema up to date. One that is too new, somebody else's database, or one that is still being filled is
    /// left as it is.
    pub(super) async fn migrate(&self) -> Result<()> {
        self.run_long("migrate", |mut this| {
            Box::pin(async move {
                migrate(this.connection()).await?;
                if raw_sql(HALF_COPIED).fetch_one(this.connection()).await?.try_get(0)? {
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
    raw_sql(NO_HURRY).execute(&mut *connection).await?;
    lock(connection).await?;
    let tables = raw_sql(TABLES).fetch_one(&mut *connection).await?;
    let (all, ours): (i64, i64) = (tables.try_get(0)?, tables.try_get(1)?);
    if all > 0 && ours == 0 {
        return Err(StoreError::Unusable(
            "the database holds tables of another program: name an empty database, or a schema of its own".to_owned(),
        ));
    }
    check(connection).await?;
    raw_sql(TRACK).execute(&mut *connection).await?;
    let mut applied = Vec::new();
    for row in raw_sql(CHECKSUMS).fetch_all(&mut *connection).await? {
        let version: i64 = row.try_get(0)?;
        recognise(version, row.try_get(1)?, &row.try_get::<Vec<u8>, _>(2)?)?;
        applied.push(version);
    }
    for migration in MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version)) {
        apply(connection, migration).await?;
    }
    Ok(())
}

/// Keeps everyone else from migrating, and from starting, until the transaction ends.
pub(in crate::store) async fn lock(connection: &mut PgConnection) -> Result<()> {
    raw_sql(LOCK).execute(connection).await?;
    Ok(())
}

/// What the schema says of itself.
pub(in crate::store) async fn versions(connection: &mut PgConnection) -> sqlx::Result<Versions> {
    let mut found = Versions::default();
    if raw_sql(TRACKED).fetch_one(&mut *connection).await?.try_get(0)? {
        for row in raw_sql(APPLIED).fetch_all(&mut *connection).await? {
            found.applied.push(row.try_get(0)?);
        }
    }
    if raw_sql(COUNTED).fetch_one(&mut *connection).await?.try_get(0)? {
        found.least = raw_sql(LEAST).fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()?;
    }
    Ok(found)
}

/// That this binary may use the schema.
pub(super) async fn check(connection: &mut PgConnection) -> Result<()> {
    match versions(connection).await?.refusal(&MIGRATIONS) {
        Some(why) => Err(StoreError::Unusable(format!("the database {why}"))),
        None => Ok(()),
    }
}

/// That a migration which was applied is the one this binary has, if it has it.
fn recognise(version: i64, success: bool, checksum: &[u8]) -> Result<()> {
    match MIGRATIONS.iter().find(|migration| migration.version == version) {
        Some(ours) if !success || *ours.checksum != *checksum => Err(StoreError::Unusable(format!(
            "the database has a schema {version} that this version of runhook did not make: restore it from a backup"
        ))),
        _ => Ok(()),
    }
}

async fn apply(connection: &mut PgConnection, migration: &Migration) -> Result<()> {
    raw_sql(migration.sql.clone()).execute(&mut *connection).await?;
    let note = sqlx::query(NOTE).bind(migration.version).bind(&*migration.description).bind(&*migration.checksum);
    note.persistent(false).execute(connection).await?;
    Ok(())
}
