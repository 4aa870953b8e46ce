//! Content encodings, decoded in small steps so that a limit stops a bomb before it is in memory.

use std::io::Write;

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::ingest::error::IngestError;

/// How much gzip is fed at a time. Deflate grows at most about a thousandfold, so a step yields at most 4 MiB.
const GZIP_STEP: usize = 4 * 1024;

/// How much zstd may write at a time.
const ZSTD_STEP: usize = 64 * 1024;

/// The largest zstd window, as a power of two. Every level up to 19 stays below it; a frame that asks for more would
/// cost that memory before it has shown a byte.
const ZSTD_WINDOW_LOG: u32 = 25;

/// Decodes one body.
pub(crate) enum Decoder {
    /// As it is.
    Plain,
    /// gzip.
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// zstd.
    Zstd(Box<Zstd>),
}

/// The state of a zstd body.
pub(crate) struct Zstd {
    decoder: ZstdDecoder<'static>,
    /// The last frame is complete.
    complete: bool,
    /// The last step filled its buffer: there may be more without further input.
    more: bool,
}

impl Decoder {
    /// The decoder for a `Content-Encoding`.
    pub(crate) fn for_encoding(encoding: Option<&str>) -> Result<Self, IngestError> {
        match encoding.map(|name| name.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Ok(Self::Plain),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            Some("zstd") => Zstd::new().map(Box::new).map(Self::Zstd),
            Some(other) => Err(IngestError::Unsupported(format!(
                "content encoding `{}` is not read here: send gzip, zstd or none",
                other.chars().take(32).collect::<String>()
            ))),
        }
    }

    /// Decodes some of what is pending. `None` means that more input is needed.
    pub(crate) fn step(&mut self, pending: &mut Bytes) -> Result<Option<Bytes>, IngestError> {
        match self {
            Self::Plain if pending.is_empty() => Ok(None),
            Self::Plain => Ok(Some(std::mem::take(pending))),
            Self::Gzip(writer) => {
                while !pending.is_empty() && writer.get_ref().is_empty() {
                    let input = pending.split_to(pending.len().min(GZIP_STEP));
                    writer.write_all(&input).map_err(|_| broken("gzip"))?;
                }
                let output = std::mem::take(writer.get_mut());
                Ok((!output.is_empty()).then(|| output.into()))
            }
            Self::Zstd(zstd) => zstd.step(pending),
        }
    }

    /// Says that no input follows. What is left comes out of further steps.
    pub(crate) fn finish(&mut self) -> Result<(), IngestError> {
        match self {
            Self::Plain => Ok(()),
            Self::Gzip(writer) => writer.try_finish().map_err(|_| broken("gzip")),
            Self::Zstd(zstd) if zstd.complete => Ok(()),
            Self::Zstd(_) => Err(broken("zstd")),
        }
    }
}

impl Zstd {
    fn new() -> Result<Self, IngestError> {
        let mut decoder = ZstdDecoder::new().map_err(|_| broken("zstd"))?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(|_| broken("zstd"))?;
        Ok(Self { decoder, complete: false, more: false })
    }

    fn step(&mut self, pending: &mut Bytes) -> Result<Option<Bytes>, IngestError> {
        while !pending.is_empty() || self.more {
            let mut output = Vec::with_capacity(ZSTD_STEP);
            let consumed = {
                let mut input = InBuffer::around(pending);
                let mut buffer = OutBuffer::around(&mut output);
                let hint = self.decoder.run(&mut input, &mut buffer).map_err(|_| broken("zstd"))?;
                self.complete = hint == 0;
                input.pos()
            };
            self.more = !self.complete && output.len() == output.capacity();
            pending.advance(consumed);
            if !output.is_empty() {
                return Ok(Some(output.into()));
            }
        }
        Ok(None)
    }
}

fn broken(encoding: &str) -> IngestError {
    IngestError::Malformed(format!("the request body is not whole and valid {encoding}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: &str, encoded: &[u8], chunk: usize) -> Result<Vec<u8>, IngestError> {
        let mut decoder = Decoder::for_encoding(Some(encoding))?;
        let mut plain = Vec::new();
        for piece in encoded.chunks(chunk) {
            let mut pending = Bytes::copy_from_slice(piece);
            while let Some(out) = decoder.step(&mut pending)? {
                plain.extend_from_slice(&out);
            }
        }
        decoder.finish()?;
        while let Some(out) = decoder.step(&mut Bytes::new())? {
            plain.extend_from_slice(&out);
        }
        Ok(plain)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn every_encoding_gives_back_what_was_encoded_however_it_is_cut() {
        let plain: Vec<u8> = (0..400_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
        for chunk in [1_000, 65_536, usize::MAX] {
            assert!(decode("gzip", &gzip(&plain), chunk).unwrap() == plain);
            assert!(decode("zstd", &zstd, chunk).unwrap() == plain);
            assert!(decode("identity", &plain, chunk).unwrap() == plain);
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_refused() {
        let plain = vec![7_u8; 100_000];
        for (encoding, whole) in [("gzip", gzip(&plain)), ("zstd", zstd::encode_all(plain.as_slice(), 3).unwrap())] {
            assert!(decode(encoding, &whole[..whole.len() - 5], 64).is_err(), "{encoding}");
            assert!(decode(encoding, b"{\"not\": \"encoded\"}", 64).is_err(), "{encoding}");
        }
    }

    #[test]
    fn several_frames_in_a_row_are_one_body() {
        let mut frames = zstd::encode_all(&b"one "[..], 3).unwrap();
        frames.extend(zstd::encode_all(&b"two"[..], 3).unwrap());
        assert_eq!(decode("zstd", &frames, 3).unwrap(), b"one two");
        assert_eq!(decode("gzip", &[gzip(b"one "), gzip(b"two")].concat(), 3).unwrap(), b"one two");
    }

    #[test]
    fn an_encoding_that_is_not_known_is_named() {
        assert!(Decoder::for_encoding(Some("br")).err().unwrap().to_string().contains("`br`"));
    }
}
