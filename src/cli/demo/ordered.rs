//! JSON whose members stay in the order they were sent in, cut to what a terminal can hold.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Characters of the longest text.
const LONGEST: usize = 60;

/// Members and items deeper than this are counted or named instead of shown.
const DEEPEST: usize = 4;

/// Members down to here are left out when they are empty: those of the body and of its runs. What a run holds is shown.
const THINNED: usize = 2;

/// Columns of the longest line, where values allow it.
const WIDTH: usize = 98;

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
                let kept = members.into_iter().filter(|(_, value)| depth > THINNED || !value.is_hollow());
                Self::Members(kept.map(|(name, value)| (name, value.cut(deeper))).collect())
            }
            other => other,
        }
    }

    /// As lines, each with as many members as fit it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.lay_out("", "", 0, &mut lines);
        lines
    }

    fn lay_out(&self, before: &str, after: &str, indent: usize, lines: &mut Vec<String>) {
        let whole = format!("{:indent$}{before}{self}{after}", "");
        let inner = indent.saturating_add(2);
        match self {
            _ if columns(&whole) <= WIDTH => lines.push(whole),
            Self::Items(items) => {
                lines.push(format!("{:indent$}{before}[", ""));
                for (item, comma) in separated(items) {
                    item.lay_out("", comma, inner, lines);
                }
                lines.push(format!("{:indent$}]{after}", ""));
            }
            Self::Members(members) => {
                lines.push(format!("{:indent$}{before}{{", ""));
                lay_out_members(members, inner, lines);
                lines.push(format!("{:indent$}}}{after}", ""));
            }
            _ => lines.push(whole),
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

/// Members one after the other, in a new line where the one before is full.
fn lay_out_members(members: &[(String, Json)], indent: usize, lines: &mut Vec<String>) {
    let mut line = String::new();
    for ((name, value), comma) in separated(members) {
        let before = format!("{}: ", Json::Text(name.clone()));
        let member = format!("{before}{value}{comma}");
        let fits = |used: usize| indent.saturating_add(used).saturating_add(columns(&member)) <= WIDTH;
        if !line.is_empty() && fits(columns(&line).saturating_add(1)) {
            line = format!("{line} {member}");
            continue;
        }
        if !line.is_empty() {
            lines.push(format!("{:indent$}{line}", ""));
        }
        line = if fits(0) { member } else { String::new() };
        if line.is_empty() {
            value.lay_out(&before, comma, indent, lines);
        }
    }
    if !line.is_empty() {
        lines.push(format!("{:indent$}{line}", ""));
    }
}

/// Each with the comma that follows it.
fn separated<T>(list: &[T]) -> impl Iterator<Item = (&T, &'static str)> {
    let end = list.len().saturating_sub(1);
    list.iter().enumerate().map(move |(index, each)| (each, if index == end { "" } else { "," }))
}

fn columns(text: &str) -> usize {
    text.chars().count()
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

/// On one line.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
            Self::Items(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Members(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    let name = serde_json::Value::from(name.as_str());
                    write!(f, "{}{name}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
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
        assert_eq!(json.shortened().to_string(), r#"{"z": 1.5, "a": [true], "b": "x"}"#);
    }

    #[test]
    fn what_a_run_holds_is_shown_even_if_it_is_null() {
        let json: Json = serde_json::from_str(r#"{"runs":[{"inputs":null,"outputs":{"output":null}}]}"#).unwrap();
        assert_eq!(json.shortened().to_string(), r#"{"runs": [{"outputs": {"output": null}}]}"#);
    }

    #[test]
    fn what_is_deep_is_named_and_what_is_long_is_cut() {
        let long = "é".repeat(100);
        let text = format!(r#"{{"a":[{{"b":{{"c":{{"d":1,"e":2,"f":3,"g":4}}}}}}],"t":"{long}"}}"#);
        let json: Json = serde_json::from_str(&text).unwrap();
        let shown = json.shortened().to_string();
        assert_eq!(shown, format!(r#"{{"a": [{{"b": {{"c": "… d, e, f, …"}}}}], "t": "{}…"}}"#, "é".repeat(60)));
    }

    #[test]
    fn lines_are_filled_and_are_the_same_document() {
        let members: Vec<String> = (0..30).map(|n| format!(r#""member {n}":"{}","#, "x".repeat(n * 2))).collect();
        let members = members.concat();
        let text = format!(r#"{{"list":[{{{members}"end":[]}},{{}}],"last":0}}"#);
        let json: Json = serde_json::from_str(&text).unwrap();
        let lines = json.lines();
        assert!(lines.iter().all(|line| columns(line) <= WIDTH), "{lines:#?}");
        assert!(lines.len() < 31, "{lines:#?}");
        assert_eq!(serde_json::from_str::<Json>(&lines.concat()).unwrap(), json);
    }
}
