//! Rules that look beyond one run, and the cadences, through the real binary: runs and feedback come in over the API,
//! and what is waited for is the receiver's next request.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::receiver::{Received, Receiver};
use crate::support::server::{Server, Settings};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

const ROOT: &str = "0195c0de-0000-7000-8000-000000000001";
const CHILD: &str = "0195c0de-0000-7000-8000-000000000002";
const OTHER: &str = "0195c0de-0000-7000-8000-000000000003";
const LAST: &str = "0195c0de-0000-7000-8000-00000000000f";

/// A server with one rule, given by these lines.
async fn with_rule(receiver: &Receiver, lines: &[&str]) -> Server {
    let server = Server::start(Settings::with(["--allow-targets", "127.0.0.1"]));
    let lines: Vec<String> = lines.iter().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "version: 1\nrules:\n  - key: whole\n    project: p\n{}    webhooks: [{{ url: \"{}\" }}]\n",
        lines.concat(),
        receiver.url()
    );
    let body = json!({"files": [{"name": "whole.yaml", "text": text}]});
    let (status, answer) = server.call("POST", "/v1/rules/apply", Some(&body)).await;
    assert_eq!(status, 200, "{answer:#}");
    server
}

/// A finished run; a child when it has a parent.
fn run(id: &str, parent: Option<&str>, name: &str, error: Option<&str>) -> Value {
    let trace = parent.unwrap_or(id);
    let above = parent.map(|parent| format!("20261122T080000000000Z{parent}.")).unwrap_or_default();
    json!({
        "id": id, "trace_id": trace, "parent_run_id": parent, "dotted_order": format!("{above}20261122T080000000000Z{id}"),
        "name": name, "run_type": "chain", "session_name": "p", "inputs": {}, "outputs": {}, "error": error,
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
    })
}

async fn send(server: &Server, run: &Value) {
    let (status, answer) = server.call("POST", "/runs", Some(run)).await;
    assert_eq!(status, 202, "{answer}");
}

async fn give_feedback(server: &Server, id: u32, run: &str, score: f64) {
    let id = format!("0195c0de-0000-7000-8000-00000feed{id:03}");
    let feedback = json!({"id": id, "run_id": run, "key": "user_score", "score": score});
    let (status, answer) = server.call("POST", "/feedback", Some(&feedback)).await;
    assert!(status < 300, "{answer}");
}

async fn next(receiver: &mut Receiver) -> Received {
    tokio::time::timeout(PATIENCE, receiver.next()).await.unwrap()
}

/// The ids of a notification's runs.
fn ids(request: &Received) -> Vec<String> {
    let body = request.json();
    body["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_error_below_makes_the_root_match_through_the_tree() {
    let mut receiver = Receiver::start([]).await;
    let lines =
        ["filter: eq(is_root, true)", "tree_filter: eq(status, \"error\")", "every: immediate", "settle: 200ms"];
    let server = with_rule(&receiver, &lines).await;
    send(&server, &run(OTHER, None, "well", None)).await;
    send(&server, &run(ROOT, None, "agent", None)).await;
    send(&server, &run(CHILD, Some(ROOT), "tool", Some("boom"))).await;
    assert_eq!(ids(&next(&mut receiver).await), [ROOT]);
}

#[tokio::test]
async fn a_root_makes_the_runs_of_its_trace_match_whichever_comes_first() {
    let mut receiver = Receiver::start([]).await;
    let lines =
        ["filter: eq(name, \"tool\")", "trace_filter: eq(name, \"agent\")", "every: immediate", "settle: 200ms"];
    let server = with_rule(&receiver, &lines).await;
    send(&server, &run(CHILD, Some(ROOT), "tool", None)).await;
    send(&server, &run(OTHER, None, "tool", None)).await;
    send(&server, &run(ROOT, None, "agent", None)).await;
    assert_eq!(ids(&next(&mut receiver).await), [CHILD]);
}

#[tokio::test]
async fn feedback_that_comes_late_makes_its_run_match_once() {
    let mut receiver = Receiver::start([]).await;
    let lines = ["filter: and(eq(feedback_key, \"user_score\"), lt(feedback_score, 0.5))", "every: immediate"];
    let server = with_rule(&receiver, &lines).await;
    send(&server, &run(ROOT, None, "agent", None)).await;
    give_feedback(&server, 1, ROOT, 0.9).await;
    give_feedback(&server, 2, ROOT, 0.1).await;
    let request = next(&mut receiver).await;
    assert_eq!(ids(&request), [ROOT]);
    assert_eq!(request.json()["runs"][0]["feedback_stats"]["user_score"]["n"], 2);
    give_feedback(&server, 3, ROOT, 0.2).await;
    send(&server, &run(LAST, None, "agent", None)).await;
    give_feedback(&server, 4, LAST, 0.3).await;
    // What was said of the first run came before what makes the last one match, and named nothing again.
    assert_eq!(ids(&next(&mut receiver).await), [LAST]);
}

#[tokio::test]
async fn a_cron_of_six_fields_is_called_at_a_second() {
    let mut receiver = Receiver::start([]).await;
    let lines = ["filter: eq(status, \"success\")", "cron: \"* * * * * *\""];
    let server = with_rule(&receiver, &lines).await;
    for id in [ROOT, OTHER] {
        send(&server, &run(id, None, "agent", None)).await;
        assert_eq!(ids(&next(&mut receiver).await), [id]);
    }
    let shown = server.call("GET", "/v1/rules/whole", None).await.1;
    assert_eq!(shown["cron"], "* * * * * *");
    let windows = shown["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 2, "{shown:#}");
    assert_eq!((&windows[0]["runs"], &windows[0]["start_time"]), (&json!(1), &windows[1]["end_time"]), "{shown:#}");
    assert_eq!((&windows[0]["after"], &windows[0]["through"]), (&windows[1]["through"], &json!(2)), "{shown:#}");
    let told = String::from_utf8(server.run(["rules", "show", "whole"]).stdout).unwrap();
    assert_eq!(
        told.lines().filter(|line| line.starts_with("window ") && line.ends_with(": 1 run")).count(),
        2,
        "{told}"
    );
}
