//! Rules and runs whose words are few, so that they meet.

use std::ops::Range;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use runhook::filter::{Filter, Mode};
use runhook::model::feedback::{Feedback, Score};
use runhook::model::id::{RuleId, RunId, TenantId, TraceId};
use runhook::model::rule::{BatchLimits, Cadence, Rule, RuleState};
use runhook::model::run::{Payload, Run, Status, StoredRun};
use runhook::model::time::Timestamp;
use runhook::model::usage::Usage;
use uuid::Uuid;

use crate::support::samples;

pub(super) const NAMES: [&str; 3] = ["bot", "bot-eu", "billing"];

/// Projects that runs are in; nobody names the last one.
pub(super) const PROJECTS: [&str; 4] = ["bot", "bot-eu", "billing", "lone"];

const PATTERNS: [&str; 9] = ["bot", "bot", "bot-eu", "billing", "bot*", "*", "*eu", "b?t", "*i*"];

/// Literals of JSON that a filter can name, in several spellings of what is the same.
const LITERALS: [&str; 16] = [
    "\"a\"",
    "\"b\"",
    "\"\"",
    "\"1\"",
    "1",
    "1.0",
    "1e0",
    "0",
    "-0.0",
    "0.5",
    "true",
    "false",
    "null",
    "1e-40",
    "1e300",
    "123456789012345678901234567890",
];

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "1.0",
    "0.5",
    "-1",
    "3",
    "1000",
    "0.0000000001",
    "1e-40",
    "1e300",
    "9300000000",
    "123456789012345678901234567890",
];

const KEYS: [&str; 4] = ["a", "b", "deep.a", "list"];

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words).prop_map(str::to_owned)
}

fn test_of(
    field: &'static [&'static str],
    operators: &'static [&'static str],
    literals: &'static [&'static str],
) -> impl Strategy<Value = String> {
    (select(operators), select(field), select(literals))
        .prop_map(|(operator, field, literal)| format!("{operator}({field}, {literal})"))
}

fn members(fields: &'static [&'static str], literals: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(fields), vec(select(literals), 0..4))
        .prop_map(|(field, items)| format!("in({field}, [{}])", items.join(", ")))
}

const WORDS: [&str; 6] = ["\"a\"", "\"b\"", "\"c\"", "\"error\"", "\"llm\"", "null"];
const TEXTS: [&str; 5] = ["name", "run_type", "status", "thread_id", "tags"];
const PATHS: [&str; 8] = [
    "metadata.a",
    "metadata.b",
    "metadata.deep.a",
    "extra.metadata.a",
    "extra.b",
    "inputs.a",
    "outputs.list",
    "outputs.b",
];
const PAIR_KEYS: [&str; 4] = ["metadata_key", "feedback_key", "input_key", "output_key"];
const PAIR_VALUES: [&str; 4] = ["metadata_value", "feedback_value", "input_value", "output_value"];
const PATH_LITERALS: [&str; 5] = ["\"a\"", "\"b\"", "\"deep.a\"", "\"list\"", "\"deep\""];
const MEASURES: [&str; 8] = [
    "latency",
    "first_token_latency",
    "total_tokens",
    "prompt_tokens",
    "total_cost",
    "prompt_cost",
    "feedback_score",
    "feedback_score",
];
const IDS: [&str; 3] = ["\"00000000-0000-0000-0000-000000000001\"", "\"00000000-0000-0000-0000-000000000002\"", "null"];

