//! Argilla's listeners register themselves and are called; and one match reaches a webhook of the rule, an endpoint that
//! subscribes as Svix's do, and a listener.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{TOKEN, application, call, done, installed, root, serve};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

/// A listener app, killed when dropped.
struct Listener {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Listener {
    fn start(server: &Server) -> Self {
        let mut command = Command::new(installed("bin/python"));
        command.arg(root().join("tests/it/subscriptions/listener.py")).args([&server.url, TOKEN]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// What it says next.
    fn says(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the listener said `{line}`"))
    }

    /// Lets it take itself off the server.
    fn leave(&mut self) -> Value {
        self.child.stdin.as_mut().unwrap().write_all(b"leave\n").unwrap();
        self.says()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

const RUN: &str = "0195c0de-0000-7000-8000-000000000001";

async fn run(server: &Server) {
    let run = json!({
        "id": RUN, "name": "agent", "run_type": "chain", "session_name": "p", "inputs": {"q": "wo ist die Größe?"},
        "outputs": {"a": [1, 2.50]}, "error": "boom",
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z",
    });
    done(server, "POST", "/runs", &run).await;
}

pub(super) async fn rule(server: &Server, receiver: &Receiver) {
    let webhooks = format!("[{{ url: \"{}\" }}]", receiver.url());
    let text =
        format!("version: 1\nrules:\n  - key: all\n    project: p\n    every: immediate\n    webhooks: {webhooks}\n");
    done(server, "POST", "/v1/rules/apply", &json!({"files": [{"name": "all.yaml", "text": text}]})).await;
}

/// Makes a dataset and an example in it, changes and removes both: a typed handler gets what each is.
async fn datasets_are_heard_of(server: &Server, listener: &mut Listener) {
    let dataset = done(server, "POST", "/datasets", &json!({"name": "Fragen", "description": "wie gestellt"})).await;
    let heard = listener.says();
    let expected = json!({
        "heard": "dataset", "type": "dataset.created", "id": dataset["id"], "name": "Fragen",
        "workspace": dataset["tenant_id"],
    });
    assert_eq!(heard, expected);
    let path = format!("/datasets/{}", dataset["id"].as_str().unwrap());
    done(server, "PATCH", &path, &json!({"name": "FAQ"})).await;
    let heard = listener.says();
    assert_eq!((&heard["type"], &heard["name"]), (&json!("dataset.updated"), &json!("FAQ")));

    let example = json!({
        "dataset_id": dataset["id"], "inputs": {"q": "wo?"}, "outputs": {"a": "hier"}, "metadata": {"level": 3},
    });
    let example = done(server, "POST", "/examples", &example).await;
    let heard = listener.says();
    let expected = json!({
        "heard": "record", "type": "record.created", "id": example["id"], "status": "pending", "dataset": "FAQ",
        "fields": {"inputs": {"q": "wo?"}, "outputs": {"a": "hier"}}, "metadata": {"level": 3},
    });
    assert_eq!(heard, expected);
    let one = format!("/examples/{}", example["id"].as_str().unwrap());
    done(server, "PATCH", &one, &json!({"outputs": {"a": "dort"}})).await;
    let heard = listener.says();
    assert_eq!((&heard["type"], &heard["fields"]["outputs"]["a"]), (&json!("record.updated"), &json!("dort")));
    done(server, "DELETE", &one, &Value::Null).await;
    assert_eq!(listener.says()["type"], "record.deleted");
    done(server, "DELETE", &path, &Value::Null).await;
    assert_eq!(listener.says()["type"], "dataset.deleted");
}

#[tokio::test]
async fn one_match_feeds_a_webhook_a_subscriber_and_a_listener_at_once() {
    let server = serve();
    let mut direct = Receiver::start([]).await;
    let mut subscriber = Receiver::start([]).await;
    rule(&server, &direct).await;
    application(&server, "watchers").await;
    let endpoint = json!({"url": subscriber.url(), "filterTypes": ["rule.matched"], "channels": null, "secret": null});
    done(&server, "POST", "/api/v1/app/watchers/endpoint", &endpoint).await;
    let mut listener = Listener::start(&server);
    let registered = listener.says();
    assert_eq!(
        (registered["username"].as_str(), registered["secrets"].as_array().unwrap()),
        (Some("runhook"), &vec![json!(44); 4])
    );

    run(&server).await;
    let (one, other) = (direct.next().await, subscriber.next().await);
    assert_eq!(one.body, other.body, "one stored body");
    assert_eq!(one.header("webhook-id"), other.header("webhook-id"));
    assert!(other.has_header("webhook-signature") && !one.has_header("webhook-signature"));
    let mut heard = [listener.says(), listener.says()];
    heard.sort_by_key(|event| event["heard"].to_string());
    assert_eq!(heard[0]["data"]["runs"][0]["id"], RUN, "{heard:#?}");
    assert_eq!((&heard[1]["type"], &heard[1]["fields"]), (&json!("record.completed"), &json!(true)));
    let (_, page) = call(&server, "GET", "/v1/deliveries", &Value::Null).await;
    let deliveries = page["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 4, "{page:#}");
    assert!(deliveries.iter().all(|delivery| delivery["message_id"] == deliveries[0]["message_id"]));
    let listed = done(&server, "GET", "/api/v1/app/watchers/msg?event_types=rule.matched", &Value::Null).await;
    assert_eq!(listed["data"][0]["payload"]["runs"][0]["id"], RUN);

    // An event of one's own reaches who listens to its type, wrapped as Argilla's are.
    let published = json!({"eventType": "dataset.published", "payload": {"name": "d"}});
    done(&server, "POST", "/api/v1/app/watchers/msg", &published).await;
    let heard = listener.says();
    assert_eq!((&heard["type"], &heard["data"]), (&json!("dataset.published"), &json!({"name": "d"})));
    datasets_are_heard_of(&server, &mut listener).await;
    let id = registered["registered"][0].as_str().unwrap();
    let (status, _) = call(&server, "POST", &format!("/api/v1/webhooks/{id}/ping"), &Value::Null).await;
    assert_eq!(status, 204);
    assert_eq!(listener.leave(), json!({"left": 0}));
}
