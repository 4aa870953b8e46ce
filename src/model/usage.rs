//! Tokens and costs of a run, as its client reported them, and of a trace, added up.
//!
//! Nothing is estimated: what nobody stated is zero tokens and an unknown cost, unless a price is known. What is there but
//! does not read as a number, or is a negative one, is passed over, never an error.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::model::id::RunId;
use crate::model::json::{RawJson, value_of};
use crate::model::run::{Payload, Run};
use crate::model::time::Timestamp;

/// Tokens and costs. Tokens default to zero; a cost nobody stated is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens in.
    pub prompt_tokens: i64,
    /// Tokens out.
    pub completion_tokens: i64,
    /// Both, or what the client says both are.
    pub total_tokens: i64,
    /// What the prompt cost.
    pub prompt_cost: Option<Decimal>,
    /// What the completion cost.
    pub completion_cost: Option<Decimal>,
    /// What both cost, or what the client says it cost in all.
    pub total_cost: Option<Decimal>,
    /// Of the tokens in, those of some types, such as `cache_read`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompt_token_details: Counts,
    /// Of the tokens out, those of some types, such as `reasoning`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub completion_token_details: Counts,
    /// What those cost.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompt_cost_details: Amounts,
    /// What those cost.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub completion_cost_details: Amounts,
}

/// Tokens by their type.
pub type Counts = BTreeMap<String, i64>;

/// Money by the type of the tokens it was paid for.
pub type Amounts = BTreeMap<String, Decimal>;

/// What tokens cost by a list of prices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// Those in.
    pub prompt: Decimal,
    /// Those out.
    pub completion: Decimal,
    /// Of those in, the types that have a price of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompt_details: Amounts,
    /// Of those out, the types that have a price of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub completion_details: Amounts,
}

