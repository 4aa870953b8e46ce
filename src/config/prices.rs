//! The price map as it is written: a list of models with what their tokens cost.
//!
//! The list is read leniently and judged afterwards, so that everything that is wrong with it is told at once, each with
//! its place. Money is read as the text that stands in the file, never by way of a float.

use std::borrow::Cow;
use std::fmt;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::model::price::{Pattern, Price, Prices, Rates};
use crate::model::time::Timestamp;
use crate::model::usage::Amounts;

/// Prices, and what is wrong with those that cannot be used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PricesDocument {
    prices: Vec<Price>,
    /// Each begins with its line and column.
    problems: Vec<String>,
}

const KEYS: [&str; 8] =
    ["model", "provider", "from", "per", "prompt", "completion", "prompt_details", "completion_details"];

/// Decimal places of a price for one token. Sums of costs are exact to as many.
const PLACES: u32 = 18;

/// What a price for a token stays below.
const DEAREST: i64 = 1_000_000;

/// A text, or nothing, and where it stands.
type Text = Spanned<Option<String>>;

/// An entry as it was read.
#[derive(Default)]
struct Entry {
    texts: Vec<(String, Text)>,
    details: Vec<(String, Vec<(String, Text)>)>,
    unknown: Vec<(String, Location)>,
}

/// What prices are for.
#[derive(Clone, Copy)]
enum Per {
    Million,
    Token,
}

/// One entry under judgement.
struct Judging<'a> {
    nth: usize,
    at: Location,
    entry: &'a Entry,
    problems: &'a mut Vec<String>,
}

impl PricesDocument {
    /// Everything that is wrong.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl From<PricesDocument> for Prices {
    fn from(document: PricesDocument) -> Self {
        Self::new(document.prices)
    }
}

impl<'de> Deserialize<'de> for PricesDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Vec<Spanned<Entry>> = Option::deserialize(deserializer)?.unwrap_or_default();
        let mut document = Self::default();
        for (nth, spanned) in entries.iter().enumerate() {
            let (at, entry) = (spanned.referenced, &spanned.value);
            let price = Judging { nth, at, entry, problems: &mut document.problems }.price();
            document.prices.extend(price);
        }
        Ok(document)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a price: a map with {}", KEYS.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut entry = Entry::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "prompt_details" | "completion_details" => {
                    let Details(details) = map.next_value()?;
                    entry.details.push((key, details));
                }
                known if KEYS.contains(&known) => entry.texts.push((key, map.next_value()?)),
                _ => entry.unknown.push((key, map.next_value::<Spanned<IgnoredAny>>()?.referenced)),
            }
        }
        Ok(entry)
    }
}

