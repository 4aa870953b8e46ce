//! What waits for a webhook that is written inside a rule, while the rule's list of webhooks changes around it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::server::{Server, Settings};

/// Longer than the pause before a second attempt.
const PATIENCE: Duration = Duration::from_mins(1);

fn rule(urls: &[String]) -> Value {
    let webhooks: Vec<String> = urls.iter().map(|url| format!("      - url: {url}\n")).collect();
    let text = format!(
        "version: 1\nrules:\n  - key: all\n    project: p\n    filter: eq(status, \"success\")\n    every: immediate\n    \
         webhooks:\n{}",
        webhooks.concat()
    );
    json!({"files": [{"name": "all.yaml", "text": text}]})
}

fn run() -> Value {
    json!({
        "id": "0195c0de-0000-7000-8000-000000000001", "name": "agent", "run_type": "chain", "session_name": "p",
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
    })
}

async fn next(receiver: &mut Receiver) -> Received {
    tokio::time::timeout(PATIENCE, receiver.next()).await.unwrap()
}

async fn apply(server: &Server, urls: &[String]) -> Value {
    let (status, answer) = server.call("POST", "/v1/rules/apply", Some(&rule(urls))).await;
    assert_eq!(status, 200, "{answer:#}");
    answer
}

#[tokio::test]
async fn a_delivery_that_waits_follows_its_url_and_fails_with_it() {
    let mut first = Receiver::start([Answer::Status(500)]).await;
    let mut second = Receiver::start([Answer::Status(500), Answer::Status(200)]).await;
    let mut third = Receiver::start([]).await;
    let server = Server::start(Settings::with(["--allow-targets", "127.0.0.1"]));
    let urls = [first.url(), second.url(), third.url()];
    apply(&server, &urls).await;
    assert_eq!(server.call("POST", "/runs", Some(&run())).await.0, 202);
    let waiting = next(&mut second).await;
    let to_first = next(&mut first).await;
    let to_third = next(&mut third).await;
    let [_, second_url, third_url] = urls;
    let answer = apply(&server, &[second_url.clone(), third_url.clone()]).await;
    assert_eq!(answer["items"][0]["changes"].as_array().unwrap().len(), 1, "{answer:#}");

    let again = next(&mut second).await;
    assert_eq!((again.header("webhook-id"), &again.body), (waiting.header("webhook-id"), &waiting.body));
    let (_, failed) = server.call("GET", "/v1/deliveries?state=failed", None).await;
    let failed = failed["deliveries"].as_array().unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["reason"], "endpoint removed");

    // Whoever takes the free place in the list is somebody else, also for a replay.
    let fourth = Receiver::start([]).await;
    apply(&server, &[fourth.url(), second_url, third_url]).await;
    let (status, replayed) = server.call("POST", "/v1/deliveries/replay", Some(&json!({"state": "failed"}))).await;
    assert_eq!((status, &replayed["skipped"][0]["reason"]), (200, &json!("its endpoint was removed")), "{replayed:#}");
    assert_eq!((fourth.requests().len(), third.requests()), (0, vec![to_third]));
    assert!(first.requests().iter().all(|request| request.body == to_first.body));
}
