//! `runhook listen`, as people use it: the real binary on a real socket, with a real server that delivers to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::support::server::{Server, Settings, runhook};

const SIGNING: &str = "whsec_cGxhbnRlZCBzaWduaW5nIHNlY3JldCA3ZjYw";
const SECRET: &str = "planted+secret 7f61";

/// A receiver that prints JSON. Killed when dropped.
struct Ear {
    child: Child,
    out: BufReader<ChildStdout>,
    url: String,
    all: String,
}

impl Ear {
    fn open(arguments: &[&str]) -> Self {
        let mut command = runhook();
        command.args(["listen", "--port", "0", "--json", "--log", "trace"]).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let said: Value = serde_json::from_str(&first).unwrap();
        let url = said["listening"].as_str().unwrap().to_owned();
        Self { child, out, url, all: first }
    }

    /// The next line of its output.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        self.all.push_str(&line);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits for its end. Returns how it ended, and all it said.
    fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut said = std::mem::take(&mut self.all);
        self.out.read_to_string(&mut said).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }

    fn stop(self) -> (ExitStatus, String) {
        let sent = std::process::Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.ended()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn get(url: &str, accept: &str) -> (u16, String) {
    let answer = http().get(url).header("accept", accept).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// A server that keeps to a folder of rules.
fn serve(folder: &Path, variables: &[(&str, &str)]) -> Server {
    let mut settings = Settings::with(["--rules", folder.to_str().unwrap(), "--allow-targets", "127.0.0.1/32"]);
    for (name, value) in variables {
        settings = settings.env(name, value);
    }
    Server::start(settings)
}

async fn send_run(server: &Server) {
    let run = json!({"name": "agent", "run_type": "chain", "session_name": "bot", "error": "boom",
        "inputs": {"text": "x".repeat(100_000)}, "outputs": {"a": 1},
        "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z"});
    assert_eq!(server.call("POST", "/runs", Some(&run)).await.0, 202);
}

fn outcomes(line: &Value) -> Vec<(&str, &str)> {
    let checks = line["checks"].as_array().unwrap().iter();
    checks.map(|check| (check["check"].as_str().unwrap(), check["outcome"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_page_is_a_rule_file_with_which_a_server_delivers_to_it() {
    let mut ear =
        Ear::open(&["--secret", SECRET, "--query", "token", "--header", "X-Team", "--signing-secret", SIGNING]);
    let (status, file) = get(&format!("{}/", ear.url), "*/*").await;
    assert!(status == 200 && file.contains(&ear.url) && file.contains("--allow-targets 127.0.0.1/32"), "{file}");
    let (_, page) = get(&format!("{}/", ear.url), "text/html,*/*").await;
    assert!(page.starts_with("<!doctype html>") && page.contains("LISTEN_SECRET"), "{page}");
    assert_eq!(get(&format!("{}/favicon.ico", ear.url), "*/*").await.0, 404);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("listen.yaml"), &file).unwrap();
    let variables = [("LISTEN_SECRET", SECRET), ("LISTEN_SIGNING_SECRET", SIGNING)];
    let checked = runhook().args(["rules", "check"]).arg(folder.path()).envs(variables).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let server = serve(folder.path(), &variables);
    send_run(&server).await;
    let line = ear.line();
    assert_eq!(outcomes(&line), [("query", "passed"), ("header", "passed"), ("signature", "passed")], "{line}");
    assert_eq!((&line["ok"], &line["answered"], &line["time"]), (&json!(true), &json!(200), &json!(1)));
    assert_eq!((&line["format"], &line["target"]), (&json!("langsmith"), &json!("/?token=********")));
    assert_eq!(line["body"]["runs"][0]["name"], "agent");
    let inputs = line["body"]["runs"][0]["inputs_s3_urls"]["ROOT"]["presigned_url"].as_str().unwrap();
    assert!(get(inputs, "*/*").await.1.contains("xxxx"), "the link to the inputs opens them");
    let (status, said) = ear.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains(SIGNING) && !said.contains("planted"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_fails_says_why_is_answered_401_and_makes_the_end_a_failure() {
    let mut ear = Ear::open(&["--secret", SIGNING, "--count", "3"]);
    let folder = tempfile::tempdir().unwrap();
    let rule = format!(
        "version: 1\nrules:\n  - key: a\n    project: \"*\"\n    every: immediate\n    webhooks: [{{ url: {}/ }}]\n",
        ear.url
    );
    fs::write(folder.path().join("a.yaml"), rule).unwrap();
    let server = serve(folder.path(), &[]);
    send_run(&server).await;
    let line = ear.line();
    drop(server);
    assert_eq!((&line["ok"], &line["answered"]), (&json!(false), &json!(401)));
    assert_eq!(line["checks"][0]["why"], "there is no `webhook-signature` header", "{line}");
    let answer = http().post(format!("{}/", ear.url)).header("webhook-id", "m").header("webhook-timestamp", "7");
    let answer = answer.header("webhook-signature", "v1,AAAA").body("{}").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    let said = answer.text().await.unwrap();
    assert!(said.contains("s old, and 300 s are tolerated"), "{said}");
    assert_eq!(http().put(&ear.url).body("{}").send().await.unwrap().status().as_u16(), 405);
    let (status, said) = ear.ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains(SIGNING), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_answered_and_the_same_message_is_known_again() {
    let mut ear =
        Ear::open(&["--script", "500,200", "--retry-after", "1", "--body", r#"{"told":true}"#, "--count", "2"]);
    let folder = tempfile::tempdir().unwrap();
    let rule = format!(
        "version: 1\nrules:\n  - key: a\n    project: \"*\"\n    every: immediate\n    webhooks:\n      - url: {}/\n        \
         policy: standard\n        format: standard\n        retries: [1s]\n        signing_secret: \"${{SIGN}}\"\n",
        ear.url
    );
    fs::write(folder.path().join("a.yaml"), rule).unwrap();
    let server = serve(folder.path(), &[("SIGN", SIGNING)]);
    send_run(&server).await;
    let (first, second) = (ear.line(), ear.line());
    assert_eq!((&first["answered"], &first["time"]), (&json!(500), &json!(1)), "{first}");
    assert_eq!((&second["answered"], &second["time"]), (&json!(200), &json!(2)), "{second}");
    assert_eq!((&first["message_id"], &first["format"]), (&second["message_id"], &json!("standard")));
    assert_eq!(outcomes(&first), [("signature", "unchecked")]);
    let id = loop {
        let (_, page) = server.call("GET", "/v1/deliveries?state=delivered", None).await;
        if let Some(id) = page["deliveries"][0]["id"].as_str() {
            break id.to_owned();
        }
    };
    let (_, shown) = server.call("GET", &format!("/v1/deliveries/{id}"), None).await;
    assert!(shown["attempts"].to_string().contains("told"), "its body was the answer: {shown}");
    assert_eq!(ear.ended().0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_rule_window_runs_and_links_and_nothing_that_moves_the_terminal() {
    let mut command = runhook();
    command.args(["listen", "--port", "0", "--count", "1", "--delay", "10ms", "--status", "202"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    let url = first.split(' ').nth(2).unwrap().to_owned();
    let body = json!({
        "rule_id": "r1", "rule_name": "Low\u{1b}[2Jscore", "project": "bot", "start_time": "2026-01-01T00:00:00+00:00",
        "end_time": "2026-01-01T00:01:00+00:00", "runs": [{"id": "1", "name": "agent", "run_type": "chain",
        "status": "error", "inputs_s3_urls": {"ROOT": {"presigned_url": "http://127.0.0.1/blobs/x"}}}],
    });
    let answer = http().post(format!("{url}/hook?token=planted")).header("x-token", "planted").body(body.to_string());
    assert_eq!(answer.send().await.unwrap().status().as_u16(), 202);
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    for part in [
        "POST /hook?token=********",
        "rule           Low [2Jscore  r1",
        "window         2026-01-01T00:00:00+00:00 .. 2026-01-01T00:01:00+00:00",
        "agent (chain) error  1",
        "at http://127.0.0.1/blobs/x",
        "signature      not checked: it is not signed",
        "answered       202",
    ] {
        assert!(said.contains(part), "{part} is in {said}");
    }
    assert!(!said.contains("planted") && !said.contains('\u{1b}'), "{said}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_refused_and_the_next_one_is_read() {
    let mut ear = Ear::open(&["--count", "2"]);
    let huge = vec![b' '; 17 * 1024 * 1024];
    // It is refused while it is being sent, which a client may see as a broken connection.
    let refused = http().post(&ear.url).body(huge).send().await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status().as_u16() == 413));
    let line = ear.line();
    assert_eq!((&line["answered"], &line["checks"][0]["check"]), (&json!(413), &json!("body")), "{line}");
    assert_eq!(http().post(&ear.url).body("no json").send().await.unwrap().status().as_u16(), 200);
    let line = ear.line();
    assert_eq!((&line["body"], &line["bytes"]), (&Value::Null, &json!(7)));
    assert_eq!(ear.ended().0.code(), Some(1));
}

#[test]
fn what_cannot_be_listened_to_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, code, why) in [
        (&["--port", &port][..], 3, "--port 0 picks a free port"),
        (&["--port", "0", "--signing-secret", "planted"], 2, "signing secret cannot be used"),
        (&["--header", "X"], 2, "--secret"),
        (&["--script", "500,99"], 2, "99"),
        (&["--delay", "soon"], 2, "write it as 500ms"),
        (&["--status", "500", "--script", "200"], 2, "cannot be used with"),
    ] {
        let output = runhook().arg("listen").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(why) && !said.contains("planted"), "{arguments:?}: {said}");
    }
}
