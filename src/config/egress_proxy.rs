//! The proxy through which notifications leave, where an operator wants one.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use url::Url;

/// A forward proxy. `Debug` and `Display` show host and port; the whole may hold a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct EgressProxy(Url);

/// The text was not a proxy's URL. It is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not the http:// or https:// URL of a proxy with a host and no path, such as http://proxy.internal:4750"
)]
pub struct InvalidProxy;

impl EgressProxy {
    /// The whole URL, for whoever connects.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for EgressProxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidProxy)?;
        let is_whole = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && is_whole;
        if fits { Ok(Self(url)) } else { Err(InvalidProxy) }
    }
}

impl TryFrom<String> for EgressProxy {
    type Error = InvalidProxy;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.port_or_known_default().unwrap_or_default();
        write!(f, "{}://{}:{port}", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EgressProxy({self})")
    }
}

impl JsonSchema for EgressProxy {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EgressProxy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^https?://" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxy: EgressProxy = "http://me:hunter2@proxy.internal:4750".parse().unwrap();
        assert_eq!(format!("{proxy:?} {proxy}"), "EgressProxy(http://proxy.internal:4750) http://proxy.internal:4750");
        assert!(proxy.secret().contains("hunter2"));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_being_repeated() {
        for text in ["proxy:4750", "ftp://proxy", "http://", "http://proxy/path", "http://proxy/?x=hunter2"] {
            let error = text.parse::<EgressProxy>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{text}");
        }
    }
}
