//! The binary as people use it: what it prints, what it ends with, and what it says when something is wrong.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::{NotStarted, Server, Settings, runhook};

const COMMANDS: [&[&str]; 28] = [
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
    &["deliveries", "replay"],
    &["keys", "generate"],
    &["keys", "list"],
    &["keys", "rotate"],
    &["api-keys", "create"],
    &["api-keys", "list"],
    &["api-keys", "revoke"],
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

/// A command on a data directory, without a server.
fn at(home: &Path) -> Command {
    let mut command = runhook();
    command.current_dir(home);
    command
}

fn run<const N: usize>(home: &Path, arguments: [&str; N]) -> Output {
    at(home).args(arguments).output().unwrap()
}

fn json_of(output: &Output) -> Value {
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
fn an_unknown_configuration_key_is_answered_with_a_suggestion() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("runhook.yaml"), "lisen: 127.0.0.1:0\n").unwrap();
    let output = run(home.path(), ["serve", "--config", "runhook.yaml"]);
    assert_eq!(code(&output), 3);
    let said = err(&output);
    assert!(said.contains("unknown key `lisen`; did you mean `listen`?"), "{said}");
    assert!(said.contains("runhook.yaml:1:1"), "{said}");
    assert!(!home.path().join("data").exists());
}

#[test]
fn a_second_start_says_who_holds_the_directory() {
    let server = Server::start(Settings::default());
    let second =
        runhook().args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data_dir()).output().unwrap();
    assert_eq!(code(&second), 3);
    let said = err(&second);
    assert!(said.contains("is in use by the server at"), "{said}");
    assert!(said.contains(&server.url), "{said}");
    let near = runhook().args(["runs", "list", "--data-dir"]).arg(server.data_dir()).output().unwrap();
    assert_eq!(code(&near), 3);
    assert!(err(&near).contains(&format!("--server {}", server.url)), "{}", err(&near));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(home.path(), ["serve", "--listen", &address]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains(&format!("cannot listen on {address}")), "{}", err(&output));
    assert!(err(&output).contains("in use"), "{}", err(&output));
}

#[test]
fn an_address_that_others_reach_needs_an_api_key() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), ["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("no API key"), "{}", err(&output));
    assert_eq!(out(&output), "");
}

