//! Signatures of what is sent: Standard Webhooks `v1` (HMAC-SHA-256) and `v1a` (Ed25519), and LangSmith's own header.
//!
//! A secret says itself what it is: `whsk_` begins a private key, anything else is a shared one, with `whsec_` before it or
//! not. What is signed is `id.timestamp.body`, the body being the bytes that are sent.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::crypto::sign::hex;
use crate::model::id::MessageId;
use crate::model::signing::SignatureKind;

/// Receivers' libraries read a secret with its padding or without it, whatever its last bits are.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const SHARED: &str = "whsec_";
const PRIVATE: &str = "whsk_";
pub(super) const PUBLIC: &str = "whpk_";

/// Bytes of the shortest shared secret, and of the longest.
const SHARED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Bytes of a private key, and of a private key with its public one after it.
const SEED: usize = 32;
const PAIR: usize = 64;

/// Why a text is no signing secret. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSecret(&'static str);

impl InvalidSecret {
    pub(super) fn of(why: &'static str) -> Self {
        Self(why)
    }
}

/// What messages are signed with. Its `Debug` shows nothing.
pub struct WebhookKey(pub(super) Inner);

pub(super) enum Inner {
    Shared(Zeroizing<Vec<u8>>),
    Private(Ed25519KeyPair),
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey(..)")
    }
}

impl WebhookKey {
    /// Reads a secret.
    pub fn parse(secret: &SecretString) -> Result<Self, InvalidSecret> {
        let text = secret.expose_secret();
        if text.starts_with(PUBLIC) {
            return Err(InvalidSecret("this is a public key: it verifies, and `whsk_…` signs"));
        }
        if let Some(text) = text.strip_prefix(PRIVATE) {
            let bytes = decoded(text)?;
            return private(&bytes).map(Inner::Private).map(Self);
        }
        let bytes = decoded(text.strip_prefix(SHARED).unwrap_or(text))?;
        if !SHARED_BYTES.contains(&bytes.len()) {
            return Err(InvalidSecret("a signing secret has 24 to 64 bytes, which are 32 to 88 characters of base64"));
        }
        Ok(Self(Inner::Shared(bytes)))
    }

    /// Makes the text of a secret from 32 random bytes.
    pub fn generate(kind: SignatureKind, random: &[u8; SEED]) -> Result<SecretString, InvalidSecret> {
        let mut text = Zeroizing::new(String::with_capacity(128));
        match kind {
            SignatureKind::V1 => {
                text.push_str(SHARED);
                STANDARD.encode_string(random, &mut text);
            }
            SignatureKind::V1a => {
                let pair = private(random)?;
                let mut bytes = Zeroizing::new(random.to_vec());
                bytes.extend_from_slice(pair.public_key().as_ref());
                text.push_str(PRIVATE);
                STANDARD.encode_string(bytes.as_slice(), &mut text);
            }
        }
        Ok(text.as_str().into())
    }

    /// What it signs with.
    #[must_use]
    pub fn kind(&self) -> SignatureKind {
        match self.0 {
            Inner::Shared(_) => SignatureKind::V1,
            Inner::Private(_) => SignatureKind::V1a,
        }
    }

    /// What receivers verify with, when that is no secret.
    #[must_use]
    pub fn public(&self) -> Option<String> {
        match &self.0 {
            Inner::Shared(_) => None,
            Inner::Private(pair) => Some(format!("{PUBLIC}{}", STANDARD.encode(pair.public_key().as_ref()))),
        }
    }

    /// One signature, as it stands in `webhook-signature`. `timestamp` is in seconds.
    #[must_use]
    pub fn sign(&self, message: MessageId, timestamp: i64, body: &[u8]) -> String {
        let head = format!("{message}.{timestamp}.");
        match &self.0 {
            Inner::Shared(key) => format!("v1,{}", STANDARD.encode(hmac(key, &[head.as_bytes(), body]))),
            Inner::Private(pair) => {
                let signed = [head.as_bytes(), body].concat();
                format!("v1a,{}", STANDARD.encode(pair.sign(&signed).as_ref()))
            }
        }
    }
}

