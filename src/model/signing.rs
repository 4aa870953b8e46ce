//! What attempts are signed with: a secret, and those before it until their time has come.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

/// How long a secret that was replaced goes on signing, unless told otherwise.
pub const GRACE: Duration = Duration::from_hours(24);

/// The longest it may be told to.
pub const LONGEST_GRACE: Duration = Duration::from_hours(7 * 24);

/// Secrets of one endpoint that sign at the same time. Whoever rotates faster loses the oldest.
const MOST: usize = 5;

/// How a message is signed under Standard Webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureKind {
    /// HMAC-SHA-256 with a shared secret.
    V1,
    /// Ed25519 with a private key.
    V1a,
}

impl SignatureKind {
    /// Its word, as it stands before a signature.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }
}

/// Which headers carry signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    /// `webhook-signature`, as in Standard Webhooks.
    #[default]
    Standard,
    /// `X-LangSmith-Signature`: of the body alone.
    Langsmith,
    /// Both.
    Both,
}

impl Signature {
    /// Whether `webhook-signature` is sent.
    #[must_use]
    pub fn is_standard(self) -> bool {
        self != Self::Langsmith
    }

    /// Whether `X-LangSmith-Signature` is sent.
    #[must_use]
    pub fn is_langsmith(self) -> bool {
        self != Self::Standard
    }
}

/// A secret, and until when it signs; the newest has no end.
#[derive(Debug, Clone)]
pub struct SigningSecret {
    /// The secret.
    pub secret: SecretString,
    /// Until when it signs.
    pub until: Option<Timestamp>,
}

/// What attempts are signed with. Nothing, when there is no secret.
#[derive(Debug, Clone, Default)]
pub struct Signing {
    /// The secrets, newest first.
    pub secrets: Vec<SigningSecret>,
    /// Which headers carry signatures.
    pub headers: Signature,
}

impl Signing {
    /// Signing with this secret alone.
    #[must_use]
    pub fn with(secret: SecretString, headers: Signature) -> Self {
        Self { secrets: vec![SigningSecret { secret, until: None }], headers }
    }

    /// The newest secret.
    #[must_use]
    pub fn newest(&self) -> Option<&SecretString> {
        self.secrets.first().map(|newest| &newest.secret)
    }

    /// The secrets that sign at this instant.
    pub fn active(&self, now: Timestamp) -> impl Iterator<Item = &SecretString> {
        let active = move |secret: &&SigningSecret| secret.until.is_none_or(|until| now < until);
        self.secrets.iter().filter(active).map(|secret| &secret.secret)
    }

    /// The same with a new secret. The ones before it go on signing for the grace period, or for what is left of theirs.
    /// The secret that is the newest already changes nothing.
    #[must_use]
    pub fn rotated(&self, secret: &SecretString, now: Timestamp, grace: Duration) -> Self {
        if self.newest().is_some_and(|newest| newest.expose_secret() == secret.expose_secret()) {
            return self.clone();
        }
        let end = now.after(grace);
        let before = self.secrets.iter().filter(|before| before.secret.expose_secret() != secret.expose_secret());
        let ending = before.map(|before| SigningSecret {
            secret: before.secret.clone(),
            until: Some(before.until.map_or(end, |until| until.min(end))),
        });
        let left = ending.filter(|before| before.until.is_some_and(|until| now < until)).take(MOST.saturating_sub(1));
        let secrets = std::iter::once(SigningSecret { secret: secret.clone(), until: None }).chain(left).collect();
        Self { secrets, headers: self.headers }
    }

    /// Whether two are the same, secrets included.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let exposed = |signing: &Self| -> Vec<(String, Option<Timestamp>)> {
            signing.secrets.iter().map(|one| (one.secret.expose_secret().to_owned(), one.until)).collect()
        };
        self.headers == other.headers && exposed(self) == exposed(other)
    }
}

/// What people may see of a secret: never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownSecret {
    /// What it signs, when it is one of Standard Webhooks.
    pub kind: Option<SignatureKind>,
    /// What receivers verify with, when that is no secret: `whpk_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// Until when it signs; the newest has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What people may see of how attempts are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownSigning {
    /// Which headers carry signatures.
    pub headers: Signature,
    /// The secrets, newest first.
    pub secrets: Vec<ShownSecret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(secrets: impl Iterator<Item = &'a SecretString>) -> Vec<&'a str> {
        secrets.map(ExposeSecret::expose_secret).collect()
    }

    #[test]
    fn a_secret_that_was_replaced_signs_beside_the_new_one_until_its_time() {
        let hour = Duration::from_hours(1);
        let (zero, soon, later) = (Timestamp(0), Timestamp(0).after(hour / 2), Timestamp(0).after(hour));
        let first = Signing::with("one".into(), Signature::Standard);
        let second = first.rotated(&"two".into(), zero, hour);
        assert_eq!(texts(second.active(soon)), ["two", "one"]);
        assert_eq!(texts(second.active(later)), ["two"]);
        let third = second.rotated(&"three".into(), soon, hour);
        assert_eq!(texts(third.active(soon)), ["three", "two", "one"]);
        assert_eq!(texts(third.active(later)), ["three", "two"], "a rotation lengthens no grace");
        assert!(third.is_same(&third.rotated(&"three".into(), later, hour)), "the same secret again is no rotation");
        assert_eq!(texts(third.rotated(&"four".into(), later, Duration::ZERO).active(later)), ["four"]);
        let back = third.rotated(&"one".into(), soon, hour);
        assert_eq!(texts(back.active(soon)), ["one", "three", "two"]);
    }

    #[test]
    fn only_so_many_secrets_sign_at_once() {
        let mut signing = Signing::with("0".into(), Signature::Standard);
        for number in 1..20 {
            signing = signing.rotated(&number.to_string().into(), Timestamp(0), GRACE);
        }
        assert_eq!(texts(signing.active(Timestamp(1))), ["19", "18", "17", "16", "15"]);
    }
}
