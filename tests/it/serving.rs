//! The real binary while it serves: rules from a folder, notifications, metrics, and how it stops.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::server::{Server, Settings};

fn rule(url: &str) -> String {
    format!(
        "version: 1
rules:
  - key: errors
    name: Errors
    project: \"*\"
    filter: eq(status, \"error\")
    every: immediate
    webhooks:
      - url: {url}
        query: {{ secret: \"${{HOOK_SECRET}}\" }}
        headers: {{ X-Team-Token: \"${{HOOK_TOKEN}}\" }}
"
    )
}

fn failed_run() -> Value {
    json!({
        "id": "0195c0de-0000-7000-8000-000000000001", "name": "agent", "run_type": "chain",
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z", "error": "boom",
    })
}

/// A server that keeps to a folder with this text in it.
fn with_rules(text: &str) -> Server {
    let home = Arc::new(Home::new());
    let folder = home.path().join("rules");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("errors.yaml"), text).unwrap();
    let settings = Settings::with(["--allow-targets", "127.0.0.1", "--rules", folder.to_str().unwrap()])
        .env("HOOK_SECRET", "planted query")
        .env("HOOK_TOKEN", "planted header");
    Server::start_in(home, settings).unwrap_or_else(|error| panic!("{error:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_that_is_sent_meets_the_rules_of_the_folder() {
    let mut receiver = Receiver::start([]).await;
    let server = with_rules(&rule(&receiver.url()));
    assert_eq!(server.call("POST", "/runs", Some(&failed_run())).await.0, 202);
    let request = receiver.next().await;
    assert_eq!(request.target, "/hook?secret=planted%20query");
    assert_eq!(request.header("x-team-token"), "planted header");
    assert_eq!(request.json()["runs"][0]["name"], "agent");
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(!log.contains("planted"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_an_error_is_told_and_the_server_serves() {
    let server = with_rules("version: 1\nrules:\n  - key: errors\n    filtr: x\n");
    assert_eq!(server.call("GET", "/readyz", None).await.0, 200);
    let (_, log) = server.stop();
    assert!(log.contains("rules not applied") && log.contains("filter"), "{log}");
}

#[test]
fn a_folder_that_is_not_there_stops_the_start() {
    let home = Arc::new(Home::new());
    let stopped = Server::start_in(home, Settings::with(["--rules", "/nowhere/rules"])).err().unwrap();
    assert_eq!(stopped.status.code(), Some(3));
    assert!(stopped.log.contains("/nowhere/rules"), "{}", stopped.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_finishes_the_attempt_it_has_begun() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate.clone())]).await;
    let server = with_rules(&rule(&receiver.url()));
    server.call("POST", "/runs", Some(&failed_run())).await;
    receiver.next().await;
    server.signal("TERM");
    gate.open();
    let home = server.wait();
    let again = Server::start_in(Arc::clone(&home), Settings::default()).unwrap_or_else(|error| panic!("{error:?}"));
    let page = again.call("GET", "/v1/deliveries", None).await.1;
    assert!(page.to_string().contains("\"delivered\""), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_drops_the_attempt_and_the_next_start_makes_it_again() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate.clone()), Answer::Status(200)]).await;
    let server = with_rules(&rule(&receiver.url()));
    server.call("POST", "/runs", Some(&failed_run())).await;
    let first = receiver.next().await;
    server.signal("TERM");
    server.until_it_says("stopping").await;
    server.signal("TERM");
    let home = server.wait();
    let settings = Settings::with(["--allow-targets", "127.0.0.1"]);
    let _again = Server::start_in(home, settings).unwrap_or_else(|error| panic!("{error:?}"));
    let second = receiver.next().await;
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(second.body, first.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_described_and_name_no_secret() {
    let mut receiver = Receiver::start([]).await;
    let server = with_rules(&rule(&receiver.url()));
    server.call("POST", "/runs", Some(&failed_run())).await;
    receiver.next().await;
    let text = server.text("/metrics").await;
    for line in text.lines().filter(|line| line.starts_with("# TYPE runhook_")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} is not described");
    }
    assert!(text.contains("runhook_parts_accepted_total 1"), "{text}");
    assert!(!text.contains("planted") && !text.contains("/hook"), "{text}");
}
