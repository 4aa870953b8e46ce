//! What each operator says about each field.

use runhook::filter::{Facts, Filter, Mode, Needs};
use runhook::model::feedback::{Feedback, Score};
use runhook::model::id::RunId;
use runhook::model::run::{BlobKey, BlobRef, Payload, Run, Status};
use rust_decimal::Decimal;

use super::{filter, passes};
use crate::support::samples::{at, documented_run, feedback, json};

fn run() -> Run {
    let mut run = Run {
        parent_run_id: Some(RunId(uuid::Uuid::from_u128(0xabc))),
        name: "ChatOpenAI_v2".into(),
        run_type: "llm".into(),
        start_time: at("2024-01-01T00:00:00Z"),
        end_time: Some(at("2024-01-01T00:00:02.5Z")),
        first_token_time: Some(at("2024-01-01T00:00:00.5Z")),
        status: Status::Error,
        error: Some("Timeout: no answer".into()),
        tags: vec!["prod".into(), "length:short".into()],
        inputs: Some(Payload::Inline(json(
            r#"{"messages":[{"role":"user","content":"Classify this Image"},{"role":"system","content":null}],"k":3}"#,
        ))),
        outputs: Some(Payload::Blob(BlobRef {
            key: BlobKey("b".into()),
            bytes: 1_000_000,
            extract: json(r#"{"generations":[[{"text":"a cat, probably"}]]}"#),
        })),
        extra: Some(json(
            r#"{"metadata":{"environment":"production","thread_id":"t-1","ok":true,"score":0.75,"n":7,"nothing":null,
                "deep":{"a":1}},"invocation_params":{"model_name":"gpt-4","stop":["x","y"]}}"#,
        )),
        ..documented_run()
    };
    run.usage.total_tokens = 5001;
    run.usage.prompt_tokens = 5000;
    run.usage.completion_tokens = 1;
    run.usage.total_cost = Some(Decimal::new(3, 1));
    run
}

