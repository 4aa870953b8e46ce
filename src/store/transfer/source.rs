//! The file that is copied, which is only read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use crate::store::StoreError;
use crate::store::sqlite::schema::{self, MIGRATIONS};
use crate::store::sqlite::unusable;
use crate::store::transfer::tables::{Column, Kind, Table};
use crate::store::transfer::tuple::{self, Digest};
use crate::store::transfer::{BatchSize, Result, TransferError};
use crate::store::versions::newest;

/// Rows that are read ahead.
const AHEAD: usize = 512;

const KEY: &str = "SELECT name FROM pragma_table_info($1) WHERE pk > 0 ORDER BY pk";

const MARKER: &str = "SELECT value FROM markers WHERE name = $1";

/// The rows of a table, in the order of its key.
pub(super) type Rows<'c> = BoxStream<'c, sqlx::Result<SqliteRow>>;

/// A value of a key, as the mark of a copy keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyValue {
    Bytes(Vec<u8>),
    Number(i64),
    Text(String),
}

/// Rows that are written together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: u64,
    /// The rows as they are sent.
    pub(super) bytes: Vec<u8>,
    /// The key of the last one.
    pub(super) last: Option<Vec<KeyValue>>,
}

/// A database file.
#[derive(Debug)]
pub(super) struct Source {
    file: PathBuf,
    connection: SqliteConnection,
}

impl Source {
    pub(super) async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(false)
            .read_only(true)
            .row_buffer_size(AHEAD)
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(|error| unusable(file, error))?;
        let versions = schema::versions(&mut connection).await.map_err(|error| unusable(file, error))?;
        let known = newest(&MIGRATIONS);
        if versions.applied.last() != Some(&known) || !versions.pending(&MIGRATIONS).is_empty() {
            return Err(TransferError::SourceSchema { known });
        }
        Ok(Self { file: file.to_owned(), connection })
    }

    /// The columns of a table's primary key, in order.
    pub(super) async fn key(&mut self, table: &str) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(KEY).bind(table).fetch_all(&mut self.connection).await?)
    }

    pub(super) async fn marker(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(sqlx::query_scalar(MARKER).bind(name).fetch_optional(&mut self.connection).await?)
    }

    pub(super) async fn count(&mut self, table: &Table) -> Result<u64> {
        let statement = format!("SELECT count(*) FROM {}", table.name);
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut self.connection).await?;
        Ok(u64::try_from(rows).unwrap_or_default())
    }

    /// Something that is another once the file was written to. Reading leaves it as it is.
    pub(super) fn state(&self) -> Result<String> {
        let mut log = self.file.clone().into_os_string();
        log.push("-wal");
        let (file, log) = (stamp(&self.file)?, stamp(Path::new(&log))?);
        Ok(format!("{file} {log}"))
    }

    /// The rows behind this key, or all.
    pub(super) fn rows(&mut self, table: &Table, after: Option<&[KeyValue]>) -> Rows<'_> {
        let (columns, key, name) = (table.list(), table.key_list(), table.name);
        let behind =
            after.map_or_else(String::new, |after| format!(" WHERE ({key}) > ({})", vec!["?"; after.len()].join(", ")));
        let statement = format!("SELECT {columns} FROM {name}{behind} ORDER BY {key}");
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for value in after.unwrap_or_default() {
            query = match value {
                KeyValue::Bytes(bytes) => query.bind(bytes.clone()),
                KeyValue::Number(number) => query.bind(*number),
                KeyValue::Text(text) => query.bind(text.clone()),
            };
        }
        query.fetch(&mut self.connection)
    }

    pub(super) async fn close(self) {
        // What was read was read.
        let _closed = self.connection.close().await;
    }
}

/// Length and time of a file; nothing for one that is empty or not there.
fn stamp(file: &Path) -> Result<String> {
    let unread = |error: std::io::Error| {
        TransferError::Store(StoreError::Unusable(format!("{} cannot be read: {error}", file.display())))
    };
    let metadata = match fs::metadata(file) {
        Ok(metadata) if metadata.len() > 0 => metadata,
        Ok(_) => return Ok("-".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok("-".to_owned()),
        Err(error) => return Err(unread(error)),
    };
    let modified = metadata.modified().map_err(unread)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{}@{}", metadata.len(), modified.as_nanos()))
}

/// The next rows that are written together; none at the end.
pub(super) async fn batch(table: &Table, rows: &mut Rows<'_>, size: BatchSize) -> Result<Batch> {
    let mut batch = Batch { rows: 0, bytes: tuple::HEADER.to_vec(), last: None };
    let mut last = None;
    while batch.rows < size.rows.max(1) && batch.bytes.len() < size.bytes {
        let Some(row) = rows.try_next().await? else { break };
        tuple::append(table, &row, &mut batch.bytes)?;
        batch.rows = batch.rows.saturating_add(1);
        last = Some(row);
    }
    batch.bytes.extend_from_slice(&tuple::TRAILER);
    batch.last = last.map(|row| key_of(table, &row)).transpose()?;
    Ok(batch)
}

/// Sums up all rows.
pub(super) async fn digest(table: &Table, mut rows: Rows<'_>, on_rows: &mut (dyn FnMut(u64) + Send)) -> Result<Digest> {
    let (mut digest, mut row_bytes) = (Digest::default(), Vec::new());
    while let Some(row) = rows.try_next().await? {
        row_bytes.clear();
        tuple::append(table, &row, &mut row_bytes)?;
        digest.add(&row_bytes);
        on_rows(1);
    }
    Ok(digest)
}

fn key_of(table: &Table, row: &SqliteRow) -> Result<Vec<KeyValue>> {
    let value = |column: &Column| {
        let name = column.name.as_str();
        Ok(match column.kind {
            Kind::Uuid | Kind::Bytes => KeyValue::Bytes(row.try_get(name)?),
            Kind::Number | Kind::Flag => KeyValue::Number(row.try_get(name)?),
            Kind::Text => KeyValue::Text(row.try_get(name)?),
        })
    };
    table.key_columns().map(value).collect()
}