/// What may be said of the same thing, in today's words and in older ones.
type Words = [&'static str; 2];

type Object = BTreeMap<String, RawJson>;

/// The decimal places that a stated cost is kept to, and what it stays below. Sums of such costs are exact, so that it
/// does not matter in which order they are added, up to 79 billion.
const PLACES: u32 = 18;
const DEAREST: i64 = 1_000_000_000;

/// The words by which usage is found in a text before the text is parsed.
const MARKS: [&str; 2] = ["usage_metadata", "token_usage"];

/// What a run's outputs and `extra` say of its usage: `outputs.usage_metadata`, else `extra.metadata.usage_metadata`,
/// else `outputs.llm_output.token_usage`; the first that states anything.
#[must_use]
pub fn of(outputs: Option<&Payload>, extra: Option<&RawJson>) -> Usage {
    let outputs = outputs.map(seen);
    stated(outputs, &["usage_metadata"])
        .or_else(|| stated(extra, &["metadata", "usage_metadata"]))
        .or_else(|| stated(outputs, &["llm_output", "token_usage"]))
        .unwrap_or_default()
}

/// Whether these may say anything of it: a look that costs next to nothing.
#[must_use]
pub fn may_be_in(outputs: Option<&Payload>, extra: Option<&RawJson>) -> bool {
    let says = |json: &RawJson| MARKS.iter().any(|mark| json.text().contains(mark));
    outputs.is_some_and(|payload| says(seen(payload))) || extra.is_some_and(says)
}

fn seen(payload: &Payload) -> &RawJson {
    match payload {
        Payload::Inline(json) => json,
        Payload::Blob(blob) => &blob.extract,
    }
}

/// Follows a path of keys; the text is searched for the last key before anything is parsed.
fn stated(json: Option<&RawJson>, path: &[&str]) -> Option<Usage> {
    let mut text = json?.text();
    if !text.contains(path.last()?) {
        return None;
    }
    for key in path {
        text = value_of(text, key)?.get();
    }
    Usage::read(&serde_json::from_str(text).ok()?)
}

impl Usage {
    /// Reads the keys of today's clients, or those of older ones.
    fn read(object: &Object) -> Option<Self> {
        let tokens = |keys: Words| keys.into_iter().find_map(|key| whole(object.get(key)?));
        let cost = |keys: Words| keys.into_iter().find_map(|key| cost(object.get(key)?));
        let prompt_tokens = tokens(["input_tokens", "prompt_tokens"]);
        let completion_tokens = tokens(["output_tokens", "completion_tokens"]);
        let total_tokens = tokens(["total_tokens", "total_tokens"]);
        let prompt_cost = cost(["input_cost", "prompt_cost"]);
        let completion_cost = cost(["output_cost", "completion_cost"]);
        let total_cost = cost(["total_cost", "total_cost"]).or_else(|| sum(prompt_cost, completion_cost));
        if total_cost.is_none() && total_tokens.or(prompt_tokens).or(completion_tokens).is_none() {
            return None;
        }
        let (input, output) = (prompt_tokens.unwrap_or(0), completion_tokens.unwrap_or(0));
        Some(Self {
            prompt_tokens: input,
            completion_tokens: output,
            total_tokens: total_tokens.unwrap_or_else(|| input.saturating_add(output)),
            prompt_cost,
            completion_cost,
            total_cost,
            prompt_token_details: details(object, ["input_token_details", "prompt_tokens_details"], whole),
            completion_token_details: details(object, ["output_token_details", "completion_tokens_details"], whole),
            prompt_cost_details: details(object, ["input_cost_details", "prompt_cost_details"], self::cost),
            completion_cost_details: details(object, ["output_cost_details", "completion_cost_details"], self::cost),
        })
    }

    /// Whether a cost is known.
    #[must_use]
    pub fn has_a_cost(&self) -> bool {
        self.prompt_cost.or(self.completion_cost).or(self.total_cost).is_some()
    }

    /// The same with what it cost.
    #[must_use]
    pub fn charged(self, costs: Costs) -> Self {
        Self {
            prompt_cost: Some(costs.prompt),
            completion_cost: Some(costs.completion),
            total_cost: sum(Some(costs.prompt), Some(costs.completion)),
            prompt_cost_details: costs.prompt_details,
            completion_cost_details: costs.completion_details,
            ..self
        }
    }

    /// Adds what another run used.
    pub fn add(&mut self, other: &Self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
        self.total_tokens = self.total_tokens.saturating_add(other.total_tokens);
        self.prompt_cost = sum(self.prompt_cost, other.prompt_cost);
        self.completion_cost = sum(self.completion_cost, other.completion_cost);
        self.total_cost = sum(self.total_cost, other.total_cost);
        unite(&mut self.prompt_token_details, &other.prompt_token_details, i64::saturating_add);
        unite(&mut self.completion_token_details, &other.completion_token_details, i64::saturating_add);
        unite(&mut self.prompt_cost_details, &other.prompt_cost_details, plus);
        unite(&mut self.completion_cost_details, &other.completion_cost_details, plus);
    }
}

/// What an object says under one of these keys of types of tokens. Older clients write `cached_tokens` for `cache_read`,
/// and `audio_tokens` for `audio`.
fn details<T>(object: &Object, keys: Words, read: fn(&RawJson) -> Option<T>) -> BTreeMap<String, T> {
    let found = keys.into_iter().find_map(|key| object.get(key)?.read::<Object>().ok()).unwrap_or_default();
    let named = |(name, json): (String, RawJson)| {
        let name = match name.strip_suffix("_tokens") {
            Some("cached") => "cache_read".to_owned(),
            Some(kind) => kind.to_owned(),
            None => name,
        };
        Some((name, read(&json)?))
    };
    found.into_iter().filter_map(named).collect()
}

fn unite<T: Copy>(kept: &mut BTreeMap<String, T>, other: &BTreeMap<String, T>, add: fn(T, T) -> T) {
    for (name, more) in other {
        match kept.get_mut(name) {
            Some(sum) => *sum = add(*sum, *more),
            None => _ = kept.insert(name.clone(), *more),
        }
    }
}

/// A number of tokens: never a negative one.
fn whole(json: &RawJson) -> Option<i64> {
    i64::try_from(decimal(json)?.trunc()).ok().filter(|count| *count >= 0)
}

/// A cost as a client states it: never a negative one.
fn cost(json: &RawJson) -> Option<Decimal> {
    bounded(decimal(json)?)
}

/// A cost within the bounds in which sums are exact.
pub(super) fn bounded(cost: Decimal) -> Option<Decimal> {
    let cost = cost.round_dp(PLACES);
    (cost >= Decimal::ZERO && cost < Decimal::from(DEAREST)).then(|| cost.abs())
}

/// A number, or a number in a string; never by way of a float.
fn decimal(json: &RawJson) -> Option<Decimal> {
    let text = json.text().trim().trim_matches('"');
    Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text)).ok()
}

