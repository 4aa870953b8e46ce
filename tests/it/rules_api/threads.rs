//! Rules on threads through the LangSmith surface.

use serde_json::{Value, json};

use super::{Desk, next, text};
use crate::support::receiver::Receiver;

#[tokio::test]
async fn a_rule_on_threads_is_made_shown_and_changed() {
    let desk = Desk::open().await;
    let webhooks = json!([{"url": "http://127.0.0.1:7777/hook"}]);
    let rule = desk.rule(&json!({"webhooks": webhooks, "group_by": "thread_id"})).await;
    assert_eq!(
        (&rule["group_by"], &desk.listed(&rule["id"]).await["group_by"]),
        (&json!("thread_id"), &json!("thread_id"))
    );
    let (status, whole) = desk.server.call("GET", &format!("/v1/rules/{}", text(&rule["key"])), None).await;
    assert_eq!((status, &whole["idle"], &whole["settle"]), (200, &json!("10m"), &Value::Null), "{whole}");
    let body = json!({"display_name": "Told", "sampling_rate": 0.5});
    let (status, kept) = desk.change(&rule, &body).await;
    assert_eq!((status, &kept["group_by"], &kept["sampling_rate"]), (200, &json!("thread_id"), &json!(0.5)), "{kept}");
    let (status, cleared) = desk.change(&rule, &json!({"group_by": null})).await;
    assert_eq!((status, &cleared["group_by"]), (200, &Value::Null), "{cleared}");
    for (more, field) in [
        (json!({"webhooks": webhooks, "group_by": "session_id"}), "group_by"),
        (json!({"group_by": "thread_id", "add_to_dataset_id": dataset(&desk).await}), "add_to_dataset_id"),
    ] {
        let (status, answer) = desk.server.call("POST", "/runs/rules", Some(&desk.body(&more))).await;
        assert!(status == 422 && answer.to_string().contains(field), "{status} {answer}");
    }
}

async fn dataset(desk: &Desk) -> Value {
    let (status, made) = desk.server.call("POST", "/datasets", Some(&json!({"name": "examples"}))).await;
    assert_eq!(status, 200, "{made}");
    made["id"].clone()
}

#[tokio::test]
async fn a_thread_is_notified_and_the_log_names_it() {
    let mut receiver = Receiver::start([]).await;
    let desk = Desk::open().await;
    let url = receiver.url();
    let text = format!(
        "version: 1\nrules:\n  - key: talks\n    project: p\n    filter: eq(is_root, true)\n    every: immediate\n    \
         group_by: thread_id\n    idle: 100ms\n    webhooks: [{{ url: \"{url}\" }}]\n"
    );
    let files = json!({"files": [{"name": "talks.yaml", "text": text}], "variables": {}});
    let (status, answer) = desk.server.call("POST", "/v1/rules/apply", Some(&files)).await;
    assert_eq!(status, 200, "{answer}");
    let run = |number: u32| {
        let id = format!("0195c0de-0000-7000-8000-{number:012}");
        json!({
            "id": id, "trace_id": id, "dotted_order": format!("20261122T0800{number:02}000000Z{id}"), "session_name": "p",
            "name": "turn", "run_type": "chain", "inputs": {}, "outputs": {}, "start_time": format!("2026-11-22T08:00:{number:02}Z"),
            "end_time": "2026-11-22T08:01:00Z", "extra": {"metadata": {"conversation_id": "talk 7"}},
        })
    };
    let batch = json!({"post": [run(2), run(1)], "patch": []});
    assert_eq!(desk.server.call("POST", "/runs/batch", Some(&batch)).await.0, 202);
    let body = next(&mut receiver).await.json();
    let [first, second] = [run(1), run(2)].map(|run| run["id"].clone());
    assert_eq!(body["threads"][0]["run_ids"], json!([first, second]), "{body}");
    assert_eq!((&body["threads"][0]["thread_id"], &body["threads"][0]["count"]), (&json!("talk 7"), &json!(2)));
    assert_eq!((&body["runs"][0]["id"], &body["runs"][1]["id"]), (&first, &second));
    let rule = json!({"id": body["rule_id"]});
    let log = desk.log(&rule, 2).await;
    assert!(log.iter().all(|row| row["thread_id"] == "talk 7"), "{log:?}");
    let (_, page) = desk.server.call("GET", &format!("/runs/rules/{}/logs/v2", super::text(&rule["id"])), None).await;
    assert_eq!(page["logs"][1]["thread_id"], "talk 7");
    // The filter that the notification gives finds the turns again.
    let search = json!({"session": [desk.session], "filter": body["threads"][0]["filter"], "is_root": true});
    let (status, found) = desk.server.call("POST", "/runs/query", Some(&search)).await;
    assert_eq!((status, found["runs"].as_array().map(Vec::len)), (200, Some(2)), "{found}");
}
