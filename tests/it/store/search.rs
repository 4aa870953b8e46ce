//! Searching: what a database decides of a filter is what the evaluator decides, and pages follow one another.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use runhook::filter::sql::Clause;
use runhook::filter::{Facts, Filter, Mode};
use runhook::model::feedback::{Feedback, Score};
use runhook::model::id::{RunId, TraceId};
use runhook::model::run::{Fields, PartKind, StoredRun};
use runhook::store::Store;
use runhook::store::runs::Batch;
use runhook::store::search::{Search, Within};

use super::sample::{PROJECT, TENANT, accept, at, feedback, json, part, post, project_id, run_id, uuid};

const RUNS: u32 = 60;
const FILTERS: usize = 400;

/// Words that databases are tempted to see in their own way.
const WORDS: [&str; 13] = [
    "agent",
    "Agent",
    "agent 1",
    "a*b[c]?",
    "a%b_c",
    "\\",
    "é",
    "\u{FFFD}",
    "a\u{0}b",
    "a\u{FFFD}b",
    "",
    "error",
    "pending",
];

/// Scores that are close to one another, far from all others, or none.
const SCORES: [Option<Score>; 14] = [
    None,
    Some(Score::Bool(true)),
    Some(Score::Bool(false)),
    Some(Score::Number(0.0)),
    Some(Score::Number(1.0)),
    Some(Score::Number(2.0)),
    Some(Score::Number(0.3)),
    Some(Score::Number(0.1 + 0.2)),
    Some(Score::Number(-1.5)),
    Some(Score::Number(5e-324)),
    Some(Score::Number(1.659_858_444_735_414e-256)),
    Some(Score::Number(4.360_694_846_688_099e186)),
    Some(Score::Number(-1e300)),
    Some(Score::Number(123_456_789.123_456_78)),
];

const THRESHOLDS: [&str; 13] = [
    "0",
    "1",
    "2",
    "0.3",
    "0.30000000000000004",
    "0.30000000000000001",
    "-1.5",
    "5e-324",
    "1.659_858_444_735_414e-256",
    "4.360_694_846_688_099e186",
    "-1e300",
    "123456789.12345678",
    "null",
];

fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(WORDS.to_vec())
}

