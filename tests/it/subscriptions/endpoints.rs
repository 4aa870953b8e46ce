//! What becomes of endpoints that subscribe, and of rules, over the wire: their pace, and that what fails is told.

use runhook::model::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::listeners::rule;
use super::{application, call, done, serve};
use crate::support::receiver::{Answer, Receiver};
use crate::support::server::Server;

async fn run(server: &Server, number: u32) {
    let run = json!({
        "id": format!("0195c0de-0000-7000-8000-{number:012}"), "name": "agent", "run_type": "chain", "session_name": "p",
        "inputs": {}, "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
    });
    done(server, "POST", "/runs", &run).await;
}

#[tokio::test]
async fn a_rule_that_fails_is_told_once_and_again_when_it_has_been_well_in_between() {
    let server = serve();
    let mut watcher = Receiver::start([]).await;
    let mut hook = Receiver::start([Answer::Status(400)]).await;
    rule(&server, &hook).await;
    application(&server, "a").await;
    let watching = json!({"url": watcher.url(), "filterTypes": ["rule.failing"]});
    done(&server, "POST", "/api/v1/app/a/endpoint", &watching).await;
    for number in 0..3 {
        run(&server, number).await;
        hook.next().await;
    }
    let told = watcher.next().await.json();
    assert_eq!((&told["rule"], &told["reason"].is_string()), (&json!("all"), &true), "{told}");
    hook.answer_always(Answer::Status(200));
    run(&server, 3).await;
    hook.next().await;
    hook.answer_always(Answer::Status(400));
    run(&server, 4).await;
    hook.next().await;
    let again = watcher.next().await.json();
    assert_eq!((&again["rule_id"], &again["endpoint_id"]), (&told["rule_id"], &told["endpoint_id"]));
    assert_ne!(again["failing_since"], told["failing_since"]);
    let listed = done(&server, "GET", "/api/v1/app/a/msg?event_types=rule.failing", &Value::Null).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 2, "{listed:#}");
}

/// When each message was tried, first first, in milliseconds.
async fn tried(server: &Server, endpoint: &str, count: usize) -> Vec<i64> {
    let path = format!("/api/v1/app/a/attempt/endpoint/{endpoint}");
    loop {
        let page = done(server, "GET", &path, &Value::Null).await;
        let all = page["data"].as_array().unwrap();
        if all.len() < count {
            continue;
        }
        let at = |one: &Value| chrono::DateTime::parse_from_rfc3339(one["timestamp"].as_str().unwrap()).unwrap();
        return all.iter().rev().map(|one| at(one).timestamp_millis()).collect();
    }
}

#[tokio::test]
async fn an_endpoint_with_a_rate_limit_is_sent_no_more_than_that() {
    let server = serve();
    let receiver = Receiver::start([]).await;
    application(&server, "a").await;
    let path = "/api/v1/app/a/endpoint";
    let slow = json!({"url": receiver.url(), "uid": "slow", "rateLimit": 4});
    let made = done(&server, "POST", path, &slow).await;
    assert_eq!((&made["rateLimit"], &made["throttleRate"]), (&json!(4), &json!(4)));
    let free = json!({"url": receiver.url(), "uid": "free"});
    assert_eq!(done(&server, "POST", path, &free).await["rateLimit"], Value::Null);
    let before = SystemClock.now().0 / 1_000;
    for number in 0..7 {
        done(&server, "POST", "/api/v1/app/a/msg", &json!({"eventType": "x.y", "payload": {"n": number}})).await;
    }
    let at = tried(&server, "slow", 7).await;
    // A second's worth goes at once, and then one every 250 ms, however late the first is on a busy machine.
    assert!(at[6] - before >= 740, "{before}: {at:?}");
    assert_eq!(tried(&server, "free", 7).await.len(), 7);

    let faster = done(&server, "PATCH", "/api/v1/app/a/endpoint/slow", &json!({"throttleRate": 100})).await;
    assert_eq!(faster["rateLimit"], 100);
    done(&server, "PATCH", "/api/v1/app/a/endpoint/slow", &json!({"rateLimit": null})).await;
    let shown = done(&server, "GET", "/api/v1/app/a/endpoint/slow", &Value::Null).await;
    assert_eq!((&shown["rateLimit"], &shown["throttleRate"]), (&Value::Null, &Value::Null));
    for wrong in [json!(0), json!(100_001)] {
        let body = json!({"url": receiver.url(), "rateLimit": wrong});
        let (status, answer) = call(&server, "POST", path, &body).await;
        assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "rateLimit"])), "{answer}");
    }
}
