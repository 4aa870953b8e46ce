//! An endpoint's target, sealed as JSON `{"url", "query": [[name, value]], "headers": [[name, value]], "secrets", "signing"}`, and
//! what of it may be shown.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::crypto::{CryptoError, Keyring, WebhookKey};
use crate::model::endpoint::{MASK, ShownTarget, Target};
use crate::model::id::EndpointId;
use crate::model::sealed::Sealed;
use crate::model::signing::{ShownSecret, ShownSigning, Signature, Signing, SigningSecret};
use crate::model::time::Timestamp;

#[derive(Serialize)]
struct Plain<'a> {
    url: &'a str,
    query: Vec<(&'a str, &'a str)>,
    headers: Vec<(&'a str, &'a str)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<(&'a str, &'a str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing: Option<PlainSigning<'a>>,
}

#[derive(Serialize)]
struct PlainSigning<'a> {
    headers: Signature,
    secrets: Vec<(&'a str, Option<Timestamp>)>,
}

#[derive(Deserialize)]
struct Read {
    url: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    #[serde(default)]
    secrets: Vec<(String, String)>,
    #[serde(default)]
    signing: Option<ReadSigning>,
}

#[derive(Deserialize)]
struct ReadSigning {
    headers: Signature,
    secrets: Vec<(String, Option<Timestamp>)>,
}

/// Seals a target for its endpoint.
pub fn seal_target(keyring: &Keyring, id: EndpointId, target: &Target) -> Result<Sealed, CryptoError> {
    let signing = (!target.signing.secrets.is_empty()).then(|| PlainSigning {
        headers: target.signing.headers,
        secrets: target.signing.secrets.iter().map(|one| (one.secret.expose_secret(), one.until)).collect(),
    });
    let (query, headers, secrets) = (exposed(&target.query), exposed(&target.headers), exposed(&target.secrets));
    let plain = Plain { url: target.url.expose_secret(), query, headers, secrets, signing };
    let json = serde_json::to_vec(&plain)
        .map(Zeroizing::new)
        .map_err(|_| CryptoError::Sealed("the target does not serialize"))?;
    keyring.seal(&id.target_place(), &json)
}

/// Opens the target of an endpoint.
pub fn open_target(keyring: &Keyring, id: EndpointId, sealed: &Sealed) -> Result<Target, CryptoError> {
    let json = keyring.open(&id.target_place(), sealed)?;
    // The JSON error is dropped: it may quote a secret.
    let Read { url, query, headers, secrets, signing } =
        serde_json::from_slice(&json).map_err(|_| CryptoError::Sealed("it holds something else than a target"))?;
    let secret = |pairs: Vec<(String, String)>| pairs.into_iter().map(|(name, value)| (name, value.into())).collect();
    let signing = signing.map(|ReadSigning { headers, secrets }| {
        let secret = |(text, until): (String, _)| SigningSecret { secret: text.into(), until };
        Signing { secrets: secrets.into_iter().map(secret).collect(), headers }
    });
    Ok(Target {
        url: url.into(),
        query: secret(query),
        headers: secret(headers),
        secrets: secret(secrets),
        signing: signing.unwrap_or_default(),
    })
}

/// What people may see of a target: scheme, host and port, and names. A path or a query in the URL may itself be the
/// secret, so all that is said of them is that they are there.
#[must_use]
pub fn shown(target: &Target) -> ShownTarget {
    let masked =
        |pairs: &[(String, SecretString)]| pairs.iter().map(|(name, _)| (name.clone(), MASK.to_owned())).collect();
    ShownTarget {
        url: shown_url(target.url.expose_secret()),
        query: masked(&target.query),
        headers: masked(&target.headers),
        secrets: masked(&target.secrets),
        signing: shown_signing(&target.signing),
    }
}

