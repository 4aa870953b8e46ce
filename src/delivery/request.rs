//! The request of an attempt: the target with its secrets filled in, and the headers receivers rely on.
//!
//! What all requests to a target have in common is made once ([`Ready`]); an attempt adds its time and its signatures.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::crypto::{InvalidSecret, WebhookKey, langsmith_signature};
use crate::delivery::masks::Masks;
use crate::model::delivery::Sent;
use crate::model::endpoint::{MASK, Target, is_reserved};
use crate::model::id::MessageId;
use crate::model::signing::SigningSecret;
use crate::model::time::Timestamp;

/// All but the unreserved characters of RFC 3986: a `+` becomes `%2B` and a space `%20`, since form decoders read `+`
/// as a space.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One HTTP request, ready to be sent. Its `Debug` shows nothing.
pub struct Request {
    /// Where to, secrets included.
    pub url: Url,
    /// What may be told of that.
    pub shown: String,
    /// With which headers. Names may repeat.
    pub headers: Vec<(String, SecretString)>,
    /// The bytes.
    pub body: Bytes,
    /// What must not be read in an answer.
    pub masks: Arc<Masks>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request(..)")
    }
}

impl Request {
    /// What may be told of it.
    #[must_use]
    pub fn told(&self) -> Sent {
        Sent {
            method: "POST".to_owned(),
            url: self.shown.clone(),
            headers: self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect(),
            bytes: u64::try_from(self.body.len()).unwrap_or(u64::MAX),
        }
    }
}

/// A target's URL without its path and its own query, either of which may be a secret whole, and with the names of its
/// secret parameters.
fn masked(target: &Target, url: &Url) -> String {
    let rest = if url.path().len() > 1 || url.query().is_some() { "/…" } else { "" };
    let pairs: Vec<String> =
        target.query.iter().map(|(name, _)| format!("{}={MASK}", utf8_percent_encode(name, ESCAPED))).collect();
    let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
    format!("{}{rest}{query}", url.origin().ascii_serialization())
}

/// A target that is ready for requests. Its `Debug` shows nothing.
pub struct Ready {
    url: Url,
    shown: String,
    headers: Vec<(String, SecretString)>,
    /// What signs for `webhook-signature`, newest first, and until when.
    keys: Vec<(WebhookKey, Option<Timestamp>)>,
    /// What signs for `X-LangSmith-Signature`: that header has no room for a second signature.
    langsmith: Option<SecretString>,
    secrets: Vec<(String, SecretString)>,
    masks: Arc<Masks>,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready(..)")
    }
}

impl Ready {
    /// Makes a target ready. An error is a reason without a secret.
    pub fn of(target: Target) -> Result<Self, &'static str> {
        let mut url = Url::parse(target.url.expose_secret()).map_err(|_| "the endpoint's URL is not a URL")?;
        let shown = masked(&target, &url);
        for (name, value) in &target.query {
            set_query(&mut url, name, value.expose_secret());
        }
        // A fragment is never sent.
        url.set_fragment(None);
        let signing = &target.signing;
        let signs = if signing.headers.is_standard() { signing.secrets.as_slice() } else { &[] };
        let key = |one: &SigningSecret| Ok((WebhookKey::parse(&one.secret)?, one.until));
        let keys: Result<Vec<_>, InvalidSecret> = signs.iter().map(key).collect();
        let keys = keys.map_err(|_| "the endpoint's signing secret cannot sign")?;
        let langsmith = signing.newest().filter(|_| signing.headers.is_langsmith()).cloned();
        let (headers, masks) = (headers(&target), Arc::new(Masks::of(&target)));
        Ok(Self { url, shown, headers, keys, langsmith, secrets: target.secrets, masks })
    }

    /// What goes into bodies and is secret, by name.
    #[must_use]
    pub fn secrets(&self) -> &[(String, SecretString)] {
        &self.secrets
    }

    /// The request that brings a message there, made at `at`.
    #[must_use]
    pub fn request(&self, message: MessageId, at: Timestamp, body: Bytes) -> Request {
        let mut headers = Vec::with_capacity(self.headers.len().saturating_add(4));
        headers.extend_from_slice(&self.headers);
        let mut set = |name: &str, value: String| headers.push((name.to_owned(), value.into()));
        set("webhook-id", message.to_string());
        set("webhook-timestamp", seconds(at).to_string());
        self.sign(message, at, &body, set);
        let masks = Arc::clone(&self.masks);
        Request { url: self.url.clone(), shown: self.shown.clone(), headers, body, masks }
    }

    /// Signs the bytes of the body with every secret that is active.
    fn sign(&self, message: MessageId, at: Timestamp, body: &[u8], mut set: impl FnMut(&str, String)) {
        let active = self.keys.iter().filter(|(_, until)| until.is_none_or(|until| at < until));
        let signatures: Vec<String> = active.map(|(key, _)| key.sign(message, seconds(at), body)).collect();
        if !signatures.is_empty() {
            set("webhook-signature", signatures.join(" "));
        }
        if let Some(secret) = &self.langsmith {
            set("x-langsmith-signature", langsmith_signature(secret, body));
        }
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1_000_000)
}

