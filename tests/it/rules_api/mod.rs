//! Rules made through the LangSmith surface, through the real binary: runs come in over the API, and what is waited for
//! is the receiver's next request.

mod actions;
mod keeping;
mod threads;
mod working;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::receiver::{Received, Receiver};
use crate::support::server::{Server, Settings};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server and one of its sessions.
pub(super) struct Desk {
    pub(super) server: Server,
    pub(super) session: String,
}

impl Desk {
    pub(super) async fn open() -> Self {
        let server = Server::start(Settings::with(["--allow-targets", "127.0.0.1"]));
        let (status, session) = server.call("POST", "/sessions", Some(&json!({"name": "p"}))).await;
        assert_eq!(status, 200, "{session}");
        Self { session: session["id"].as_str().unwrap().to_owned(), server }
    }

    /// A body that asks for a rule on the session, with these keys on top.
    pub(super) fn body(&self, more: &Value) -> Value {
        let mut body = json!({"display_name": "Told", "sampling_rate": 1, "session_id": self.session});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    /// Makes a rule, which must work.
    pub(super) async fn rule(&self, more: &Value) -> Value {
        let (status, rule) = self.server.call("POST", "/runs/rules", Some(&self.body(more))).await;
        assert_eq!(status, 200, "{rule}");
        rule
    }

    /// Changes a rule.
    pub(super) async fn change(&self, rule: &Value, body: &Value) -> (u16, Value) {
        self.server.call("PATCH", &format!("/api/v1/runs/rules/{}", text(&rule["id"])), Some(body)).await
    }

    /// What the list says of one rule.
    pub(super) async fn listed(&self, id: &Value) -> Value {
        let (status, rules) = self.server.call("GET", &format!("/runs/rules?id={}", text(id)), None).await;
        assert_eq!(status, 200, "{rules}");
        rules[0].clone()
    }

    /// Sends a finished run.
    pub(super) async fn send(&self, number: u32) -> String {
        let id = format!("0195c0de-0000-7000-8000-{number:012}");
        let run = json!({
            "id": id, "trace_id": id, "dotted_order": format!("20261122T080000000000Z{id}"), "session_name": "p",
            "name": format!("run {number}"), "run_type": "chain", "inputs": {"q": number}, "outputs": {"a": number},
            "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
        });
        let (status, answer) = self.server.call("POST", "/runs", Some(&run)).await;
        assert_eq!(status, 202, "{answer}");
        id
    }

    /// Lets a rule look at once, however long ago its last window was.
    pub(super) async fn trigger(&self, rule: &Value) {
        let path = format!("/runs/rules/{}/trigger", text(&rule["id"]));
        let (status, answer) = self.server.call("POST", &path, None).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The rows of a rule's log, once there are as many.
    pub(super) async fn log(&self, rule: &Value, rows: usize) -> Vec<Value> {
        let path = format!("/runs/rules/{}/logs", text(&rule["id"]));
        let look = async {
            loop {
                let (status, log) = self.server.call("GET", &path, None).await;
                assert_eq!(status, 200, "{log}");
                let log = log.as_array().unwrap().clone();
                if log.len() >= rows {
                    return log;
                }
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap()
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(super) async fn next(receiver: &mut Receiver) -> Received {
    tokio::time::timeout(PATIENCE, receiver.next()).await.unwrap()
}

/// The ids of a notification's runs.
pub(super) fn ids(request: &Received) -> Vec<String> {
    let body = request.json();
    body["runs"].as_array().unwrap().iter().map(|run| text(&run["id"]).to_owned()).collect()
}
