//! JSON that comes back byte for byte: text that was checked once and is never parsed into a tree on the way through.

use serde::de::DeserializeOwned;
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

    /// The bytes as they were sent.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads it as some type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
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

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for RawJson {}
