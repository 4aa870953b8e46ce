//! Checking signatures, as a receiver does: of Standard Webhooks, `v1` and `v1a`, and LangSmith's own.
//!
//! Why a signature does not hold is told to people who are setting a receiver up, so each way to go wrong has words of its
//! own. None of them repeats the secret, or what the signature should be.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::signature::{ED25519, KeyPair as _, UnparsedPublicKey};
use base64::engine::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::crypto::webhook::{Inner, InvalidSecret, PUBLIC, WebhookKey, decoded, hmac, langsmith_signature};
use crate::model::signing::SignatureKind;

/// Seconds that a timestamp may be away from the present, in either direction.
const TOLERANCE: i64 = 300;

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A header is not there.
    #[error("there is no `{0}` header")]
    Missing(&'static str),
    /// The timestamp is no number.
    #[error("`webhook-timestamp` is not a number of seconds")]
    NoTimestamp,
    /// The timestamp is not now.
    #[error("`webhook-timestamp` is {0} s {1}, and {TOLERANCE} s are tolerated: look at both clocks")]
    NotNow(u64, &'static str),
    /// A signature is not one.
    #[error("`webhook-signature` is not a list of `v1,…` with blanks between them")]
    Malformed,
    /// It is signed in another way than the secret can check.
    #[error("it is signed with {theirs}, and the secret given checks `{}`", .ours.word())]
    OtherKind {
        /// What stands in the header.
        theirs: String,
        /// What the secret is for.
        ours: SignatureKind,
    },
    /// None of the signatures is made with this secret.
    #[error(
        "no signature of it is made with this secret over these bytes: another secret, or the body was changed on its way"
    )]
    Wrong,
}

/// What signatures are checked with. Its `Debug` shows nothing.
pub struct Verifier {
    key: Key,
    secret: SecretString,
}

