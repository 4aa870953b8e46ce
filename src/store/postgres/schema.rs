//! The schema of the database, and whose database it is.
//!
//! Replicas start together: each takes a lock that ends with its transaction, so that it holds behind PgBouncer too, and
//! migrates inside that transaction. One does the work, the others find it done.

use sqlx::migrate::{Migration, Migrator};

use crate::store::postgres::PgStore;
use crate::store::postgres::runner::take_your_time;
use crate::store::postgres::session::Session;
use crate::store::{Result, StoreError};

/// What brings a database's schema up to date. The migrator itself is not run: its lock and its prepared statements live
/// in a session. Its table is kept as it would keep it.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

const LOCK: &str = "SELECT pg_advisory_xact_lock(8245939452187242347)";

const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE table_name = '_sqlx_migrations') \
     FROM information_schema.tables WHERE table_schema = current_schema()";

const TRACK: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, \
     description TEXT NOT NULL, installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, \
     checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL)";

const APPLIED: &str = "SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version";

const NOTE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     VALUES ($1, $2, true, $3, 0)";

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

async fn migrate(session: &mut Session) -> Result<()> {
    take_your_time(session).await?;
    sqlx::query(LOCK).execute(&mut *session).await?;
    let (tables, ours): (i64, i64) = sqlx::query_as(TABLES).fetch_one(&mut *session).await?;
    if tables > 0 && ours == 0 {
        return Err(StoreError::Unusable(
            "the database holds tables of another program: name an empty database, or a schema of its own".to_owned(),
        ));
    }
    sqlx::raw_sql(TRACK).execute(&mut *session).await?;
    let applied: Vec<(i64, bool, Vec<u8>)> = sqlx::query_as(APPLIED).fetch_all(&mut *session).await?;
    for (version, success, checksum) in &applied {
        check(*version, *success, checksum)?;
    }
    for migration in MIGRATIONS.iter() {
        if applied.iter().all(|(version, _, _)| *version != migration.version) {
            apply(session, migration).await?;
        }
    }
    Ok(())
}

/// Whether a migration that was applied is one of those this program has.
fn check(version: i64, success: bool, checksum: &[u8]) -> Result<()> {
    let why = match MIGRATIONS.iter().find(|migration| migration.version == version) {
        Some(ours) if success && *ours.checksum == *checksum => return Ok(()),
        Some(_) => format!(
            "the database has a schema {version} that this version of runhook did not make: restore it from a backup"
        ),
        None => format!(
            "the database was written by a newer version of runhook (its schema is {version}): start that version"
        ),
    };
    Err(StoreError::Unusable(why))
}

async fn apply(session: &mut Session, migration: &Migration) -> Result<()> {
    sqlx::raw_sql(migration.sql.clone()).execute(&mut *session).await?;
    let query = sqlx::query(NOTE).bind(migration.version).bind(&*migration.description).bind(&*migration.checksum);
    query.execute(session).await?;
    Ok(())
}