fn some_run(number: u32) -> impl Strategy<Value = Fields> {
    let ends = proptest::option::of(0_i64..4);
    let parent = proptest::option::of(0..RUNS);
    (word(), word(), proptest::option::of(word()), 0_i64..20, ends, parent, proptest::option::of(word())).prop_map(
        move |(name, run_type, status, start, took, parent, error)| Fields {
            name: Some(if name.is_empty() { "x".to_owned() } else { name.to_owned() }),
            run_type: Some(if run_type.is_empty() { "x".to_owned() } else { run_type.to_owned() }),
            status: status.filter(|status| !status.is_empty()).map(str::to_owned),
            start_time: Some(at(start)),
            end_time: took.map(|took| at(start + took)),
            error: error.map(str::to_owned),
            parent_run_id: parent.filter(|parent| *parent != number).map(run_id),
            trace_id: Some(TraceId(uuid(1, number % 7))),
            tags: Some(vec!["tag".to_owned()]),
            extra: Some(json(r#"{"metadata": {"n": 1, "yes": true, "word": "1", "none": null}}"#)),
            ..Fields::default()
        },
    )
}

fn some_feedback() -> impl Strategy<Value = Feedback> {
    (0_u32..5000, 0..RUNS, word(), proptest::option::of(word()), 0..SCORES.len()).prop_map(
        |(number, run, key, source, score)| {
            let score = SCORES[score];
            let source = source.map(|word| json(&serde_json::json!({ "type": word }).to_string()));
            let key = if key.is_empty() { "k" } else { key }.to_owned();
            // What a client says of itself must not be taken for the score.
            let extra = Some(json(r#"{"score": 2, "more": {"score": true}}"#));
            let value = extra.clone();
            Feedback { key, source, score, value, extra, ..feedback(number, run_id(run), 0.0) }
        },
    )
}

fn quoted() -> impl Strategy<Value = String> {
    word().prop_map(|word| serde_json::to_string(word).unwrap())
}

fn leaf() -> impl Strategy<Value = String> {
    let text = || proptest::sample::select(vec!["name", "run_type", "status", "feedback_key", "feedback_source"]);
    let id = || proptest::sample::select(vec!["id", "trace_id", "parent_run_id", "session_id"]);
    let equal = || proptest::sample::select(vec!["eq", "neq"]);
    let order = || proptest::sample::select(vec!["eq", "neq", "gt", "gte", "lt", "lte"]);
    let known = || (0..RUNS).prop_map(|number| format!("\"{}\"", run_id(number)));
    let instant = (0_i64..25).prop_map(|second| format!("\"{}\"", at(second)));
    let seconds =
        proptest::sample::select(vec!["0", "1", "2.0000005", "1.5", "\"2s\"", "-1", "1e300", "0.0000001", "null"]);
    prop_oneof![
        6 => (equal(), text(), quoted()).prop_map(|(call, field, word)| format!("{call}({field}, {word})")),
        3 => (text(), proptest::collection::vec(quoted(), 0..3))
            .prop_map(|(field, words)| format!("in({field}, [{}])", words.join(", "))),
        3 => (proptest::sample::select(vec!["like", "notlike"]), text(), "[aA%_\\\\é]{0,4}")
            .prop_map(|(call, field, shape)| format!("{call}({field}, {})", serde_json::to_string(&shape).unwrap())),
        2 => (equal(), id(), known()).prop_map(|(call, field, id)| format!("{call}({field}, {id})")),
        1 => (equal(), proptest::sample::select(vec!["parent_run_id", "end_time", "name", "feedback_source"]))
            .prop_map(|(call, field)| format!("{call}({field}, null)")),
        1 => (id(), known(), known()).prop_map(|(field, one, two)| format!("in({field}, [{one}, null, {two}])")),
        2 => (order(), proptest::sample::select(vec!["start_time", "end_time"]), instant)
            .prop_map(|(call, field, at)| format!("{call}({field}, {at})")),
        3 => (order(), seconds).prop_map(|(call, seconds)| format!("{call}(latency, {seconds})")),
        2 => (equal(), any::<bool>()).prop_map(|(call, yes)| format!("{call}(is_root, {yes})")),
        4 => (order(), proptest::sample::select(THRESHOLDS.to_vec()))
            .prop_map(|(call, score)| format!("{call}(feedback_score, {score})")),
        1 => (order(), quoted(), proptest::sample::select(THRESHOLDS.to_vec()))
            .prop_map(|(call, key, score)| format!("and(eq(feedback_key, {key}), {call}(feedback_score, {score}))")),
        1 => proptest::sample::select(vec![
            "eq(metadata_value, 1)", "eq(metadata_value, \"1\")", "eq(metadata_value, true)", "neq(metadata_key, \"n\")",
            "has(tags, \"tag\")", "eq(error, null)", "search(\"agent\")", "gt(total_tokens, 5)", "eq(metadata.none, null)",
        ])
        .prop_map(str::to_owned),
    ]
}

fn some_filter() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 20, 4, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.join(", "));
        prop_oneof![
            3 => parts().prop_map(|parts| format!("and({parts})")),
            2 => parts().prop_map(|parts| format!("or({parts})")),
            1 => inner.clone().prop_map(|inner| format!("not({inner})")),
        ]
    })
}

async fn found(store: &dyn Store, search: Search) -> BTreeSet<RunId> {
    store.search_runs(TENANT, &search).await.unwrap().into_iter().map(|found| found.run_id).collect()
}

fn all() -> Search {
    Search::of(Within::Project(project_id(PROJECT)), RUNS * 2)
}