fn leaf() -> impl Strategy<Value = String> {
    let pair = (select(&PAIR_KEYS[..]), 0..4_usize, select(&PATH_LITERALS[..]), select(&LITERALS[..])).prop_map(
        |(key, value, path, literal)| {
            let same = PAIR_KEYS.iter().position(|name| *name == key).filter(|_| value > 0).unwrap_or(0);
            format!("and(eq({key}, {path}), eq({}, {literal}))", PAIR_VALUES[same])
        },
    );
    let score =
        (select(&PATH_LITERALS[..]), select(&["gt", "gte", "lt", "lte", "eq", "neq"][..]), select(&NUMBERS[..]))
            .prop_map(|(key, operator, number)| {
                format!("and(eq(feedback_key, {key}), {operator}(feedback_score, {number}))")
            });
    prop_oneof![
        6 => test_of(&TEXTS, &["eq", "eq", "eq", "neq", "like", "notlike", "search"], &["\"a\"", "\"b\"", "\"%a\"", "\"error\"", "\"llm\"", "\"1\""]),
        2 => members(&TEXTS, &WORDS),
        2 => test_of(&TEXTS, &["eq", "neq"], &["null"]),
        2 => test_of(&["error"], &["eq", "neq"], &["null", "true", "false", "\"a\""]),
        1 => test_of(&["is_root"], &["eq", "neq"], &["true", "false"]),
        1 => test_of(&["status"], &["eq"], &["\"pending\""]),
        1 => test_of(&["id", "trace_id", "parent_run_id", "reference_example_id"], &["eq", "neq"], &IDS),
        5 => test_of(&PATHS, &["eq", "eq", "eq", "neq"], &LITERALS),
        2 => test_of(&PATHS, &["gt", "lte"], &NUMBERS),
        2 => members(&PATHS, &LITERALS),
        3 => test_of(&PAIR_KEYS, &["eq", "eq", "neq", "like"], &PATH_LITERALS),
        1 => members(&PAIR_KEYS, &PATH_LITERALS),
        2 => test_of(&PAIR_VALUES, &["eq", "neq"], &LITERALS),
        3 => pair,
        4 => score,
        8 => test_of(&MEASURES, &["gt", "gte", "lt", "lte"], &NUMBERS),
        2 => test_of(&["metadata", "inputs", "outputs"], &["has"], &["'{\"a\": 1}'", "'{\"a\": \"a\"}'", "'{\"deep\": {\"a\": null}}'", "\"b\"", "'{}'"]),
        1 => test_of(&["metadata", "extra"], &["exists"], &PATH_LITERALS),
        1 => test_of(&["metadata", "inputs"], &["eq", "neq"], &["null"]),
        1 => select(&["search(\"a\")", "search(\"no such words\")"][..]).prop_map(str::to_owned),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    let tree = leaf().prop_recursive(3, 10, 3, |inner| {
        let parts = vec(inner.clone(), 1..4).prop_map(|parts| parts.join(", "));
        prop_oneof![
            4 => parts.clone().prop_map(|parts| format!("and({parts})")),
            2 => parts.prop_map(|parts| format!("or({parts})")),
            1 => inner.prop_map(|inner| format!("not({inner})")),
        ]
    });
    tree.prop_filter("the language refuses it", |text| Filter::parse(text, Mode::Lenient).is_ok())
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let filters = (option::weighted(0.95, filter()), option::weighted(0.15, filter()), option::weighted(0.1, filter()));
    let key = "[a-z]{12}";
    (key, select(&PATTERNS[..]), filters, 0..3_u64, proptest::bool::weighted(0.02)).prop_map(
        |(key, project, (filter, trace_filter, tree_filter), every, foreign)| Rule {
            id: RuleId::of_key(TenantId::DEFAULT, &key),
            tenant_id: if foreign { TenantId(Uuid::from_u128(9)) } else { TenantId::DEFAULT },
            key,
            project: project.to_owned(),
            filter,
            trace_filter,
            tree_filter,
            cadence: Cadence::Every(Duration::from_secs(every)),
            state: RuleState::Active,
            ..samples::rule(BatchLimits::default())
        },
    )
}

pub(super) fn rules(count: Range<usize>) -> impl Strategy<Value = Vec<Rule>> {
    vec(rule(), count).prop_map(|mut rules| {
        rules.sort_by_key(|rule| rule.id);
        rules.dedup_by_key(|rule| rule.id);
        rules
    })
}

/// A document of few keys; now and then one key more than once, in a list.
fn document() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        4 => one_of(&LITERALS),
        1 => one_of(&["[]", "{}", "[1, \"a\"]", "[{\"a\": 1}, {\"a\": \"b\"}]"]),
    ];
    let member = (select(&KEYS[..]), value).prop_map(|(key, value)| match key.split_once('.') {
        Some((outer, inner)) => format!("\"{outer}\": {{\"{inner}\": {value}}}"),
        None => format!("\"{key}\": {value}"),
    });
    vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(", ")))
}

