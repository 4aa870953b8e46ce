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

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim()))
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text.trim())?;
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn period(text: &str) -> Option<Duration> {
    let (number, unit) = split(text.trim())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
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
        deserializer.deserialize_any(Text { expecting: BYTES, read: bytes }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text { expecting: PERIOD, read: period }).map(Self)
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
            "pattern": "^[0-9]+ ?(B|kB|KB|KiB|MB|MiB|GB|GiB)?$",
        })
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": PERIOD, "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h|d)$"})
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
    fn sizes_and_times_are_read_as_people_write_them() {
        assert_eq!(bytes("65536"), Some(65_536));
        assert_eq!(bytes("20MiB"), Some(20 * 1024 * 1024));
        assert_eq!(bytes("4 kB"), Some(4000));
        assert_eq!(bytes("lots"), None);
        assert_eq!(bytes("99999999999999GiB"), None);
        assert_eq!(period("24h"), Some(Duration::from_hours(24)));
        assert_eq!(period("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(period("5"), None);
    }

    #[test]
    fn an_address_alone_is_a_network_of_one() {
        assert_eq!(network("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
        assert!(network("10.0.0.0/40").is_err());
    }
}
