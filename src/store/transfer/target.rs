//! The PostgreSQL that is filled, and the marks that say how far it is.
//!
//! The marks are markers whose names begin with `transfer`: one that claims the target, one for each table, one for the
//! blobs. The claim is there exactly as long as the copy is unfinished, and keeps replicas from starting. Every statement
//! stands in a transaction, so that PgBouncer may be between.

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use xxhash_rust::xxh3::xxh3_128;

use crate::model::project::DEFAULT_PROJECT;
use crate::store::StoreError;
use crate::store::postgres::schema::{self, MIGRATIONS};
use crate::store::postgres::{Options, connect_options};
use crate::store::transfer::source::KeyValue;
use crate::store::transfer::tables::{Column, Kind, TABLES, Table};
use crate::store::transfer::tuple::{Digest, Rows};
use crate::store::transfer::{Result, TransferError};
use crate::store::versions::newest;

/// The claim on a target whose copy is unfinished.
const CLAIM: &str = "transfer";
/// What is left of the claim when the copy is finished.
const FINISHED: &str = "transferred";
/// How far the blobs are.
const BLOBS: &str = "transfer/blobs";

const COLUMNS: &str = "SELECT a.attname::text, t.typname::text, a.attidentity <> '' FROM pg_attribute a \
     JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
     ORDER BY a.attnum";

const MARKER: &str = "SELECT value FROM markers WHERE name = $1";

const SET_MARKER: &str = "INSERT INTO markers (name, value) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// Moves a mark from where it was, and from nowhere else.
const MOVE_MARKER: &str = "UPDATE markers SET value = $2 WHERE name = $1 AND value = $3";

const FORGET: &str = "DELETE FROM markers WHERE name LIKE 'transfer%'";

/// A tenant's default project is there from the first migration on.
const USED_PROJECT: &str = "SELECT EXISTS (SELECT FROM projects WHERE name <> $1 OR last_seq > 0)";

/// How a copy begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// With an empty target.
    Fresh,
    /// Where an earlier run of it ended.
    Resumed,
    /// It was finished before.
    Finished,
}

/// Whose copy a target holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    /// Tells the file from others.
    source: String,
    /// The file as it was when the copy began.
    state: String,
}

/// How far a table is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Rows that are there.
    pub(super) copied: u64,
    /// The key of the last one.
    pub(super) after: Option<Vec<KeyValue>>,
    /// It is whole.
    pub(super) done: bool,
}

/// How far the blobs are.
#[derive(Debug, Serialize, Deserialize)]
struct BlobMark {
    place: String,
    last: String,
}

/// A PostgreSQL.
#[derive(Debug)]
pub(super) struct Target {
    connection: PgConnection,
}

impl Target {
    /// Connects and brings the schema up to date.
    pub(super) async fn open(url: &str, options: &Options) -> Result<Self> {
        let connecting = connect_options(url, options)?;
        let late = |_| StoreError::Unavailable("the server does not answer".into());
        let connected = tokio::time::timeout(options.acquire_timeout, connecting.connect()).await.map_err(late)?;
        let mut connection = connected?;
        let mut transaction = connection.begin().await?;
        schema::migrate(&mut transaction).await?;
        let (versions, known) = (schema::versions(&mut transaction).await?, newest(&MIGRATIONS));
        transaction.commit().await?;
        if versions.applied.last() != Some(&known) {
            return Err(TransferError::TargetSchema { known });
        }
        Ok(Self { connection })
    }

    /// What a table consists of.
    pub(super) async fn columns(&mut self, table: &'static str) -> Result<Vec<Column>> {
        let mut transaction = self.connection.begin().await?;
        let rows: Vec<(String, String, bool)> =
            sqlx::query_as(COLUMNS).bind(table).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        let column = |(name, kind, is_counted): (String, String, bool)| match Kind::named(&kind) {
            Some(kind) => Ok(Column { name, kind, is_counted }),
            None => Err(StoreError::Corrupt { table, reason: format!("column `{name}` has the type {kind}") }.into()),
        };
        rows.into_iter().map(column).collect()
    }

    /// Claims the target, or finds the claim that is there.
    pub(super) async fn begin(&mut self, identity: &[u8], state: &str, start_over: bool) -> Result<Beginning> {
        let claim = Claim { source: format!("{:032x}", xxh3_128(identity)), state: state.to_owned() };
        let mut transaction = self.connection.begin().await?;
        schema::lock(&mut transaction).await?;
        let found: Option<Claim> = get(&mut transaction, CLAIM).await?;
        let beginning = match found {
            _ if get(&mut transaction, FINISHED).await?.as_ref() == Some(&claim) => Beginning::Finished,
            Some(_) if start_over => Beginning::Fresh,
            Some(found) if found.source != claim.source => return Err(TransferError::OtherSource),
            Some(found) if found.state != claim.state => return Err(TransferError::SourceChanged),
            Some(_) => Beginning::Resumed,
            None => {
                is_empty(&mut transaction).await?;
                Beginning::Fresh
            }
        };
        if beginning == Beginning::Fresh {
            let everything = format!("TRUNCATE {}", TABLES.join(", "));
            sqlx::query(AssertSqlSafe(everything)).execute(&mut *transaction).await?;
            set(&mut transaction, CLAIM, &claim).await?;
            for table in TABLES {
                set(&mut transaction, &mark_of(table), &Mark::default()).await?;
            }
        }
        transaction.commit().await?;
        Ok(beginning)
    }

