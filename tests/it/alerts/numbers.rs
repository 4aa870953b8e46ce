//! What is counted, and in which minute.

use std::time::Duration;

use serde_json::{Value, json};

use super::{House, rule, webhook, with};

const SINK: &str = "http://127.0.0.1:45999/hook";

async fn made(house: &House, rule: &Value) -> Value {
    house.alert(rule, &webhook(SINK)).await
}

fn told(state: &str, value: f64) -> (String, Value) {
    (state.to_owned(), json!(value))
}

#[tokio::test]
async fn errors_are_counted_over_the_window_and_an_alert_fires_once_and_resolves_once() {
    let mut house = House::open().await;
    let alert = made(&house, &rule("error_count", "sum", 3.0)).await;
    house.watch().await;
    assert_eq!(house.state(&alert).await, told("ok", 0.0));
    house.runs(4, 2).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("ok", 2.0));
    house.runs(2, 1).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("firing", 3.0));
    house.minutes(3).await;
    assert_eq!((house.state(&alert).await, house.deliveries().await), (told("firing", 3.0), 1));
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("resolved", 1.0));
    house.minutes(5).await;
    assert_eq!((house.state(&alert).await, house.deliveries().await), (told("resolved", 0.0), 2));
}

#[tokio::test]
async fn the_minute_that_runs_is_not_counted_before_it_is_over() {
    let mut house = House::open().await;
    let alert = made(&house, &rule("run_count", "sum", 1.0)).await;
    house.runs(1, 0).await;
    house.watch().await;
    house.clock.advance(Duration::from_secs(29));
    house.watch().await;
    assert_eq!(house.state(&alert).await, told("ok", 0.0));
    house.clock.advance(Duration::from_secs(1));
    house.watch().await;
    assert_eq!(house.state(&alert).await, told("firing", 1.0));
}

#[tokio::test]
async fn a_run_counts_when_its_end_arrives_and_once_whatever_comes_after() {
    let mut house = House::open().await;
    let count = made(&house, &with(rule("run_count", "sum", 9.0), &json!({"window_minutes": 60}))).await;
    let run = house.run(&json!({"end_time": null})).await;
    house.minutes(1).await;
    assert_eq!(house.state(&count).await, told("ok", 0.0), "it has not ended");
    let end = json!({"end_time": "2026-11-22T08:00:09Z"});
    assert_eq!(house.call("PATCH", &format!("/runs/{run}"), &end).await.0, 202);
    house.minutes(1).await;
    assert_eq!(house.state(&count).await, told("ok", 1.0));
    house.score(&run, "user_score", 1.0).await;
    house.minutes(1).await;
    assert_eq!(house.state(&count).await, told("ok", 1.0), "feedback is no run");
}

#[tokio::test]
async fn latency_is_a_mean_in_seconds_of_the_runs_a_filter_chooses_and_none_of_no_runs() {
    let mut house = House::open().await;
    let slow = with(rule("latency", "avg", 4.0), &json!({"filter": "eq(name, \"slow\")"}));
    let alert = made(&house, &slow).await;
    house.run(&json!({"name": "slow", "end_time": "2026-11-22T08:00:03Z"})).await;
    house.run(&json!({"name": "slow", "end_time": "2026-11-22T08:00:06Z"})).await;
    house.run(&json!({"name": "fast", "end_time": "2026-11-22T08:00:00Z"})).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("firing", 4.5));
    house.minutes(10).await;
    assert_eq!(house.state(&alert).await, ("firing".to_owned(), Value::Null), "no data changes nothing");
    house.run(&json!({"name": "slow"})).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("resolved", 1.0));
}