/// The value of `X-LangSmith-Signature`: of the body alone, under the secret as it is written.
#[must_use]
pub fn langsmith_signature(secret: &SecretString, body: &[u8]) -> String {
    format!("sha256={}", hex(&hmac(secret.expose_secret().as_bytes(), &[body])))
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length; were it to refuse one, what it returns would verify nowhere.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) fn decoded(text: &str) -> Result<Zeroizing<Vec<u8>>, InvalidSecret> {
    LENIENT.decode(text).map(Zeroizing::new).map_err(|_| InvalidSecret("a signing secret is base64 after its prefix"))
}

fn private(bytes: &[u8]) -> Result<Ed25519KeyPair, InvalidSecret> {
    let wrong = InvalidSecret("a private key is 32 bytes, or those and the 32 bytes of its public key");
    match bytes.len() {
        SEED => Ed25519KeyPair::from_seed_unchecked(bytes).map_err(|_| wrong),
        PAIR => {
            let (seed, public) = bytes.split_at(SEED);
            Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| wrong)
        }
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use uuid::Uuid;

    use super::*;

    const BODY: &[u8] = b"{\"test\": 2432232314}";

    fn key(text: &str) -> WebhookKey {
        WebhookKey::parse(&text.into()).unwrap()
    }

    #[test]
    fn the_published_vector_holds() {
        // Its id is none of ours, so the digest is taken of its parts.
        let Inner::Shared(bytes) = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").0 else { panic!("it is shared") };
        let digest = hmac(&bytes, &[b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.", BODY]);
        assert_eq!(STANDARD.encode(digest), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let signature = key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(MessageId(Uuid::nil()), 1_614_265_330, BODY);
        let expected = hmac(&bytes, &[b"00000000-0000-0000-0000-000000000000.1614265330.", BODY]);
        assert_eq!(signature, format!("v1,{}", STANDARD.encode(expected)));
    }

    #[test]
    fn what_a_private_key_signed_is_verified_by_its_public_one() {
        let secret = WebhookKey::generate(SignatureKind::V1a, &[3; 32]).unwrap();
        let pair = WebhookKey::parse(&secret).unwrap();
        let signature = pair.sign(MessageId(Uuid::nil()), 7, BODY);
        let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
        let public = STANDARD.decode(pair.public().unwrap().strip_prefix("whpk_").unwrap()).unwrap();
        let signed = [b"00000000-0000-0000-0000-000000000000.7.", BODY].concat();
        UnparsedPublicKey::new(&ED25519, &public).verify(&signed, &signature).unwrap();
        assert!(UnparsedPublicKey::new(&ED25519, &public).verify(BODY, &signature).is_err());
        let seed = format!("whsk_{}", STANDARD.encode([3; 32]));
        assert_eq!(key(&seed).public(), pair.public());
    }

    #[test]
    fn langsmiths_signature_is_of_the_body_alone() {
        // printf '{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected = "sha256=aa9e2e3575f5d7098b6caccd790888c36d5fdb63342a73bada2d6a51747a8494";
        assert_eq!(langsmith_signature(&"secret".into(), b"{\"a\":1}"), expected);
    }

    #[test]
    fn secrets_are_read_as_receivers_read_them() {
        assert_eq!(key(&"a".repeat(32)).kind(), SignatureKind::V1);
        assert_eq!(key("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").kind(), SignatureKind::V1);
        assert!(key(WebhookKey::generate(SignatureKind::V1, &[9; 32]).unwrap().expose_secret()).public().is_none());
        for wrong in
            ["", "whsec_", "whsec_short", "whsec_$$$$", "whsk_AAAA", "whpk_AAAA", "correct horse battery staple"]
        {
            let error = WebhookKey::parse(&wrong.into()).unwrap_err().to_string();
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
        assert_eq!(format!("{:?}", key(&"a".repeat(32))), "WebhookKey(..)");
    }
}
