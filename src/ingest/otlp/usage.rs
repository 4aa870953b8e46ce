//! Tokens and costs, as `usage_metadata` of the outputs, which is where they are looked for (`model::usage`).

use serde_json::{Map, Value};

use crate::ingest::otlp::bodies::Body;
use crate::ingest::otlp::span::{Attributes, below, number, says, unpacked};

/// Where totals are.
const TOTALS: [(&str, [&str; 3]); 3] = [
    ("input_tokens", ["gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens", "llm.token_count.prompt"]),
    ("output_tokens", ["gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens", "llm.token_count.completion"]),
    ("total_tokens", ["gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"]),
];

/// Where costs are.
const COSTS: [(&str, &str); 3] =
    [("input_cost", "llm.cost.prompt"), ("output_cost", "llm.cost.completion"), ("total_cost", "llm.cost.total")];

/// Which tokens were of a kind of their own.
const INPUT_DETAILS: &str = "input_token_details";
const OUTPUT_DETAILS: &str = "output_token_details";
const DETAILS: [(&str, &str, &str); 12] = [
    ("gen_ai.usage.details.reasoning_tokens", OUTPUT_DETAILS, "reasoning"),
    ("gen_ai.usage.details.cache_read_tokens", INPUT_DETAILS, "cache_read"),
    ("gen_ai.usage.details.cache_read_input_tokens", INPUT_DETAILS, "cache_read"),
    ("gen_ai.usage.details.cached_tokens", INPUT_DETAILS, "cache_read"),
    ("gen_ai.usage.details.cache_creation_input_tokens", INPUT_DETAILS, "cache_creation"),
    ("gen_ai.usage.cache_read.input_tokens", INPUT_DETAILS, "cache_read"),
    ("gen_ai.usage.cache_creation.input_tokens", INPUT_DETAILS, "cache_creation"),
    ("gen_ai.usage.reasoning.output_tokens", OUTPUT_DETAILS, "reasoning"),
    ("llm.token_count.prompt_details.cache_read", INPUT_DETAILS, "cache_read"),
    ("llm.token_count.prompt_details.cache_write", INPUT_DETAILS, "cache_creation"),
    ("llm.token_count.prompt_details.audio", INPUT_DETAILS, "audio"),
    ("llm.token_count.completion_details.reasoning", OUTPUT_DETAILS, "reasoning"),
];

/// Outputs with what the attributes say was used. Outputs that say it themselves stay as they are.
pub(super) fn added(attributes: &Attributes, outputs: Option<Body>) -> Option<Body> {
    let Some(usage) = stated(attributes) else { return outputs };
    let body = outputs.unwrap_or_else(|| Body::Made(Map::new()));
    Some(body.with("usage_metadata", Value::Object(usage)))
}

fn stated(attributes: &Attributes) -> Option<Map<String, Value>> {
    if let Some(Value::Object(usage)) = attributes.get("langsmith.usage_metadata").map(unpacked) {
        return Some(usage);
    }
    let tokens = |key: &str| attributes.get(key).and_then(number).map(Value::from);
    let mut usage = Map::new();
    for (name, keys) in TOTALS {
        usage.extend(keys.into_iter().find_map(tokens).map(|count| (name.to_owned(), count)));
    }
    for (name, key) in COSTS {
        usage.extend(attributes.get(key).filter(|cost| says(cost)).map(|cost| (name.to_owned(), cost.clone())));
    }
    for (name, key) in
        [(INPUT_DETAILS, "gen_ai.usage.input_token_details"), (OUTPUT_DETAILS, "gen_ai.usage.output_token_details")]
    {
        let details = attributes.get(key).map(unpacked).filter(Value::is_object);
        usage.extend(details.map(|details| (name.to_owned(), details)));
    }
    for (key, group, name) in DETAILS {
        if let Some(count) = tokens(key)
            && let Value::Object(group) = usage.entry(group).or_insert_with(|| Value::Object(Map::new()))
        {
            group.entry(name).or_insert(count);
        }
    }
    let others = below(attributes, "gen_ai.usage.details.")
        .filter(|(rest, _)| !DETAILS.iter().any(|(key, _, _)| key.strip_prefix("gen_ai.usage.details.") == Some(rest)));
    usage.extend(others.filter_map(|(name, value)| Some((name.to_owned(), number(value)?.into()))));
    (!usage.is_empty()).then_some(usage)
}
