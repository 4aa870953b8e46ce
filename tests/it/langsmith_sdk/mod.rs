//! The official Python SDK, unmodified, from its registry: a traced app sends, a rule matches, a receiver is called.

mod stories;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::receiver::{Received, Receiver};
use crate::support::server::{Server, Settings};

const SECRET: &str = "s3cret+with/odd=characters&";
const TOKEN: &str = "team-token-4711";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter that `make sdk` prepared.
fn python() -> PathBuf {
    let python = root().join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: `make sdk` installs the pinned SDK", python.display());
    python
}

fn serve_example(receiver: &Receiver) -> Server {
    let rules = root().join("examples/traced-app/rules.yaml");
    let folder = tempfile::tempdir().unwrap().keep();
    std::fs::copy(rules, folder.join("rules.yaml")).unwrap();
    let settings = Settings::with(["--rules", folder.to_str().unwrap(), "--allow-targets", "127.0.0.0/8"])
        .env("RECEIVER_URL", &format!("http://{}", receiver.address()))
        .env("RECEIVER_SECRET", SECRET)
        .env("TEAM_TOKEN", TOKEN);
    Server::start(settings)
}

fn run_app(server: &Server) -> String {
    let output = Command::new(python())
        .arg(root().join("examples/traced-app/app.py"))
        .env("LANGSMITH_ENDPOINT", &server.url)
        .env("LANGSMITH_TRACING", "true")
        .env("LANGSMITH_PROJECT", "support-bot")
        .env("LANGSMITH_API_KEY", "unused")
        .env_remove("LANGCHAIN_ENDPOINT")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}");
    assert_eq!(err, "", "the SDK warned");
    out.trim().strip_prefix("traced run ").unwrap().to_owned()
}

fn path(request: &Received) -> &str {
    request.target.split('?').next().unwrap()
}

#[tokio::test]
async fn a_traced_app_is_matched_and_its_receiver_called_once_for_each_rule() {
    let mut receiver = Receiver::start([]).await;
    let server = serve_example(&receiver);
    let run_id = run_app(&server);
    // The bound of the README: two seconds from the last flush. A receiver that is not called ends the test.
    let both = async { [receiver.next().await, receiver.next().await] };
    let both = tokio::time::timeout(Duration::from_secs(2), both).await.expect("called within two seconds");
    let by_path: BTreeMap<&str, &Received> = both.iter().map(|request| (path(request), request)).collect();

    let low_score = by_path["/low-score"];
    assert_eq!(low_score.method, "POST");
    assert_eq!(low_score.header("x-team-token"), TOKEN);
    assert_eq!(low_score.header("content-type"), "application/json");
    let secret = url::Url::parse(&format!("http://localhost{}", low_score.target)).unwrap();
    assert_eq!(secret.query_pairs().next().unwrap(), ("secret".into(), SECRET.into()));
    assert!(!low_score.target.contains('+'), "a receiver would read + as a space");

    let body: Value = low_score.json();
    for key in ["rule_id", "start_time", "end_time", "runs", "feedback_stats"] {
        assert!(!body[key].is_null(), "{key} is missing");
    }
    let runs = body["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["id"], run_id);
    assert_eq!(runs[0]["name"], "support agent");
    assert_eq!(runs[0]["status"], "success");
    assert_eq!(runs[0]["tags"], serde_json::json!(["production"]));
    assert_eq!(runs[0]["inputs"]["question"], "refunds");
    assert_eq!(runs[0]["feedback_stats"]["user_score"]["n"], 1);
    assert_eq!(runs[0]["feedback_stats"]["user_score"]["avg"], 0.0);
    assert_eq!(body["feedback_stats"], runs[0]["feedback_stats"]);

    let failed_tool = &by_path["/failed-tool"].json()["runs"];
    assert_eq!(failed_tool.as_array().unwrap().len(), 1);
    assert_eq!(failed_tool[0]["name"], "refund");
    assert_eq!(failed_tool[0]["parent_run_ids"], serde_json::json!([run_id]));
    assert!(failed_tool[0]["error"].as_str().unwrap().contains("order A-17 is locked"));
    let (_, stored) = server.call("GET", &format!("/runs/{run_id}"), None).await;
    assert_eq!(stored["outputs"]["answer"], "Sorry: order A-17 is locked.");
}