/// Prices by type of token, in the order of the file.
struct Details(Vec<(String, Text)>);

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Details;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of types of tokens, such as cache_read, to prices")
            }

            fn visit_unit<E>(self) -> Result<Details, E> {
                Ok(Details(Vec::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Details, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Details(pairs))
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

impl<'a> Judging<'a> {
    /// The price, unless something is wrong with it; all that is.
    fn price(mut self) -> Option<Price> {
        for (key, at) in &self.entry.unknown {
            let near = KEYS.iter().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
            let hint = match near {
                Some((distance, known)) if distance <= 3 => format!("did you mean `{known}`?"),
                _ => format!("known here: {}", KEYS.join(", ")),
            };
            self.wrong(*at, &shown(key), &format!("is an unknown key; {hint}"));
        }
        let per = self.per();
        let model = self.pattern("model");
        let provider = self.pattern("provider");
        let from = self.from();
        let prompt = self.rates("prompt", "prompt_details", per);
        let completion = self.rates("completion", "completion_details", per);
        if model.is_none() && self.text("model").is_none() {
            self.missing("model", "a regular expression on the model's name, such as \"^acme-large$\"");
        }
        let (model, prompt, completion) = (model?, prompt?, completion?);
        Some(Price { model, provider, from, prompt, completion })
    }

    fn wrong(&mut self, at: Location, key: &str, what: &str) {
        self.problems.push(format!("{}:{}: `prices[{}].{key}` {what}", at.line(), at.column(), self.nth));
    }

    fn missing(&mut self, key: &str, example: &str) {
        self.wrong(self.at, key, &format!("is missing: write {example}"));
    }

    fn text(&self, key: &str) -> Option<(Location, &'a str)> {
        let (_, text) = self.entry.texts.iter().find(|(name, _)| name == key)?;
        Some((text.referenced, text.value.as_deref()?))
    }

    fn pattern(&mut self, key: &str) -> Option<Pattern> {
        let (at, text) = self.text(key)?;
        match Pattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.wrong(at, key, &format!("is not a regular expression: `{}`: {why}", shown(text)));
                None
            }
        }
    }

    fn from(&mut self) -> Option<Timestamp> {
        let (at, text) = self.text("from")?;
        let from = Timestamp::parse(text).ok();
        if from.is_none() {
            let what = format!("is not an instant: `{}`; write one such as 2026-01-01T00:00:00Z", shown(text));
            self.wrong(at, "from", &what);
        }
        from
    }

    fn per(&mut self) -> Per {
        match self.text("per") {
            None | Some((_, "million")) => Per::Million,
            Some((_, "token")) => Per::Token,
            Some((at, other)) => {
                let what = format!("is `{}`: prices are per `million` tokens, or per `token`", shown(other));
                self.wrong(at, "per", &what);
                Per::Million
            }
        }
    }

    fn rates(&mut self, key: &str, details_key: &str, per: Per) -> Option<Rates> {
        let each = if let Some((at, text)) = self.text(key) {
            self.money(at, key, text, per)
        } else {
            self.missing(key, "what the tokens cost, such as 2.50, or 0");
            None
        };
        let entry = self.entry;
        let pairs = entry.details.iter().filter(|(name, _)| name == details_key).flat_map(|(_, pairs)| pairs);
        let (mut details, mut whole) = (Amounts::new(), true);
        for (kind, text) in pairs {
            let (at, name) = (text.referenced, format!("{details_key}.{}", shown(kind)));
            let price = if let Some(money) = &text.value {
                self.money(at, &name, money, per)
            } else {
                self.wrong(at, &name, "has no price: write one such as 0.25");
                None
            };
            whole &= price.is_some();
            details.extend(price.map(|price| (kind.clone(), price)));
        }
        each.filter(|_| whole).map(|each| Rates { each, details })
    }

    /// What one token costs.
    fn money(&mut self, at: Location, key: &str, text: &str, per: Per) -> Option<Decimal> {
        let text = text.trim();
        let read = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text));
        let shift = match per {
            Per::Million => 6,
            Per::Token => 0,
        };
        let places = PLACES - shift;
        let why = match &read {
            Err(_) => "is not a decimal number",
            Ok(price) if price.is_sign_negative() && !price.is_zero() => "is negative",
            Ok(price) if price.normalize().scale() > places => "has too many decimal places",
            Ok(price) if *price >= Decimal::from(DEAREST) * Decimal::from(10_u64.pow(shift)) => "is too large",
            Ok(price) => return each(price.normalize().abs(), shift),
        };
        let hint = format!("write a price such as 2.50, with at most {places} decimal places");
        self.wrong(at, key, &format!("{why}: `{}`; {hint}", shown(text)));
        None
    }
}

/// A price divided by a power of ten, which loses nothing.
fn each(mut price: Decimal, shift: u32) -> Option<Decimal> {
    let scale = price.scale().checked_add(shift)?;
    price.set_scale(scale).ok()?;
    Some(price.normalize())
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect::<String>().escape_debug().to_string()
}

