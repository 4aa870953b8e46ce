//! Rows as PostgreSQL's binary COPY writes them. Both sides are brought to this one form: it is what is sent, and what is
//! summed up.

use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type};
use xxhash_rust::xxh3::xxh3_128;

use crate::store::postgres::text;
use crate::store::transfer::tables::{Kind, Table};
use crate::store::{Result, StoreError};

/// What a copy begins with: a signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with, in the place of a row's number of columns.
pub(super) const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// A value that is not there, in the place of its length.
const ABSENT: [u8; 4] = (-1_i32).to_be_bytes();

/// The sum of a table's rows: how many, and a checksum that does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub rows: u64,
    sum: u128,
}

impl Digest {
    pub(super) fn add(&mut self, row: &[u8]) {
        self.rows = self.rows.saturating_add(1);
        self.sum = self.sum.wrapping_add(xxh3_128(row));
    }

    /// The checksum, to be shown.
    #[must_use]
    pub fn checksum(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

/// Appends a row of the file.
pub(super) fn append(table: &Table, row: &SqliteRow, into: &mut Vec<u8>) -> Result<()> {
    let wrong = |reason: String| StoreError::Corrupt { table: table.name, reason };
    let columns = i16::try_from(table.columns.len()).map_err(|error| wrong(error.to_string()))?;
    into.extend_from_slice(&columns.to_be_bytes());
    for (place, column) in table.columns.iter().enumerate() {
        let at = |error: &dyn std::fmt::Display| wrong(format!("column `{}`: {error}", column.name));
        let unread = |error: sqlx::Error| at(&error);
        let appended = match column.kind {
            Kind::Uuid | Kind::Bytes => {
                let value: Option<&[u8]> = get(row, place).map_err(unread)?;
                if column.kind == Kind::Uuid && value.is_some_and(|id| id.len() != 16) {
                    return Err(at(&"an id is not 16 bytes long"));
                }
                put(value, into)
            }
            Kind::Number => put(
                get::<i64>(row, place).map_err(unread)?.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice),
                into,
            ),
            Kind::Flag => put(
                get::<bool>(row, place).map_err(unread)?.map(|flag| [u8::from(flag)]).as_ref().map(<[u8; 1]>::as_slice),
                into,
            ),
            Kind::Text => put(get::<&str>(row, place).map_err(unread)?.map(text).as_deref().map(str::as_bytes), into),
        };
        appended.map_err(|error| at(&error))?;
    }
    Ok(())
}

fn get<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(row: &'r SqliteRow, place: usize) -> sqlx::Result<Option<T>> {
    row.try_get(place)
}

fn put(value: Option<&[u8]>, into: &mut Vec<u8>) -> std::result::Result<(), std::num::TryFromIntError> {
    let Some(value) = value else {
        into.extend_from_slice(&ABSENT);
        return Ok(());
    };
    into.extend_from_slice(&i32::try_from(value.len())?.to_be_bytes());
    into.extend_from_slice(value);
    Ok(())
}

/// Takes the rows out of a stream that PostgreSQL writes, which comes in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Rows {
    waiting: Vec<u8>,
    begun: bool,
    /// The stream has come to its end.
    pub(super) ended: bool,
}

impl Rows {
    /// Adds a piece, and every row it completes to the digest.
    pub(super) fn take(&mut self, piece: &[u8], digest: &mut Digest) {
        self.waiting.extend_from_slice(piece);
        let mut rest = self.waiting.as_slice();
        if !self.begun {
            let Some((_, after)) = rest.split_at_checked(HEADER.len()) else { return };
            (self.begun, rest) = (true, after);
        }
        while let Some(length) = row_length(rest) {
            let Some((row, after)) = rest.split_at_checked(length) else { break };
            digest.add(row);
            rest = after;
        }
        self.ended |= rest == TRAILER;
        let used = self.waiting.len().saturating_sub(rest.len());
        self.waiting.drain(..used);
    }
}

/// How long the first row is, once it is all there.
fn row_length(bytes: &[u8]) -> Option<usize> {
    let (columns, mut rest) = bytes.split_first_chunk()?;
    for _ in 0..u16::try_from(i16::from_be_bytes(*columns)).ok()? {
        let (length, after) = rest.split_first_chunk()?;
        // An absent value has a length of -1, and no bytes.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        (_, rest) = after.split_at_checked(length)?;
    }
    bytes.len().checked_sub(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of these values.
    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut row = i16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            put(*value, &mut row).unwrap();
        }
        row
    }

    fn rows() -> [Vec<u8>; 3] {
        [row(&[Some(b"a"), None]), row(&[Some(b""), Some(&[0xff; 300])]), row(&[None, Some(b"\0")])]
    }

    fn digest_of(rows: &[Vec<u8>]) -> Digest {
        let mut digest = Digest::default();
        for row in rows {
            digest.add(row);
        }
        digest
    }

    #[test]
    fn a_stream_in_any_pieces_gives_the_rows_that_were_put_into_it() {
        let stream = [HEADER, &rows().concat(), &TRAILER].concat();
        let expected = digest_of(&rows());
        for size in [1, 2, 7, 19, 100, stream.len()] {
            let (mut taken, mut digest) = (Rows::default(), Digest::default());
            stream.chunks(size).for_each(|piece| taken.take(piece, &mut digest));
            assert_eq!(digest, expected, "in pieces of {size}");
            assert!(taken.ended);
        }
    }

    #[test]
    fn a_stream_that_is_cut_off_has_no_end() {
        let stream = [HEADER, &rows().concat()].concat();
        let (mut taken, mut digest) = (Rows::default(), Digest::default());
        taken.take(&stream, &mut digest);
        assert_eq!((digest.rows, taken.ended), (3, false));
    }

    #[test]
    fn a_digest_depends_on_every_row_and_not_on_their_order() {
        let [one, two, three] = rows();
        assert_eq!(digest_of(&[one.clone(), two.clone()]), digest_of(&[two.clone(), one.clone()]));
        assert_ne!(digest_of(&[one.clone(), two.clone()]), digest_of(&[one.clone(), three]));
        assert_ne!(digest_of(&[one.clone(), one.clone(), two.clone()]), digest_of(&[one, two.clone(), two]));
    }
}
