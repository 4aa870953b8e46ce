//! Prices of models: what the tokens of a run cost whose client states tokens and no cost.
//!
//! A price is chosen by the model's name, by its provider if the price names one, and by when the run started: of the
//! prices that fit, the one that holds from the latest instant on, and of several such the first that was written. So a
//! price that changes is a new entry, and what ran before keeps the old one.
//!
//! Tokens of a type with a price of its own cost that; what is left of the tokens in or out costs the common price. Money
//! is decimal all the way.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use rust_decimal::Decimal;

use crate::model::json::{RawJson, value_of};
use crate::model::time::Timestamp;
use crate::model::usage::{Amounts, Costs, Counts, Usage, bounded, plus};

/// The largest program that a pattern may become, in bytes. There may be many, and each run may ask all of them.
const LARGEST_PATTERN: usize = 256 * 1024;

/// All prices, in the order in which they are asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices(Vec<Price>);

/// What the tokens of some models cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// Models with such a name.
    pub model: Pattern,
    /// Of such a provider only.
    pub provider: Option<Pattern>,
    /// Only runs that started at this instant or later.
    pub from: Option<Timestamp>,
    /// Tokens in.
    pub prompt: Rates,
    /// Tokens out.
    pub completion: Rates,
}

/// What one token costs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of any type.
    pub each: Decimal,
    /// Of a type with a price of its own.
    pub details: Amounts,
}

/// A regular expression, found anywhere in a name unless it is anchored.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// What a run says of the model it asked.
struct Model {
    name: String,
    provider: Option<String>,
}

impl Pattern {
    /// Compiles a pattern.
    pub fn parse(text: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build().map(Self)
    }

