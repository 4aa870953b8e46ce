//! The keyring: the first key seals, all open.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use crate::crypto::{seal, sign};
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

/// Keys, in memory only; wiped when dropped. `Debug` shows nothing of them. A rotation replaces them for everyone who
/// holds the keyring or a clone of it.
#[derive(Clone)]
pub struct Keyring {
    ring: Arc<ArcSwap<Ring>>,
}

struct Ring {
    first: Key,
    others: Vec<Key>,
}

/// One line of a key file. What seals, what signs and what is shown are derived from it and tell nothing of each other.
#[derive(Clone)]
struct Key {
    id: u32,
    sealing: Zeroizing<[u8; 32]>,
    signing: Zeroizing<[u8; 32]>,
    fingerprint: String,
}

const MARKER: &[u8] = b"runhook keyring";

impl Keyring {
    /// Reads a key file: one `id:base64` a line, the sealing key first; empty lines and `#` comments are skipped.
    pub fn parse(text: &str) -> Result<Self, CryptoError> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let at = |reason: String| CryptoError::Key(format!("key file, line {}: {reason}", index.saturating_add(1)));
            let key = Key::parse(line).map_err(at)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(at(format!("key {} is there twice; give each key its own id", key.id)));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| {
            CryptoError::Key("the key file holds no key; write one into it with `runhook keys generate`".into())
        })?;
        Ok(Self { ring: Arc::new(ArcSwap::from_pointee(Ring { first, others: keys.collect() })) })
    }

    /// Takes the keys of another ring.
    pub fn replace(&self, other: &Self) {
        self.ring.store(other.ring.load_full());
    }

    /// The id of the key a value was sealed with.
    #[must_use]
    pub fn key_id(sealed: &Sealed) -> Option<u32> {
        seal::take_apart(sealed).ok().map(|value| value.key_id)
    }

    /// Makes the line of a new key, without a line end, from 32 random bytes.
    #[must_use]
    pub fn line(id: u32, bytes: &[u8; 32]) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(64));
        line.push_str(&id.to_string());
        line.push(':');
        STANDARD.encode_string(bytes, &mut line);
        line
    }

    /// Seals a value for a place.
    pub fn seal(&self, place: &Place, plain: &[u8]) -> Result<Sealed, CryptoError> {
        let ring = self.ring.load();
        seal::seal(ring.first.id, &ring.first.sealing, place, plain)
    }

    /// Opens a value sealed for that place.
    pub fn open(&self, place: &Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let value = seal::take_apart(sealed)?;
        let ring = self.ring.load();
        let key = ring
            .keys()
            .find(|key| key.id == value.key_id)
            .ok_or(CryptoError::Sealed("the key it was sealed with is not in the key file"))?;
        seal::open(&key.sealing, place, &value)
    }

    /// Whether the value was sealed with the first key.
    #[must_use]
    pub fn is_current(&self, sealed: &Sealed) -> bool {
        seal::take_apart(sealed).is_ok_and(|value| value.key_id == self.ring.load().first.id)
    }

    /// Authenticates a text under a purpose, with the first key: hexadecimal HMAC-SHA-256.
    #[must_use]
    pub fn tag(&self, purpose: &str, text: &str) -> String {
        // A key of the right size, which `Key` guarantees, cannot fail; an empty tag verifies nowhere.
        sign::digest(&self.ring.load().first.signing, &[purpose.as_bytes(), text.as_bytes()])
            .map(|digest| sign::hex(&digest))
            .unwrap_or_default()
    }

    /// Whether a tag is one of this keyring's, in constant time. Every key counts: a link outlives a rotation.
    #[must_use]
    pub fn verify_tag(&self, purpose: &str, text: &str, tag: &str) -> bool {
        let Some(claimed) = sign::unhex(tag) else { return false };
        let parts = [purpose.as_bytes(), text.as_bytes()];
        self.ring.load().keys().fold(false, |found, key| found | sign::verifies(&key.signing, &parts, &claimed))
    }

    /// The ids of the keys, the sealing key's first.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.ring.load().keys().map(|key| key.id).collect()
    }

    /// Id and fingerprint of each key, the sealing key's first. A fingerprint tells keys apart and tells nothing of them.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<(u32, String)> {
        self.ring.load().keys().map(|key| (key.id, key.fingerprint.clone())).collect()
    }

    /// What a database keeps to tell at the next start whether the key file is the right one.
    pub fn marker(&self) -> Result<Vec<u8>, CryptoError> {
        self.seal(&marker_place(), MARKER).map(|sealed| sealed.0)
    }

    /// Checks a database's marker against this ring. Whether it was made with the sealing key: if not, everything is
    /// readable, and the marker is to be made anew when all values have been.
    pub fn check_marker(&self, marker: &[u8]) -> Result<bool, CryptoError> {
        let sealed = Sealed(marker.to_vec());
        let id = seal::take_apart(&sealed)?.key_id;
        let known = self.ids();
        if !known.contains(&id) {
            let key = if known.len() == 1 { "key" } else { "keys" };
            let ids = known.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            return Err(CryptoError::Key(format!(
                "this data was sealed with key {id}, and the key file has {key} {ids}; \
                 give the key file this data was made with, or add the line of key {id} to this one"
            )));
        }
        match self.open(&marker_place(), &sealed) {
            Ok(_) => Ok(self.is_current(&sealed)),
            Err(_) => Err(CryptoError::Key(format!(
                "key {id} of the key file is not the key {id} this data was sealed with; \
                 give the key file this data was made with"
            ))),
        }
    }
}

