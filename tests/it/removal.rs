//! A project that is deleted while its server is killed: once it is not there any more, none of its runs comes back, and
//! what comes under its name afterwards stays.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::server::{Server, Settings};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

const RUNS: u128 = 4_000;

fn run(number: u128) -> Value {
    let id = Uuid::from_u128(number);
    json!({
        "id": id, "trace_id": id, "dotted_order": format!("20260102T030405000000Z{id}"), "name": "agent",
        "run_type": "chain", "session_name": "doomed", "inputs": {}, "outputs": {},
        "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z",
    })
}

async fn send(server: &Server, numbers: std::ops::Range<u128>) {
    let runs: Vec<Value> = numbers.map(run).collect();
    let (status, answer) = server.call("POST", "/runs/batch", Some(&json!({"post": runs, "patch": []}))).await;
    assert_eq!(status, 202, "{answer}");
}

/// The ids of the newest runs there are.
async fn listed(server: &Server) -> Vec<Uuid> {
    let (status, page) = server.call("GET", "/v1/runs?limit=100", None).await;
    assert_eq!(status, 200, "{page}");
    page["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_whose_deletion_a_kill_interrupts_is_gone_and_its_runs_follow_it() {
    let server = Server::start(Settings::default());
    for first in (1..=RUNS).step_by(500) {
        send(&server, first..first + 500).await;
    }
    let project = server.call("GET", "/sessions?name=doomed", None).await.1[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/sessions/{project}");
    let interrupted = {
        let deletion = server.call("DELETE", &path, None);
        tokio::pin!(deletion);
        loop {
            tokio::select! {
                biased;
                _answer = &mut deletion => break false,
                (status, _) = server.call("GET", &path, None) => if status == 404 { break true },
            }
        }
    };
    let server = server.restart();
    assert!(interrupted, "the project is gone before what it held");
    assert_eq!(server.call("GET", &path, None).await.0, 404);
    send(&server, RUNS + 1000..RUNS + 1001).await;
    let kept = Uuid::from_u128(RUNS + 1000);
    let deadline = Instant::now() + PATIENCE;
    while listed(&server).await != [kept] {
        assert!(Instant::now() < deadline, "{}", server.log());
    }
    // What is sent again is new.
    send(&server, 1..2).await;
    let server = server.restart();
    let mut found = listed(&server).await;
    found.sort_unstable();
    assert_eq!(found, [Uuid::from_u128(1), kept]);
    let named = server.call("GET", "/sessions?name=doomed", None).await.1;
    assert_eq!(named.as_array().unwrap().len(), 1, "{named}");
}