#[tokio::test]
async fn a_share_is_of_the_runs_that_the_denominator_chooses() {
    let mut house = House::open().await;
    let share = with(rule("error_count", "pct", 50.0), &json!({"operator": "gt"}));
    let all = made(&house, &share).await;
    let filters = json!({"filter": "eq(run_type, \"llm\")", "denominator_filter": "eq(run_type, \"llm\")"});
    let llms = made(&house, &with(share, &filters)).await;
    house.runs(7, 1).await;
    for error in [Some("boom"), None, Some("boom")] {
        house.run(&json!({"run_type": "llm", "error": error})).await;
    }
    house.minutes(1).await;
    assert_eq!(house.state(&all).await, told("ok", 30.0));
    let (state, value) = house.state(&llms).await;
    assert_eq!((state.as_str(), (value.as_f64().unwrap() * 100.0).round()), ("firing", 6667.0));
}

#[tokio::test]
async fn scores_are_averaged_by_the_key_that_the_filter_names_each_once() {
    let mut house = House::open().await;
    let low = json!({"operator": "lt", "filter": "eq(feedback_key, \"user_score\")", "window_minutes": 30});
    let alert = made(&house, &with(rule("feedback_score", "avg", 0.5), &low)).await;
    let run = house.run(&json!({})).await;
    house.score(&run, "user_score", 1.0).await;
    house.score(&run, "other", -9.0).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("ok", 1.0));
    // The run shows its first score again.
    house.score(&run, "user_score", -1.0).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("firing", 0.0));
    let tag = json!({"tags": ["late"]});
    assert_eq!(house.call("PATCH", &format!("/runs/{run}"), &tag).await.0, 202);
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("firing", 0.0));
}

#[tokio::test]
async fn costs_are_summed_exactly_and_those_of_a_trace_are_its_roots_where_a_filter_asks_for_roots() {
    let mut house = House::open().await;
    let sum = |more: &Value| with(rule("total_cost", "sum", 0.3), more);
    let all = made(&house, &sum(&json!({}))).await;
    let roots = made(&house, &sum(&json!({"filter": "eq(is_root, true)", "operator": "gt"}))).await;
    let root = house.run(&json!({"name": "agent"})).await;
    for (number, cost) in [(1, 0.1), (2, 0.2)] {
        let id = format!("0195c0de-0000-7000-9000-{number:012}");
        let usage = json!({"usage_metadata": {"input_tokens": 1, "output_tokens": 1, "total_cost": cost}});
        let order = format!("20261122T080000000000Z{root}.20261122T080000000000Z{id}");
        let keys = json!({"id": id, "trace_id": root, "parent_run_id": root, "dotted_order": order, "outputs": usage});
        house.run(&keys).await;
    }
    house.minutes(1).await;
    assert_eq!(house.state(&all).await, told("firing", 0.3));
    assert_eq!(house.state(&roots).await, told("ok", 0.3), "0.1 and 0.2 are not more than 0.3");
}

#[tokio::test]
async fn a_change_is_told_from_what_was_usual_before() {
    let mut house = House::open().await;
    let change = json!({
        "type": "change", "threshold": null, "operator": "gt", "window_minutes": 1, "threshold_multiplier": 2,
        "threshold_window_minutes": 5,
    });
    let alert = made(&house, &with(rule("run_count", "sum", 0.0), &change)).await;
    for _ in 0..5 {
        house.runs(2, 0).await;
        house.minutes(1).await;
    }
    assert_eq!(house.state(&alert).await.0, "resolved", "that there are runs at all was a change");
    house.runs(5, 0).await;
    house.minutes(1).await;
    let shown = house.shown(&alert).await;
    assert_eq!((&shown["state"]["state"], &shown["state"]["threshold"]), (&json!("firing"), &json!(4.0)));
    house.runs(2, 0).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await.0, "resolved");
}

#[tokio::test]
async fn silence_is_a_number_too() {
    let mut house = House::open().await;
    let silence = with(rule("run_count", "sum", 1.0), &json!({"operator": "lt", "window_minutes": 2}));
    let alert = made(&house, &silence).await;
    house.watch().await;
    assert_eq!(house.state(&alert).await, told("firing", 0.0), "it fires without a single run");
    house.runs(1, 0).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("resolved", 1.0));
    house.minutes(2).await;
    assert_eq!(house.state(&alert).await, told("firing", 0.0));
}