impl Ring {
    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(..)")
    }
}

impl Key {
    fn parse(line: &str) -> Result<Self, String> {
        let (id, encoded) = line
            .split_once(':')
            .ok_or("a key is written as `id:base64`; `runhook keys generate` prints such a line")?;
        let id =
            id.trim().parse().ok().filter(|id| *id > 0).ok_or("a key's id is a whole number from 1 to 4294967295")?;
        let decoded = STANDARD
            .decode(encoded.trim())
            .map(Zeroizing::new)
            .map_err(|_| format!("key {id} is not base64; `runhook keys generate` prints a whole line"))?;
        let mut master: [u8; 32] =
            decoded.as_slice().try_into().map_err(|_| format!("key {id} has {} bytes; a key has 32", decoded.len()))?;
        let key = Self::derived(id, &master).map_err(|error| error.to_string());
        master.zeroize();
        key
    }

    fn derived(id: u32, master: &[u8; 32]) -> Result<Self, CryptoError> {
        let fingerprint = sign::hex(&sign::digest(master, &[b"runhook fingerprint 1"])?);
        Ok(Self {
            id,
            sealing: Zeroizing::new(sign::digest(master, &[b"runhook sealing 1"])?),
            signing: Zeroizing::new(sign::digest(master, &[b"runhook signing 1"])?),
            fingerprint: fingerprint.chars().take(16).collect(),
        })
    }
}

