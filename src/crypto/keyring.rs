//! The keyring: the first key seals, all open.

use zeroize::Zeroizing;

use crate::model::sealed::{Place, Sealed};

/// Why a secret could not be sealed or opened. Never says which bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The key file is missing, malformed or not the one the data was sealed with.
    #[error("{0}")]
    Key(String),
    /// The value does not open: it was damaged or moved, or its key is gone.
    #[error("a sealed value does not open: {0}")]
    Sealed(&'static str),
}

/// Keys, in memory only.
#[derive(Clone)]
pub struct Keyring {}

impl Keyring {
    /// Reads a key file: one key a line, the sealing key first.
    pub fn parse(_text: &str) -> Result<Self, CryptoError> {
        unimplemented!()
    }

    /// Makes the text of a new key from 32 random bytes.
    #[must_use]
    pub fn line(_id: u32, _bytes: &[u8; 32]) -> Zeroizing<String> {
        unimplemented!()
    }

    /// Seals a value for a place.
    pub fn seal(&self, _place: &Place, _plain: &[u8]) -> Result<Sealed, CryptoError> {
        unimplemented!()
    }

    /// Opens a value sealed for that place.
    pub fn open(&self, _place: &Place, _sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        unimplemented!()
    }

    /// Whether the value was sealed with the first key.
    #[must_use]
    pub fn is_current(&self, _sealed: &Sealed) -> bool {
        unimplemented!()
    }

    /// Authenticates a text under a purpose, with the first key: hexadecimal HMAC-SHA-256.
    #[must_use]
    pub fn tag(&self, _purpose: &str, _text: &str) -> String {
        unimplemented!()
    }

    /// Whether a tag is one of this keyring's, in constant time.
    #[must_use]
    pub fn verify_tag(&self, _purpose: &str, _text: &str, _tag: &str) -> bool {
        unimplemented!()
    }
}