async fn filled(store: &dyn Store, runner: &mut TestRunner) -> Vec<StoredRun> {
    let numbers = 0..RUNS;
    let parts = numbers.map(|number| {
        let fields = some_run(number).new_tree(runner).unwrap().current();
        part(PartKind::Post, run_id(number), Some(PROJECT), fields)
    });
    let parts: Vec<_> = parts.collect();
    let feedback = (0..40).map(|_| some_feedback().new_tree(runner).unwrap().current()).collect();
    store.accept(TENANT, Batch { parts, feedback, ..Batch::default() }, at(100)).await.unwrap();
    let ids: Vec<RunId> = (0..RUNS).map(run_id).collect();
    store.runs(TENANT, &ids).await.unwrap()
}

pub(crate) async fn what_a_database_decides_is_what_the_evaluator_decides(store: &dyn Store) {
    let mut runner = TestRunner::deterministic();
    let runs = filled(store, &mut runner).await;
    assert_eq!(runs.len(), RUNS as usize);
    let (mut exact, mut narrowed) = (0, 0);
    for _ in 0..FILTERS {
        let text = some_filter().new_tree(&mut runner).unwrap().current();
        let Ok((filter, _)) = Filter::parse(&text, Mode::Lenient) else { continue };
        let narrowing = filter.narrowing();
        let passing: BTreeSet<RunId> =
            runs.iter().filter(|stored| filter.matches(&Facts::of(stored))).map(|stored| stored.run.id).collect();
        let upper = found(store, Search { run: narrowing.clause.clone(), ..all() }).await;
        assert!(upper.is_superset(&passing), "{text} loses {:?}", passing.difference(&upper));
        assert!(!narrowing.exact || upper == passing, "{text} finds {:?}", upper.difference(&passing));
        exact += usize::from(narrowing.exact);
        narrowed += usize::from(narrowing.clause != Clause::Always);
        let traces: BTreeSet<TraceId> =
            runs.iter().filter(|stored| passing.contains(&stored.run.id)).map(|stored| stored.run.trace_id).collect();
        let in_traces: BTreeSet<RunId> =
            runs.iter().filter(|stored| traces.contains(&stored.run.trace_id)).map(|stored| stored.run.id).collect();
        let upper = found(store, Search { tree: narrowing.clause, ..all() }).await;
        assert!(upper.is_superset(&in_traces) && (!narrowing.exact || upper == in_traces), "tree {text}");
    }
    // Else this would be about nothing.
    assert!(exact > FILTERS / 5 && narrowed > FILTERS / 2, "{exact} exact, {narrowed} narrowed");
}

pub(crate) async fn pages_of_a_search_follow_one_another_in_both_directions(store: &dyn Store) {
    let mut parts: Vec<_> = (1..=5).map(post).collect();
    for part in &mut parts {
        part.fields.start_time = Some(at(1));
    }
    accept(store, parts).await;
    accept(store, vec![post(9)]).await;
    for newest_first in [true, false] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let search = Search { newest_first, after, limit: 2, ..all() };
            let page = store.search_runs(TENANT, &search).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some((last.start_time, last.run_id));
            seen.extend(page.iter().map(|found| found.run_id));
        }
        if newest_first {
            seen.reverse();
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 9].map(run_id), "newest first: {newest_first}");
    }
}

pub(crate) async fn runs_are_searched_by_project_by_trace_and_by_id(store: &dyn Store) {
    let mut parts: Vec<_> = (1..=4).map(post).collect();
    parts[0].fields.trace_id = Some(TraceId(uuid(1, 2)));
    parts[0].fields.parent_run_id = Some(run_id(2));
    accept(store, parts).await;
    let within = async |within| found(store, Search::of(within, 10)).await;
    assert_eq!(within(Within::Project(project_id(PROJECT))).await.len(), 4);
    assert_eq!(within(Within::Trace(TraceId(uuid(1, 2)))).await, BTreeSet::from([run_id(1), run_id(2)]));
    assert_eq!(within(Within::Runs(vec![run_id(3), run_id(77)])).await, BTreeSet::from([run_id(3)]));
}
