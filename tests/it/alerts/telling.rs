//! What receivers get.

use std::time::Duration;

use runhook::store::outbox::DeliveryQuery;
use serde_json::{Value, json};

use super::{House, TENANT, rule, webhook, with};
use crate::support::receiver::{Answer, Receiver, nobody};

/// The keys of LangSmith's alert webhooks.
const KEYS: [&str; 12] = [
    "project_name",
    "workspace_name",
    "alert_rule_id",
    "alert_rule_name",
    "alert_rule_description",
    "alert_rule_type",
    "alert_rule_attribute",
    "alert_rule_url",
    "runs_url",
    "triggered_metric_value",
    "triggered_threshold",
    "timestamp",
];

#[tokio::test]
async fn a_webhook_gets_the_twelve_keys_over_its_body_when_the_alert_fires_and_when_it_is_over() {
    let mut receiver = Receiver::start([]).await;
    let mut house = House::open().await;
    let config = json!({
        "url": receiver.url(), "headers": {"X-Token": "t0k3n"},
        "body": {"channel": "#ops", "alert_rule_name": "overridden", "nested": {"kept": [1, 2]}},
    });
    let alert = house.alert(&rule("error_count", "sum", 2.0), &json!([{"target": "webhook", "config": config}])).await;
    house.runs(3, 2).await;
    house.minutes(1).await;
    house.send().await;
    let fired = receiver.next().await;
    assert_eq!(fired.header("x-token"), "t0k3n");
    let body = fired.json();
    assert!(KEYS.iter().all(|key| body.get(key).is_some()), "{body}");
    assert_eq!((&body["channel"], &body["nested"]), (&json!("#ops"), &json!({"kept": [1, 2]})));
    assert_eq!((&body["alert_rule_name"], &body["project_name"]), (&json!("Watched"), &json!("p")));
    assert_eq!((&body["alert_rule_id"], &body["alert_rule_type"]), (&alert["id"], &json!("threshold")));
    assert_eq!((&body["triggered_metric_value"], &body["triggered_threshold"]), (&json!(2.0), &json!(2.0)));
    assert_eq!(
        (&body["timestamp"], &body["alert_rule_state"]),
        (&json!("2026-11-22T08:01:00.000000+00:00"), &json!("firing"))
    );
    let (status, again) = house
        .call("GET", body["alert_rule_url"].as_str().unwrap().trim_start_matches("http://runhook.test"), &Value::Null)
        .await;
    assert_eq!((status, &again["id"]), (200, &alert["id"]), "the URL leads to the alert");
    let runs = body["runs_url"].as_str().unwrap().trim_start_matches("http://runhook.test").to_owned();
    assert_eq!(house.call("GET", &runs, &Value::Null).await.1["runs"].as_array().unwrap().len(), 3);
    house.minutes(5).await;
    house.send().await;
    let over = receiver.next().await.json();
    assert_eq!((&over["alert_rule_state"], &over["triggered_metric_value"]), (&json!("resolved"), &json!(0.0)));
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn without_a_body_the_keys_are_all_there_is_in_their_order() {
    let mut receiver = Receiver::start([]).await;
    let mut house = House::open().await;
    house.alert(&rule("run_count", "sum", 1.0), &webhook(&receiver.url())).await;
    house.runs(1, 0).await;
    house.minutes(1).await;
    house.send().await;
    let text = String::from_utf8(receiver.next().await.body).unwrap();
    let places: Vec<usize> = KEYS.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

#[tokio::test]
async fn a_strict_receiver_gets_its_body_alone_with_the_alerts_words_in_it() {
    let mut receiver = Receiver::start([]).await;
    let mut house = House::open().await;
    let body = r#"{"text": "{{ alert_rule_name|inner }} is {{ alert_rule_state|inner }} in {{ project_name|inner }}"}"#;
    let config = json!({"url": receiver.url(), "body": body, "merge_alert_fields": false});
    house.alert(&rule("run_count", "sum", 1.0), &json!([{"target": "webhook", "config": config}])).await;
    house.runs(1, 0).await;
    house.minutes(1).await;
    house.send().await;
    assert_eq!(receiver.next().await.json(), json!({"text": "Watched is firing in p"}));
}

#[tokio::test]
async fn pagerduty_is_triggered_and_resolved_under_one_key() {
    let mut receiver = Receiver::start([Answer::Status(202)]).await;
    let mut house = House::open().await;
    let config = json!({"integration_key": "k".repeat(32), "url": receiver.url(), "severity": "warning"});
    let alert =
        house.alert(&rule("error_count", "sum", 1.0), &json!([{"target": "pagerduty", "config": config}])).await;
    house.runs(1, 1).await;
    house.minutes(6).await;
    house.send().await;
    house.send().await;
    let (trigger, resolve) = (receiver.next().await.json(), receiver.next().await.json());
    assert_eq!((&trigger["event_action"], &resolve["event_action"]), (&json!("trigger"), &json!("resolve")));
    let key = json!(format!("runhook/alert/{}", alert["id"].as_str().unwrap()));
    assert_eq!((&trigger["dedup_key"], &resolve["dedup_key"]), (&key, &key));
    for event in [&trigger, &resolve] {
        assert_eq!(event["routing_key"], json!("k".repeat(32)));
    }
    let payload = &trigger["payload"];
    assert_eq!((&payload["severity"], &payload["component"]), (&json!("warning"), &json!("p")));
    assert_eq!(payload["summary"], "Watched: error_count is 1.0 in p (threshold 1.0)");
    assert!(KEYS.iter().all(|key| payload["custom_details"].get(key).is_some()), "{payload}");
}

#[tokio::test]
async fn what_an_alert_says_later_waits_for_what_it_said_before() {
    let refused = Answer::Status(503);
    let mut receiver = Receiver::start([refused.clone(), refused, Answer::Status(202), Answer::Status(202)]).await;
    let mut house = House::open().await;
    let config = json!({"integration_key": "k".repeat(32), "url": receiver.url()});
    house.alert(&rule("error_count", "sum", 1.0), &json!([{"target": "pagerduty", "config": config}])).await;
    house.runs(1, 1).await;
    house.minutes(1).await;
    house.send().await;
    // It is over before PagerDuty has heard that it began, however often that is tried.
    house.minutes(5).await;
    for _ in 0..4 {
        house.send().await;
        house.clock.advance(Duration::from_secs(1));
    }
    house.clock.advance(Duration::from_hours(1));
    house.send().await;
    house.send().await;
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push(receiver.next().await.json()["event_action"].as_str().unwrap().to_owned());
    }
    assert_eq!(said, ["trigger", "trigger", "trigger", "resolve"]);
    assert_eq!(receiver.requests().len(), 4);
}

#[tokio::test]
async fn turns_that_are_found_together_are_told_in_their_order() {
    let mut receiver = Receiver::start([Answer::Status(202)]).await;
    let mut house = House::open().await;
    let config = json!({"integration_key": "k".repeat(32), "url": receiver.url()});
    house.alert(&rule("error_count", "sum", 1.0), &json!([{"target": "pagerduty", "config": config}])).await;
    house.minutes(1).await;
    house.runs(1, 1).await;
    // Nobody looks for a while: one evaluation finds the beginning and the end.
    house.clock.advance(Duration::from_mins(20));
    house.watch().await;
    assert_eq!(house.deliveries().await, 2);
    for action in ["trigger", "resolve"] {
        house.send().await;
        assert_eq!(receiver.next().await.json()["event_action"], action);
    }
}

#[tokio::test]
async fn a_test_tells_everyone_for_real_and_says_who_did_not_take_it() {
    let mut receiver = Receiver::start([Answer::Status(200), Answer::Status(500)]).await;
    let house = House::open().await;
    let body = |actions: &Value| json!({"rule": rule("error_count", "sum", 7.0), "actions": actions});
    let path = format!("{}/test", house.path());
    let (status, answer) = house.call("POST", &path, &body(&webhook(&receiver.url()))).await;
    assert_eq!((status, &answer["ok"], &answer["results"][0]["said"]), (200, &json!(true), &json!("answered 200")));
    assert_eq!(receiver.next().await.json()["triggered_metric_value"], 7.0);
    let gone = format!("http://{}/", nobody().await);
    let two = json!([webhook(&receiver.url())[0], webhook(&gone)[0]]);
    let (status, answer) = house.call("POST", &path, &body(&two)).await;
    assert_eq!((status, &answer["ok"]), (502, &json!(false)), "{answer}");
    let error = answer["error"].as_str().unwrap();
    assert!(
        error.starts_with("2 of 2 actions were not delivered: webhook answered 500; webhook not connected"),
        "{error}"
    );
    // Nothing of it is an alert's.
    assert_eq!(
        (house.deliveries().await, house.call("GET", "/v1/alerts", &Value::Null).await.1),
        (0, json!({"alerts": []}))
    );
}

#[tokio::test]
async fn an_alerts_deliveries_are_listed_as_its_own_and_sent_again_like_any_other() {
    let mut receiver = Receiver::start([Answer::Status(404), Answer::Status(200)]).await;
    let mut house = House::open().await;
    let alert = house.alert(&rule("run_count", "sum", 1.0), &webhook(&receiver.url())).await;
    house.runs(1, 0).await;
    house.minutes(1).await;
    house.send().await;
    let first = receiver.next().await;
    let (_, failed) = house.call("GET", "/v1/deliveries/failed", &Value::Null).await;
    let named = json!({"id": alert["id"], "name": "Watched"});
    assert_eq!(
        (&failed["counts"]["groups"][0]["alert"], &failed["counts"]["groups"][0]["rule"]),
        (&named, &Value::Null)
    );
    let line = &failed["deliveries"][0];
    assert_eq!((&line["alert"], &line["rule"], &line["reason"]), (&named, &Value::Null, &json!("answered 404")));
    let (_, full) = house.call("GET", &format!("/v1/deliveries/{}", line["id"].as_str().unwrap()), &Value::Null).await;
    assert_eq!((&full["message"]["window_id"], &full["target"]["format"]), (&Value::Null, &json!("alert")));
    let by_alert = format!("/v1/deliveries?rule={}", alert["id"].as_str().unwrap());
    assert_eq!(house.call("GET", &by_alert, &Value::Null).await.1["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(house.call("POST", "/v1/deliveries/replay", &json!({"state": "failed"})).await.0, 200);
    house.send().await;
    let again = receiver.next().await;
    assert_eq!((again.header("webhook-id"), &again.body), (first.header("webhook-id"), &first.body));
}

#[tokio::test]
async fn what_waits_ends_with_its_alert_and_with_its_session() {
    let mut house = House::open().await;
    let sink = format!("http://{}/", nobody().await);
    let alert = house.alert(&rule("run_count", "sum", 1.0), &webhook(&sink)).await;
    house.alert(&with(rule("run_count", "sum", 1.0), &json!({"name": "Other"})), &webhook(&sink)).await;
    house.runs(1, 0).await;
    house.minutes(1).await;
    let path = format!("{}/{}", house.path(), alert["id"].as_str().unwrap());
    assert_eq!(house.call("DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(house.call("DELETE", &path, &Value::Null).await.0, 404);
    let reasons = async |house: &House| {
        let query = DeliveryQuery { limit: 10, state: Some("failed".to_owned()), ..DeliveryQuery::default() };
        let failed = house.store.list_deliveries(TENANT, &query).await.unwrap();
        failed.iter().map(|delivery| format!("{:?}", delivery.state)).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&house).await, ["Failed(\"alert removed\")"]);
    assert_eq!(house.store.list_endpoints(TENANT).await.unwrap().len(), 1);
    assert_eq!(house.call("DELETE", &format!("/sessions/{}", house.session), &Value::Null).await.0, 202);
    assert_eq!(house.store.list_endpoints(TENANT).await.unwrap(), []);
    assert_eq!(house.store.list_alerts(TENANT).await.unwrap(), []);
    house.send().await;
    assert_eq!(reasons(&house).await.len(), 2, "what is left finds no endpoint");
    house.minutes(1).await;
}