impl JsonSchema for PricesDocument {
    fn schema_name() -> Cow<'static, str> {
        "Prices".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let money = |what: &str| {
            json_schema!({
                "description": what,
                "type": ["string", "number"],
                "minimum": 0,
                "pattern": "^[0-9]+(\\.[0-9]+)?([eE]-?[0-9]+)?$",
            })
        };
        let details = |what: &str| {
            json_schema!({
                "description": what,
                "type": ["object", "null"],
                "additionalProperties": money("What so many tokens of this type cost."),
            })
        };
        json_schema!({
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["model", "prompt", "completion"],
                "properties": {
                    "model": {
                        "description": "A regular expression, found anywhere in the model's name unless it is anchored.",
                        "type": "string",
                    },
                    "provider": {
                        "description": "The same for the name of the model's provider. Without it: of any, or none.",
                        "type": ["string", "null"],
                    },
                    "from": {
                        "description": "Only runs that started at this instant or later. Of the prices that fit, the \
                            newest counts, and of several such the first in the list.",
                        "type": ["string", "null"],
                        "format": "date-time",
                    },
                    "per": {
                        "description": "What the prices are for: a million tokens, unless it says otherwise.",
                        "enum": ["million", "token", null],
                    },
                    "prompt": money("What so many tokens in cost."),
                    "completion": money("What so many tokens out cost."),
                    "prompt_details": details("Tokens in with a price of their own, by type, such as cache_read."),
                    "completion_details": details("Tokens out with a price of their own, by type, such as reasoning."),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use crate::config::Document;
    use crate::model::json::RawJson;
    use crate::model::price::Prices;
    use crate::model::run::Payload;
    use crate::model::usage;

    fn read(yaml: &str) -> Result<Prices, String> {
        let document = Document::parse("c.yaml", yaml, HashMap::new()).map_err(|error| error.to_string())?;
        Ok(document.prices.into())
    }

    fn total(yaml: &str) -> String {
        let json = |text: &str| RawJson::parse(text.to_owned()).unwrap();
        let outputs =
            r#"{"usage_metadata":{"input_tokens":1000,"output_tokens":10,"input_token_details":{"cache_read":600}}}"#;
        let used = usage::of(Some(&Payload::Inline(json(outputs))), None);
        let extra = json(r#"{"metadata":{"ls_model_name":"acme-large-2","ls_provider":"acme"}}"#);
        let costs = read(yaml).unwrap().costs(&used, Some(&extra), None).unwrap();
        used.charged(costs).total_cost.unwrap().to_string()
    }

    #[test]
    fn prices_are_for_a_million_tokens_or_for_one_and_never_floats() {
        let of = |entry: &str| total(&format!("prices:\n  - {{ model: '^acme-large(-\\d)?$', {entry} }}\n"));
        assert_eq!(of("prompt: 2.50, completion: 10"), "0.0026");
        assert_eq!(of("prompt: \"2.50\", completion: 10, prompt_details: { cache_read: 0.1 }"), "0.00116");
        assert_eq!(of("per: token, prompt: 0.0000025, completion: 1e-5, provider: acme"), "0.0026");
        // As floats, these would be 0.30000000000000004.
        assert_eq!(of("per: token, prompt: 0.0003, completion: 0.00000000000000001"), "0.3000000000000001");
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_place() {
        let error = read(concat!(
            "prices:\n",
            "  - model: \"acme-(large\"\n",
            "    prompt: 2,50\n",
            "    completion: -1\n",
            "    prompt_details:\n",
            "      cache_read: cheap\n",
            "  - modle: acme\n",
            "    per: dozen\n",
            "    from: soon\n",
            "    prompt: 0.0000000000001\n",
            "    completion: 99999999999999999999\n",
            "  - { model: fine, prompt: 1, completion: 2 }\n",
        ))
        .unwrap_err();
        for (at, what) in [
            ("c.yaml:2:12: `prices[0].model`", "unclosed group"),
            ("c.yaml:3:13: `prices[0].prompt`", "not a decimal number: `2,50`"),
            ("c.yaml:4:17: `prices[0].completion`", "is negative"),
            ("c.yaml:6:19: `prices[0].prompt_details.cache_read`", "not a decimal number"),
            ("c.yaml:7:12: `prices[1].modle`", "did you mean `model`?"),
            ("c.yaml:8:10: `prices[1].per`", "per `million` tokens"),
            ("c.yaml:9:11: `prices[1].from`", "not an instant"),
            ("c.yaml:10:13: `prices[1].prompt`", "at most 12 decimal places"),
            ("c.yaml:11:17: `prices[1].completion`", "too large"),
            ("c.yaml:7:5: `prices[1].model`", "is missing"),
        ] {
            let line = error.lines().find(|line| line.contains(at));
            assert!(line.is_some_and(|line| line.contains(what)), "{at} {what}\n{error}");
        }
        assert!(!error.contains("prices[2]"), "{error}");
    }

    #[test]
    fn a_huge_pattern_and_an_entry_without_prices_are_refused() {
        let error = read("prices: [{ model: '(((a{100}){100}){100})' }]").unwrap_err();
        assert!(error.contains("size limit") && error.contains("`prices[0].completion` is missing"), "{error}");
        assert!(read("prices: [7]").is_err());
        assert_eq!(read("prices: null"), Ok(Prices::default()));
    }
}
