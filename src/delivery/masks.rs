//! What an endpoint was sent and may send back: answers are kept, and some receivers echo what they got.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::model::endpoint::{MASK, Target};

/// Characters of an answer that are kept.
const KEPT: usize = 1000;

/// Characters of the shortest secret that is looked for: shorter ones are in every text.
const SHORTEST: usize = 4;

/// The secrets of a target, as they may be spelled. Its `Debug` shows nothing.
#[derive(Clone, Default)]
pub struct Masks(Vec<SecretString>);

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masks(..)")
    }
}

impl Masks {
    /// Those of a target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let mut secrets: Vec<String> = Vec::new();
        let pairs = target.query.iter().chain(&target.headers).chain(&target.secrets);
        for (_, value) in pairs {
            let value = value.expose_secret();
            secrets.push(value.to_owned());
            // `Bearer …` may come back as its second word.
            secrets.extend(value.split_once(' ').map(|(_, rest)| rest.to_owned()));
        }
        secrets.extend(target.signing.secrets.iter().map(|one| one.secret.expose_secret().to_owned()));
        if let Ok(url) = Url::parse(target.url.expose_secret()) {
            secrets.extend(url.query().map(str::to_owned));
            secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
            secrets.extend((url.path().len() > 1).then(|| url.path().to_owned()));
        }
        let mut spelled: Vec<String> = secrets.into_iter().flat_map(spellings).collect();
        spelled.retain(|secret| secret.chars().count() >= SHORTEST);
        // The longest first: a secret that is part of another leaves nothing of it.
        spelled.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        spelled.dedup();
        Self(spelled.into_iter().map(SecretString::from).collect())
    }

    /// A text without these secrets.
    #[must_use]
    pub fn over(&self, mut text: String) -> String {
        for secret in &self.0 {
            if text.contains(secret.expose_secret()) {
                text = text.replace(secret.expose_secret(), MASK);
            }
        }
        text
    }

    /// The beginning of an answer's body as text, without these secrets and without control characters.
    #[must_use]
    pub fn excerpt(&self, body: &[u8]) -> String {
        let text = self.over(String::from_utf8_lossy(body).into_owned());
        let shown = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c });
        shown.take(KEPT).collect()
    }
}

/// A secret as it is, as a URL spells it, and as JSON does.
fn spellings(secret: String) -> [String; 3] {
    let json = serde_json::Value::from(secret.as_str()).to_string();
    let url = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
    [json.trim_matches('"').to_owned(), url, secret]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signing::{Signature, Signing};

    fn masks() -> Masks {
        Masks::of(&Target {
            url: "https://h.test/services/T0/xyz?token=from-url".into(),
            query: vec![("secret".into(), "qu\"ery+1".into())],
            headers: vec![("Authorization".into(), "Bearer b34rer".into()), ("X".into(), "on".into())],
            secrets: vec![("routing_key".into(), "r0ut1ng".into())],
            signing: Signing::with("whsec_signing".into(), Signature::Standard),
        })
    }

    #[test]
    fn an_answer_that_echoes_what_it_got_shows_no_secret() {
        let echo =
            r#"POST /services/T0/xyz?token=from-url&secret=qu%22ery%2B1 "qu\"ery+1" b34rer r0ut1ng whsec_signing on"#;
        let shown = masks().excerpt(echo.as_bytes());
        for secret in ["xyz", "from-url", "ery", "b34rer", "r0ut1ng", "signing"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert!(shown.starts_with("POST ") && shown.ends_with(" on"), "{shown}");
    }

    #[test]
    fn an_excerpt_is_short_text_whatever_the_answer_is() {
        assert_eq!(masks().excerpt(b"ok\n\x1b[31m\xff"), "ok\n [31m\u{fffd}");
        assert_eq!(masks().excerpt(&vec![b'x'; 20_000]).len(), KEPT);
        assert_eq!(format!("{:?}", masks()), "Masks(..)");
    }
}
