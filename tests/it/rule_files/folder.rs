//! `serve --rules DIR`, with the real binary.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{Server, Settings, runhook};

fn rule(key: &str) -> String {
    format!(
        "version: 1\nrules:\n  - key: {key}\n    project: p\n    filter: eq(status, \"error\")\n    webhooks:\n      \
         - url: ${{FOLDER_URL}}\n"
    )
}

fn serve(folder: &Path) -> Server {
    let settings = Settings::with(["--rules", folder.to_str().unwrap()]);
    Server::start(settings.env("FOLDER_URL", "https://hooks.example.com/planted-path"))
}

async fn keys(server: &Server) -> Vec<String> {
    let (_, answer) = server.call("GET", "/v1/rules", None).await;
    let rules = answer["rules"].as_array().unwrap();
    rules.iter().map(|rule| rule["key"].as_str().unwrap().to_owned()).collect()
}

/// Asks until the server tells this of its folder: how many files, how many problems, and why they are not applied.
async fn folder_becomes(server: &Server, files: u32, problems: u32, error: Option<&str>) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let state = server.call("GET", "/v1/status", None).await.1["rules_folder"].take();
        if (&state["files"], &state["problems"], &state["error"]) == (&json!(files), &json!(problems), &json!(error)) {
            return state;
        }
        assert!(Instant::now() < deadline, "{state:#}");
    }
}

/// Asks until the server has exactly these rules.
async fn becomes(server: &Server, expected: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while keys(server).await != expected {
        assert!(Instant::now() < deadline, "{:?}\n{}", keys(server).await, server.log());
    }
}

#[tokio::test]
async fn a_folder_is_applied_at_the_start_and_again_when_a_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), rule("a")).unwrap();
    fs::write(folder.path().join(".hidden.yaml"), rule("hidden")).unwrap();
    fs::write(folder.path().join("notes.txt"), "not a rule").unwrap();
    let server = serve(folder.path());
    assert_eq!(keys(&server).await, ["a"]);
    fs::create_dir(folder.path().join("more")).unwrap();
    fs::write(folder.path().join("more/b.yml"), rule("b")).unwrap();
    becomes(&server, &["a", "b"]).await;
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    becomes(&server, &["b"]).await;
    let state = folder_becomes(&server, 1, 0, None).await;
    assert_eq!(state["applied_at"], state["looked_at"]);
}

#[tokio::test]
async fn a_folder_with_an_error_changes_nothing_and_the_log_says_where() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), rule("a")).unwrap();
    let server = serve(folder.path());
    fs::write(folder.path().join("b.yaml"), rule("b").replace("filter:", "fliter:")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !server.log().contains("did you mean `filter`?") {
        assert!(Instant::now() < deadline, "{}", server.log());
        tokio::task::yield_now().await;
    }
    assert_eq!(keys(&server).await, ["a"]);
    let refused = folder_becomes(&server, 2, 2, Some("1 error in the rule files; nothing changed")).await;
    assert!(refused["looked_at"].as_str() > refused["applied_at"].as_str(), "{refused:#}");
    fs::write(folder.path().join("b.yaml"), rule("b")).unwrap();
    becomes(&server, &["a", "b"]).await;
    folder_becomes(&server, 2, 0, None).await;
    let metrics = server.text("/metrics").await;
    for (outcome, count) in [("applied", 2), ("refused", 1)] {
        let line = format!("runhook_rule_files_total{{source=\"folder\",outcome=\"{outcome}\"}} {count}");
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert!(!server.log().contains("planted"), "{}", server.log());
}

#[tokio::test]
async fn a_folder_with_an_error_does_not_keep_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), "version: [\n").unwrap();
    let server = serve(folder.path());
    assert_eq!(keys(&server).await, Vec::<String>::new());
    assert!(server.log().contains("not valid YAML"), "{}", server.log());
}

#[tokio::test]
async fn commands_check_plan_apply_list_show_pause_and_export() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, rule("a")).unwrap();
    let path = file.to_str().unwrap();
    let server = Server::start(Settings::default());
    let run = |arguments: &[&str]| {
        let mut command = server.command(["rules"]);
        command.args(arguments).env("FOLDER_URL", "https://hooks.example.com/planted-path");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains("planted"), "{text}");
        (output.status.code().unwrap(), text)
    };
    assert_eq!(run(&["check", path]), (0, "1 file: fine (0 errors, 0 warnings)\n".into()));
    let (code, text) = run(&["plan", path]);
    assert!(code == 0 && text.starts_with("+ rule a\n1 to create"), "{text}");
    assert_eq!(run(&["apply", path]), (0, "+ rule a\n1 created, 0 updated, 0 removed, 0 unchanged\n".into()));
    assert_eq!(run(&["apply", path]), (0, "0 created, 0 updated, 0 removed, 1 unchanged\n".into()));
    assert!(run(&["list"]).1.contains("https://hooks.example.com/…"));
    assert_eq!(run(&["pause", "a"]), (0, "a is paused\n".into()));
    assert_eq!(run(&["pause", "a"]), (0, "a is already paused\n".into()));
    assert!(run(&["show", "a"]).1.contains("paused"));
    assert!(run(&["export"]).1.contains("${A_URL}"));
    assert_eq!(run(&["show", "b"]).0, 1);
    let shown: Value = serde_json::from_str(&run(&["show", "a", "--json"]).1).unwrap();
    assert_eq!(shown["key"], "a");

    fs::write(&file, rule("a").replace("filter:", "fliter:")).unwrap();
    let (code, text) = run(&["check", path]);
    assert!(code == 1 && text.contains("did you mean `filter`?"), "{text}");
    assert_eq!(run(&["apply", path]).0, 1);
    let (code, text) = run(&["check", path, "--format", "github"]);
    assert!(code == 1 && text.contains("line=5,col=5"), "{text}");
    assert_eq!(run(&["check", "/nowhere.yaml"]).0, 3);
}

#[test]
fn a_strict_check_refuses_filters_that_the_hosted_service_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, rule("a").replace("eq(status, \"error\")", "not(has(tags, \"test\"))")).unwrap();
    let check = |arguments: &[&str]| {
        let mut command = runhook();
        command
            .args(["rules", "check", file.to_str().unwrap()])
            .args(arguments)
            .env("FOLDER_URL", "https://h.example/");
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(check(&[]), (0, "1 file: fine (0 errors, 0 warnings)\n".into()));
    let (code, text) = check(&["--strict"]);
    assert!(code == 1 && text.contains("`not`") && text.ends_with("not fine (0 errors, 1 warning)\n"), "{text}");
}