fn shown_signing(signing: &Signing) -> Option<ShownSigning> {
    let shown = |one: &SigningSecret| {
        let key = WebhookKey::parse(&one.secret).ok().filter(|_| signing.headers.is_standard());
        let public = key.as_ref().and_then(WebhookKey::public);
        ShownSecret { kind: key.as_ref().map(WebhookKey::kind), public, until: one.until }
    };
    let secrets: Vec<ShownSecret> = signing.secrets.iter().map(shown).collect();
    (!secrets.is_empty()).then_some(ShownSigning { headers: signing.headers, secrets })
}

fn shown_url(text: &str) -> String {
    let Some((url, host)) = Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned).map(|h| (url, h)))
    else {
        return MASK.to_owned();
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let rest = if url.path() == "/" && url.query().is_none() && url.fragment().is_none() { "" } else { "/…" };
    format!("{}://{host}{port}{rest}", url.scheme())
}

fn exposed(pairs: &[(String, SecretString)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::EndpointId;

    fn target(url: &str) -> Target {
        Target {
            url: url.into(),
            query: vec![("secret".into(), "s3cr3t+/&".into())],
            headers: vec![("X-Token".into(), "t0k3n".into()), ("X-Token".into(), "again".into())],
            secrets: vec![("routing_key".into(), "r0ut1ng".into())],
            signing: Signing::with("whsec_c2lnbmVkLXdpdGgtdGhpcy0yNC1ieXRlcw==".into(), Signature::Both),
        }
    }

    fn ring() -> Keyring {
        Keyring::parse(&Keyring::line(1, &[7; 32])).unwrap()
    }

    #[test]
    fn a_target_comes_back_whole_and_in_order() {
        let id = EndpointId(uuid::Uuid::from_u128(1));
        let sealed = seal_target(&ring(), id, &target("https://example.com/hook")).unwrap();
        let opened = open_target(&ring(), id, &sealed).unwrap();
        assert_eq!(opened.url.expose_secret(), "https://example.com/hook");
        assert_eq!(exposed(&opened.query), [("secret", "s3cr3t+/&")]);
        assert_eq!(exposed(&opened.headers), [("X-Token", "t0k3n"), ("X-Token", "again")]);
        assert_eq!(exposed(&opened.secrets), [("routing_key", "r0ut1ng")]);
        assert!(opened.signing.is_same(&target("https://example.com/hook").signing));
    }

    #[test]
    fn a_target_that_was_sealed_before_there_were_signatures_opens() {
        let id = EndpointId(uuid::Uuid::from_u128(1));
        let old = br#"{"url":"https://example.com/","query":[],"headers":[]}"#;
        let sealed = ring().seal(&id.target_place(), old).unwrap();
        assert!(open_target(&ring(), id, &sealed).unwrap().signing.secrets.is_empty());
    }

    #[test]
    fn a_target_of_another_endpoint_does_not_open() {
        let sealed =
            seal_target(&ring(), EndpointId(uuid::Uuid::from_u128(1)), &target("https://example.com")).unwrap();
        assert!(open_target(&ring(), EndpointId(uuid::Uuid::from_u128(2)), &sealed).is_err());
    }

    #[test]
    fn only_scheme_host_port_and_names_are_shown() {
        let shown_of = |url| shown(&target(url)).url;
        assert_eq!(shown_of("https://hooks.example.com/services/T0/B1/xyz"), "https://hooks.example.com/…");
        assert_eq!(shown_of("http://user:pass@example.com:8080/?key=abc"), "http://example.com:8080/…");
        assert_eq!(shown_of("https://example.com/#frag"), "https://example.com/…");
        assert_eq!(shown_of("https://example.com"), "https://example.com");
        assert_eq!(shown_of("http://[::1]:9/x"), "http://[::1]:9/…");
        assert_eq!(shown_of("not a url: s3cr3t"), MASK);
        let shown = serde_json::to_string(&shown(&target("https://example.com/abc"))).unwrap();
        assert!(
            !["s3cr3t", "t0k3n", "r0ut1ng", "again", "abc", "c2lnbm"].iter().any(|secret| shown.contains(secret)),
            "{shown}"
        );
        assert!(shown.contains("X-Token"));
    }
}
