//! Keyed digests: HMAC-SHA-256 over length-prefixed parts, compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::crypto::CryptoError;

fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> Result<Hmac<Sha256>, CryptoError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| CryptoError::Key("a key has a wrong size".into()))?;
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Ok(mac)
}

/// The digest of some parts under a key. Parts are length-prefixed: `ab`, `c` and `a`, `bc` differ.
pub(super) fn digest(key: &[u8; 32], parts: &[&[u8]]) -> Result<[u8; 32], CryptoError> {
    keyed(key, parts).map(|mac| mac.finalize().into_bytes().into())
}

/// Whether these bytes are the digest, in constant time.
pub(super) fn verifies(key: &[u8; 32], parts: &[&[u8]], claimed: &[u8]) -> bool {
    keyed(key, parts).is_ok_and(|mac| mac.verify_slice(claimed).is_ok())
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        // Writing into a String does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Reads lower-case hexadecimal; anything else is no tag of ours.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}