#[tokio::test]
async fn the_answer_does_not_depend_on_when_an_alert_was_made_or_evaluated() {
    let mut house = House::open().await;
    let errors = rule("error_count", "sum", 2.0);
    let early = made(&house, &errors).await;
    house.watch().await;
    house.runs(3, 3).await;
    house.minutes(2).await;
    // Another is made when the errors are in the past, and sees them.
    let late = made(&house, &errors).await;
    house.watch().await;
    assert_eq!((house.state(&early).await, house.state(&late).await), (told("firing", 3.0), told("firing", 3.0)));
    // For ten minutes nobody evaluates: both resolve as of the minute in which it was over.
    house.clock.advance(Duration::from_mins(10));
    house.watch().await;
    let since = async |alert: &Value| house.shown(alert).await["state"]["since"].clone();
    assert_eq!(since(&early).await, "2026-11-22T08:06:00.000000Z");
    assert_eq!(since(&early).await, since(&late).await);
}

async fn evaluated_at(house: &House, alert: &Value) -> Value {
    house.shown(alert).await["state"]["evaluated_at"].clone()
}

#[tokio::test]
async fn an_alert_is_left_alone_where_nothing_can_change_its_answer() {
    let mut house = House::open().await;
    let alert = made(&house, &rule("run_count", "sum", 1.0)).await;
    house.runs(1, 0).await;
    house.minutes(6).await;
    let last = evaluated_at(&house, &alert).await;
    assert_eq!(last, "2026-11-22T08:06:00.000000Z", "the last minute that changes something");
    house.minutes(30).await;
    assert_eq!(evaluated_at(&house, &alert).await, last);
    house.runs(1, 0).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("firing", 1.0));
    assert_eq!(evaluated_at(&house, &alert).await, "2026-11-22T08:37:00.000000Z");
}

#[tokio::test]
async fn an_edit_counts_anew_and_what_fired_for_the_old_number_resolves_by_the_new() {
    let mut house = House::open().await;
    let alert = made(&house, &rule("run_count", "sum", 1.0)).await;
    house.runs(2, 1).await;
    house.minutes(1).await;
    assert_eq!(house.state(&alert).await, told("firing", 2.0));
    let path = format!("{}/{}", house.path(), alert["id"].as_str().unwrap());
    let edit = json!({"rule": {"attribute": "error_count", "threshold": 2}});
    assert_eq!(house.call("PATCH", &path, &edit).await.0, 200);
    house.watch().await;
    assert_eq!(house.state(&alert).await, told("resolved", 1.0));
    // Another name changes nothing of it.
    assert_eq!(house.call("PATCH", &path, &json!({"rule": {"name": "Other"}})).await.0, 200);
    house.watch().await;
    assert_eq!((house.state(&alert).await, house.deliveries().await), (told("resolved", 1.0), 2));
}

#[tokio::test]
async fn more_changes_than_a_page_holds_are_all_counted_once() {
    let house = House::open().await;
    let alert = made(&house, &rule("run_count", "sum", 1300.0)).await;
    let share = made(&house, &rule("error_count", "pct", 50.0)).await;
    let runs: Vec<Value> = (0..1300)
        .map(|number| {
            let id = format!("0195c0de-0000-7000-a000-{number:012}");
            json!({
                "id": id, "trace_id": id, "dotted_order": format!("20261122T080000000000Z{id}"), "session_name": "p",
                "name": "many", "run_type": "chain", "start_time": "2026-11-22T08:00:00Z",
                "end_time": "2026-11-22T08:00:01Z", "error": (number % 2 == 0).then_some("boom"),
            })
        })
        .collect();
    for _ in 0..2 {
        // Sent again they change nothing.
        assert_eq!(house.call("POST", "/runs/batch", &json!({"post": runs, "patch": []})).await.0, 202);
    }
    house.minutes(1).await;
    assert_eq!((house.state(&alert).await, house.state(&share).await), (told("firing", 1300.0), told("firing", 50.0)));
}
