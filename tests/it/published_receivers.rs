//! Receivers from the Python registry, unmodified: each accepts what Runhook sends in its format, and rejects another secret.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::server::{Server, Settings};

/// With what a URL must not show bare.
const SECRET: &str = "s3cret+with/odd=characters&";
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WRONG: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Each receiver: its name, where it is, its format, what it is given, and what it answers to a wrong secret.
const RECEIVERS: [(&str, &str, &str, &str, u16); 6] = [
    ("fastapi", "${BASE}/langsmith", "langsmith", "query: { secret: \"${SECRET}\" }", 401),
    ("svix", "${BASE}/verified/svix", "standard", "signing_secret: \"${SIGNING}\"", 400),
    ("standardwebhooks", "${BASE}/verified/standardwebhooks", "standard", "signing_secret: \"${SIGNING}\"", 400),
    ("argilla-typed", "${BASE}/typed", "argilla", "signing_secret: \"${SIGNING}\"", 500),
    ("argilla-raw", "${BASE}/raw", "argilla", "signing_secret: \"${SIGNING}\"", 500),
    ("hub", "${HUB}/webhooks/hub", "huggingface", "headers: { X-Webhook-Secret: \"${SECRET}\" }", 403),
];

/// The receivers' process, killed when dropped.
struct Receivers {
    child: Child,
    /// Where they are.
    base: String,
    hub: String,
}

impl Receivers {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".venv/bin/python");
        assert!(python.exists(), "{} is missing: `make sdk` installs the pinned receivers", python.display());
        let mut command = Command::new(python);
        command.arg(root.join("tests/receivers/receivers.py")).args([SECRET, SIGNING]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let place = |name: &str| said[name].as_str().unwrap().to_owned();
        Self { child, base: place("base"), hub: place("hub") }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn rule_file() -> String {
    let named = RECEIVERS.map(|(name, ..)| format!("      - endpoint: {name}\n      - endpoint: {name}-wrong\n"));
    let endpoints = RECEIVERS.map(|(name, url, format, secret, _)| {
        let common = format!("url: {url}\n    format: {format}\n    retries: []\n    timeout: 15s");
        let wrong = secret.replace("${", "${WRONG_");
        format!("  - key: {name}\n    {common}\n    {secret}\n  - key: {name}-wrong\n    {common}\n    {wrong}\n")
    });
    let rule = "version: 1\nrules:\n  - key: all\n    project: p\n    every: immediate\n    webhooks:\n";
    format!("{rule}{}endpoints:\n{}", named.concat(), endpoints.concat())
}

async fn post(server: &Server, path: &str, body: &Value) {
    let (status, answer) = server.call("POST", path, Some(body)).await;
    assert!((200..300).contains(&status), "{path}: {status} {answer:#}");
}

/// The end of every delivery, by its endpoint's key.
async fn ends(server: &Server) -> BTreeMap<String, Value> {
    let all = loop {
        let (_, page) = server.call("GET", "/v1/deliveries?limit=100", None).await;
        let all = page["deliveries"].as_array().unwrap().clone();
        let is_over = |delivery: &Value| !delivery["finished_at"].is_null();
        if all.len() == 2 * RECEIVERS.len() && all.iter().all(is_over) {
            break all;
        }
        tokio::task::yield_now().await;
    };
    let key_of = |delivery: &Value| delivery["endpoint"]["key"].as_str().unwrap().to_owned();
    all.into_iter().map(|delivery| (key_of(&delivery), delivery)).collect()
}

#[tokio::test]
async fn receivers_from_pypi_accept_what_is_theirs_and_reject_another_secret() {
    let receivers = Receivers::start();
    let server = Server::start(Settings::with(["--allow-targets", "127.0.0.1"]));
    let variables = json!({
        "BASE": receivers.base, "HUB": receivers.hub, "SECRET": SECRET, "SIGNING": SIGNING,
        "WRONG_SECRET": "another-secret-4711", "WRONG_SIGNING": WRONG,
    });
    let files = json!({"files": [{"name": "all.yaml", "text": rule_file()}], "variables": variables});
    post(&server, "/v1/rules/apply", &files).await;
    let run = json!({
        "id": "0195c0de-0000-7000-8000-000000000001", "name": "agent", "run_type": "chain", "session_name": "p",
        "inputs": {"question": "wo ist die Größe?"}, "outputs": {"answer": [1, 2.50]}, "tags": ["production"],
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
    });
    post(&server, "/runs", &run).await;
    let ends = ends(&server).await;
    for (name, _, _, _, status) in RECEIVERS {
        let accepted = ends[name].to_string();
        assert!(accepted.contains("\"delivered\""), "{name}: {accepted}");
        let rejected = ends[&format!("{name}-wrong")].to_string();
        assert!(rejected.contains(&format!("answered {status}")), "{name}: {rejected}");
    }
}