/// The headers of every request, but those that say which.
fn headers(target: &Target) -> Vec<(String, SecretString)> {
    let mut headers: Vec<_> = target.headers.iter().filter(|(name, _)| !is_reserved(name)).cloned().collect();
    let mut set = |name: &str, value: &str| headers.push((name.to_owned(), value.into()));
    set("content-type", "application/json");
    if !target.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
        set("user-agent", concat!("Runhook/", env!("CARGO_PKG_VERSION")));
    }
    headers
}

/// Sets a query parameter: in the place of the first of that name, without the others; or at the end. What else is in
/// the query stays byte for byte.
fn set_query(url: &mut Url, name: &str, value: &str) {
    let written = format!("{}={}", utf8_percent_encode(name, ESCAPED), utf8_percent_encode(value, ESCAPED));
    let mut written = Some(written);
    let mut pairs: Vec<String> = Vec::new();
    for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        if name_of(pair) == name.as_bytes() {
            pairs.extend(written.take());
        } else {
            pairs.push(pair.to_owned());
        }
    }
    pairs.extend(written);
    url.set_query(Some(&pairs.join("&")));
}

/// The name of a pair as a form decoder reads it.
fn name_of(pair: &str) -> Cow<'_, [u8]> {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    if name.contains('+') {
        return percent_decode(name.replace('+', " ").as_bytes()).collect::<Vec<u8>>().into();
    }
    percent_decode(name.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::signing::{Signature, Signing};

    fn target(url: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Target {
        let secret = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect()
        };
        Target {
            url: url.into(),
            query: secret(query),
            headers: secret(headers),
            secrets: Vec::new(),
            signing: Signing::default(),
        }
    }

    fn built(target: &Target) -> Request {
        made(target, Timestamp(1_700_000_000_999_999))
    }

    fn made(target: &Target, at: Timestamp) -> Request {
        let ready = Ready::of(target.clone()).unwrap();
        ready.request(MessageId(Uuid::from_u128(7)), at, Bytes::from_static(b"{}"))
    }

    fn url(url: &str, query: &[(&str, &str)]) -> String {
        built(&target(url, query, &[])).url.to_string()
    }

    #[test]
    fn an_existing_parameter_is_replaced_where_it_stands() {
        assert_eq!(
            url("https://a.test/h?a=1&secret=old&b=2", &[("secret", "new")]),
            "https://a.test/h?a=1&secret=new&b=2"
        );
        assert_eq!(url("https://a.test/h?secret=x&b=2&secret=y", &[("secret", "z")]), "https://a.test/h?secret=z&b=2");
        assert_eq!(url("https://a.test/h?sec%72et=x&secret", &[("secret", "z")]), "https://a.test/h?secret=z");
        assert_eq!(url("https://a.test/h?a+b=x", &[("a b", "z")]), "https://a.test/h?a%20b=z");
    }

    #[test]
    fn new_parameters_follow_in_order_and_the_rest_stays_as_written() {
        assert_eq!(
            url("https://a.test/a%2Fb?x=%2B%20&y=+", &[("secret", "s"), ("t", "u")]),
            "https://a.test/a%2Fb?x=%2B%20&y=+&secret=s&t=u"
        );
        assert_eq!(url("https://a.test#part", &[("s", "1")]), "https://a.test/?s=1");
    }

    #[test]
    fn no_character_of_a_secret_is_sent_bare() {
        assert_eq!(
            url("https://a.test/", &[("secret", "a+b c&d=e#f%g/h?é~-._")]),
            "https://a.test/?secret=a%2Bb%20c%26d%3De%23f%25g%2Fh%3F%C3%A9~-._"
        );
    }

    #[test]
    fn headers_that_frame_the_request_cannot_be_set() {
        let sent = built(&target(
            "https://a.test/",
            &[],
            &[("X-Team", "blue"), ("Content-Type", "text/plain"), ("HOST", "b.test"), ("Webhook-Id", "mine")],
        ));
        let pairs: Vec<_> =
            sent.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret().to_owned())).collect();
        let own = MessageId(Uuid::from_u128(7)).to_string();
        assert_eq!(pairs[0], ("X-Team", "blue".to_owned()));
        assert_eq!(pairs[1], ("content-type", "application/json".to_owned()));
        assert_eq!(pairs[2].0, "user-agent");
        assert!(pairs[2].1.starts_with("Runhook/"));
        assert_eq!(pairs[3], ("webhook-id", own));
        assert_eq!(pairs[4], ("webhook-timestamp", "1700000000".to_owned()));
        assert_eq!(pairs.len(), 5);
    }

    fn signatures(signing: Signing, at: Timestamp) -> Vec<(String, String)> {
        let target = Target { signing, ..target("https://a.test/", &[], &[]) };
        let request = made(&target, at);
        let pairs = request.headers.iter().filter(|(name, _)| name.ends_with("signature"));
        pairs.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
    }

    #[test]
    fn every_active_secret_signs_what_is_sent_and_langsmiths_header_has_the_newest() {
        let (old, new) = ("a".repeat(32), "b".repeat(32));
        let at = Timestamp(1_700_000_000_999_999);
        let day = std::time::Duration::from_hours(24);
        let both = Signing::with(old.as_str().into(), Signature::Both).rotated(&new.as_str().into(), at, day);
        let sign = |secret: &str| {
            let key = WebhookKey::parse(&secret.into()).unwrap();
            key.sign(MessageId(Uuid::from_u128(7)), 1_700_000_000, b"{}")
        };
        let found = signatures(both.clone(), at);
        let langsmith = langsmith_signature(&new.as_str().into(), b"{}");
        let standard = format!("{} {}", sign(&new), sign(&old));
        assert_eq!(
            found,
            [("webhook-signature".to_owned(), standard), ("x-langsmith-signature".to_owned(), langsmith.clone()),]
        );
        let later = signatures(Signing { headers: Signature::Standard, ..both.clone() }, at.after(day));
        assert_eq!(later.len(), 1);
        assert_eq!(later[0].1.split(' ').count(), 1, "the old secret signs no more");
        let only = signatures(Signing { headers: Signature::Langsmith, ..both }, at);
        assert_eq!(only, [("x-langsmith-signature".to_owned(), langsmith)]);
        assert_eq!(signatures(Signing::default(), at), []);
    }

    #[test]
    fn what_is_told_of_a_request_has_names_and_no_values() {
        let request = built(&target("https://a.test:8443/T0/hush?b=hush", &[("secret", "hush")], &[("X-A", "hush")]));
        let told = request.told();
        assert_eq!(told.url, "https://a.test:8443/…?secret=********");
        assert_eq!(told.headers, ["x-a", "content-type", "user-agent", "webhook-id", "webhook-timestamp"]);
        assert_eq!((told.method.as_str(), told.bytes), ("POST", 2));
        assert_eq!(built(&target("https://a.test", &[], &[])).told().url, "https://a.test");
    }

    #[test]
    fn debug_shows_no_secret() {
        let request = built(&target("https://a.test/", &[("secret", "hush")], &[("x", "hush")]));
        assert_eq!(format!("{request:?}"), "Request(..)");
        assert_eq!(format!("{:?}", Ready::of(target("https://a.test/hush", &[], &[])).unwrap()), "Ready(..)");
    }
}
