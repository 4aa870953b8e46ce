//! The binary as people use it: what it prints, what it ends with, and what it says when something is wrong.

use std::fs;
use std::net::TcpListener;
use std::process::Output;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::server::{NotStarted, Server, Settings, runhook};

const COMMANDS: [&[&str]; 42] = [
    &[],
    &["serve"],
    &["demo"],
    &["rules"],
    &["rules", "check"],
    &["rules", "plan"],
    &["rules", "apply"],
    &["rules", "list"],
    &["rules", "show"],
    &["rules", "export"],
    &["filter", "check"],
    &["filter", "match"],
    &["runs", "import"],
    &["runs", "list"],
    &["runs", "show"],
    &["deliveries", "list"],
    &["deliveries", "show"],
    &["deliveries", "failed"],
    &["deliveries", "replay"],
    &["endpoints"],
    &["endpoints", "list"],
    &["endpoints", "show"],
    &["endpoints", "create"],
    &["endpoints", "update"],
    &["endpoints", "delete"],
    &["endpoints", "test"],
    &["endpoints", "preview"],
    &["endpoints", "disable"],
    &["endpoints", "enable"],
    &["endpoints", "rotate-secret"],
    &["keys", "generate"],
    &["keys", "list"],
    &["keys", "rotate"],
    &["api-keys", "create"],
    &["api-keys", "list"],
    &["api-keys", "revoke"],
    &["audit"],
    &["listen"],
    &["migrate"],
    &["doctor"],
    &["wipe"],
    &["completions"],
];

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A command on a database, without a server.
fn run<const N: usize>(home: &Home, arguments: [&str; N]) -> Output {
    home.command().args(arguments).output().unwrap()
}

pub(crate) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}

fn a_run(id: &str, name: &str) -> Value {
    json!({
        "id": id, "name": name, "run_type": "chain", "session_name": "imported",
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
        "inputs": {"b": 1.50, "a": "x"}, "outputs": {"c": true},
    })
}