#[test]
fn a_start_makes_its_key_file_for_its_owner_alone() {
    let server = Server::start(Settings::default());
    let keys = server.data_dir().join("keys");
    assert!(fs::read_to_string(&keys).unwrap().starts_with("1:"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(server.data_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(log.contains("made a sealing key") && log.contains("keys"), "{log}");
}

fn refused_start(home: TempDir) -> NotStarted {
    Server::start_in(home.into(), Settings::default()).err().unwrap()
}

fn used_home() -> TempDir {
    let server = Server::start(Settings::default());
    let home = server.kill9();
    std::sync::Arc::try_unwrap(home).unwrap()
}

#[test]
fn a_wrong_key_file_stops_the_start() {
    let home = used_home();
    let keys = home.path().join("data/keys");
    let right = fs::read_to_string(&keys).unwrap();
    fs::remove_file(&keys).unwrap();
    let other = run(home.path(), ["keys", "generate", "--file", "data/keys"]);
    assert_eq!(code(&other), 0, "{}", err(&other));
    let stopped = refused_start(home);
    assert_eq!(stopped.status.code(), Some(3));
    assert!(stopped.log.contains("not the key 1 this data was sealed with"), "{}", stopped.log);
    assert!(!stopped.log.contains(right.trim().split_once(':').unwrap().1));
}

#[test]
fn a_missing_key_file_stops_the_start_and_none_is_made() {
    let home = used_home();
    let keys = home.path().join("data/keys");
    fs::remove_file(&keys).unwrap();
    let stopped = run(home.path(), ["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&stopped), 3);
    assert!(err(&stopped).contains("is missing, and this data was sealed with its keys"), "{}", err(&stopped));
    assert!(!keys.exists());
}

#[test]
fn a_malformed_key_file_is_not_quoted() {
    let home = used_home();
    fs::write(home.path().join("data/keys"), "1:hunter2hunter2\n").unwrap();
    let stopped = refused_start(home);
    assert_eq!(stopped.status.code(), Some(3));
    assert!(stopped.log.contains("line 1"), "{}", stopped.log);
    assert!(!stopped.log.contains("hunter2"), "{}", stopped.log);
}

#[test]
fn a_file_that_is_no_database_stops_the_start_and_stays_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("data/runhook.db");
    fs::create_dir(home.path().join("data")).unwrap();
    fs::write(&file, "this is a letter, and no database\n".repeat(500)).unwrap();
    let before = fs::read(&file).unwrap();
    let doctor = run(home.path(), ["doctor"]);
    assert_eq!(code(&doctor), 1, "{}{}", out(&doctor), err(&doctor));
    assert!(out(&doctor).contains("FAIL  database"), "{}", out(&doctor));
    let stopped = run(home.path(), ["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&stopped), 3);
    assert!(err(&stopped).contains("runhook.db is not a database"), "{}", err(&stopped));
    assert!(fs::read(&file).unwrap() == before);
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
    let home = tempfile::tempdir().unwrap();
    let first = run(home.path(), ["migrate", "--json"]);
    assert_eq!(code(&first), 0, "{}", err(&first));
    let first = json_of(&first);
    assert!(!first["applied"].as_array().unwrap().is_empty(), "{first}");
    let second = run(home.path(), ["migrate"]);
    assert!(out(&second).contains("is up to date"), "{}", out(&second));
}

#[test]
fn the_doctor_changes_nothing_where_nothing_is() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), ["doctor"]);
    assert_eq!(code(&output), 0, "{}", out(&output));
    assert!(!home.path().join("data").exists());
}

#[test]
fn the_doctor_finds_a_sound_directory_and_an_open_key_file() {
    let home = used_home();
    let output = run(home.path(), ["doctor", "--json"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    assert_eq!(json_of(&output)["verdict"], "ok", "{}", out(&output));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let keys = home.path().join("data/keys");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
        let output = run(home.path(), ["doctor"]);
        assert!(out(&output).contains("chmod 600"), "{}", out(&output));
    }
}

#[test]
fn the_doctor_asks_the_server_that_holds_the_directory() {
    let server = Server::start(Settings::default());
    let output = run(server.home(), ["doctor"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    assert!(out(&output).contains("takes traffic"), "{}", out(&output));
    let output = server.run(["doctor", "--json"]);
    assert_eq!(json_of(&output)["verdict"], "ok", "{}", out(&output));
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
    let near = run(home.path(), ["api-keys", "create", "after all", "--json"]);
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
    let file = server.home().join("runs.jsonl");
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
    let home = tempfile::tempdir().unwrap();
    let runs = json!([a_run(RUN, "one"), {"id": "no id", "name": "bad"}]);
    fs::write(home.path().join("runs.json"), runs.to_string()).unwrap();
    let imported = run(home.path(), ["runs", "import", "runs.json", "--project", "elsewhere", "--json"]);
    assert_eq!(code(&imported), 1, "{}", err(&imported));
    let tally = json_of(&imported);
    assert_eq!(tally["accepted"], 1, "{tally}");
    assert_eq!(tally["refused"][0]["part"], "run 2 of the file", "{tally}");
    let listed = json_of(&run(home.path(), ["runs", "list", "--project", "elsewhere", "--json"]));
    assert_eq!(listed["runs"][0]["id"], RUN);
    fs::write(home.path().join("broken.jsonl"), "{\"id\":\n").unwrap();
    let broken = run(home.path(), ["runs", "import", "broken.jsonl"]);
    assert_eq!(code(&broken), 3);
    assert!(err(&broken).contains("line 1 is not JSON"), "{}", err(&broken));
}

#[test]
fn a_wipe_leaves_api_keys_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("runs.jsonl"), a_run(RUN, "one").to_string()).unwrap();
    assert_eq!(code(&run(home.path(), ["runs", "import", "runs.jsonl"])), 0);
    assert_eq!(code(&run(home.path(), ["api-keys", "create", "kept"])), 0);
    let wiped = run(home.path(), ["wipe", "--yes"]);
    assert_eq!(code(&wiped), 0, "{}", err(&wiped));
    assert_eq!(code(&run(home.path(), ["runs", "show", RUN])), 1);
    let keys = json_of(&run(home.path(), ["api-keys", "list", "--json"]));
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

fn apply_rule(server: &Server) {
    let file = server.home().join("rule.yaml");
    fs::write(&file, RULE).unwrap();
    let applied = server.command(["rules", "apply"]).arg(&file).env("SECRET", "planted-secret").output().unwrap();
    assert_eq!(code(&applied), 0, "{}{}", out(&applied), err(&applied));
}

#[test]
fn keys_rotate_while_the_server_serves_and_the_old_key_goes_when_it_seals_nothing() {
    let server = Server::start(Settings::default());
    apply_rule(&server);
    let before = json_of(&server.run(["keys", "list", "--json"]));
    assert_eq!((&before["keys"][0]["id"], &before["keys"][0]["values"]), (&json!(1), &json!(1)), "{before}");
    let rotated = json_of(&server.run(["keys", "rotate", "--json"]));
    assert_eq!(rotated["resealed"], 1, "{rotated}");
    assert_eq!(rotated["keys"][0]["id"], 2);
    assert_eq!(rotated["keys"][0]["seals"], true);
    assert_eq!(rotated["keys"][1]["values"], 0);
    let file = server.data_dir().join("keys");
    assert!(fs::read_to_string(&file).unwrap().starts_with("2:"));
    let dropped = json_of(&server.run(["keys", "rotate", "--drop-old", "--json"]));
    assert_eq!((&dropped["dropped"], dropped["keys"].as_array().unwrap().len()), (&json!(1), 1), "{dropped}");
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 1);
    let server = server.restart();
    let after = json_of(&server.run(["keys", "list", "--json"]));
    assert_eq!((&after["keys"][0]["id"], &after["keys"][0]["values"]), (&json!(2), &json!(1)), "{after}");
}

#[test]
fn a_key_that_the_operator_put_first_is_taken_without_a_restart() {
    let server = Server::start(Settings::default());
    apply_rule(&server);
    let line = out(&runhook().args(["keys", "generate", "--id", "7"]).output().unwrap());
    let file = server.data_dir().join("keys");
    let old = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{line}{old}")).unwrap();
    let resealed = json_of(&server.run(["keys", "rotate", "--reseal", "--json"]));
    assert_eq!((&resealed["resealed"], &resealed["keys"][0]["id"]), (&json!(1), &json!(7)), "{resealed}");
    fs::write(&file, out(&runhook().args(["keys", "generate", "--id", "9"]).output().unwrap())).unwrap();
    let refused = server.run(["keys", "rotate", "--reseal"]);
    assert_eq!(code(&refused), 1);
    assert!(err(&refused).contains("sealed with key 7"), "{}", err(&refused));
}

#[test]
fn the_demo_ends_with_a_delivered_notification_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let output = runhook().arg("demo").env("TMPDIR", temporary.path()).output().unwrap();
    let said = out(&output);
    assert_eq!(code(&output), 0, "{said}{}", err(&output));
    for expected in
        ["POST /langsmith_webhook?secret=********", "x-team-token: ********", "\"boom\"", "window", "delivered"]
    {
        assert!(said.contains(expected), "`{expected}` is missing in:\n{said}");
    }
    assert_eq!(err(&output), "");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    use std::io::{BufRead, BufReader};
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = runhook();
    demo.arg("demo").env("TMPDIR", temporary.path()).stdout(std::process::Stdio::piped());
    let mut child = demo.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("Runhook"));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    drop(lines.by_ref().map_while(Result::ok).last());
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 3, "{}", err(&output));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