fn judged() -> Vec<Feedback> {
    let mut first = feedback(1, "user_score", Some(Score::Bool(true)), None, Some(r#"{"type":"app"}"#));
    first.comment = Some("Well done".into());
    vec![first, feedback(2, "outcome", None, Some("\"halted\""), Some(r#"{"type":"api"}"#))]
}

fn check(cases: &[(&str, bool)]) {
    let (run, feedback) = (run(), judged());
    for (text, expected) in cases {
        assert_eq!(passes(text, &run, &feedback), *expected, "{text}");
    }
}

#[test]
fn text_is_compared_whole_and_with_its_case() {
    check(&[
        ("", true),
        (" \n ", true),
        ("eq(name, \"ChatOpenAI_v2\")", true),
        ("eq(name, 'chatopenai_v2')", false),
        ("eq(name, ChatOpenAI_v2)", true),
        ("EQ(NAME, \"ChatOpenAI_v2\")", true),
        ("eq(\"name\", \"ChatOpenAI_v2\")", true),
        ("neq(name, \"other\")", true),
        ("in(run_type, [\"llm\", \"tool\"])", true),
        ("in(run_type, [])", false),
        ("like(name, \"Chat%\")", true),
        ("like(name, \"chat%\")", false),
        ("like(name, \"Chat______\\_v_\")", true),
        ("notlike(name, \"Chat%\")", false),
        ("nlike(name, \"Other%\")", true),
        ("search(name, \"openai\")", true),
        ("eq(status, \"error\")", true),
        ("eq(thread_id, \"t-1\")", true),
    ]);
}

#[test]
fn ids_are_ids_in_any_spelling() {
    check(&[
        ("eq(id, \"6ab80f10-d79c-4fa2-b441-922ed6feb630\")", true),
        ("eq(id, \"6AB80F10D79C4FA2B441922ED6FEB630\")", true),
        ("eq(id, 6ab80f10-d79c-4fa2-b441-922ed6feb630)", true),
        ("in(session_id, [\"x\", \"6a3be6a2-9a8c-4fc8-b4c6-a8983b286cc5\"])", true),
        ("eq(project_id, \"6a3be6a2-9a8c-4fc8-b4c6-a8983b286cc5\")", true),
        ("eq(parent_run_id, null)", false),
        ("neq(parent_run_id, null)", true),
        ("eq(reference_example_id, null)", true),
        ("neq(reference_example_id, \"6ab80f10-d79c-4fa2-b441-922ed6feb630\")", true),
        ("eq(is_root, false)", true),
        ("neq(is_root, True)", true),
    ]);
}

#[test]
fn times_are_instants_and_durations_are_seconds() {
    check(&[
        ("gte(start_time, \"2024-01-01\")", true),
        ("gt(start_time, \"2024-01-01\")", false),
        ("eq(start_time, \"2024-01-01T01:00:00+01:00\")", true),
        ("eq(start_time, 2024-01-01T00:00:00)", true),
        ("lt(end_time, \"2024-01-01T00:00:02.500001Z\")", true),
        ("eq(end_time, null)", false),
        ("eq(latency, 2.5)", true),
        ("gt(latency, \"2s\")", true),
        ("lte(latency, \"2500ms\")", true),
        ("lt(latency, 3s)", true),
        ("gt(latency, \"1m\")", false),
        ("lte(first_token_latency, 0.5)", true),
        ("lte(first_token_time, 0.5)", true),
        ("gt(first_token_time, \"2024-01-01T00:00:00Z\")", true),
    ]);
}

#[test]
fn tags_have_members() {
    check(&[
        ("has(tags, \"prod\")", true),
        ("has(tags, \"pro\")", false),
        ("eq(tags, \"prod\")", true),
        ("neq(tags, \"prod\")", false),
        ("neq(tags, \"dev\")", true),
        ("not(has(tags, \"dev\"))", true),
        ("in(tags, [\"dev\", \"prod\"])", true),
        ("like(tags, \"length:%\")", true),
        ("notlike(tags, \"length:%\")", false),
        ("search(tags, \"SHORT\")", true),
        ("eq(tags, null)", false),
        ("neq(tags, null)", true),
    ]);
}

#[test]
fn an_error_is_text_or_a_yes_or_no() {
    check(&[
        ("neq(error, null)", true),
        ("eq(error, true)", true),
        ("eq(error, false)", false),
        ("neq(error, false)", true),
        ("eq(error, null)", false),
        ("like(error, \"Timeout%\")", true),
        ("search(error, \"TIMEOUT\")", true),
    ]);
}

#[test]
fn numbers_compare_as_numbers() {
    check(&[
        ("gt(total_tokens, 5000)", true),
        ("eq(prompt_tokens, 5e3)", true),
        ("in(completion_tokens, [1, 2])", true),
        ("eq(total_cost, 0.3)", true),
        ("gt(total_cost, 0.3)", false),
        ("eq(prompt_cost, null)", true),
        ("gt(prompt_cost, 0)", false),
        ("eq(execution_order, null)", true),
        ("eq(run_count, 1)", true),
        ("eq(run_count, N)", false),
    ]);
}

#[test]
fn metadata_keeps_its_types() {
    check(&[
        ("and(eq(metadata_key, \"ok\"), eq(metadata_value, true))", true),
        ("and(eq(metadata_key, \"ok\"), eq(metadata_value, \"true\"))", false),
        ("and(eq(metadata_key, \"score\"), gte(metadata_value, 0.5))", true),
        ("and(eq(metadata_key, \"score\"), gte(metadata_value, \"0.5\"))", false),
        ("and(eq(metadata_key, \"n\"), eq(metadata_value, 7.0))", true),
        ("and(eq(metadata_key, \"nothing\"), eq(metadata_value, null))", true),
        ("and(eq(metadata_key, \"n\"), neq(metadata_value, null))", true),
        ("and(eq(metadata_key, \"deep.a\"), eq(metadata_value, 1))", true),
        ("has(metadata, '{\"environment\": \"production\"}')", true),
        ("has(metadata, '{\"environment\": \"production\", \"n\": 7}')", true),
        ("has(metadata, '{\"environment\": \"production\", \"n\": 8}')", false),
        ("has(\"metadata\", '{\"n\": \"7\"}')", false),
        ("has(metadata, '{\"deep\": {\"a\": 1}}')", true),
        ("has(metadata, \"environment\")", true),
        ("exists(metadata, \"environment\")", true),
        ("exists(metadata, \"deep\")", true),
        ("exists(metadata, \"absent\")", false),
        ("neq(metadata, null)", true),
    ]);
}

#[test]
fn dotted_paths_drop_array_steps_and_pass_if_any_value_does() {
    check(&[
        ("eq(metadata.environment, \"production\")", true),
        ("eq(extra.metadata.thread_id, \"t-1\")", true),
        ("eq(extra.metadata.absent, null)", true),
        ("neq(metadata.absent, \"x\")", true),
        ("has(extra.invocation_params.model_name, \"gpt-4\")", true),
        ("has(extra.invocation_params.stop, \"y\")", true),
        ("neq(extra.invocation_params.stop, \"y\")", false),
        ("has(extra.invocation_params, '{\"model_name\": \"gpt-4\"}')", true),
        ("like(inputs.messages.content, \"%Image\")", true),
        ("eq(inputs.k, 3)", true),
        ("gt(inputs.k, 3)", false),
        ("in(inputs.messages.role, [\"system\"])", true),
        ("like(outputs.generations.text, \"%cat%\")", true),
        ("eq(\"metadata.environment\", \"production\")", true),
        ("search(inputs, \"classify THIS\")", true),
        ("search(inputs, \"cat\")", false),
        ("exists(inputs, \"messages.content\")", true),
    ]);
}

#[test]
fn search_finds_all_words_anywhere() {
    check(&[
        ("search(\"image classif\")", true),
        ("search(\"CAT chatopenai timeout image\")", true),
        ("search(\"image dog\")", false),
        ("search(\"messages\")", false),
        ("search(\"3\")", true),
    ]);
}

#[test]
fn feedback_is_a_score_a_value_a_source_and_a_comment() {
    check(&[
        ("and(eq(feedback_key, \"user_score\"), eq(feedback_score, 1))", true),
        ("and(eq(feedback_key, \"user_score\"), eq(feedback_score, true))", true),
        ("and(eq(feedback_key, \"user_score\"), lt(feedback_score, 0.5))", false),
        ("and(eq(feedback_key, \"outcome\"), eq(feedback_value, \"halted\"))", true),
        ("and(eq(feedback_key, \"outcome\"), eq(feedback_score, null))", true),
        ("and(eq(feedback_key, \"outcome\"), neq(feedback_score, null))", false),
        ("and(eq(feedback_source, \"app\"), search(feedback_comment, \"WELL\"))", true),
        ("and(eq(feedback_source, \"api\"), search(feedback_comment, \"WELL\"))", false),
        ("has(feedback_key, \"outcome\")", true),
        ("has(feedback_key, \"other\")", false),
    ]);
}

#[test]
fn a_run_without_anything_is_null_everywhere() {
    let bare = Run { end_time: None, status: Status::Pending, error: Some(String::new()), ..documented_run() };
    for (text, expected) in [
        ("eq(end_time, null)", true),
        ("eq(latency, null)", true),
        ("gt(latency, 0)", false),
        ("lt(latency, 0)", false),
        ("neq(latency, 5)", true),
        ("eq(error, null)", true),
        ("eq(tags, null)", true),
        ("eq(thread_id, null)", true),
        ("in(thread_id, [null, \"a\"])", true),
        ("neq(thread_id, \"a\")", true),
        ("notlike(error, \"%\")", true),
        ("eq(inputs, null)", true),
        ("neq(outputs, null)", false),
        ("eq(metadata, null)", true),
        ("neq(metadata_key, \"a\")", true),
        ("has(metadata, '{}')", true),
        ("eq(is_root, true)", true),
        ("eq(execution_order, 1)", true),
        ("search(\"search\")", true),
    ] {
        assert_eq!(passes(text, &bare, &[]), expected, "{text}");
    }
}

#[test]
fn a_body_that_cannot_be_read_into_a_tree_holds_nothing() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let run = Run { inputs: Some(Payload::Inline(json(&deep))), ..documented_run() };
    assert!(!passes("search(inputs, \"x\")", &run, &[]));
    let facts = Facts::new(&run, &[]);
    assert!(filter("eq(input_key, null_key)").needs().body);
    assert!(!filter("neq(inputs, null)").matches(&facts));
}

#[test]
fn a_filter_says_what_it_looks_at() {
    let needs = |text: &str| filter(text).needs();
    let nothing = Needs::default();
    assert_eq!(needs("and(eq(name, \"a\"), gt(latency, 5), has(tags, \"x\"), neq(error, null))"), nothing);
    for text in [
        "search(\"a\")",
        "eq(metadata_key, \"a\")",
        "eq(inputs.a, 1)",
        "eq(thread_id, \"a\")",
        "exists(metadata, \"a\")",
    ] {
        assert_eq!(needs(text), Needs { body: true, ..nothing }, "{text}");
    }
    assert_eq!(needs("or(eq(name, \"a\"), not(eq(feedback_key, \"a\")))"), Needs { feedback: true, ..nothing });
    assert_eq!(needs("gt(total_cost, 1)"), Needs { usage: true, ..nothing });
    assert_eq!(needs("gt(prompt_tokens, 1)"), Needs { usage: true, ..nothing });
}

#[test]
fn printing_gives_one_spelling_for_each_meaning() {
    for (written, printed) in [
        ("AND( eq('name' ,'it''s' ) )", None),
        ("And(Eq('name', 'it\\'s'))", Some("and(eq(name, \"it's\"))")),
        ("eq(tags, 'a')", Some("has(tags, \"a\")")),
        ("has(feedback_key, 'a')", Some("eq(feedback_key, \"a\")")),
        ("has(metadata, 'a')", Some("exists(metadata, \"a\")")),
        ("has(metadata, '{ \"a\" : 1 }')", Some("has(metadata, \"{\\\"a\\\":1}\")")),
        ("gt(latency, '1m30s')", Some("gt(latency, 90)")),
        ("eq(error, false)", Some("eq(error, null)")),
        ("nlike(name, '50\\%')", Some("notlike(name, \"50\\\\%\")")),
        ("lt(start_time, '2024-01-01')", Some("lt(start_time, \"2024-01-01T00:00:00.000000Z\")")),
        ("eq(extra.metadata.a, None)", Some("eq(metadata.a, null)")),
        ("eq('metadata.a b', 1.50)", Some("eq(\"metadata.a b\", 1.5)")),
        ("eq(id, 6AB80F10D79C4FA2B441922ED6FEB630)", Some("eq(id, \"6ab80f10-d79c-4fa2-b441-922ed6feb630\")")),
    ] {
        let read = Filter::parse(written, Mode::Lenient).ok().map(|(filter, _)| filter.to_string());
        assert_eq!(read.as_deref(), printed, "{written}");
    }
}