const RUN: &str = "0195c0de-0000-7000-8000-000000000001";
const OTHER: &str = "0195c0de-0000-7000-8000-000000000002";

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let output = runhook().args(command).arg("--help").output().unwrap();
        assert_eq!(code(&output), 0, "{command:?}: {}", err(&output));
        assert!(out(&output).contains("Usage: runhook"), "{command:?}");
        assert_eq!(err(&output), "", "{command:?}");
    }
    let version = runhook().arg("--version").output().unwrap();
    assert_eq!(out(&version).trim(), concat!("runhook ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_flag_is_a_usage_error() {
    let output = runhook().args(["runs", "list", "--limt", "3"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--limit"), "{}", err(&output));
    let output = runhook().args(["wipe"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--yes"));
}

#[test]
fn completions_are_a_script() {
    let output = runhook().args(["completions", "bash"]).output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("_runhook()"));
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://user:hunter2@{free}/deep?secret=hunter2");
    let output = runhook().args(["runs", "list", "--server", &url]).output().unwrap();
    assert_eq!(code(&output), 3);
    let said = err(&output);
    assert!(said.contains(&format!("http://{free}: nothing answers there")), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&home, ["serve", "--listen", &address]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains(&format!("cannot listen on {address}")), "{}", err(&output));
    assert!(err(&output).contains("in use"), "{}", err(&output));
}

#[test]
fn an_address_that_others_reach_needs_an_api_key() {
    let home = Home::new();
    let output = run(&home, ["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("no API key"), "{}", err(&output));
    assert_eq!(out(&output), "");
}

fn refused_start(home: Arc<Home>) -> NotStarted {
    Server::start_in(home, Settings::default()).err().unwrap()
}

fn used_home() -> Arc<Home> {
    Server::start(Settings::default()).kill9()
}

#[test]
fn a_wrong_key_file_stops_the_start() {
    let home = used_home();
    let keys = home.key_file();
    let right = fs::read_to_string(&keys).unwrap();
    fs::remove_file(&keys).unwrap();
    let other = run(&home, ["keys", "generate", "--file", "data/keys"]);
    assert_eq!(code(&other), 0, "{}", err(&other));
    let stopped = refused_start(home);
    assert_eq!(stopped.status.code(), Some(3));
    assert!(stopped.log.contains("not the key 1 this data was sealed with"), "{}", stopped.log);
    assert!(!stopped.log.contains(right.trim().split_once(':').unwrap().1));
}

#[test]
fn a_malformed_key_file_is_not_quoted() {
    let home = used_home();
    fs::write(home.key_file(), "1:hunter2hunter2\n").unwrap();
    let stopped = refused_start(home);
    assert_eq!(stopped.status.code(), Some(3));
    assert!(stopped.log.contains("line 1"), "{}", stopped.log);
    assert!(!stopped.log.contains("hunter2"), "{}", stopped.log);
}

#[test]
fn a_server_stops_when_it_is_asked_to_and_ends_well() {
    let server = Server::start(Settings::with(["--log-format", "json"]));
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["message"], "stopped");
}

#[test]
fn migrate_says_what_it_did() {
    let home = Home::new();
    let first = run(&home, ["migrate", "--json"]);
    assert_eq!(code(&first), 0, "{}", err(&first));
    let first = json_of(&first);
    assert!(!first["applied"].as_array().unwrap().is_empty(), "{first}");
    let second = run(&home, ["migrate"]);
    assert!(out(&second).contains("is up to date"), "{}", out(&second));
}

#[test]
fn the_doctor_finds_a_sound_directory_and_an_open_key_file() {
    let home = used_home();
    let output = run(&home, ["doctor", "--json"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    assert_eq!(json_of(&output)["verdict"], "ok", "{}", out(&output));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let keys = home.key_file();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
        let output = run(&home, ["doctor"]);
        assert!(out(&output).contains("chmod 600"), "{}", out(&output));
    }
}

#[tokio::test]
async fn an_api_key_is_shown_once_works_and_is_revoked() {
    let server = Server::start(Settings::default());
    assert_eq!(server.call("GET", "/v1/runs", None).await.0, 200);
    let made = server.run(["api-keys", "create", "ci", "--json"]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let made = json_of(&made);
    let (key, id) = (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned());
    assert_eq!(server.call("GET", "/v1/runs", None).await.0, 401);
    let refused = server.run(["runs", "list"]);
    assert_eq!(code(&refused), 3);
    assert!(err(&refused).contains("asks for an API key"), "{}", err(&refused));
    let allowed = server.command(["api-keys", "list"]).env("RUNHOOK_API_KEY", &key).output().unwrap();
    assert_eq!(code(&allowed), 0, "{}", err(&allowed));
    assert!(out(&allowed).contains("ci") && !out(&allowed).contains(&key));
    let revoked = server.command(["api-keys", "revoke", &id, "--api-key", &key]).output().unwrap();
    assert_eq!(code(&revoked), 0, "{}", err(&revoked));
    let late = server.command(["api-keys", "list", "--api-key", &key]).output().unwrap();
    assert_eq!(code(&late), 3);
    let home = server.kill9();
    let near = run(&home, ["api-keys", "create", "after all", "--json"]);
    assert_eq!(code(&near), 0, "the owner of the data needs no key: {}", err(&near));
}

#[tokio::test]
async fn a_key_of_the_environment_is_accepted_from_the_first_start_on() {
    let key = "a-key-of-the-environment";
    let server = Server::start(Settings::default().env("RUNHOOK_API_KEY", key));
    assert_eq!(server.call("GET", "/v1/runs", None).await.0, 401);
    let allowed = server.command(["runs", "list", "--api-key", key]).output().unwrap();
    assert_eq!(code(&allowed), 0, "{}", err(&allowed));
    let server = server.restart();
    let listed = server.command(["api-keys", "list", "--json", "--api-key", key]).output().unwrap();
    assert_eq!(json_of(&listed)["api_keys"].as_array().unwrap().len(), 1);
    assert!(!server.log().contains(key));
}

#[test]
fn runs_are_imported_listed_and_shown() {
    let server = Server::start(Settings::default());
    let file = server.home().path().join("runs.jsonl");
    fs::write(&file, format!("{}\n\n{}\n", a_run(RUN, "one"), a_run(OTHER, "two"))).unwrap();
    let imported = server.command(["runs", "import"]).arg(&file).output().unwrap();
    assert_eq!(code(&imported), 0, "{}", err(&imported));
    assert_eq!(out(&imported).trim(), "imported 2 runs, refused 0");
    assert_eq!(err(&imported), "");
    let listed = json_of(&server.run(["runs", "list", "--project", "imported", "--json"]));
    assert_eq!(listed["runs"].as_array().unwrap().len(), 2, "{listed}");
    let page = json_of(&server.run(["runs", "list", "--limit", "1", "--json"]));
    let next = page["next"].as_str().unwrap();
    let rest = json_of(&server.run(["runs", "list", "--json", "--before", next]));
    assert_eq!(rest["runs"].as_array().unwrap().len(), 1);
    assert_ne!(rest["runs"][0]["id"], page["runs"][0]["id"]);
    let shown = server.run(["runs", "show", RUN]);
    assert_eq!(json_of(&shown)["name"], "one");
    let nobody = server.run(["runs", "show", "0195c0de-0000-7000-8000-00000000ffff"]);
    assert_eq!((code(&nobody), err(&nobody).trim()), (1, "error: run not found"));
    let nowhere = server.run(["runs", "list", "--project", "nowhere"]);
    assert_eq!(code(&nowhere), 1);
}

#[test]
fn runs_are_imported_into_another_project_and_bad_ones_are_named() {
    let home = Home::new();
    let runs = json!([a_run(RUN, "one"), {"id": "no id", "name": "bad"}]);
    fs::write(home.path().join("runs.json"), runs.to_string()).unwrap();
    let imported = run(&home, ["runs", "import", "runs.json", "--project", "elsewhere", "--json"]);
    assert_eq!(code(&imported), 1, "{}", err(&imported));
    let tally = json_of(&imported);
    assert_eq!(tally["accepted"], 1, "{tally}");
    assert_eq!(tally["refused"][0]["part"], "run 2 of the file", "{tally}");
    let listed = json_of(&run(&home, ["runs", "list", "--project", "elsewhere", "--json"]));
    assert_eq!(listed["runs"][0]["id"], RUN);
    fs::write(home.path().join("broken.jsonl"), "{\"id\":\n").unwrap();
    let broken = run(&home, ["runs", "import", "broken.jsonl"]);
    assert_eq!(code(&broken), 3);
    assert!(err(&broken).contains("line 1 is not JSON"), "{}", err(&broken));
}

#[test]
fn a_wipe_leaves_api_keys_and_nothing_else() {
    let home = Home::new();
    fs::write(home.path().join("runs.jsonl"), a_run(RUN, "one").to_string()).unwrap();
    assert_eq!(code(&run(&home, ["runs", "import", "runs.jsonl"])), 0);
    assert_eq!(code(&run(&home, ["api-keys", "create", "kept"])), 0);
    let wiped = run(&home, ["wipe", "--yes"]);
    assert_eq!(code(&wiped), 0, "{}", err(&wiped));
    assert_eq!(code(&run(&home, ["runs", "show", RUN])), 1);
    let keys = json_of(&run(&home, ["api-keys", "list", "--json"]));
    assert_eq!(keys["api_keys"][0]["name"], "kept");
}

const RULE: &str = r#"
version: 1
rules:
  - key: errors
    name: Errors
    project: "*"
    filter: eq(status, "error")
    webhooks:
      - url: https://hooks.example.com/planted-path
        query: { secret: "${SECRET}" }
        headers: { X-Team-Token: "${SECRET}" }
"#;

pub(crate) fn apply_rule(server: &Server) {
    let file = server.home().path().join("rule.yaml");
    fs::write(&file, RULE).unwrap();
    let applied = server.command(["rules", "apply"]).arg(&file).env("SECRET", "planted-secret").output().unwrap();
    assert_eq!(code(&applied), 0, "{}{}", out(&applied), err(&applied));
}

#[test]
fn a_key_that_the_operator_put_first_is_taken_without_a_restart() {
    let server = Server::start(Settings::default());
    apply_rule(&server);
    let line = out(&runhook().args(["keys", "generate", "--id", "7"]).output().unwrap());
    let file = server.home().key_file();
    let old = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{line}{old}")).unwrap();
    let resealed = json_of(&server.run(["keys", "rotate", "--reseal", "--json"]));
    assert_eq!((&resealed["resealed"], &resealed["keys"][0]["id"]), (&json!(1), &json!(7)), "{resealed}");
    fs::write(&file, out(&runhook().args(["keys", "generate", "--id", "9"]).output().unwrap())).unwrap();
    let refused = server.run(["keys", "rotate", "--reseal"]);
    assert_eq!(code(&refused), 1);
    assert!(err(&refused).contains("sealed with key 7"), "{}", err(&refused));
}
