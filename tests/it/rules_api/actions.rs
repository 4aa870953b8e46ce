//! What rules do with their matches beside telling: examples and queues, once for each match, whatever dies.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Desk, PATIENCE, text};

async fn dataset(desk: &Desk, name: &str) -> Value {
    let (status, made) = desk.server.call("POST", "/api/v1/datasets", Some(&json!({"name": name}))).await;
    assert_eq!(status, 200, "{made}");
    made["id"].clone()
}

async fn examples(desk: &Desk, dataset: &Value, at_least: usize) -> Vec<Value> {
    let path = format!("/examples?dataset={}&limit=100", text(dataset));
    let look = async {
        loop {
            let (status, found) = desk.server.call("GET", &path, None).await;
            assert_eq!(status, 200, "{found}");
            let found = found.as_array().unwrap().clone();
            if found.len() >= at_least {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap()
}

#[tokio::test]
async fn each_match_becomes_one_example_and_one_entry_of_a_queue() {
    let desk = Desk::open().await;
    let set = dataset(&desk, "corrected").await;
    let (status, queue) = desk.server.call("POST", "/annotation-queues", Some(&json!({"name": "to review"}))).await;
    assert_eq!(status, 200, "{queue}");
    let rule = desk
        .rule(&json!({
            "add_to_dataset_id": set, "add_to_dataset_prefer_correction": true,
            "add_to_annotation_queue_id": queue["id"], "filter": "has(feedback_key, \"judged\")",
        }))
        .await;
    assert_eq!(
        (&rule["add_to_dataset_name"], &rule["add_to_annotation_queue_name"]),
        (&json!("corrected"), &json!("to review"))
    );
    let run = desk.send(1).await;
    let feedback = json!({"run_id": run, "key": "judged", "score": 0, "correction": {"a": "better"}});
    assert_eq!(desk.server.call("POST", "/feedback", Some(&feedback)).await.0, 200);
    desk.trigger(&rule).await;
    let found = examples(&desk, &set, 1).await;
    assert_eq!((&found[0]["inputs"], &found[0]["outputs"]), (&json!({"q": 1}), &json!({"a": "better"})));
    assert_eq!(found[0]["source_run_id"], json!(run));
    let waiting = format!("/annotation-queues/{}", text(&queue["id"]));
    let (status, queued) = desk.server.call("GET", &format!("{waiting}/run/0"), None).await;
    assert_eq!((status, &queued["id"]), (200, &json!(run)), "{queued}");
    let log = desk.log(&rule, 1).await;
    for action in ["add_to_dataset", "add_to_annotation_queue"] {
        assert_eq!(log[0][action]["outcome"], "success", "{log:#?}");
    }
    // Feedback that comes later makes nothing of the run a second time.
    assert_eq!(desk.server.call("POST", "/feedback", Some(&feedback)).await.0, 200);
    let second = desk.send(2).await;
    let again = json!({"run_id": second, "key": "judged", "score": 1});
    assert_eq!(desk.server.call("POST", "/feedback", Some(&again)).await.0, 200);
    assert_eq!(desk.server.call("POST", &format!("/runs/rules/{}/trigger", text(&rule["id"])), None).await.0, 200);
    let found = examples(&desk, &set, 2).await;
    assert_eq!((found.len(), &found[0]["outputs"]), (2, &json!({"a": 2})));
    for (path, keys) in
        [("/runs/", ["in_dataset", "last_queued_at"]), ("/v2/runs/", ["is_in_dataset", "last_queued_at"])]
    {
        let selects = format!("{path}{second}?selects=IS_IN_DATASET&selects=LAST_QUEUED_AT");
        let (_, shown) = desk.server.call("GET", &selects, None).await;
        assert!(shown[keys[0]] == true && shown[keys[1]].is_string(), "{shown}");
    }
    assert_eq!(desk.server.call("DELETE", &format!("{waiting}/runs/{run}"), None).await.0, 200);
    let (_, queued) = desk.server.call("GET", &format!("{waiting}/runs"), None).await;
    assert_eq!((queued.as_array().unwrap().len(), &queued[0]["id"]), (1, &json!(second)), "{queued}");
}

#[tokio::test]
async fn a_dataset_that_is_gone_is_an_outcome_and_holds_up_nothing() {
    let desk = Desk::open().await;
    let set = dataset(&desk, "short-lived").await;
    let unknown = desk.body(&json!({"add_to_dataset_id": "0195c0de-0000-7000-8000-0000000000ff"}));
    let (status, refused) = desk.server.call("POST", "/runs/rules", Some(&unknown)).await;
    assert_eq!((status, &refused["detail"][0]["loc"][1]), (422, &json!("add_to_dataset_id")));
    let rule = desk.rule(&json!({"add_to_dataset_id": set})).await;
    assert_eq!(desk.server.call("DELETE", &format!("/datasets/{}", text(&set)), None).await.0, 200);
    desk.send(1).await;
    desk.trigger(&rule).await;
    let log = desk.log(&rule, 1).await;
    assert_eq!((&log[0]["add_to_dataset"]["outcome"], &log[0]["webhooks"]), (&json!("error"), &Value::Null));
}

/// The server is killed again and again while runs come in; what it acknowledged is an example once.
#[tokio::test]
async fn no_kill_loses_an_example_or_makes_it_twice() {
    let mut desk = Desk::open().await;
    let set = dataset(&desk, "kept").await;
    let rule = desk.rule(&json!({"add_to_dataset_id": set})).await;
    let trigger = format!("/runs/rules/{}/trigger", text(&rule["id"]));
    let mut told = Vec::new();
    for round in 0..4_u32 {
        for number in 0..10 {
            told.push(desk.send(round * 10 + number).await);
        }
        // The evaluation begins at once and dies somewhere.
        desk.server.call("POST", &trigger, None).await;
        desk.server = desk.server.restart();
    }
    desk.server.call("POST", &trigger, None).await;
    let found = examples(&desk, &set, told.len()).await;
    let mut made: Vec<&str> = found.iter().map(|example| text(&example["source_run_id"])).collect();
    made.sort_unstable();
    told.sort_unstable();
    assert_eq!(made, told);
}

/// The receiver of LangSmith's webhook page. Killed when dropped.
struct Program {
    child: Child,
    port: u16,
    said: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(endpoint: &str, secret: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".venv/bin/python");
        assert!(python.exists(), "{} is missing: `make sdk` installs the pinned SDK", python.display());
        let mut child = Command::new(python)
            .arg(root.join("tests/it/rules_api/receiver.py"))
            .env("LANGSMITH_ENDPOINT", endpoint)
            .env("LANGSMITH_API_KEY", "unused")
            .env("LS_WEBHOOK", secret)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, port, said }
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[tokio::test]
async fn the_documented_receiver_makes_an_example_of_what_it_is_told_with_the_real_sdk() {
    let desk = Desk::open().await;
    let set = dataset(&desk, "corrections").await;
    let mut program = Program::start(&desk.server.url, "38ee7761");
    let url = format!("http://127.0.0.1:{}/langsmith_webhook", program.port);
    let filter = "has(feedback_key, \"correct\")";
    let rule = desk.rule(&json!({"webhooks": [{"url": format!("{url}?secret=38ee7761")}], "filter": filter})).await;
    let run = desk.send(7).await;
    let feedback = json!({"run_id": run, "key": "correct", "score": 0, "correction": {"label": "refund"}});
    assert_eq!(desk.server.call("POST", "/feedback", Some(&feedback)).await.0, 200);
    desk.trigger(&rule).await;
    let (said, program) = tokio::task::spawn_blocking(move || (program.next(), program)).await.unwrap();
    assert_eq!(said, "received");
    let found = examples(&desk, &set, 1).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0]["inputs"], &found[0]["outputs"]),
        (&json!({"q": 7}), &json!({"output": {"label": "refund"}}))
    );
    let wrong = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = wrong.post(format!("{url}?secret=guessed")).body("{}").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    drop(program);
}
