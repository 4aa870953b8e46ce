//! Writing many rows with one statement.

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Encode, Sqlite, Type};
use uuid::Uuid;

/// Ids as one parameter: a statement reads them with `SELECT unhex(value) FROM json_each(..)`, so that its text does not
/// depend on how many there are.
pub(super) fn id_list(ids: impl IntoIterator<Item = Uuid>) -> String {
    let mut list = String::from("[");
    for id in ids {
        if list.len() > 1 {
            list.push(',');
        }
        list.push('"');
        list.push_str(id.simple().encode_lower(&mut Uuid::encode_buffer()));
        list.push('"');
    }
    list.push(']');
    list
}

/// An INSERT of as many rows as there are.
pub(super) struct Insert {
    /// Up to and including `VALUES`.
    pub(super) head: &'static str,
    /// How many columns a row has.
    pub(super) columns: usize,
    /// What follows the rows.
    pub(super) tail: &'static str,
}

/// A statement in which something stands as often as there are rows.
pub(super) struct Repeating {
    /// What comes before the rows.
    pub(super) head: &'static str,
    /// What stands for each row.
    pub(super) row: &'static str,
    /// What stands between two.
    pub(super) between: &'static str,
    /// What follows the rows.
    pub(super) tail: &'static str,
}

/// The values of some rows, in order.
#[derive(Default)]
pub(super) struct Values {
    arguments: SqliteArguments,
    failed: Option<BoxDynError>,
}

impl Values {
    /// Adds the next column's value.
    pub(super) fn push<'t>(&mut self, value: impl Encode<'t, Sqlite> + Type<Sqlite>) -> &mut Self {
        if let Err(error) = sqlx::Arguments::add(&mut self.arguments, value) {
            self.failed.get_or_insert(error);
        }
        self
    }
}

/// The most rows of one statement.
const MOST_ROWS: usize = 128;

/// Inserts rows, many in each statement. Statements come in a couple of dozen sizes, so that few are prepared and two or
/// three serve any number of rows: each statement is a journey to SQLite's thread and back, which costs what several
/// rows do. Returns how many rows were written.
pub(super) async fn insert<T>(
    connection: &mut SqliteConnection,
    statement: &Insert,
    rows: &[T],
    bind: impl Fn(&mut Values, &T),
) -> sqlx::Result<u64> {
    let mut written = 0_u64;
    for chunk in chunks(rows) {
        let mut values = Values::default();
        for row in chunk {
            bind(&mut values, row);
        }
        let query = sqlx::query_with(AssertSqlSafe(statement.text(chunk.len())), values.done()?);
        written = written.saturating_add(query.execute(&mut *connection).await?.rows_affected());
    }
    Ok(written)
}

/// Runs a statement over rows, many at a time, and returns what it returns. `first` is bound before the rows.
pub(super) async fn repeat<T>(
    connection: &mut SqliteConnection,
    statement: &Repeating,
    rows: &[T],
    first: impl Fn(&mut Values),
    bind: impl Fn(&mut Values, &T),
) -> sqlx::Result<Vec<SqliteRow>> {
    let mut returned = Vec::new();
    for chunk in chunks(rows) {
        let mut values = Values::default();
        first(&mut values);
        for row in chunk {
            bind(&mut values, row);
        }
        let query = sqlx::query_with(AssertSqlSafe(statement.text(chunk.len())), values.done()?);
        returned.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(returned)
}

/// Runs a statement that returns nothing over rows, many at a time. How many rows it has changed.
pub(super) async fn change<T>(
    connection: &mut SqliteConnection,
    statement: &Repeating,
    rows: &[T],
    bind: impl Fn(&mut Values, &T),
) -> sqlx::Result<u64> {
    let mut changed = 0_u64;
    for chunk in chunks(rows) {
        let mut values = Values::default();
        for row in chunk {
            bind(&mut values, row);
        }
        let query = sqlx::query_with(AssertSqlSafe(statement.text(chunk.len())), values.done()?);
        changed = changed.saturating_add(query.execute(&mut *connection).await?.rows_affected());
    }
    Ok(changed)
}

/// Rows in chunks of a few sizes.
fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let (chunk, after) = rest.split_at(chunk_size(rest.len()));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Eight and less exactly, more in four steps from one power of two to the next.
fn chunk_size(rows: usize) -> usize {
    let step = 1_usize.checked_shl(rows.checked_ilog2().unwrap_or(0).saturating_sub(2)).unwrap_or(1);
    rows.saturating_sub(rows % step).min(MOST_ROWS)
}

impl Values {
    fn done(self) -> sqlx::Result<SqliteArguments> {
        match self.failed {
            Some(error) => Err(sqlx::Error::Encode(error)),
            None => Ok(self.arguments),
        }
    }
}

impl Repeating {
    pub(super) fn text(&self, rows: usize) -> String {
        [self.head, &vec![self.row; rows].join(self.between), self.tail].concat()
    }
}

impl Insert {
    fn text(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns].join(","));
        let mut text = String::with_capacity(row.len().saturating_add(1).saturating_mul(rows).saturating_add(512));
        text.push_str(self.head);
        for index in 0..rows {
            text.push_str(if index == 0 { " " } else { "," });
            text.push_str(&row);
        }
        text.push(' ');
        text.push_str(self.tail);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_statements_of_few_sizes_serve_any_number_of_rows() {
        let cut = |rows: usize| chunks(&vec![(); rows]).map(<[()]>::len).collect::<Vec<_>>();
        assert!(cut(0).is_empty());
        assert_eq!(cut(7), [7]);
        assert_eq!(cut(63), [56, 7]);
        assert_eq!(cut(383), [128, 128, 112, 14, 1]);
        let sizes: std::collections::BTreeSet<_> = (1..1000).flat_map(cut).collect();
        assert!(sizes.len() < 26, "{sizes:?}");
        assert!((1..=128).all(|rows| cut(rows).len() <= 3));
    }

    #[test]
    fn an_insert_names_as_many_rows_as_it_is_given() {
        let insert = Insert { head: "INSERT INTO t VALUES", columns: 2, tail: "ON CONFLICT DO NOTHING" };
        assert_eq!(insert.text(2), "INSERT INTO t VALUES (?,?),(?,?) ON CONFLICT DO NOTHING");
    }

    #[test]
    fn ids_become_one_list() {
        assert_eq!(id_list([]), "[]");
        let two = id_list([Uuid::from_u128(1), Uuid::from_u128(2)]);
        assert_eq!(two, r#"["00000000000000000000000000000001","00000000000000000000000000000002"]"#);
    }
}