enum Key {
    Shared(Zeroizing<Vec<u8>>),
    Public(Vec<u8>),
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// What is signed, as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: Option<&'a str>,
    /// `webhook-timestamp`.
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`.
    pub signatures: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl Verifier {
    /// Reads a secret: a shared one, a private key, or a public one.
    pub fn parse(secret: &SecretString) -> Result<Self, InvalidSecret> {
        use secrecy::ExposeSecret as _;
        let key = match secret.expose_secret().strip_prefix(PUBLIC) {
            Some(text) => {
                let bytes = decoded(text)?.to_vec();
                if bytes.len() != 32 {
                    return Err(InvalidSecret::of("a public key is 32 bytes of base64 after `whpk_`"));
                }
                Key::Public(bytes)
            }
            None => match WebhookKey::parse(secret)?.0 {
                Inner::Shared(bytes) => Key::Shared(bytes),
                Inner::Private(pair) => Key::Public(pair.public_key().as_ref().to_vec()),
            },
        };
        Ok(Self { key, secret: secret.clone() })
    }

    /// What it checks.
    #[must_use]
    pub fn kind(&self) -> SignatureKind {
        match self.key {
            Key::Shared(_) => SignatureKind::V1,
            Key::Public(_) => SignatureKind::V1a,
        }
    }

    /// Checks a request by the rules of Standard Webhooks; `now` is in seconds.
    pub fn check(&self, signed: Signed<'_>, now: i64) -> Result<(), Mismatch> {
        let id = signed.id.ok_or(Mismatch::Missing("webhook-id"))?;
        let timestamp = signed.timestamp.ok_or(Mismatch::Missing("webhook-timestamp"))?;
        let signatures = signed.signatures.ok_or(Mismatch::Missing("webhook-signature"))?;
        let seconds: i64 = timestamp.parse().map_err(|_| Mismatch::NoTimestamp)?;
        let away = now.saturating_sub(seconds);
        if away.abs() > TOLERANCE {
            return Err(Mismatch::NotNow(away.unsigned_abs(), if away > 0 { "old" } else { "ahead" }));
        }
        let pairs: Vec<(&str, &str)> = signatures.split(' ').filter_map(|token| token.split_once(',')).collect();
        if pairs.len() != signatures.split(' ').count() {
            return Err(Mismatch::Malformed);
        }
        let ours: Vec<&str> =
            pairs.iter().filter(|(kind, _)| *kind == self.kind().word()).map(|(_, one)| *one).collect();
        if ours.is_empty() {
            let mut kinds: Vec<String> = pairs.iter().map(|(kind, _)| format!("`{kind}`")).collect();
            kinds.dedup();
            return Err(Mismatch::OtherKind { theirs: kinds.join(" and "), ours: self.kind() });
        }
        let head = format!("{id}.{timestamp}.");
        let holds = ours.iter().any(|one| self.holds(head.as_bytes(), signed.body, one));
        if holds { Ok(()) } else { Err(Mismatch::Wrong) }
    }

    /// Checks `X-LangSmith-Signature`.
    pub fn check_langsmith(&self, signature: &str, body: &[u8]) -> Result<(), Mismatch> {
        let expected = langsmith_signature(&self.secret, body);
        verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).map_err(|_| Mismatch::Wrong)
    }

    fn holds(&self, head: &[u8], body: &[u8], signature: &str) -> bool {
        let Ok(claimed) = STANDARD.decode(signature) else { return false };
        match &self.key {
            Key::Shared(key) => verify_slices_are_equal(&hmac(key, &[head, body]), &claimed).is_ok(),
            Key::Public(key) => UnparsedPublicKey::new(&ED25519, key).verify(&[head, body].concat(), &claimed).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::id::MessageId;

    const BODY: &[u8] = b"{\"runs\":[]}";
    const NOW: i64 = 1_800_000_000;

    fn signed<'a>(id: &'a str, timestamp: &'a str, signatures: &'a str) -> Signed<'a> {
        Signed { id: Some(id), timestamp: Some(timestamp), signatures: Some(signatures), body: BODY }
    }

    #[test]
    fn what_is_signed_here_is_verified_here_and_by_the_public_half() {
        let id = Uuid::from_u128(7);
        for kind in [SignatureKind::V1, SignatureKind::V1a] {
            let secret = WebhookKey::generate(kind, &[5; 32]).unwrap();
            let key = WebhookKey::parse(&secret).unwrap();
            let signature = key.sign(MessageId(id), NOW, BODY);
            let (id, timestamp) = (id.to_string(), NOW.to_string());
            let verifiers = [Some(secret.clone()), key.public().map(Into::into)];
            for verifier in verifiers.iter().flatten().map(|secret| Verifier::parse(secret).unwrap()) {
                assert_eq!(verifier.check(signed(&id, &timestamp, &signature), NOW), Ok(()));
                let two = format!("v1,AAAA {signature}");
                assert_eq!(verifier.check(signed(&id, &timestamp, &two), NOW + 299), Ok(()));
                let other = Signed { body: b"{}", ..signed(&id, &timestamp, &signature) };
                assert_eq!(verifier.check(other, NOW), Err(Mismatch::Wrong));
                assert_eq!(verifier.check(signed("x", &timestamp, &signature), NOW), Err(Mismatch::Wrong));
            }
        }
    }

    #[test]
    fn why_it_does_not_hold_is_told() {
        let secret = WebhookKey::generate(SignatureKind::V1, &[5; 32]).unwrap();
        let verifier = Verifier::parse(&secret).unwrap();
        let now = NOW.to_string();
        for (request, at, why) in [
            (Signed { id: None, ..signed("", &now, "v1,AAAA") }, NOW, "no `webhook-id`"),
            (Signed { signatures: None, ..signed("x", &now, "") }, NOW, "no `webhook-signature`"),
            (signed("x", "noon", "v1,AAAA"), NOW, "not a number"),
            (signed("x", &now, "v1,AAAA"), NOW + 301, "301 s old"),
            (signed("x", &now, "v1,AAAA"), NOW - 400, "400 s ahead"),
            (signed("x", &now, "AAAA"), NOW, "not a list"),
            (signed("x", &now, "v1,AAAA  v1,AAAA"), NOW, "not a list"),
            (signed("x", &now, "v1a,AAAA"), NOW, "signed with `v1a`, and the secret given checks `v1`"),
            (signed("x", &now, "v1,$$$$"), NOW, "another secret"),
        ] {
            let said = verifier.check(request, at).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        assert_eq!(format!("{verifier:?}"), "Verifier(..)");
    }

    #[test]
    fn langsmiths_signature_is_checked_under_the_secret_as_it_is_written() {
        let secret = WebhookKey::generate(SignatureKind::V1, &[5; 32]).unwrap();
        let verifier = Verifier::parse(&secret).unwrap();
        let signature = langsmith_signature(&secret, BODY);
        assert_eq!(verifier.check_langsmith(&signature, BODY), Ok(()));
        assert_eq!(verifier.check_langsmith(&signature, b"{}"), Err(Mismatch::Wrong));
        assert_eq!(verifier.check_langsmith("sha256=", BODY), Err(Mismatch::Wrong));
    }
}
