//! Which database a process uses, which roles it has, and what it refuses to start with. No server is needed for these.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use serde_json::json;

use crate::support::home::Home;
use crate::support::server::{Server, Settings, runhook};

fn run<const N: usize>(home: &Path, arguments: [&str; N]) -> Output {
    runhook().current_dir(home).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    let all = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8(all).unwrap()
}

/// A PostgreSQL that is not there, with a password.
fn nowhere() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("postgres://me:hunter2@{free}/runs")
}

#[test]
fn replicas_that_share_a_database_are_told_what_they_must_be_given() {
    let home = tempfile::tempdir().unwrap();
    let url = nowhere();
    let serve = |more: &[&str]| {
        let mut command = runhook();
        command.current_dir(home.path()).args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url]);
        command.args(more).output().unwrap()
    };
    let no_keys = serve(&[]);
    assert!(said(&no_keys).contains("runhook keys generate --file FILE"), "{}", said(&no_keys));
    let missing = serve(&["--key-file", "keys"]);
    assert!(said(&missing).contains("runhook keys generate --file keys"), "{}", said(&missing));
    assert!(run(home.path(), ["keys", "generate", "--file", "keys"]).status.success());
    let no_blobs = serve(&["--key-file", "keys"]);
    assert!(said(&no_blobs).contains("--blob-url s3://BUCKET/PREFIX"), "{}", said(&no_blobs));
    for refused in [no_keys, missing, no_blobs] {
        assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
        assert!(!said(&refused).contains("hunter2"), "{}", said(&refused));
    }
    assert!(!home.path().join("data").exists(), "replicas have no data directory");
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let home = tempfile::tempdir().unwrap();
    let url = nowhere();
    assert!(run(home.path(), ["keys", "generate", "--file", "keys"]).status.success());
    let given = ["--database-url", url.as_str(), "--key-file", "keys", "--blob-url", "dir:blobs", "--log", "trace"];
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate"], &["doctor"], &["runs", "list"]] {
        let output = runhook().current_dir(home.path()).args(command).args(given).output().unwrap();
        let code = if command == ["doctor"] { 1 } else { 3 };
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", said(&output));
        assert!(said(&output).contains("refused"), "{command:?}: {}", said(&output));
        assert!(!said(&output).contains("hunter2"), "{command:?}: {}", said(&output));
    }
}

#[test]
fn a_wrong_database_url_is_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    for (url, expected) in [
        ("mysql://me:hunter2@db.test/runs", "unknown scheme"),
        ("postgres://me:hunter2@db.test", "names no database"),
        ("postgres://me:hun/ter2@db.test/runs", "%2F"),
    ] {
        let flag = run(home.path(), ["doctor", "--database-url", url]);
        fs::write(home.path().join("c.yaml"), format!("database_url: {url}\n")).unwrap();
        let file = run(home.path(), ["doctor", "--config", "c.yaml"]);
        let twin = runhook().current_dir(home.path()).arg("doctor").env("RUNHOOK_DATABASE_URL", url).output().unwrap();
        assert!(said(&file).contains("at line 1, column 15"), "{}", said(&file));
        for output in [flag, file, twin] {
            assert_eq!(output.status.code(), Some(3), "{}", said(&output));
            assert!(said(&output).contains(expected), "{}", said(&output));
            assert!(!said(&output).contains("hun"), "{}", said(&output));
        }
    }
}

#[test]
fn an_unknown_role_is_answered_with_a_suggestion() {
    let home = tempfile::tempdir().unwrap();
    let flag = run(home.path(), ["serve", "--roles", "ingest,sheduler"]);
    assert_eq!(flag.status.code(), Some(2));
    assert!(said(&flag).contains("unknown role `sheduler`; did you mean `scheduler`?"), "{}", said(&flag));
    fs::write(home.path().join("c.yaml"), "roles: [ingest, web]\n").unwrap();
    let file = run(home.path(), ["serve", "--config", "c.yaml"]);
    assert_eq!(file.status.code(), Some(3));
    assert!(said(&file).contains("unknown role `web`; known: ingest, scheduler, delivery, api"), "{}", said(&file));
}

#[tokio::test]
async fn a_replica_answers_what_its_roles_say_and_its_health() {
    let home = Arc::new(Home::new());
    let rules = home.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("broken.yaml"), "rules: 1\n").unwrap();
    for (roles, ingest, api) in [("ingest", 200, 404), ("api,delivery", 404, 200), ("scheduler", 404, 404)] {
        let settings = Settings::with(["--roles", roles, "--rules", rules.to_str().unwrap()]);
        let server = Server::start_in(Arc::clone(&home), settings).unwrap();
        for page in ["/healthz", "/readyz"] {
            assert_eq!(server.call("GET", page, None).await.0, 200, "{roles}");
        }
        assert_eq!(server.call("GET", "/sessions", None).await.0, ingest, "{roles}");
        let (status, answer) = server.call("GET", "/v1/status", None).await;
        assert_eq!(status, api, "{roles}");
        if status == 200 {
            assert_eq!(answer["roles"], json!(["delivery", "api"]));
        } else {
            let hint = answer["hint"].as_str().unwrap();
            assert!(hint.contains("does not have the roles") && hint.contains("api"), "{hint}");
        }
        let is_shared = server.home().is_shared();
        let (_, log) = server.stop();
        assert_eq!(log.contains("rules not applied"), roles.contains("api"), "{roles}: {log}");
        assert_eq!(log.contains("nobody does this for it"), !is_shared, "{log}");
    }
}