fn feedback() -> impl Strategy<Value = Feedback> {
    let score = prop_oneof![
        any::<bool>().prop_map(Score::Bool),
        select(&[0.0, -0.0, 0.5, 1.0, 3.0, -1.0, 1e-40, 1e300, 9.3e9][..]).prop_map(Score::Number),
    ];
    (select(&KEYS[..]), option::of(score), option::of(one_of(&LITERALS)))
        .prop_map(|(key, score, value)| samples::feedback(1, key, score, value.as_deref(), Some("{\"type\": \"api\"}")))
}

fn usage() -> impl Strategy<Value = Usage> {
    let cost = || {
        option::of(select(&["0", "0.5", "0.50", "1", "0.0000000001"][..]))
            .prop_map(|cost| cost.map(|text| text.parse().unwrap()))
    };
    (select(&[0, 1, 3, 1000, i64::MAX][..]), select(&[0, 1, 3][..]), cost(), cost()).prop_map(
        |(total_tokens, prompt_tokens, total_cost, prompt_cost)| Usage {
            total_tokens,
            prompt_tokens,
            total_cost,
            prompt_cost,
            ..Usage::default()
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    let words = (
        select(&["a", "b", "c"][..]),
        select(&["llm", "chain", "a"][..]),
        select(&["success", "success", "error", "pending", "a"][..]),
        option::of(select(&["a", ""][..])),
        vec(one_of(&["a", "b", "c", ""]), 0..4),
    );
    let ids = (1..4_u128, option::of(1..4_u128), option::of(1..4_u128));
    let times = (option::of(0..5_000_000_i64), option::of(0..5_000_000_i64));
    let documents = (option::of(document()), option::of(document()), option::of((document(), document())));
    (words, ids, times, documents, usage()).prop_map(|(words, ids, times, documents, usage)| {
        let (name, run_type, status, error, tags) = words;
        let start = Timestamp(1_000_000);
        let later = |by: Option<i64>| by.map(|by| Timestamp(start.0 + by));
        let extra = documents.2.map(|(metadata, rest)| {
            let rest = rest.strip_suffix('}').unwrap().to_owned();
            let comma = if rest == "{" { "" } else { ", " };
            samples::json(&format!("{rest}{comma}\"metadata\": {metadata}}}"))
        });
        Run {
            id: RunId(Uuid::from_u128(ids.0)),
            trace_id: TraceId(Uuid::from_u128(ids.0)),
            parent_run_id: ids.1.map(|id| RunId(Uuid::from_u128(id))),
            reference_example_id: ids.2.map(Uuid::from_u128),
            name: name.to_owned(),
            run_type: run_type.to_owned(),
            status: Status::from(status),
            error: error.map(str::to_owned),
            tags,
            start_time: start,
            end_time: later(times.0),
            first_token_time: later(times.1),
            inputs: documents.0.map(|text| Payload::Inline(samples::json(&text))),
            outputs: documents.1.map(|text| Payload::Inline(samples::json(&text))),
            extra,
            usage,
            ..samples::documented_run()
        }
    })
}

pub(super) fn stored_run() -> impl Strategy<Value = StoredRun> {
    (run(), vec(feedback(), 0..4)).prop_map(|(run, feedback)| StoredRun { run, feedback, changed_seq: 1 })
}

/// A trace, its root first.
pub(super) fn trace() -> impl Strategy<Value = Vec<StoredRun>> {
    vec(stored_run(), 1..6).prop_map(|mut runs| {
        let root = RunId(Uuid::from_u128(100));
        for (number, stored) in (0..).zip(&mut runs) {
            stored.run.id = RunId(Uuid::from_u128(100 + number));
            stored.run.trace_id = TraceId::from(root);
            stored.run.parent_run_id = (number > 0).then_some(root);
        }
        runs
    })
}
