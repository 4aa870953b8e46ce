//! Amounts as people write them: `20MiB`, `24h`, `10.0.0.0/8`.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::model::amount;

/// A number of bytes: a plain number, or one with `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A length of time: a number with `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

/// A network in CIDR form, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(pub IpNet);

/// The text was not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network: write CIDR such as 10.0.0.0/8, or one address such as 127.0.0.1")]
pub struct NotANetwork(String);

/// Reads a network, or an address as a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, NotANetwork> {
    let address = || text.parse().map(|address: std::net::IpAddr| IpNet::from(address));
    text.parse().or_else(|_| address()).map_err(|_| NotANetwork(text.chars().take(64).collect()))
}

/// Reads the address to serve on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let shown = || text.chars().take(64).collect::<String>();
    let advice = "write an IP address and a port, such as 127.0.0.1:4710 or [::1]:4710";
    text.trim().parse().map_err(|_| format!("`{}` is not an address to serve on: {advice}", shown()))
}

/// Reads how receivers reach this server. The text is not repeated: it may hold a password.
pub(super) fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "this is not an http:// or https:// URL with a host, such as https://runhook.example.com".into())
}

/// A value that one of these reads, in a file.
pub(super) fn optional<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| read(&text).map_err(Error::custom)).transpose()
}

struct Text<T> {
    expecting: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::custom(format!("`{}` is not {}", text.escape_debug(), self.expecting)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

const BYTES: &str = "a size such as 65536, 64KiB or 20MiB";
const PERIOD: &str = "a time such as 500ms, 30s, 5m, 24h or 7d";
const NETWORK: &str = "a network such as 10.0.0.0/8, or one address";

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text { expecting: BYTES, read: amount::size }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text { expecting: PERIOD, read: amount::duration }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text { expecting: NETWORK, read: |text| network(text).ok() }).map(Self)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": BYTES,
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9][0-9_.]* ?(B|kB|KB|KiB|MB|MiB|GB|GiB)?$",
        })
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": PERIOD, "type": "string", "pattern": "^[0-9][0-9_.]* ?(ms|s|m|h|d)$"})
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": NETWORK, "type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_alone_is_a_network_of_one() {
        assert_eq!(network("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
        assert!(network("10.0.0.0/40").is_err());
    }
}