/// The sum, or the largest number there is.
pub(super) fn plus(one: Decimal, other: Decimal) -> Decimal {
    one.checked_add(other).unwrap_or(Decimal::MAX)
}

fn sum(one: Option<Decimal>, other: Option<Decimal>) -> Option<Decimal> {
    match (one, other) {
        (Some(one), Some(other)) => Some(plus(one, other)),
        (one, other) => one.or(other),
    }
}

/// When the first token came: the earliest `new_token` event.
#[must_use]
pub fn first_token(events: &RawJson) -> Option<Timestamp> {
    if !events.text().contains("new_token") {
        return None;
    }
    let events: Vec<Object> = events.read().ok()?;
    events.iter().filter(|event| says(event, "name", "new_token")).filter_map(|event| instant(event.get("time")?)).min()
}

fn says(event: &Object, key: &str, word: &str) -> bool {
    event.get(key).and_then(|value| value.read::<String>().ok()).is_some_and(|value| value == word)
}

fn instant(json: &RawJson) -> Option<Timestamp> {
    match json.read::<f64>() {
        Ok(millis) => Some(Timestamp::from_millis(millis)),
        Err(_) => Timestamp::parse(&json.read::<String>().ok()?).ok(),
    }
}

/// Makes each run's usage that of its subtree ([`sums`]).
pub fn roll_up(runs: &mut [Run]) {
    let own: Vec<_> = runs.iter().map(|run| (run.id, run.parent_run_id, &run.usage)).collect();
    let sums = sums(&own);
    for (run, sum) in runs.iter_mut().zip(sums) {
        run.usage = sum;
    }
}

