//! Secrets: sealing them for the database, and signing links.

mod keyring;

pub use keyring::{CryptoError, Keyring};
