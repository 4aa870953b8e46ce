//! OpenTelemetry exporters, unmodified, from their registries: what they send over a socket is found again, and rules
//! match it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::receiver::Receiver;
use crate::support::server::{Server, Settings};

const RULES: &str = "
version: 1
rules:
  - key: failed-tool
    name: A payment tool failed
    project: shop
    filter: and(eq(run_type, \"tool\"), eq(status, \"error\"), has(tags, \"payments\"))
    every: immediate
    webhooks: [{ url: \"${RECEIVER_URL}/failed-tool\" }]
  - key: thread
    name: A thread went on
    project: shop
    filter: and(eq(is_root, true), eq(thread_id, \"thread-7\"), eq(metadata_key, \"service.name\"), eq(metadata_value, \"shop\"))
    every: immediate
    webhooks: [{ url: \"${RECEIVER_URL}/thread\" }]
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `make sdk` put it.
fn installed(place: &str) -> PathBuf {
    let place = root().join(".venv/sdks").join(place);
    assert!(place.exists(), "{} is missing: `make sdk` installs what is pinned", place.display());
    place
}

/// Runs a program that sends to a server. What it said.
fn send(mut program: Command, file: &str, server: &Server, variables: &[(&str, &str)]) -> String {
    for (name, _) in std::env::vars_os() {
        if ["OTEL_", "LANGSMITH_", "LANGCHAIN_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            program.env_remove(name);
        }
    }
    let program = program.arg(root().join("tests/it/exporters").join(file)).envs(variables.iter().copied());
    let output = program.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("NODE_OPTIONS").output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}\n{}", server.log());
    assert_eq!(err, "", "it warned");
    out.trim().to_owned()
}

fn python() -> Command {
    Command::new(installed("python-otel/bin/python"))
}

async fn run(server: &Server, trace: &str, name: &str) -> Value {
    let (status, found) = server.call("POST", "/runs/query", Some(&json!({ "trace": trace }))).await;
    assert_eq!(status, 200, "{found}");
    let runs = found["runs"].as_array().unwrap();
    runs.iter().find(|run| run["name"] == name).unwrap_or_else(|| panic!("{name} is not in {found}")).clone()
}

#[tokio::test]
async fn what_the_python_exporter_sends_is_matched_and_found_again() {
    let mut receiver = Receiver::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    let settings = Settings::with(["--rules", folder.path().to_str().unwrap(), "--allow-targets", "127.0.0.0/8"]);
    let server = Server::start(settings.env("RECEIVER_URL", &format!("http://{}", receiver.address())));
    let endpoint = format!("{}/otel", server.url);
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_HEADERS", "Langsmith-Project=shop")];
    let trace = send(python(), "exporter.py", &server, &variables);

    let top = run(&server, &trace, "agent").await;
    assert_eq!(top["id"].as_str().unwrap().replace('-', ""), trace);
    assert_eq!(
        (&top["inputs"], &top["outputs"]),
        (&json!({"input": "where is my order?"}), &json!({"text": "Sorry."}))
    );
    let chat = run(&server, &trace, "chat gpt-4o-mini").await;
    assert_eq!((&chat["run_type"], &chat["total_tokens"]), (&json!("llm"), &json!(18)));
    assert_eq!(chat["inputs"]["messages"][0]["role"], "user");
    assert_eq!(chat["extra"]["metadata"]["ls_provider"], "openai");
    let tool = run(&server, &trace, "execute_tool look_up").await;
    assert_eq!((&tool["inputs"], &tool["tags"]), (&json!({"order": "A-17"}), &json!(["payments", "eu"])));
    for child in [&chat, &tool] {
        assert_eq!(child["parent_run_id"], top["id"]);
        assert!(child["dotted_order"].as_str().unwrap().starts_with(top["dotted_order"].as_str().unwrap()));
    }

    let mut told = [receiver.next().await, receiver.next().await];
    told.sort_by(|one, other| one.target.cmp(&other.target));
    for (notification, target, run) in [(&told[0], "/failed-tool", &tool), (&told[1], "/thread", &top)] {
        assert_eq!(notification.target, target);
        let runs = notification.json()["runs"].clone();
        assert_eq!((runs.as_array().unwrap().len(), &runs[0]["id"]), (1, &run["id"]));
    }
    let error = told[0].json()["runs"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("order A-17 is locked\n\nStacktrace:\nTraceback"), "{error}");
}

#[tokio::test]
async fn what_the_javascript_exporter_sends_is_found_again() {
    let server = Server::start(Settings::default());
    let mut node = Command::new("node");
    node.env("NODE_PATH", installed("node/node_modules"));
    let trace = send(node, "exporter.cjs", &server, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &server.url)]);
    let top = run(&server, &trace, "workflow").await;
    let child = run(&server, &trace, "chat").await;
    assert_eq!((&top["status"], &top["parent_run_id"]), (&json!("success"), &Value::Null));
    assert_eq!(top["extra"]["metadata"]["list"], json!(["a", "b"]));
    assert_eq!((&child["parent_run_id"], &child["error"]), (&top["id"], &json!("upstream is away")));
    assert_eq!(child["inputs"], json!({"messages": [{"role": "user", "content": "hi"}]}));
}

#[tokio::test]
async fn langsmiths_sdk_traces_by_opentelemetry_and_finds_everything_again() {
    let server = Server::start(Settings::default());
    let variables = [
        ("LANGSMITH_ENDPOINT", server.url.as_str()),
        ("LANGSMITH_API_KEY", "unused"),
        ("LANGSMITH_PROJECT", "by otel"),
        ("LANGSMITH_TRACING", "true"),
        ("LANGSMITH_TRACING_MODE", "otel"),
    ];
    assert_eq!(send(python(), "langsmith_otel.py", &server, &variables), "told");
}
