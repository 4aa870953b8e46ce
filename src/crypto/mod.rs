//! Secrets: sealing them for the database, and signing links.
//!
//! Promises: a sealed value opens only in the place it was sealed for, and only with a key of the ring; there is no
//! unsealed fallback. Neither an error nor a `Debug` of this module shows a byte of a key or of a secret. Assumes that
//! the key file is kept apart from the database. Never reads a file: the caller brings the text.

mod keyring;
mod random;
mod seal;
mod sign;
mod target;
mod verify;
mod webhook;

pub use keyring::{CryptoError, Keyring};
pub use random::random;
pub use sign::hex;
pub use target::{open_target, seal_target, shown};
pub use verify::{Mismatch, Signed, Verifier};
pub use webhook::{InvalidSecret, WebhookKey, langsmith_signature};
