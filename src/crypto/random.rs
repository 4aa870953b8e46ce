//! Randomness of the operating system.

use rand::Rng;

/// Unpredictable bytes. The one place that asks for them; everyone else is handed bytes.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place with randomness of the operating system")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
