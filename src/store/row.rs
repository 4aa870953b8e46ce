//! Rows as they come out of a database, whichever it is: columns read from left to right.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Result as SqlResult, Row};
use uuid::Uuid;

use crate::model::id::RunId;
use crate::model::json::RawJson;
use crate::model::time::Timestamp;
use crate::store::{Result, StoreError};

/// The kinds of value a column holds. Every backend has the same few.
pub(super) trait Columns {
    fn id(&self, at: usize) -> SqlResult<Option<Uuid>>;
    fn number(&self, at: usize) -> SqlResult<Option<i64>>;
    fn text(&self, at: usize) -> SqlResult<Option<&str>>;
    fn bytes(&self, at: usize) -> SqlResult<Option<&[u8]>>;
}

macro_rules! columns_of {
    ($row:ty) => {
        impl Columns for $row {
            fn id(&self, at: usize) -> SqlResult<Option<Uuid>> {
                self.try_get(at)
            }

            fn number(&self, at: usize) -> SqlResult<Option<i64>> {
                self.try_get(at)
            }

            fn text(&self, at: usize) -> SqlResult<Option<&str>> {
                self.try_get(at)
            }

            fn bytes(&self, at: usize) -> SqlResult<Option<&[u8]>> {
                self.try_get(at)
            }
        }
    };
}

columns_of!(SqliteRow);
columns_of!(PgRow);

/// A value that a column can be read as.
pub(super) trait Cell<'r>: Sized {
    fn read(row: &'r dyn Columns, at: usize) -> SqlResult<Option<Self>>;
}

impl Cell<'_> for Uuid {
    fn read(row: &dyn Columns, at: usize) -> SqlResult<Option<Self>> {
        row.id(at)
    }
}

impl Cell<'_> for i64 {
    fn read(row: &dyn Columns, at: usize) -> SqlResult<Option<Self>> {
        row.number(at)
    }
}

impl Cell<'_> for String {
    fn read(row: &dyn Columns, at: usize) -> SqlResult<Option<Self>> {
        Ok(row.text(at)?.map(ToOwned::to_owned))
    }
}

impl<'r> Cell<'r> for &'r str {
    fn read(row: &'r dyn Columns, at: usize) -> SqlResult<Option<Self>> {
        row.text(at)
    }
}

impl Cell<'_> for Vec<u8> {
    fn read(row: &dyn Columns, at: usize) -> SqlResult<Option<Self>> {
        Ok(row.bytes(at)?.map(ToOwned::to_owned))
    }
}

impl<'r> Cell<'r> for &'r [u8] {
    fn read(row: &'r dyn Columns, at: usize) -> SqlResult<Option<Self>> {
        row.bytes(at)
    }
}

/// The columns of a row, read from left to right.
pub(super) struct Cells<'r> {
    row: &'r dyn Columns,
    table: &'static str,
    next: usize,
}

impl<'r> Cells<'r> {
    pub(super) fn of(table: &'static str, row: &'r impl Columns) -> Self {
        Self { row, table, next: 0 }
    }

    /// The columns behind so many others.
    pub(super) fn behind(table: &'static str, row: &'r impl Columns, next: usize) -> Self {
        Self { row, table, next }
    }

    /// The next column, or nothing.
    pub(super) fn take_or_none<T: Cell<'r>>(&mut self) -> Result<Option<T>> {
        let index = self.next;
        self.next = index.saturating_add(1);
        T::read(self.row, index).map_err(|error| corrupt(self.table, &error))
    }

    /// The next column.
    pub(super) fn take<T: Cell<'r>>(&mut self) -> Result<T> {
        let (index, table) = (self.next, self.table);
        self.take_or_none()?.ok_or_else(|| corrupt(table, &format!("column {index} is null")))
    }

    /// The next column, an instant.
    pub(super) fn instant(&mut self) -> Result<Timestamp> {
        self.take().map(Timestamp)
    }

    /// The next column, an instant or nothing.
    pub(super) fn instant_or_none(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.take_or_none()?.map(Timestamp))
    }

    /// The next column, a number that is never negative.
    pub(super) fn count(&mut self) -> Result<u32> {
        let table = self.table;
        u32::try_from(self.take::<i64>()?).map_err(|error| corrupt(table, &error))
    }

    /// The next column, JSON of some type.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        let text: &str = self.take()?;
        serde_json::from_str(text).map_err(|error| corrupt(self.table, &error))
    }

    /// The next column, JSON of some type, or nothing.
    pub(super) fn json_or_none<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let text: Option<&str> = self.take_or_none()?;
        text.map(serde_json::from_str).transpose().map_err(|error| corrupt(self.table, &error))
    }

    /// The next column, JSON kept as its bytes, or nothing.
    pub(super) fn raw_or_none(&mut self) -> Result<Option<RawJson>> {
        let text: Option<String> = self.take_or_none()?;
        text.map(RawJson::parse).transpose().map_err(|error| corrupt(self.table, &error))
    }
}

/// Those rows that decode. One that does not is passed over with an error in the log: where many are read for the sake
/// of many, it must not hold up the others for ever.
pub(super) fn readable<R, T>(rows: &[R], read: impl Fn(&R) -> Result<T>) -> Result<Vec<T>> {
    let mut values = Vec::with_capacity(rows.len());
    for row in rows {
        values.extend(if_readable(read(row))?);
    }
    Ok(values)
}

/// Notes that a stored run is passed over.
pub(super) fn pass_over_run(run: Option<RunId>, error: &StoreError) {
    tracing::error!(run = ?run, %error, "a stored run does not decode; it is passed over");
    metrics::counter!("runhook_runs_unreadable_total").increment(1);
}

/// What was read of one of many rows, if it decodes.
pub(super) fn if_readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(%error, "a stored row is passed over");
            metrics::counter!("runhook_rows_unreadable_total").increment(1);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A row that does not decode.
pub(super) fn corrupt(table: &'static str, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { table, reason: reason.to_string() }
}

/// A value as JSON, for a text column.
pub(super) fn json_text<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Internal(Box::new(error)))
}
