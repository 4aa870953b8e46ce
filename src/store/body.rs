//! Large values as stored bytes: a version, and what the version says.

use crate::store::{Result, StoreError};

/// The bytes follow as they are.
const PLAIN: u8 = 1;
/// Four bytes of length, little-endian, then one zstd frame that unpacks to so many bytes.
const ZSTD: u8 = 2;

/// Values shorter than this do not shrink.
const WORTH_PACKING: usize = 256;
/// The fastest level: higher ones save little on JSON of this size and cost the writer's time.
const LEVEL: i32 = 1;

/// Packs a value for storage.
pub(super) fn pack(bytes: &[u8]) -> Result<Vec<u8>> {
    match u32::try_from(bytes.len()) {
        Ok(length) if bytes.len() >= WORTH_PACKING => {
            let frame = zstd::bulk::compress(bytes, LEVEL).map_err(|error| StoreError::Internal(Box::new(error)))?;
            let mut packed = Vec::with_capacity(frame.len().saturating_add(5));
            packed.push(ZSTD);
            packed.extend_from_slice(&length.to_le_bytes());
            packed.extend_from_slice(&frame);
            Ok(packed)
        }
        _ => Ok([&[PLAIN], bytes].concat()),
    }
}

/// Unpacks what [`pack`] made.
pub(super) fn unpack(table: &'static str, packed: &[u8]) -> Result<Vec<u8>> {
    let corrupt = |reason: &str| StoreError::Corrupt { table, reason: reason.to_owned() };
    match packed.split_first() {
        Some((&PLAIN, bytes)) => Ok(bytes.to_vec()),
        Some((&ZSTD, rest)) => {
            let (length, frame) = rest.split_first_chunk().ok_or_else(|| corrupt("the length is cut off"))?;
            let length = u32::from_le_bytes(*length);
            let capacity = usize::try_from(length).map_err(|_| corrupt("too long for this machine"))?;
            zstd::bulk::decompress(frame, capacity).map_err(|error| corrupt(&error.to_string()))
        }
        Some((version, _)) => Err(corrupt(&format!("version {version} is not known"))),
        None => Err(corrupt("it is empty")),
    }
}

/// Packs a value as JSON.
pub(super) fn pack_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    pack(&serde_json::to_vec(value).map_err(|error| StoreError::Internal(Box::new(error)))?)
}

/// Unpacks what [`pack_json`] made.
pub(super) fn unpack_json<T: serde::de::DeserializeOwned>(table: &'static str, packed: &[u8]) -> Result<T> {
    let bytes = unpack(table, packed)?;
    serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt { table, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks_to_the_same_bytes() {
        for bytes in [Vec::new(), b"short".to_vec(), b"long ".repeat(10_000)] {
            let packed = pack(&bytes).unwrap();
            assert!(packed.len() <= bytes.len().max(WORTH_PACKING) + 1);
            assert_eq!(unpack("t", &packed).unwrap(), bytes);
        }
    }

    #[test]
    fn broken_bytes_are_reported_as_corrupt() {
        for broken in [&[][..], &[9, 1, 2], &[ZSTD, 1], &[ZSTD, 4, 0, 0, 0, 1, 2, 3]] {
            assert!(matches!(unpack("t", broken), Err(StoreError::Corrupt { table: "t", .. })));
        }
    }
}
