//! What is said about a filter that is wrong.

use runhook::filter::report::{Style, render};
use runhook::filter::{Filter, Mode};

fn refused(text: &str) -> String {
    let problems = Filter::parse(text, Mode::Lenient).unwrap_err();
    render("filter", text, &problems, Style::Plain)
}

fn first(text: &str) -> (&'static str, String) {
    let problem = Filter::parse(text, Mode::Lenient).unwrap_err().remove(0);
    (problem.code, problem.hint.unwrap_or_default())
}

#[test]
fn all_problems_are_told_at_once_each_with_its_place_and_a_way_out() {
    let text = "and(eq(nmae, \"agent\"), gt(latency, \"fast\"),\n    equals(status, \"error\"), eq(total_tokens, \"5\"), lt(start_time, \"soon\"))";
    insta::assert_snapshot!(refused(text), @r#"
    error[unknown-field]: there is no field `nmae`
     --> filter:1:8
      |
    1 | and(eq(nmae, "agent"), gt(latency, "fast"),
      |        ^^^^
      |
      = help: did you mean `name`?

    error[wrong-type]: `latency` is a duration, and this is text
     --> filter:1:36
      |
    1 | and(eq(nmae, "agent"), gt(latency, "fast"),
      |                                    ^^^^^^
      |
      = help: write seconds, or a duration such as "5s", "500ms" or "1m30s"

    error[unknown-function]: there is no function `equals`
     --> filter:2:5
      |
    2 |     equals(status, "error"), eq(total_tokens, "5"), lt(start_time, "soon"))
      |     ^^^^^^
      |
      = help: write eq(field, value)

    error[wrong-type]: `total_tokens` is a number, and this is text
     --> filter:2:47
      |
    2 |     equals(status, "error"), eq(total_tokens, "5"), lt(start_time, "soon"))
      |                                               ^^^
      |
      = help: write it without quotes: 5

    error[bad-time]: this is not a time
     --> filter:2:68
      |
    2 |     equals(status, "error"), eq(total_tokens, "5"), lt(start_time, "soon"))
      |                                                                    ^^^^^^
      |
      = help: write ISO 8601, such as "2026-11-22T08:30:00Z"; no offset means UTC
    "#);
}

#[test]
fn an_expression_of_another_language_is_told_how_to_write_it_here() {
    insta::assert_snapshot!(refused("status = \"error\" && latency > 5"), @r#"
    error[not-a-condition]: a condition is expected here
     --> filter:1:1
      |
    1 | status = "error" && latency > 5
      | ^^^^^^
      |
      = help: compare the field with something, as in eq(status, "value")

    error[stray-text]: `=` is not part of the language
     --> filter:1:8
      |
    1 | status = "error" && latency > 5
      |        ^
      |
      = help: compare with a call: eq(field, value)

    error[stray-text]: `&&` is not part of the language
     --> filter:1:18
      |
    1 | status = "error" && latency > 5
      |                  ^^
      |
      = help: join with a call: and(first, second)

    error[stray-text]: `>` is not part of the language
     --> filter:1:29
      |
    1 | status = "error" && latency > 5
      |                             ^
      |
      = help: compare with a call: lt, lte, gt or gte, as in gt(latency, 5)
    "#);
}

#[test]
fn a_misspelt_name_gets_the_nearest_one() {
    for (text, code, hint) in [
        ("eq(nmae, \"a\")", "unknown-field", "did you mean `name`?"),
        ("eq(feedback_scroe, 1)", "unknown-field", "did you mean `feedback_score`?"),
        ("eq(metdata.env, 1)", "unknown-field", "did you mean `metadata.env`?"),
        ("eq(run_id, \"a\")", "unknown-field", "the run's own id is `id`"),
        ("eq(\"agent\", name)", "unknown-field", "the field comes first: `name`, then the value"),
        ("eqq(name, \"a\")", "unknown-function", "did you mean `eq`?"),
        (
            "contains(name, \"a\")",
            "unknown-function",
            "write like(field, \"%text%\"), or search(field, \"text\") to ignore case",
        ),
        ("not_in(name, [\"a\"])", "unknown-function", "write not(in(field, [...]))"),
    ] {
        assert_eq!(first(text), (code, hint.to_owned()), "{text}");
    }
}

#[test]
fn every_kind_of_mistake_has_a_name_of_its_own() {
    for (text, code) in [
        ("eq(name)", "wrong-arity"),
        ("and()", "wrong-arity"),
        ("not(eq(name, \"a\"), eq(name, \"b\"))", "wrong-arity"),
        ("search(\"a\", \"b\", \"c\")", "wrong-arity"),
        ("eq(name, 5)", "wrong-type"),
        ("eq(is_root, \"true\")", "wrong-type"),
        ("eq(total_tokens, \"5\")", "wrong-type"),
        ("gt(latency, null)", "wrong-type"),
        ("in(name, \"a\")", "wrong-type"),
        ("eq(name, [\"a\"])", "wrong-type"),
        ("eq(metadata_value, 5s)", "wrong-type"),
        ("eq(metadata_key, null)", "wrong-type"),
        ("eq(metadata, \"a\")", "wrong-type"),
        ("eq(name, eq(name, \"a\"))", "wrong-type"),
        ("gt(name, \"a\")", "wrong-operator"),
        ("like(start_time, \"2024%\")", "wrong-operator"),
        ("exists(name, \"a\")", "wrong-operator"),
        ("has(name, \"a\")", "wrong-operator"),
        ("gt(start_time, \"yesterday\")", "bad-time"),
        ("has(metadata, '{\"a\": }')", "bad-json"),
        ("search(\" \")", "empty-search"),
        ("and(name, eq(name, \"a\"))", "not-a-condition"),
        ("eq(eq(name, \"a\"), \"b\")", "not-a-field"),
        ("name", "not-a-condition"),
        ("eq(thread_id, {thread_id})", "stray-text"),
        ("eq(name, \"a\" \"b\")", "missing-comma"),
        ("eq(name, \"a\"", "unclosed"),
        ("eq(name, \"a", "unclosed-text"),
        ("eq(, \"a\")", "missing-value"),
        ("eq(name, \"a\"), eq(name, \"b\")", "leftover"),
    ] {
        assert_eq!(first(text).0, code, "{text}");
    }
}

#[test]
fn what_cannot_be_true_is_accepted_with_a_warning() {
    for (text, code) in [
        ("eq(status, \"failed\")", "unlikely-value"),
        ("eq(run_type, \"LLM\")", "unlikely-value"),
        ("in(name, [])", "never-true"),
        ("eq(id, \"not an id\")", "never-true"),
        ("and(eq(metadata_key, \"a\"), eq(metadata_key, \"b\"))", "never-true"),
        ("eq(run_count, 5)", "thread-field"),
        ("eq(thread_id, \"{thread_id}\")", "placeholder"),
        ("gt(start_time, \"${since}\")", "placeholder"),
    ] {
        let (_, problems) = Filter::parse(text, Mode::Lenient).unwrap();
        assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code], "{text}");
    }
}

#[test]
fn a_flood_of_problems_is_cut() {
    let text = "eq(nmae, \"a\") ".repeat(200);
    assert!(Filter::parse(&format!("and({})", text.replace(") ", "), ")), Mode::Lenient).unwrap_err().len() <= 25);
}