    fn is_in(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Prices {
    /// These prices.
    #[must_use]
    pub fn new(mut prices: Vec<Price>) -> Self {
        prices.sort_by_key(|price| Reverse(price.from));
        Self(prices)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a run cost that used this, if its client does not say it, names a model in `extra`, and the model has a price.
    #[must_use]
    pub fn costs(&self, usage: &Usage, extra: Option<&RawJson>, started: Option<Timestamp>) -> Option<Costs> {
        let has_tokens = usage.prompt_tokens > 0 || usage.completion_tokens > 0;
        if self.is_empty() || usage.has_a_cost() || !has_tokens {
            return None;
        }
        let price = self.price(&Model::of(extra?)?, started)?;
        let (prompt, prompt_details) = price.prompt.of(usage.prompt_tokens, &usage.prompt_token_details)?;
        let (completion, completion_details) =
            price.completion.of(usage.completion_tokens, &usage.completion_token_details)?;
        Some(Costs { prompt, completion, prompt_details, completion_details })
    }

    fn price(&self, model: &Model, started: Option<Timestamp>) -> Option<&Price> {
        self.0.iter().find(|price| {
            price.from.is_none_or(|from| started.is_some_and(|started| from <= started))
                && price.model.is_in(&model.name)
                && price
                    .provider
                    .as_ref()
                    .is_none_or(|wanted| model.provider.as_ref().is_some_and(|provider| wanted.is_in(provider)))
        })
    }
}

impl Rates {
    /// What so many tokens cost, of which these are of some types; and what those of each priced type do.
    fn of(&self, tokens: i64, details: &Counts) -> Option<(Decimal, Amounts)> {
        let mut amounts = BTreeMap::new();
        let (mut sum, mut rest) = (Decimal::ZERO, tokens);
        for (kind, each) in &self.details {
            let Some(count) = details.get(kind) else { continue };
            let amount = times(*each, *count)?;
            amounts.insert(kind.clone(), amount);
            sum = plus(sum, amount);
            rest = rest.saturating_sub(*count);
        }
        let whole = plus(sum, times(self.each, rest.max(0))?);
        Some((bounded(whole)?.normalize(), amounts))
    }
}

fn times(each: Decimal, count: i64) -> Option<Decimal> {
    bounded(each.checked_mul(Decimal::from(count))?).map(|cost| cost.normalize())
}

impl Model {
    /// `metadata.ls_model_name`, else `invocation_params.model`, else `invocation_params.model_name`.
    fn of(extra: &RawJson) -> Option<Self> {
        let text = |path: [&str; 2]| {
            let [outer, inner] = path;
            let raw = value_of(value_of(extra.text(), outer)?.get(), inner)?;
            serde_json::from_str::<String>(raw.get()).ok().filter(|text| !text.is_empty())
        };
        let name = text(["metadata", "ls_model_name"])
            .or_else(|| text(["invocation_params", "model"]))
            .or_else(|| text(["invocation_params", "model_name"]))?;
        Some(Self { name, provider: text(["metadata", "ls_provider"]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::Payload;
    use crate::model::usage;

    fn price(model: &str, prompt: i64, completion: i64) -> Price {
        let rates = |millionths| Rates { each: Decimal::new(millionths, 6), details: Amounts::new() };
        let model = Pattern::parse(model).unwrap();
        Price { model, provider: None, from: None, prompt: rates(prompt), completion: rates(completion) }
    }

    fn json(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    fn total(prices: &Prices, outputs: &str, extra: &str, started: i64) -> Option<String> {
        let used = usage::of(Some(&Payload::Inline(json(outputs))), None);
        let costs = prices.costs(&used, Some(&json(extra)), Some(Timestamp(started)))?;
        Some(used.charged(costs).total_cost.unwrap().to_string())
    }

    const TEN: &str = r#"{"usage_metadata":{"input_tokens":10,"output_tokens":1}}"#;
    const ACME: &str = r#"{"metadata":{"ls_model_name":"acme-1","ls_provider":"acme"}}"#;

    #[test]
    fn types_with_a_price_of_their_own_cost_that_and_the_rest_the_common_price() {
        let mut entry = price("acme", 2, 3);
        entry.prompt.details.insert("cache_read".into(), Decimal::new(1, 6));
        let prices = Prices::new(vec![entry]);
        // The documented example: 5 x 1 + (20 - 5) x 2 + 10 x 3 millionths.
        let outputs = r#"{"usage_metadata":{"input_tokens":20,"input_token_details":{"cache_read":5,"audio":4},
            "output_tokens":10,"total_tokens":30}}"#;
        assert_eq!(total(&prices, outputs, ACME, 0).as_deref(), Some("0.000065"));
        let beyond =
            r#"{"usage_metadata":{"input_tokens":3,"input_token_details":{"cache_read":5},"output_tokens":0}}"#;
        assert_eq!(total(&prices, beyond, ACME, 0).as_deref(), Some("0.000005"));
    }

    #[test]
    fn the_newest_price_that_fits_is_taken_and_of_equals_the_first() {
        let from = |at, entry: Price| Price { from: Some(Timestamp(at)), ..entry };
        let prices = Prices::new(vec![
            price("^acme-1$", 1, 0),
            price("acme", 2, 0),
            from(100, price("acme", 3, 0)),
            from(200, price("acme", 4, 0)),
        ]);
        let each = |started| total(&prices, TEN, ACME, started).unwrap();
        assert_eq!([each(99), each(100), each(199), each(200)], ["0.00001", "0.00003", "0.00003", "0.00004"]);
    }

    #[test]
    fn a_provider_that_a_price_names_must_be_the_runs() {
        let entry = Price { provider: Some(Pattern::parse("^acme$").unwrap()), ..price("acme", 1, 0) };
        let prices = Prices::new(vec![entry]);
        assert!(total(&prices, TEN, ACME, 0).is_some());
        assert!(total(&prices, TEN, r#"{"metadata":{"ls_model_name":"acme-1","ls_provider":"acme2"}}"#, 0).is_none());
        assert!(total(&prices, TEN, r#"{"metadata":{"ls_model_name":"acme-1"}}"#, 0).is_none());
    }

    #[test]
    fn older_clients_name_the_model_among_the_parameters_of_the_call() {
        let prices = Prices::new(vec![price("acme", 1, 0)]);
        assert!(total(&prices, TEN, r#"{"invocation_params":{"model_name":"acme-1"}}"#, 0).is_some());
        assert!(total(&prices, TEN, r#"{"invocation_params":{"model":"acme-1"}}"#, 0).is_some());
        assert!(total(&prices, TEN, r#"{"metadata":{"ls_model_name":7}}"#, 0).is_none());
    }

    #[test]
    fn a_cost_that_the_client_states_and_tokens_that_it_does_not_are_not_priced() {
        let prices = Prices::new(vec![price("acme", 1, 1)]);
        let stated = r#"{"usage_metadata":{"input_tokens":10,"output_tokens":1,"output_cost":0}}"#;
        assert!(total(&prices, stated, ACME, 0).is_none());
        assert!(total(&prices, r#"{"usage_metadata":{"total_tokens":10}}"#, ACME, 0).is_none());
    }
}
