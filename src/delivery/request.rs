//! The request of an attempt: the target with its secrets filled in, and the headers receivers rely on.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::model::endpoint::{Target, is_reserved};
use crate::model::id::MessageId;
use crate::model::time::Timestamp;

/// All but the unreserved characters of RFC 3986: a `+` becomes `%2B` and a space `%20`, since form decoders read `+`
/// as a space.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One HTTP request, ready to be sent. Its `Debug` shows nothing.
pub struct Request {
    /// Where to, secrets included.
    pub url: Url,
    /// With which headers. Names may repeat.
    pub headers: Vec<(String, SecretString)>,
    /// The bytes.
    pub body: Bytes,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request(..)")
    }
}

/// The request that brings a message to a target, made at `at`. An error is a reason without a secret.
pub fn build(target: &Target, message: MessageId, at: Timestamp, body: Bytes) -> Result<Request, &'static str> {
    let mut url = Url::parse(target.url.expose_secret()).map_err(|_| "the endpoint's URL is not a URL")?;
    for (name, value) in &target.query {
        set_query(&mut url, name, value.expose_secret());
    }
    // A fragment is never sent.
    url.set_fragment(None);
    Ok(Request { url, headers: headers(target, message, at), body })
}

fn headers(target: &Target, message: MessageId, at: Timestamp) -> Vec<(String, SecretString)> {
    let mut headers: Vec<_> = target.headers.iter().filter(|(name, _)| !is_reserved(name)).cloned().collect();
    let mut set = |name: &str, value: String| headers.push((name.to_owned(), value.into()));
    set("content-type", "application/json".to_owned());
    set("webhook-id", message.to_string());
    set("webhook-timestamp", at.0.div_euclid(1_000_000).to_string());
    if !target.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
        set("user-agent", concat!("Runhook/", env!("CARGO_PKG_VERSION")).to_owned());
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

    fn target(url: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Target {
        let secret = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect()
        };
        Target { url: url.into(), query: secret(query), headers: secret(headers) }
    }

    fn built(target: &Target) -> Request {
        build(target, MessageId(Uuid::from_u128(7)), Timestamp(1_700_000_000_999_999), Bytes::from_static(b"{}"))
            .unwrap()
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
        assert_eq!(pairs[2], ("webhook-id", own));
        assert_eq!(pairs[3], ("webhook-timestamp", "1700000000".to_owned()));
        assert_eq!(pairs[4].0, "user-agent");
        assert!(pairs[4].1.starts_with("Runhook/"));
        assert_eq!(pairs.len(), 5);
    }

    #[test]
    fn debug_shows_no_secret() {
        let request = built(&target("https://a.test/", &[("secret", "hush")], &[("x", "hush")]));
        assert_eq!(format!("{request:?}"), "Request(..)");
    }
}