fn marker_place() -> Place {
    Place { table: "markers", column: "value", row: b"keyring".to_vec() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(keys: &[(u32, u8)]) -> Keyring {
        let text: Vec<String> = keys.iter().map(|(id, byte)| Keyring::line(*id, &[*byte; 32]).to_string()).collect();
        Keyring::parse(&text.join("\n")).unwrap()
    }

    fn place(row: &[u8]) -> Place {
        Place { table: "endpoints", column: "target_sealed", row: row.to_vec() }
    }

    fn refusal(text: &str) -> String {
        Keyring::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_key_file_may_hold_comments_and_empty_lines() {
        let line = Keyring::line(3, &[1; 32]);
        let text = format!("\u{feff}# made today\r\n\r\n  {}  # current\r\n", line.as_str());
        assert_eq!(Keyring::parse(&text).unwrap().ids(), [3]);
    }

    #[test]
    fn a_malformed_key_file_says_which_line_and_what_to_do_and_never_a_key() {
        let good = Keyring::line(1, &[9; 32]);
        assert!(refusal("# nothing\n").contains("runhook keys generate"));
        assert_eq!(
            refusal(&format!("# first\n{}\nSECRETSECRET", good.as_str())),
            "key file, line 3: a key is written as `id:base64`; `runhook keys generate` prints such a line"
        );
        assert!(refusal("x:SECRET").contains("line 1: a key's id is a whole number"));
        assert!(refusal("0:SECRET").contains("line 1: a key's id is a whole number"));
        assert!(refusal("1:SECRET!").contains("key 1 is not base64"));
        assert!(refusal("1:SECRETSECRET").contains("key 1 has 9 bytes; a key has 32"));
        assert!(refusal(&format!("{}\n{0}", good.as_str())).contains("line 2: key 1 is there twice"));
        for text in ["SECRETSECRET", "x:SECRET", "1:SECRET!", "1:SECRETSECRET"] {
            assert!(!refusal(text).contains("SECRET"), "{}", refusal(text));
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", ring(&[(1, 1)])), "Keyring(..)");
    }

    #[test]
    fn after_a_rotation_old_values_open_and_are_not_current() {
        let old = ring(&[(1, 1)]);
        let rotated = ring(&[(2, 2), (1, 1)]);
        let sealed = old.seal(&place(b"r"), b"secret").unwrap();
        assert!(old.is_current(&sealed));
        assert!(!rotated.is_current(&sealed));
        let plain = rotated.open(&place(b"r"), &sealed).unwrap();
        let anew = rotated.seal(&place(b"r"), &plain).unwrap();
        assert!(rotated.is_current(&anew));
        let error = old.open(&place(b"r"), &anew).unwrap_err();
        assert!(error.to_string().contains("not in the key file"), "{error}");
    }

    #[test]
    fn the_same_value_is_never_sealed_to_the_same_bytes() {
        let ring = ring(&[(1, 1)]);
        assert_ne!(ring.seal(&place(b"r"), b"x").unwrap(), ring.seal(&place(b"r"), b"x").unwrap());
    }

    #[test]
    fn a_marker_tells_a_wrong_key_file_from_a_right_one() {
        let marker = ring(&[(7, 7)]).marker().unwrap();
        assert_eq!(ring(&[(7, 7)]).check_marker(&marker), Ok(true));
        assert_eq!(ring(&[(8, 8), (7, 7)]).check_marker(&marker), Ok(false));
        let message = |ring: Keyring| ring.check_marker(&marker).unwrap_err().to_string();
        assert!(message(ring(&[(3, 3)])).contains("was sealed with key 7, and the key file has key 3;"));
        assert!(message(ring(&[(3, 3), (4, 4)])).contains("the key file has keys 3, 4;"));
        assert!(message(ring(&[(7, 8)])).contains("not the key 7 this data was sealed with"));
        assert!(ring(&[(7, 7)]).check_marker(b"junk").is_err());
    }

    #[test]
    fn a_tag_holds_for_its_purpose_and_text_under_any_key_of_the_ring() {
        let old = ring(&[(1, 1)]);
        let rotated = ring(&[(2, 2), (1, 1)]);
        let tag = old.tag("link", "a\n5");
        assert_eq!(tag.len(), 64);
        assert!(old.verify_tag("link", "a\n5", &tag));
        assert!(rotated.verify_tag("link", "a\n5", &tag));
        assert!(!old.verify_tag("link", "a\n5", &rotated.tag("link", "a\n5")));
        assert!(!old.verify_tag("link", "a\n6", &tag));
        assert!(!old.verify_tag("lin", "ka\n5", &tag));
        for wrong in ["", "zz", &tag.to_uppercase(), tag.split_at(62).0, &format!("{tag}00")] {
            assert!(!old.verify_tag("link", "a\n5", wrong), "{wrong}");
        }
    }

    #[test]
    fn fingerprints_tell_keys_apart_and_do_not_hold_them() {
        let ring = ring(&[(1, 1), (2, 2)]);
        let prints: Vec<_> = ring.fingerprints().into_iter().map(|(_, print)| print).collect();
        assert_ne!(prints[0], prints[1]);
        assert!(prints.iter().all(|print| print.len() == 16 && !print.contains("0101")));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(plain: Vec<u8>, row: Vec<u8>) {
            let ring = ring(&[(1, 1)]);
            let sealed = ring.seal(&place(&row), &plain).unwrap();
            prop_assert_eq!(&*ring.open(&place(&row), &sealed).unwrap(), &plain);
        }

        #[test]
        fn a_moved_value_does_not_open(plain: Vec<u8>, from: Vec<u8>, to: Vec<u8>) {
            let ring = ring(&[(1, 1)]);
            let sealed = ring.seal(&place(&from), &plain).unwrap();
            prop_assert_eq!(ring.open(&place(&to), &sealed).is_ok(), from == to);
            let other_table = Place { table: "endpoint", column: "starget_sealed", row: from.clone() };
            prop_assert!(ring.open(&other_table, &sealed).is_err());
            let other_column = Place { table: "endpoints", column: "target", row: from };
            prop_assert!(ring.open(&other_column, &sealed).is_err());
        }

        #[test]
        fn a_value_with_any_bit_flipped_or_cut_off_does_not_open(plain: Vec<u8>, bit: prop::sample::Index) {
            let ring = ring(&[(1, 1), (2, 2)]);
            let sealed = ring.seal(&place(b"r"), &plain).unwrap();
            let at = bit.index(sealed.0.len() * 8);
            let mut flipped = sealed.clone();
            flipped.0[at / 8] ^= 1 << (at % 8);
            prop_assert!(ring.open(&place(b"r"), &flipped).is_err());
            let cut = Sealed(sealed.0[..at / 8].to_vec());
            prop_assert!(ring.open(&place(b"r"), &cut).is_err());
        }

        #[test]
        fn no_text_makes_the_key_file_reader_fail_in_any_other_way(text: String) {
            prop_assert!(Keyring::parse(&text).is_err());
        }
    }
}
