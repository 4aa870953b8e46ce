//! What holds for every text.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use runhook::filter::report::{Style, render};
use runhook::filter::{Facts, Filter, MAX_BYTES, MAX_DEPTH, Mode};
use runhook::model::problem::Severity;

use crate::support::samples::{feedback, run_with};

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

fn quoted() -> impl Strategy<Value = String> {
    let text =
        prop_oneof![any::<String>(), "[a-z%_\\\\ ]{0,8}", one_of(&["pending", "2024-05-06", "5s", "{\"a\":1}", ""])];
    (text, any::<bool>()).prop_map(|(text, single)| {
        if single {
            format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
        } else {
            serde_json::to_string(&text).unwrap()
        }
    })
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => quoted(),
        2 => any::<f64>().prop_filter("JSON has no such number", |number| number.is_finite()).prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_filter("JSON has no such number", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        2 => one_of(&["true", "False", "null", "None", "bare", "5s", "1.5h", "2024-01-02", "0", "-0", "1e-40", "123456789012345678901234567890"]),
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => one_of(&[
            "id", "trace_id", "parent_run_id", "thread_id", "name", "run_type", "status", "error", "is_root", "start_time",
            "end_time", "first_token_time", "latency", "tags", "total_tokens", "total_cost", "execution_order", "run_count",
            "feedback_key", "feedback_score", "feedback_value", "feedback_source", "feedback_comment", "metadata_key",
            "metadata_value", "input_key", "input_value", "output_key", "output_value", "metadata", "extra", "inputs",
        ]),
        1 => "(metadata|extra|inputs|outputs|extra\\.metadata)(\\.[a-zA-Z0-9_-]{1,5}){1,3}",
        1 => "[a-z .é\\\\]{0,6}".prop_map(|path| serde_json::to_string(&format!("metadata.{path}")).unwrap()),
    ]
}

fn written() -> impl Strategy<Value = String> {
    let comparison = (
        one_of(&["eq", "neq", "gt", "gte", "lt", "lte", "like", "notlike", "nlike", "has", "exists", "search", "EQ"]),
        field(),
        literal(),
    );
    let leaf = prop_oneof![
        6 => comparison.prop_map(|(name, field, literal)| format!("{name}({field}, {literal})")),
        2 => (field(), proptest::collection::vec(literal(), 0..4))
            .prop_map(|(field, items)| format!("in({field}, [{}])", items.join(","))),
        1 => quoted().prop_map(|text| format!("search({text})")),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let parts = proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.join(" ,\n"));
        prop_oneof![
            (one_of(&["and", "or", "AND"]), parts).prop_map(|(name, parts)| format!("{name}( {parts} )")),
            inner.prop_map(|inner| format!("not({inner})")),
        ]
    })
}

fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        one_of(&[
            "and", "eq", "in", "(", ")", "[", "]", ",", "\"", "'", "\\", "\\u", "name", "5s", "5", ".", "-", "{", "}",
            "=", " "
        ]),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn parses_soundly(text: &str) -> Result<(), TestCaseError> {
    match Filter::parse(text, Mode::Strict) {
        Ok((filter, warnings)) => {
            prop_assert!(warnings.iter().all(|problem| problem.severity == Severity::Warning));
            let printed = filter.to_string();
            let again = Filter::parse(&printed, Mode::Lenient).map(|(filter, _)| filter);
            prop_assert_eq!(again.as_ref(), Ok(&filter), "{} printed as {}", text, printed);
            let mut stored = run_with(1, Some(r#"{"a":[{"b":1},null,"x"]}"#));
            stored.feedback.push(feedback(1, "k", None, Some("{}"), Some("[]")));
            let facts = Facts::of(&stored);
            prop_assert_eq!(filter.matches(&facts), again.is_ok_and(|again| again.matches(&facts)));
        }
        Err(problems) => {
            prop_assert!(problems.iter().any(|problem| problem.severity == Severity::Error));
            for problem in &problems {
                prop_assert!(text.get(problem.span.clone()).is_some(), "{:?} in {:?}", problem, text);
            }
            prop_assert!(render("filter", text, &problems, Style::Plain).contains("error["));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_parses_prints_to_what_parses_to_the_same(text in written()) {
        parses_soundly(&text)?;
    }

    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        parses_soundly(&text)?;
    }

    #[test]
    fn any_soup_of_tokens_gets_an_answer(text in soup()) {
        parses_soundly(&text)?;
    }
}

#[test]
fn generated_filters_mostly_parse() {
    // Else the law above would be about nothing.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sound = (0..400).filter(|_| {
        let text = written().new_tree(&mut runner).unwrap().current();
        Filter::parse(&text, Mode::Lenient).is_ok()
    });
    assert!(sound.count() > 60);
}

#[test]
fn length_and_depth_have_limits() {
    let long = format!("eq(name, \"{}\")", "x".repeat(MAX_BYTES));
    assert_eq!(Filter::parse(&long, Mode::Lenient).unwrap_err()[0].code, "too-long");
    let nested = |depth: usize| format!("{}eq(name, \"a\"){}", "not(".repeat(depth - 1), ")".repeat(depth - 1));
    assert!(Filter::parse(&nested(MAX_DEPTH), Mode::Lenient).is_ok());
    assert_eq!(Filter::parse(&nested(MAX_DEPTH + 1), Mode::Lenient).unwrap_err()[0].code, "too-deep");
}
