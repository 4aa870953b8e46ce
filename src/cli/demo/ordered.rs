//! JSON whose members stay in the order they were sent in, cut to what a terminal can hold.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

/// Characters of the longest text.
const LONGEST: usize = 60;

/// Members and items deeper than this are counted or named instead of shown.
const DEEPEST: usize = 4;

/// A JSON document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Items(Vec<Json>),
    Members(Vec<(String, Json)>),
}

impl Json {
    /// A member by name.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Members(members) = self else { return None };
        members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// How many items it has.
    pub(super) fn len(&self) -> usize {
        if let Self::Items(items) = self { items.len() } else { 0 }
    }

    /// The same with long texts cut, empty values left out and deep ones folded.
    pub(super) fn shortened(self) -> Self {
        self.cut(0)
    }

    fn cut(self, depth: usize) -> Self {
        let deeper = depth.saturating_add(1);
        match self {
            Self::Text(text) => Self::Text(cut_text(&text)),
            Self::Items(items) if depth >= DEEPEST => Self::Text(format!("… {} items", items.len())),
            Self::Items(items) => Self::Items(items.into_iter().map(|item| item.cut(deeper)).collect()),
            Self::Members(members) if depth >= DEEPEST => Self::Text(folded(&members)),
            Self::Members(members) => {
                let kept = members.into_iter().filter(|(_, value)| !value.is_hollow());
                Self::Members(kept.map(|(name, value)| (name, value.cut(deeper))).collect())
            }
            other => other,
        }
    }

    fn is_hollow(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Items(items) => items.is_empty(),
            Self::Members(members) => members.is_empty(),
            _ => false,
        }
    }
}

fn cut_text(text: &str) -> String {
    let mut cut: String = text.chars().take(LONGEST).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

fn folded(members: &[(String, Json)]) -> String {
    let names: Vec<&str> = members.iter().take(3).map(|(name, _)| name.as_str()).collect();
    format!("… {}{}", names.join(", "), if members.len() > names.len() { ", …" } else { "" })
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Items(items) => items.serialize(serializer),
            Self::Members(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Json::Members(members))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_empty_ones_go() {
        let json: Json = serde_json::from_str(r#"{"z":1.5,"a":[true],"n":null,"e":{},"b":"x"}"#).unwrap();
        assert_eq!(serde_json::to_string(&json.shortened()).unwrap(), r#"{"z":1.5,"a":[true],"b":"x"}"#);
    }

    #[test]
    fn what_is_deep_is_named_and_what_is_long_is_cut() {
        let long = "é".repeat(100);
        let text = format!(r#"{{"a":[{{"b":{{"c":{{"d":1,"e":2,"f":3,"g":4}}}}}}],"t":"{long}"}}"#);
        let json: Json = serde_json::from_str(&text).unwrap();
        let shown = serde_json::to_string(&json.shortened()).unwrap();
        assert_eq!(shown, format!(r#"{{"a":[{{"b":{{"c":"… d, e, f, …"}}}}],"t":"{}…"}}"#, "é".repeat(60)));
    }
}
