//! Endpoints from outside: signed, disabled by what they answer, enabled, and given another secret.

mod own;
mod probing;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::server::{Server, Settings};

const PATIENCE: Duration = Duration::from_mins(1);

/// 24 bytes, as receivers are given them.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a receiver computes for itself: nothing of Runhook is in it.
fn expected(secret: &str, request: &Received) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp")).as_bytes());
    mac.update(&request.body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

async fn next(receiver: &mut Receiver) -> Received {
    tokio::time::timeout(PATIENCE, receiver.next()).await.unwrap()
}

async fn post(server: &Server, path: &str, body: &Value) -> Value {
    let (status, answer) = server.call("POST", path, Some(body)).await;
    assert!((200..300).contains(&status), "{path}: {status} {answer:#}");
    answer
}

/// Sends a run that matches.
async fn run(server: &Server, number: u32) {
    let run = json!({
        "id": format!("0195c0de-0000-7000-8000-{number:012}"), "name": "agent", "run_type": "chain",
        "session_name": "p", "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
    });
    post(server, "/runs", &run).await;
}

async fn signed_server(receiver: &Receiver) -> Server {
    let server = Server::start(Settings::with(["--allow-targets", "127.0.0.1"]));
    let text = format!(
        "version: 1\nrules:\n  - key: all\n    project: p\n    every: immediate\n    webhooks: [{{ endpoint: oncall }}]\n\
         endpoints:\n  - key: oncall\n    url: {}\n    format: standard\n    signing_secret: \"${{SECRET}}\"\n",
        receiver.url()
    );
    let files = json!({"files": [{"name": "all.yaml", "text": text}], "variables": {"SECRET": SECRET}});
    post(&server, "/v1/rules/apply", &files).await;
    server
}

#[tokio::test]
async fn while_a_secret_is_replaced_both_sign_the_bytes_that_arrive() {
    let mut receiver = Receiver::start([]).await;
    let server = signed_server(&receiver).await;
    run(&server, 1).await;
    let first = next(&mut receiver).await;
    assert_eq!(first.header("webhook-signature"), expected(SECRET, &first));
    assert_eq!(first.json()["type"], "runs.matched");

    let answer = post(&server, "/v1/endpoints/oncall/rotate-secret", &json!({"grace": "1h"})).await;
    let new = answer["secret"].as_str().unwrap().to_owned();
    run(&server, 2).await;
    let second = next(&mut receiver).await;
    let both = format!("{} {}", expected(&new, &second), expected(SECRET, &second));
    assert_eq!(second.header("webhook-signature"), both);
    let (_, shown) = server.call("GET", "/v1/endpoints/oncall", None).await;
    assert_eq!(shown["signing"]["secrets"].as_array().unwrap().len(), 2);
    assert!(!shown.to_string().contains(new.trim_start_matches("whsec_")), "a secret is shown once");

    post(&server, "/v1/endpoints/oncall/rotate-secret", &json!({"grace": "0s"})).await;
    run(&server, 3).await;
    let third = next(&mut receiver).await;
    assert!(!third.header("webhook-signature").contains(&expected(&new, &third)));
    assert_eq!(third.header("webhook-signature").split(' ').count(), 1);
}

#[tokio::test]
async fn an_endpoint_that_answers_410_is_disabled_until_it_is_enabled() {
    let mut receiver = Receiver::start([Answer::Status(410), Answer::Status(200)]).await;
    let server = signed_server(&receiver).await;
    run(&server, 1).await;
    let gone = next(&mut receiver).await;
    let disabled = async || server.call("GET", "/v1/endpoints/oncall", None).await.1["disabled"]["reason"].clone();
    while disabled().await.is_null() {
        tokio::task::yield_now().await;
    }
    assert_eq!(disabled().await, "answered 410: the receiver is gone for good");
    let replay = json!({"state": "failed"});
    let skipped = post(&server, "/v1/deliveries/replay", &replay).await;
    assert_eq!(skipped["skipped"][0]["reason"], "its endpoint is disabled");

    let output = server.run(["endpoints", "enable", "oncall"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    post(&server, "/v1/deliveries/replay", &replay).await;
    let again = next(&mut receiver).await;
    assert_eq!((again.header("webhook-id"), &again.body), (gone.header("webhook-id"), &gone.body));
    let listed = server.run(["endpoints", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("oncall") && listed.contains("enabled") && listed.contains("standard"), "{listed}");
}
