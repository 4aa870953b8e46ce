//! JSON that comes back byte for byte: text that was checked once and is never parsed into a tree on the way through.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One JSON document, in its sender's own bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// Takes text that must be one JSON document.
    pub fn parse(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// Writes a value as JSON.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// Keeps a part of a document, as it is.
    #[must_use]
    pub fn kept(part: &RawValue) -> Self {
        Self(part.to_owned())
    }

    /// The bytes as they were sent.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads it as some type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.text().trim() == "null"
    }

    /// Whether it is `null`, `{}`, `[]` or `""`: a value that says nothing.
    #[must_use]
    pub fn is_hollow(&self) -> bool {
        let mut kept = self.text().bytes().filter(|byte| !byte.is_ascii_whitespace());
        match kept.next() {
            Some(b'n') => true,
            Some(b'{') => kept.next() == Some(b'}'),
            Some(b'[') => kept.next() == Some(b']'),
            Some(b'"') => self.text().trim() == "\"\"",
            _ => false,
        }
    }
}

/// The value of a key of an object, the last if the key is there more than once. Nothing else is kept of the object.
#[must_use]
pub fn value_of<'a>(json: &'a str, key: &str) -> Option<&'a RawValue> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Find(key).deserialize(&mut reader).ok()?
}

/// Looks for the value of a key.
struct Find<'k>(&'k str);

/// Reads a key, and says whether it is this one.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = entries.next_key_seed(Is(self.0))? {
            if wanted {
                found = Some(entries.next_value()?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for RawJson {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_key_however_that_is_spelled() {
        let found = |json| value_of(json, "a").map(RawValue::get);
        assert_eq!(found(r#"{"b":{"a":0},"a": {"c": 1.10} }"#), Some(r#"{"c": 1.10}"#));
        assert_eq!(found(r#"{"a":1,"\u0061":2}"#), Some("2"));
        assert_eq!(found(r#"{"b":1}"#), None);
        assert_eq!(found(r#"["a"]"#), None);
        assert_eq!(found(r#"{"a":1"#), None);
    }
}
