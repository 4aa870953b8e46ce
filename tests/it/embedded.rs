//! What only an embedded server has: a file that is its own, in a directory that is locked, with keys that it makes.
//!
//! All other tests of the surfaces are about any database; these run once, whichever that is.

use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;

use runhook::config::Limits;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use crate::command_line::{apply_rule, json_of};
use crate::ingest::engine::Engine;
use crate::support::home::{Home, Room};
use crate::support::server::{Server, Settings, runhook};

fn run<const N: usize>(home: &Home, arguments: [&str; N]) -> Output {
    home.command().args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A server on a directory of its own.
fn serve() -> Server {
    serve_with(Settings::default())
}

fn serve_with(settings: Settings) -> Server {
    Server::start_in(Arc::new(Home::embedded()), settings).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn a_second_start_says_who_holds_the_directory() {
    let server = serve();
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
fn a_file_elsewhere_has_one_owner_whichever_way_it_is_named() {
    let home = Home::embedded();
    let elsewhere = format!("sqlite://{}", home.path().join("runs.db").display());
    let server = serve_with(Settings::with(["--database-url", &elsewhere]));
    assert!(home.path().join("runs.db").exists() && !server.data_dir().join("runhook.db").exists());
    let second = run(&home, ["runs", "list", "--data-dir", "other", "--database-url", &elsewhere]);
    assert_eq!(code(&second), 3);
    assert!(err(&second).contains(&format!("--server {}", server.url)), "{}", err(&second));
    drop(server);

    let server = serve();
    let own = format!("sqlite://{}", server.data_dir().join("runhook.db").display());
    let second = run(&home, ["runs", "list", "--data-dir", "other", "--database-url", &own]);
    assert_eq!(code(&second), 3);
    assert!(err(&second).contains(&format!("--server {}", server.url)), "{}", err(&second));
}

#[test]
fn the_doctor_asks_the_server_that_holds_the_directory() {
    let server = serve();
    let output = run(server.home(), ["doctor"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    assert!(out(&output).contains("takes traffic"), "{}", out(&output));
    let output = server.run(["doctor", "--json"]);
    assert_eq!(json_of(&output)["verdict"], "ok", "{}", out(&output));
}

#[test]
fn the_doctor_changes_nothing_where_nothing_is() {
    let home = Home::embedded();
    let output = run(&home, ["doctor"]);
    assert_eq!(code(&output), 0, "{}", out(&output));
    assert!(!home.path().join("data").exists());
}

#[test]
fn a_start_makes_its_key_file_for_its_owner_alone() {
    let server = serve();
    let keys = server.home().key_file();
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

#[test]
fn a_missing_key_file_stops_the_start_and_none_is_made() {
    let home = serve().kill9();
    let keys = home.key_file();
    fs::remove_file(&keys).unwrap();
    let stopped = run(&home, ["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&stopped), 3);
    assert!(err(&stopped).contains("is missing, and this data was sealed with its keys"), "{}", err(&stopped));
    assert!(!keys.exists());
}

#[test]
fn an_unknown_configuration_key_is_answered_with_a_suggestion() {
    let home = Home::embedded();
    fs::write(home.path().join("runhook.yaml"), "lisen: 127.0.0.1:0\n").unwrap();
    let output = run(&home, ["serve", "--config", "runhook.yaml"]);
    assert_eq!(code(&output), 3);
    let said = err(&output);
    assert!(said.contains("unknown key `lisen`; did you mean `listen`?"), "{said}");
    assert!(said.contains("runhook.yaml:1:1"), "{said}");
    assert!(!home.path().join("data").exists());
}

#[test]
fn keys_rotate_while_the_server_serves_and_the_old_key_goes_when_it_seals_nothing() {
    let server = serve();
    apply_rule(&server);
    let before = json_of(&server.run(["keys", "list", "--json"]));
    assert_eq!((&before["keys"][0]["id"], &before["keys"][0]["values"]), (&json!(1), &json!(1)), "{before}");
    let rotated = json_of(&server.run(["keys", "rotate", "--json"]));
    assert_eq!(rotated["resealed"], 1, "{rotated}");
    assert_eq!(rotated["keys"][0]["id"], 2);
    assert_eq!(rotated["keys"][0]["seals"], true);
    assert_eq!(rotated["keys"][1]["values"], 0);
    let file = server.home().key_file();
    assert!(fs::read_to_string(&file).unwrap().starts_with("2:"));
    let dropped = json_of(&server.run(["keys", "rotate", "--drop-old", "--json"]));
    assert_eq!((&dropped["dropped"], dropped["keys"].as_array().unwrap().len()), (&json!(1), 1), "{dropped}");
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 1);
    let server = server.restart();
    let after = json_of(&server.run(["keys", "list", "--json"]));
    assert_eq!((&after["keys"][0]["id"], &after["keys"][0]["values"]), (&json!(2), &json!(1)), "{after}");
}

#[test]
fn a_file_that_is_no_database_stops_the_start_and_stays_as_it_is() {
    let home = Home::embedded();
    let file = home.path().join("data/runhook.db");
    fs::create_dir(home.path().join("data")).unwrap();
    fs::write(&file, "this is a letter, and no database\n".repeat(500)).unwrap();
    let before = fs::read(&file).unwrap();
    let doctor = run(&home, ["doctor"]);
    assert_eq!(code(&doctor), 1, "{}{}", out(&doctor), err(&doctor));
    assert!(out(&doctor).contains("FAIL  database"), "{}", out(&doctor));
    let stopped = run(&home, ["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&stopped), 3);
    assert!(err(&stopped).contains("runhook.db is not a database"), "{}", err(&stopped));
    assert!(fs::read(&file).unwrap() == before);
}

#[test]
fn a_server_that_stopped_leaves_everything_in_one_file() {
    let server = serve();
    let data_dir = server.data_dir();
    server.signal("TERM");
    let _home = server.wait();
    let names: Vec<_> = fs::read_dir(data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with("-wal")), "{names:?}");
}

#[tokio::test]
async fn a_damaged_database_is_named_and_said_once() {
    let server = serve();
    let data_dir = server.data_dir();
    server.signal("TERM");
    let home = server.wait();
    let file = data_dir.join("runhook.db");
    let mut database = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    let roots = sqlx::query_scalar::<_, u32>("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0");
    let roots = roots.fetch_all(&mut database).await.unwrap();
    database.close().await.unwrap();
    let mut bytes = fs::read(&file).unwrap();
    // The schema is whole: one that is not fails when the file is opened.
    for page in roots {
        let at = (page as usize - 1) * 16_384;
        bytes[at..at + 16_384].iter_mut().step_by(97).for_each(|byte| *byte ^= 0x5a);
    }
    fs::write(&file, bytes).unwrap();
    let refused = run(&home, ["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&refused), 3);
    let said = err(&refused);
    assert!(said.contains("data/runhook.db fails: "), "{said}");
    assert_eq!((said.matches("malformed").count(), said.lines().count()), (1, 1), "{said}");
}

fn run_with(text: &str) -> Value {
    json!({"name": "n", "run_type": "chain", "start_time": 1, "inputs": {"text": text}})
}

#[tokio::test]
async fn a_full_disk_is_503_and_loses_nothing_acknowledged() {
    let engine =
        Engine::at(Home::embedded(), Limits::default(), Room { max_pages: Some(256), ..Room::default() }).await;
    let mut accepted = 0;
    let full = loop {
        // Random-looking text: what the store compresses well would not fill it.
        let text: String = (0..2000)
            .map(|n| uuid::Uuid::new_v5(&uuid::Uuid::nil(), format!("{accepted}/{n}").as_bytes()).to_string())
            .collect();
        let answer = engine.post("/runs", &run_with(text.get(..60_000).unwrap())).await;
        match answer.status.as_u16() {
            202 => accepted += 1,
            _ => break answer.expect(503),
        }
    };
    assert_eq!(full.header("retry-after"), Some("1"));
    assert!(accepted > 0);
    assert_eq!(engine.runs().await.len(), accepted);
    engine.get("/healthz").await.expect(200);
}

#[test]
fn a_data_directory_that_is_none_is_refused_in_one_line() {
    let home = Home::embedded();
    let refused = run(&home, ["serve", "--listen", "127.0.0.1:0", "--data-dir", "/dev/null"]);
    assert_eq!(code(&refused), 3);
    let said = err(&refused);
    assert!(said.starts_with("error: ") && said.contains("there is a file in its place"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
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
