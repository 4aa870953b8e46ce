//! The pairing rules, against an evaluator that was written from the table alone: it enumerates rows and shares nothing
//! with the engine, not even the parser.

use proptest::prelude::*;
use runhook::model::feedback::Score;
use runhook::model::run::Run;

use super::passes;
use crate::support::samples::{documented_run, feedback, json};

/// One row of a list.
#[derive(Debug, Clone)]
struct Row {
    key: &'static str,
    value: u8,
}

/// A filter over two lists, as a table would have it.
#[derive(Debug, Clone)]
enum Said {
    And(Vec<Said>),
    Or(Vec<Said>),
    Not(Box<Said>),
    About(Predicate),
}

#[derive(Debug, Clone)]
struct Predicate {
    feedback: bool,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    KeyIs(&'static str),
    KeyIsNot(&'static str),
    KeyIn(Vec<&'static str>),
    KeyNotLike(char),
    ValueIs(u8),
    ValueIsNot(u8),
    ValueIn(Vec<u8>),
    ValueAbove(u8),
}

const KEYS: [&str; 3] = ["alpha", "beta", "gamma"];

fn text(said: &Said) -> String {
    let all = |parts: &[Said]| parts.iter().map(text).collect::<Vec<_>>().join(", ");
    match said {
        Said::And(parts) => format!("and({})", all(parts)),
        Said::Or(parts) => format!("or({})", all(parts)),
        Said::Not(inner) => format!("not({})", text(inner)),
        Said::About(Predicate { feedback, what }) => {
            let (key, value) =
                if *feedback { ("feedback_key", "feedback_score") } else { ("metadata_key", "metadata_value") };
            match what {
                What::KeyIs(name) => format!("eq({key}, \"{name}\")"),
                What::KeyIsNot(name) => format!("neq({key}, \"{name}\")"),
                What::KeyIn(names) => format!("in({key}, {names:?})"),
                What::KeyNotLike(initial) => format!("notlike({key}, \"{initial}%\")"),
                What::ValueIs(number) => format!("eq({value}, {number})"),
                What::ValueIsNot(number) => format!("neq({value}, {number})"),
                What::ValueIn(numbers) => format!("in({value}, {numbers:?})"),
                What::ValueAbove(number) => format!("gt({value}, {number})"),
            }
        }
    }
}

/// The table, read aloud.
fn brute(said: &Said, metadata: &[Row], feedback: &[Row]) -> bool {
    match said {
        Said::Or(parts) => parts.iter().any(|part| brute(part, metadata, feedback)),
        Said::Not(inner) => !brute(inner, metadata, feedback),
        Said::About(_) => brute(&Said::And(vec![said.clone()]), metadata, feedback),
        Said::And(parts) => {
            let of = |about_feedback: bool| -> Vec<&What> {
                let direct = parts.iter().filter_map(|part| match part {
                    Said::About(predicate) if predicate.feedback == about_feedback => Some(&predicate.what),
                    _ => None,
                });
                direct.collect()
            };
            let mut others = parts.iter().filter(|part| !matches!(part, Said::About(_)));
            scope(&of(false), metadata)
                && scope(&of(true), feedback)
                && others.all(|part| brute(part, metadata, feedback))
        }
    }
}

fn scope(predicates: &[&What], rows: &[Row]) -> bool {
    let mut forbidden_rows = 0;
    let mut candidates: Vec<&Row> = rows.iter().collect();
    let mut somebody_is_looked_for = false;
    for what in predicates {
        match what {
            What::KeyIs(name) => candidates.retain(|row| row.key == *name),
            What::KeyIn(names) => candidates.retain(|row| names.contains(&row.key)),
            What::ValueIs(number) => candidates.retain(|row| row.value == *number),
            What::ValueIn(numbers) => candidates.retain(|row| numbers.contains(&row.value)),
            What::ValueAbove(number) => candidates.retain(|row| row.value > *number),
            What::KeyIsNot(name) => {
                forbidden_rows += rows.iter().filter(|row| row.key == *name).count();
                continue;
            }
            What::KeyNotLike(initial) => {
                forbidden_rows += rows.iter().filter(|row| row.key.starts_with(*initial)).count();
                continue;
            }
            What::ValueIsNot(_) => continue,
        }
        somebody_is_looked_for = true;
    }
    for what in predicates {
        if let What::ValueIsNot(number) = what {
            if somebody_is_looked_for {
                candidates.retain(|row| row.value != *number);
            } else {
                forbidden_rows += rows.iter().filter(|row| row.value == *number).count();
            }
        }
    }
    forbidden_rows == 0 && (!somebody_is_looked_for || !candidates.is_empty())
}

fn run_with(metadata: &[Row]) -> Run {
    // A metadata key that comes several times is a list.
    let entries: Vec<String> = KEYS
        .iter()
        .filter_map(|key| {
            let values: Vec<String> =
                metadata.iter().filter(|row| row.key == *key).map(|row| row.value.to_string()).collect();
            (!values.is_empty()).then(|| format!("\"{key}\":[{}]", values.join(",")))
        })
        .collect();
    let extra = json(&format!("{{\"metadata\":{{{}}}}}", entries.join(",")));
    Run { extra: Some(extra), ..documented_run() }
}

fn engine(said: &Said, metadata: &[Row], rows: &[Row]) -> bool {
    let feedback: Vec<_> =
        rows.iter().map(|row| feedback(1, row.key, Some(Score::Number(row.value.into())), None, None)).collect();
    passes(&text(said), &run_with(metadata), &feedback)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (proptest::sample::select(KEYS.to_vec()), 0u8..4).prop_map(|(key, value)| Row { key, value });
    proptest::collection::vec(row, 0..4)
}

fn said() -> impl Strategy<Value = Said> {
    let key = || proptest::sample::select(KEYS.to_vec());
    let what = prop_oneof![
        key().prop_map(What::KeyIs),
        key().prop_map(What::KeyIsNot),
        proptest::collection::vec(key(), 0..3).prop_map(What::KeyIn),
        proptest::sample::select(vec!['a', 'b', 'g']).prop_map(What::KeyNotLike),
        (0u8..4).prop_map(What::ValueIs),
        (0u8..4).prop_map(What::ValueIsNot),
        proptest::collection::vec(0u8..4, 0..3).prop_map(What::ValueIn),
        (0u8..4).prop_map(What::ValueAbove),
    ];
    let leaf = (any::<bool>(), what).prop_map(|(feedback, what)| Said::About(Predicate { feedback, what }));
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            3 => proptest::collection::vec(inner.clone(), 1..5).prop_map(Said::And),
            1 => proptest::collection::vec(inner.clone(), 1..4).prop_map(Said::Or),
            1 => inner.prop_map(|inner| Said::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_the_table_on_any_filter_and_any_rows(said in said(), metadata in rows(), feedback in rows()) {
        prop_assert_eq!(engine(&said, &metadata, &feedback), brute(&said, &metadata, &feedback), "{}", text(&said));
    }
}

/// A filter, metadata entries, and whether it holds.
type Line<'l> = (&'l str, &'l [(&'static str, u8)], bool);

#[test]
fn each_line_of_the_table_means_what_it_says() {
    let has = |entries: &[(&'static str, u8)]| -> Vec<Row> {
        entries.iter().map(|(key, value)| Row { key, value: *value }).collect()
    };
    let both = "and(eq(metadata_key, \"alpha\"), eq(metadata_value, 1))";
    let other = "and(eq(metadata_key, \"alpha\"), neq(metadata_value, 1))";
    let absent = "neq(metadata_key, \"alpha\")";
    let neither = "and(neq(metadata_key, \"alpha\"), neq(metadata_value, 1))";
    let elsewhere = "and(neq(metadata_key, \"alpha\"), eq(metadata_value, 1))";
    let listed = "and(in(metadata_key, [\"alpha\", \"beta\"]), eq(metadata_value, 1))";
    let value = "eq(metadata_value, 1)";
    let twice = "and(eq(metadata_key, \"alpha\"), eq(metadata_key, \"beta\"))";
    let scoped = "and(and(eq(metadata_key, \"alpha\"), eq(metadata_value, 1)), and(eq(metadata_key, \"beta\")))";
    let cases: &[Line] = &[
        (both, &[("alpha", 1)], true),
        (both, &[("alpha", 2), ("beta", 1)], false),
        (other, &[("alpha", 2)], true),
        (other, &[("alpha", 1)], false),
        (other, &[("beta", 2)], false),
        (other, &[], false),
        (absent, &[], true),
        (absent, &[("beta", 1)], true),
        (absent, &[("alpha", 1), ("beta", 1)], false),
        (neither, &[], true),
        (neither, &[("beta", 2)], true),
        (neither, &[("beta", 1)], false),
        (neither, &[("alpha", 2)], false),
        (elsewhere, &[("beta", 1)], true),
        (elsewhere, &[("beta", 1), ("alpha", 2)], false),
        (elsewhere, &[("beta", 2)], false),
        (listed, &[("beta", 1)], true),
        (listed, &[("gamma", 1), ("beta", 2)], false),
        (value, &[("gamma", 1)], true),
        (value, &[("gamma", 2)], false),
        (twice, &[("alpha", 1), ("beta", 1)], false),
        (scoped, &[("alpha", 1), ("beta", 2)], true),
        (scoped, &[("alpha", 1)], false),
    ];
    for (text, rows, expected) in cases {
        assert_eq!(passes(text, &run_with(&has(rows)), &[]), *expected, "{text} on {rows:?}");
    }
}

#[test]
fn two_lists_in_one_and_are_independent() {
    let text =
        "and(eq(metadata_key, \"alpha\"), eq(feedback_key, \"beta\"), eq(metadata_value, 1), eq(feedback_score, 2))";
    let run = run_with(&[Row { key: "alpha", value: 1 }]);
    let score = |number: f64| [feedback(1, "beta", Some(Score::Number(number)), None, None)];
    assert!(passes(text, &run, &score(2.0)));
    assert!(!passes(text, &run, &score(1.0)));
}

#[test]
fn a_negative_pattern_is_about_all_rows_unless_one_is_picked() {
    let mut run = documented_run();
    run.extra = Some(json(r#"{"metadata":{"a":"one two","b":"three"}}"#));
    assert!(!passes("notlike(metadata_value, \"%two%\")", &run, &[]));
    assert!(passes("notlike(metadata_value, \"%four%\")", &run, &[]));
    assert!(passes("and(eq(metadata_key, \"b\"), notlike(metadata_value, \"%two%\"))", &run, &[]));
    assert!(!passes("and(eq(metadata_key, \"a\"), notlike(metadata_value, \"%two%\"))", &run, &[]));
}
