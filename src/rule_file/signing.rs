//! How attempts are signed: `signing_secret`, and `signature` for the header that carries it.
//!
//! A file that names a secret decides about it: another secret than the stored one begins a rotation. A file that names
//! none leaves alone what was generated on the server.

use secrecy::{ExposeSecret, SecretString};

use crate::crypto::WebhookKey;
use crate::model::signing::{GRACE, Signature, SignatureKind, Signing};
use crate::model::time::Timestamp;
use crate::rule_file::node::Node;
use crate::rule_file::reading::{Reading, Section};
use crate::rule_file::secret::looks_secret;
use crate::rule_file::target::{lint, lint_bare};

const HINT: &str = "make one with `openssl rand -base64 32`, or leave the key out and let \
                    `runhook endpoints rotate-secret` make one on the server";

/// What a file says about signatures. Its `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
pub struct SigningDraft {
    /// The secret, if the file has one.
    pub secret: Option<SecretString>,
    /// Which headers carry signatures, if the file says.
    pub headers: Option<Signature>,
}

impl SigningDraft {
    /// What the endpoint is signed with at this instant, when it was signed like this before.
    pub(super) fn over(&self, before: Option<&Signing>, now: Timestamp) -> Signing {
        let before = before.cloned().unwrap_or_default();
        match &self.secret {
            None => Signing { headers: self.headers.unwrap_or(before.headers), ..before },
            Some(secret) => Signing { headers: self.headers.unwrap_or_default(), ..before.rotated(secret, now, GRACE) },
        }
    }
}

/// Reads both keys.
pub(super) fn lower(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<SigningDraft> {
    let headers = match (section.get("signature"), section.key_span("signature")) {
        (Some(node), _) => Some(headers(reading, node)?),
        (None, _) => None,
    };
    let Some(node) = section.get("signing_secret") else {
        return section.key_span("signing_secret").is_none().then_some(SigningDraft { secret: None, headers });
    };
    let secret = secret(reading, node, headers.unwrap_or_default())?;
    Some(SigningDraft { secret: Some(secret), headers })
}

fn headers(reading: &mut Reading<'_>, node: &Node) -> Option<Signature> {
    reading.choice(
        node,
        "signature",
        &[("standard", Signature::Standard), ("langsmith", Signature::Langsmith), ("both", Signature::Both)],
    )
}

fn secret(reading: &mut Reading<'_>, node: &Node, headers: Signature) -> Option<SecretString> {
    let resolved = reading.resolved(node, "`signing_secret`")?;
    if !resolved.has_variables && looks_secret("signing_secret", &resolved.literal) {
        lint(reading, node, "`signing_secret` is written out", "\"${MY_SIGNING_SECRET}\"");
    } else {
        lint_bare(reading, node, &resolved);
    }
    let secret = SecretString::from(resolved.text);
    let mut refused = |why: &str| {
        reading.error("bad-secret", &node.span, why, HINT);
        None
    };
    if secret.expose_secret().trim() != secret.expose_secret() || secret.expose_secret().is_empty() {
        return refused("the signing secret is empty, or begins or ends with a blank");
    }
    match WebhookKey::parse(&secret) {
        Err(error) if headers.is_standard() => refused(&error.to_string()),
        Ok(key) if headers.is_langsmith() && key.kind() == SignatureKind::V1a => {
            refused("X-LangSmith-Signature is made with a shared secret, not with a private key")
        }
        _ => Some(secret),
    }
}
