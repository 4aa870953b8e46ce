//! The sealed form: version byte, key id (u32, big-endian), nonce (12 bytes), AES-256-GCM ciphertext with its tag.
//!
//! The associated data is table, column and row, each length-prefixed, so a value copied to another place does not
//! open. Nonces are random: one key must seal fewer than 2^32 values, which `keys rotate` keeps far away.

use aes_gcm::aead::{Aead, Nonce, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use crate::crypto::{CryptoError, random};
use crate::model::sealed::{Place, Sealed};

const VERSION: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;

/// A sealed value taken apart.
pub(super) struct Opened<'a> {
    /// The key it was sealed with.
    pub(super) key_id: u32,
    nonce: [u8; NONCE],
    ciphertext: &'a [u8],
}

/// Takes a sealed value apart without opening it.
pub(super) fn take_apart(sealed: &Sealed) -> Result<Opened<'_>, CryptoError> {
    let short = CryptoError::Sealed("it is too short to be one");
    let (version, rest) = sealed.0.split_first().ok_or_else(|| short.clone())?;
    if *version != VERSION {
        return Err(CryptoError::Sealed("its version is unknown: a newer Runhook may have written it"));
    }
    let (key_id, rest) = rest.split_first_chunk::<4>().ok_or_else(|| short.clone())?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or_else(|| short.clone())?;
    if ciphertext.len() < TAG {
        return Err(short);
    }
    Ok(Opened { key_id: u32::from_be_bytes(*key_id), nonce: *nonce, ciphertext })
}

/// Seals a value under a key.
pub(super) fn seal(key_id: u32, key: &[u8; 32], place: &Place, plain: &[u8]) -> Result<Sealed, CryptoError> {
    let nonce: [u8; NONCE] = random();
    let aad = associated(place);
    let ciphertext = cipher(key)?
        .encrypt(&Nonce::<Aes256Gcm>::from(nonce), Payload { msg: plain, aad: &aad })
        .map_err(|_| CryptoError::Sealed("it is too large"))?;
    let mut bytes = Vec::with_capacity(ciphertext.len().saturating_add(17));
    bytes.push(VERSION);
    bytes.extend_from_slice(&key_id.to_be_bytes());
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&ciphertext);
    Ok(Sealed(bytes))
}

/// Opens a value with the key it names.
pub(super) fn open(key: &[u8; 32], place: &Place, value: &Opened<'_>) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let aad = associated(place);
    cipher(key)?
        .decrypt(&Nonce::<Aes256Gcm>::from(value.nonce), Payload { msg: value.ciphertext, aad: &aad })
        .map(Zeroizing::new)
        .map_err(|_| {
            CryptoError::Sealed("it was damaged, moved from another row, or sealed with another key of this id")
        })
}

fn cipher(key: &[u8; 32]) -> Result<Aes256Gcm, CryptoError> {
    Aes256Gcm::new_from_slice(key).map_err(|_| CryptoError::Key("a key has a wrong size".into()))
}

fn associated(place: &Place) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    for part in [place.table.as_bytes(), place.column.as_bytes(), &place.row] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}