    /// How far a table is.
    pub(super) async fn mark(&mut self, table: &str) -> Result<Mark> {
        let mut transaction = self.connection.begin().await?;
        let mark = get(&mut transaction, &mark_of(table)).await?;
        transaction.commit().await?;
        mark.ok_or(TransferError::Raced)
    }

    /// Writes rows, given as a whole COPY, and moves the mark with them.
    pub(super) async fn write(&mut self, table: &Table, rows: &[u8], from: &Mark, to: &Mark) -> Result<()> {
        let mut transaction = self.connection.begin().await?;
        let moved = sqlx::query(MOVE_MARKER)
            .bind(mark_of(table.name))
            .bind(json(to)?)
            .bind(json(from)?)
            .execute(&mut *transaction)
            .await?;
        if moved.rows_affected() != 1 {
            return Err(TransferError::Raced);
        }
        let statement = format!("COPY {} ({}) FROM STDIN BINARY", table.name, table.list());
        let mut copy = transaction.copy_in_raw(&statement).await?;
        copy.send(rows).await?;
        copy.finish().await?;
        transaction.commit().await?;
        Ok(())
    }

    /// How far the blobs are that go to this place.
    pub(super) async fn blobs_copied(&mut self, place: &str) -> Result<Option<String>> {
        let mut transaction = self.connection.begin().await?;
        let mark: Option<BlobMark> = get(&mut transaction, BLOBS).await?;
        transaction.commit().await?;
        Ok(mark.filter(|mark| mark.place == digest_of(place)).map(|mark| mark.last))
    }

    pub(super) async fn mark_blobs(&mut self, place: &str, last: &str) -> Result<()> {
        let mark = BlobMark { place: digest_of(place), last: last.to_owned() };
        let mut transaction = self.connection.begin().await?;
        set(&mut transaction, BLOBS, &mark).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Sums up all rows of a table.
    pub(super) async fn digest(&mut self, table: &Table) -> Result<Digest> {
        let (columns, name, condition) = (table.list(), table.name, table.condition());
        let statement = format!("COPY (SELECT {columns} FROM {name}{condition}) TO STDOUT BINARY");
        let (mut rows, mut digest) = (Rows::default(), Digest::default());
        let mut pieces = self.connection.copy_out_raw(&statement).await?;
        while let Some(piece) = pieces.try_next().await? {
            rows.take(&piece, &mut digest);
        }
        if rows.ended {
            return Ok(digest);
        }
        Err(StoreError::Unavailable("the server stopped in the middle of a table".into()).into())
    }

    /// Lets rows be numbered behind those that were copied, tells the planner of them, and takes the claim away.
    pub(super) async fn finish(&mut self, tables: &[Table]) -> Result<()> {
        let mut transaction = self.connection.begin().await?;
        for table in tables {
            for column in table.columns.iter().filter(|column| column.is_counted) {
                let (table, column) = (table.name, &column.name);
                let go_on = format!(
                    "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), greatest(max({column}), 1), \
                     max({column}) IS NOT NULL) FROM {table}"
                );
                sqlx::query(AssertSqlSafe(go_on)).execute(&mut *transaction).await?;
            }
        }
        let look = format!("ANALYZE {}", TABLES.join(", "));
        sqlx::query(AssertSqlSafe(look)).execute(&mut *transaction).await?;
        let claim: Claim = get(&mut transaction, CLAIM).await?.ok_or(TransferError::Raced)?;
        sqlx::query(FORGET).execute(&mut *transaction).await?;
        set(&mut transaction, FINISHED, &claim).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn close(self) {
        // What was committed was committed.
        let _closed = self.connection.close().await;
    }
}

/// That nothing is in the target but what migrating leaves there.
async fn is_empty(connection: &mut PgConnection) -> Result<()> {
    for table in TABLES.into_iter().filter(|table| *table != "counters") {
        let is_used: bool = if table == "projects" {
            sqlx::query_scalar(USED_PROJECT).bind(DEFAULT_PROJECT).fetch_one(&mut *connection).await?
        } else {
            let any = format!("SELECT EXISTS (SELECT FROM {table})");
            sqlx::query_scalar(AssertSqlSafe(any)).fetch_one(&mut *connection).await?
        };
        if is_used {
            return Err(TransferError::Occupied(table));
        }
    }
    Ok(())
}

fn mark_of(table: &str) -> String {
    format!("{CLAIM}/{table}")
}

fn digest_of(place: &str) -> String {
    format!("{:032x}", xxh3_128(place.as_bytes()))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| StoreError::Internal(Box::new(error)).into())
}

async fn get<T: for<'d> Deserialize<'d>>(connection: &mut PgConnection, name: &str) -> Result<Option<T>> {
    let value: Option<Vec<u8>> = sqlx::query_scalar(MARKER).bind(name).fetch_optional(connection).await?;
    let read = |value: Vec<u8>| {
        let wrong = |error: serde_json::Error| StoreError::Corrupt { table: "markers", reason: error.to_string() };
        serde_json::from_slice(&value).map_err(|error| wrong(error).into())
    };
    value.map(read).transpose()
}

async fn set(connection: &mut PgConnection, name: &str, value: &impl Serialize) -> Result<()> {
    sqlx::query(SET_MARKER).bind(name).bind(json(value)?).execute(connection).await?;
    Ok(())
}
