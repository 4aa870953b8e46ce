//! The last step before sending: links put into their places.

use std::collections::HashMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use url::Url;

use crate::model::message::Body;
use crate::model::run::BlobKey;

/// The body with its links. A place whose link is not given stays empty: the caller makes one for each key of
/// `body.links`, and does not send when it cannot.
#[must_use]
pub fn render<S: BuildHasher>(body: &Body, links: &HashMap<BlobKey, Url, S>) -> Bytes {
    let mut out = Vec::with_capacity(body.json.len().saturating_add(body.links.len().saturating_mul(512)));
    let json = body.json.as_bytes();
    let mut from = 0;
    for link in &body.links {
        out.extend_from_slice(json.get(from..link.at).unwrap_or_default());
        from = link.at;
        if let Some(url) = links.get(&link.key) {
            out.extend_from_slice(escaped(url).as_bytes());
        }
    }
    out.extend_from_slice(json.get(from..).unwrap_or_default());
    out.into()
}

/// A URL as it stands between the quotes of a JSON string.
fn escaped(url: &Url) -> String {
    let quoted = serde_json::Value::from(url.as_str()).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::Link;

    #[test]
    fn links_are_put_between_their_quotes_and_escaped() {
        let body = Body {
            json: r#"{"a":"","b":["",""]}"#.to_owned(),
            links: vec![
                Link { at: 6, key: BlobKey("one".into()) },
                Link { at: 14, key: BlobKey("two".into()) },
                Link { at: 17, key: BlobKey("one".into()) },
            ],
        };
        let url = |text: &str| Url::parse(text).unwrap();
        let links = HashMap::from([
            (BlobKey("one".into()), url("https://example.com/1?a=b&c=\\")),
            (BlobKey("two".into()), url("https://example.com/2")),
        ]);
        let text = String::from_utf8(render(&body, &links).to_vec()).unwrap();
        assert_eq!(
            text,
            r#"{"a":"https://example.com/1?a=b&c=\\","b":["https://example.com/2","https://example.com/1?a=b&c=\\"]}"#
        );
    }
}