/// What the subtree of each of these runs used: its own and that of all runs below it. Each comes with its parent and with
/// what it used by itself.
///
/// The runs are those of whole traces, in any order; a parent that is not among them gets nothing. Runs whose parents form
/// a circle keep their own.
#[must_use]
pub fn sums(runs: &[(RunId, Option<RunId>, &Usage)]) -> Vec<Usage> {
    let index: HashMap<RunId, usize> = runs.iter().enumerate().map(|(at, (run, ..))| (*run, at)).collect();
    let parents: Vec<Option<usize>> =
        runs.iter().map(|(_, parent, _)| parent.and_then(|parent| index.get(&parent).copied())).collect();
    let mut totals: Vec<Usage> = runs.iter().map(|(.., own)| (*own).clone()).collect();
    let mut waiting = vec![0_usize; runs.len()];
    for parent in parents.iter().flatten() {
        if let Some(count) = waiting.get_mut(*parent) {
            *count = count.saturating_add(1);
        }
    }
    let mut below = vec![Usage::default(); runs.len()];
    let mut ready: Vec<usize> =
        waiting.iter().enumerate().filter(|(_, count)| **count == 0).map(|(at, _)| at).collect();
    while let Some(at) = ready.pop() {
        let (Some(total), Some(children)) = (totals.get_mut(at), below.get(at)) else { continue };
        total.add(children);
        let Some(parent) = parents.get(at).copied().flatten() else { continue };
        let (Some(sum), Some(count)) = (below.get_mut(parent), waiting.get_mut(parent)) else { continue };
        sum.add(total);
        *count = count.saturating_sub(1);
        if *count == 0 {
            ready.push(parent);
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ProjectId, TenantId};
    use crate::model::run::{Fields, Layers};

    fn json(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).unwrap()
    }

    fn usage(outputs: &str, extra: &str) -> Usage {
        of(Some(&Payload::Inline(json(outputs))), Some(&json(extra)))
    }

    #[test]
    fn outputs_win_over_metadata_and_metadata_over_the_legacy_place() {
        let metadata = r#"{"metadata":{"usage_metadata":{"input_tokens":3,"output_tokens":4}}}"#;
        assert_eq!(usage(r#"{"usage_metadata":{"input_tokens":1,"output_tokens":2}}"#, metadata).total_tokens, 3);
        let legacy = r#"{"llm_output":{"token_usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":31}}}"#;
        assert_eq!(usage(legacy, metadata).total_tokens, 7);
        assert_eq!(usage(legacy, "{}").total_tokens, 31);
    }

    #[test]
    fn costs_are_decimals_and_add_up() {
        let found = usage(r#"{"usage_metadata":{"input_cost":0.1,"output_cost":"2e-1","input_tokens":null}}"#, "{}");
        assert_eq!(found.total_cost, Some(Decimal::new(3, 1)));
        assert_eq!(found.prompt_tokens, 0);
    }

    #[test]
    fn nonsense_is_no_usage() {
        assert_eq!(usage(r#"{"usage_metadata":"many"}"#, r#"{"metadata":[]}"#), Usage::default());
        assert_eq!(usage(r#"{"usage_metadata":{"input_tokens":"a lot"}}"#, "[]"), Usage::default());
        assert_eq!(usage(r#"{"usage_metadata":{"input_tokens":-3,"total_cost":-0.5}}"#, "{}"), Usage::default());
        let odd = r#"{"usage_metadata":{"input_tokens":3,"total_cost":1e12,"input_token_details":{"audio":"x"}}}"#;
        assert_eq!(usage(odd, "{}"), Usage { prompt_tokens: 3, total_tokens: 3, ..Usage::default() });
    }

    #[test]
    fn details_are_read_in_todays_words_and_in_older_ones() {
        let today = usage(
            r#"{"usage_metadata":{"input_tokens":9,"output_tokens":4,"input_token_details":{"cache_read":5,"audio":0},
                "output_token_details":{"reasoning":3},"input_cost_details":{"cache_read":"0.0125"}}}"#,
            "{}",
        );
        let counts = |counts: &Counts| counts.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>();
        assert_eq!(counts(&today.prompt_token_details), ["audio 0", "cache_read 5"]);
        assert_eq!(counts(&today.completion_token_details), ["reasoning 3"]);
        assert_eq!(today.prompt_cost_details["cache_read"], Decimal::new(125, 4));
        let older = usage(
            r#"{"llm_output":{"token_usage":{"prompt_tokens":9,"completion_tokens":4,
                "prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":3}}}}"#,
            "{}",
        );
        assert_eq!(counts(&older.prompt_token_details), ["cache_read 5"]);
        assert_eq!(counts(&older.completion_token_details), ["reasoning 3"]);
    }

    #[test]
    fn the_first_token_is_the_earliest_new_token_event() {
        let events = r#"[{"name":"start","time":"2026-01-01T00:00:00Z"},{"name":"new_token","time":1767225602500},
            {"name":"new_token","time":"2026-01-01T00:00:02Z"},{"name":"new_token"}]"#;
        assert_eq!(first_token(&json(events)), Some(Timestamp::parse("2026-01-01T00:00:02Z").unwrap()));
    }

    fn run(id: u128, parent: Option<u128>, tokens: i64) -> Run {
        let fields = Fields {
            name: Some("n".into()),
            run_type: Some("llm".into()),
            start_time: Some(Timestamp(0)),
            parent_run_id: parent.map(|parent| RunId(uuid::Uuid::from_u128(parent))),
            ..Fields::default()
        };
        let layers = Layers { post: fields, ..Layers::default() };
        let id = RunId(uuid::Uuid::from_u128(id));
        let mut run =
            layers.resolve(TenantId::DEFAULT, ProjectId(uuid::Uuid::nil()), id, Timestamp(0)).expect("complete");
        run.usage.total_tokens = tokens;
        run
    }

    #[test]
    fn a_parent_has_its_own_and_the_sum_of_its_children() {
        let mut runs =
            vec![run(3, Some(2), 5), run(1, None, 0), run(4, Some(2), 7), run(2, Some(1), 12), run(5, Some(1), 1)];
        roll_up(&mut runs);
        let totals: Vec<i64> = runs.iter().map(|run| run.usage.total_tokens).collect();
        assert_eq!(totals, [5, 25, 7, 24, 1]);
    }

    #[test]
    fn a_circle_of_parents_changes_nothing() {
        let mut runs = vec![run(1, Some(2), 5), run(2, Some(1), 7)];
        roll_up(&mut runs);
        assert_eq!(runs.iter().map(|run| run.usage.total_tokens).collect::<Vec<_>>(), [5, 7]);
    }
}
