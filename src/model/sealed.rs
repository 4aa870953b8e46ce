//! Secrets at rest. A [`Sealed`] value can be stored and moved about; only `crypto` can turn it back.

use std::fmt;

/// A value encrypted for one place. Its bytes carry the version, the key's id, the nonce and the ciphertext.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

/// Where a sealed value lives. It is bound to the place, so that a value copied to another row does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row's key.
    pub row: Vec<u8>,
}
