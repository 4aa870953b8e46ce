//! `runhook deliveries` beside a running server.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::receiver::{Answer, Receiver};
use crate::support::server::{Server, Settings};

const RULE: &str = r#"
version: 1
rules:
  - key: everything
    name: Everything
    project: support-bot
    filter: eq(is_root, true)
    every: immediate
    webhooks:
      - url: RECEIVER/path-secret
        query: { secret: "${HUSH}" }
        headers: { X-Team-Token: "${HUSH}" }
"#;

const HUSH: &str = "hush-hush";

/// A server with a rule for this receiver, and one run that matches it.
async fn serving(receiver: &Receiver) -> Server {
    let server = Server::start(Settings::with(["--allow-targets", "127.0.0.0/8"]));
    let file = server.home().path().join("rules.yaml");
    std::fs::write(&file, RULE.replace("RECEIVER", &format!("http://{}", receiver.address()))).unwrap();
    let applied = server.command(["rules", "apply"]).arg(&file).env("HUSH", HUSH).output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let run = json!({
        "id": "0195c0de-0000-7000-8000-000000000001", "name": "agent", "run_type": "chain",
        "session_name": "support-bot", "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
        "inputs": {"question": "?"}, "outputs": {"answer": "!"},
    });
    assert_eq!(server.call("POST", "/runs", Some(&run)).await.0, 202);
    server
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Asks until a delivery is in this state; returns its id.
fn wait_for(server: &Server, state: &str) -> String {
    for _ in 0..500 {
        let listed = server.run(["deliveries", "list", "--json", "--state", state]);
        assert!(listed.status.success(), "{}", text(&listed));
        let page: Value = serde_json::from_slice(&listed.stdout).unwrap();
        if let Some(id) = page["deliveries"][0]["id"].as_str() {
            return id.to_owned();
        }
    }
    panic!("no delivery is {state}: {}", server.log());
}

#[tokio::test]
async fn what_failed_is_listed_shown_and_sent_again() {
    let mut receiver = Receiver::start([Answer::Status(404), Answer::Status(200)]).await;
    let server = serving(&receiver).await;
    let first = receiver.next().await;
    assert_eq!(first.target, format!("/path-secret?secret={HUSH}"));
    assert_eq!(first.header("x-team-token"), HUSH);
    assert_eq!(first.json()["runs"][0]["name"], "agent");
    let id = wait_for(&server, "failed");

    let listed = text(&server.run(["deliveries", "list"]));
    assert!(listed.contains(&id) && listed.contains("everything") && listed.contains("answered 404"), "{listed}");
    let shown = text(&server.run(["deliveries", "show", &id]));
    assert!(shown.contains("failed: answered 404") && shown.contains("X-Team-Token"), "{shown}");
    let would = text(&server.run(["deliveries", "replay", "--since", "1h", "--dry-run"]));
    assert!(would.contains(&id) && would.contains("1 delivery would be sent again"), "{would}");
    let failed = text(&server.run(["deliveries", "failed", "--status", "4xx"]));
    assert!(failed.contains("everything") && failed.contains("answered 404"), "{failed}");
    assert!(failed.contains("1 delivery failed"), "{failed}");
    let recovered = text(&server.run(["deliveries", "replay", "--failed-since", "1h", "--dry-run"]));
    assert!(recovered.contains(&id), "{recovered}");
    assert_eq!(receiver.requests().len(), 1);

    let replayed = server.run(["deliveries", "replay", &id]);
    assert!(replayed.status.success(), "{}", text(&replayed));
    let second = receiver.next().await;
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(wait_for(&server, "delivered"), id);
    let missing = server.run(["deliveries", "replay", "0195c0de-0000-7000-8000-000000000009"]);
    assert_eq!(missing.status.code(), Some(1), "{}", text(&missing));
    assert!(text(&missing).contains("not found"), "{}", text(&missing));
    for arguments in [["deliveries", "list", "--rule", "everythin"], ["deliveries", "replay", "--rule", "everythin"]] {
        let typo = server.run(arguments);
        assert_eq!(typo.status.code(), Some(1), "{}", text(&typo));
        assert!(text(&typo).contains("rule `everythin` not found"), "{}", text(&typo));
        assert!(text(&typo).contains("did you mean `everything`?"), "{}", text(&typo));
    }
    for what in ["deliveries", "runs"] {
        let none = server.run([what, "show", "12/../x"]);
        assert_eq!(none.status.code(), Some(1), "{}", text(&none));
        assert!(text(&none).contains("is not a UUID"), "{}", text(&none));
    }

    let said = [listed, shown, would, text(&replayed), server.stop().1].concat();
    assert!(!said.contains(HUSH) && !said.contains("path-secret"), "{said}");
}
