//! Large values as stored bytes: a version, and what the version says.
//!
//! What a run says is mostly what every run says: keys, and the names of SDKs and models. A dictionary of that, trained on
//! what official SDKs send (`bench/dictionary/`), halves what is written, and packs faster than without. A dictionary is
//! never changed: a better one is another version beside it, and what the old one packed stays readable.

use std::io;
use std::sync::{LazyLock, Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::CParameter;

use crate::store::{Result, StoreError};

/// The bytes follow as they are.
const PLAIN: u8 = 1;
/// Four bytes of length, little-endian, then one zstd frame that unpacks to so many bytes.
const ZSTD: u8 = 2;
/// As [`ZSTD`], with the dictionary [`RUNS_1`].
const ZSTD_RUNS_1: u8 = 3;

/// Values shorter than this are not worth a frame.
const WORTH_PACKING: usize = 64;
/// Values longer than this have enough in themselves to learn from, and need a context of a size not worth keeping.
const WORTH_A_DICTIONARY: usize = 128 * 1024;
/// The level for those that have. Higher ones save little on JSON and cost time.
const LEVEL: i32 = 1;
/// With the dictionary this level costs what the lowest does without. A lower one packs faster, but what is saved by that
/// is spent on writing more.
const DICTIONARY_LEVEL: i32 = 3;

const RUNS_1: &[u8] = include_bytes!("runs-1.zdict");
static PACKING: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(RUNS_1, DICTIONARY_LEVEL));
static UNPACKING: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(RUNS_1));

// Making a context costs more than packing a run, and it keeps a megabyte: threads that come and go share a few.
static PACKERS: Spare<Compressor<'static>> = Spare(Mutex::new(Vec::new()));
static UNPACKERS: Spare<Decompressor<'static>> = Spare(Mutex::new(Vec::new()));

/// How many contexts of a kind are kept for the next.
const MOST_SPARE: usize = 4;

/// Contexts that nobody uses at the moment.
struct Spare<T>(Mutex<Vec<T>>);

impl<T> Spare<T> {
    /// Works with a spare context, or a new one.
    fn with<R>(&self, make: fn() -> io::Result<T>, work: impl FnOnce(&mut T) -> io::Result<R>) -> io::Result<R> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = spare.map_or_else(make, Ok)?;
        let done = work(&mut context);
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < MOST_SPARE {
            spares.push(context);
        }
        done
    }
}

/// Packs a value for storage.
pub(super) fn pack(bytes: &[u8]) -> Result<Vec<u8>> {
    let failed = |error| StoreError::Internal(Box::new(error));
    match u32::try_from(bytes.len()) {
        Ok(length) if bytes.len() > WORTH_A_DICTIONARY => {
            Ok(framed(ZSTD, length, &zstd::bulk::compress(bytes, LEVEL).map_err(failed)?))
        }
        Ok(length) if bytes.len() >= WORTH_PACKING => {
            let frame = PACKERS.with(packer, |packer| packer.compress(bytes)).map_err(failed)?;
            Ok(framed(ZSTD_RUNS_1, length, &frame))
        }
        _ => Ok([&[PLAIN], bytes].concat()),
    }
}

/// The version names the dictionary; the frame need not.
fn packer() -> io::Result<Compressor<'static>> {
    let mut packer = Compressor::with_prepared_dictionary(&PACKING)?;
    packer.set_parameter(CParameter::DictIdFlag(false))?;
    Ok(packer)
}

fn framed(version: u8, length: u32, frame: &[u8]) -> Vec<u8> {
    [&[version], length.to_le_bytes().as_slice(), frame].concat()
}

/// Unpacks what [`pack`] made.
pub(super) fn unpack(table: &'static str, packed: &[u8]) -> Result<Vec<u8>> {
    let corrupt = |reason: &str| StoreError::Corrupt { table, reason: reason.to_owned() };
    let (version, rest) = packed.split_first().ok_or_else(|| corrupt("it is empty"))?;
    if *version == PLAIN {
        return Ok(rest.to_vec());
    }
    let (length, frame) = rest.split_first_chunk().ok_or_else(|| corrupt("the length is cut off"))?;
    let capacity = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| corrupt("too long for this machine"))?;
    let unpacked = match *version {
        ZSTD => zstd::bulk::decompress(frame, capacity),
        ZSTD_RUNS_1 => UNPACKERS.with(
            || Decompressor::with_prepared_dictionary(&UNPACKING),
            |unpacker| unpacker.decompress(frame, capacity),
        ),
        version => return Err(corrupt(&format!("version {version} is not known"))),
    };
    unpacked.map_err(|error| corrupt(&error.to_string()))
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
        for bytes in [Vec::new(), b"short".to_vec(), b"long ".repeat(10_000), b"huge ".repeat(100_000)] {
            let packed = pack(&bytes).unwrap();
            assert!(packed.len() <= bytes.len().max(WORTH_PACKING) + 1);
            assert_eq!(unpack("t", &packed).unwrap(), bytes);
        }
    }

    #[test]
    fn broken_bytes_are_reported_as_corrupt() {
        let cut_off = |version| [version, 4, 0, 0, 0, 1, 2, 3];
        for broken in [&[][..], &[9, 1, 2], &[ZSTD, 1], &cut_off(ZSTD), &cut_off(ZSTD_RUNS_1), &cut_off(9)] {
            assert!(matches!(unpack("t", broken), Err(StoreError::Corrupt { table: "t", .. })));
        }
        let mut longer = pack(&b"longer than it says ".repeat(20)).unwrap();
        longer[1..5].copy_from_slice(&7_u32.to_le_bytes());
        assert!(unpack("t", &longer).is_err());
    }

    /// What a version packed is on disks: these bytes must be readable for ever.
    #[test]
    fn what_earlier_versions_packed_is_still_read() {
        const TEXT: &[u8] = br#"{"post":{"name":"answer_question","run_type":"chain"},"patch":{},"applied":[1]}"#;
        let plain = [&[PLAIN], TEXT].concat();
        let alone = framed(ZSTD, 79, &zstd::bulk::compress(TEXT, LEVEL).unwrap());
        let with_dictionary = include_bytes!("runs-1.sample");
        for packed in [plain.as_slice(), &alone, with_dictionary] {
            assert_eq!(unpack("t", packed).unwrap(), TEXT);
        }
        assert!(with_dictionary.len() < alone.len(), "{} {}", with_dictionary.len(), alone.len());
    }
}
