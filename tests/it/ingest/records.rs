//! Sessions and feedback.

use serde_json::{Value, json};

use super::engine::Engine;

const ID: &str = "03a26395-4e7b-4428-a6bc-b302283e385b";
const RUN: &str = "e095c2b7-87b0-4c30-b6e3-650e75c4735f";

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn there_is_always_a_default_project_that_tells_the_tenant() {
    let engine = Engine::start().await;
    let sessions = engine.get("/sessions?limit=1").await.expect(200).json();
    assert_eq!(sessions[0]["name"], "default");
    assert!(sessions[0]["tenant_id"].is_string());
    assert!(keys(&sessions[0]).contains(&"reference_dataset_id"));
    assert_eq!(engine.get("/sessions?limit=1&name=zz&include_stats=False").await.expect(200).json(), json!([]));
    engine.get("/sessions?limit=101").await.expect(422);
}

#[tokio::test]
async fn a_session_is_made_found_changed_and_removed() {
    let engine = Engine::start().await;
    let body = json!({"name": "np", "extra": {"metadata": {"a": 1}}, "description": null, "id": ID});
    let made = engine.post("/sessions?upsert=True", &body).await.expect(200).json();
    assert_eq!((&made["id"], &made["name"], &made["extra"]), (&json!(ID), &json!("np"), &body["extra"]));
    engine.post("/sessions", &body).await.expect(409);
    let again =
        engine.post("/sessions?upsert=true", &json!({"name": "np", "description": "d"})).await.expect(200).json();
    assert_eq!((&again["id"], &again["description"], &again["extra"]), (&json!(ID), &json!("d"), &body["extra"]));
    assert_eq!(engine.get("/sessions?name=np").await.json()[0]["id"], ID);
    assert_eq!(engine.get("/sessions?name_contains=N").await.json()[0]["id"], ID);
    let path = format!("/sessions/{ID}");
    let changed =
        engine.patch(&path, &json!({"name": "other", "end_time": "2026-11-22T00:00:00", "extra": null})).await;
    let changed = changed.expect(200).json();
    assert_eq!(changed["end_time"], "2026-11-22T00:00:00.000000+00:00");
    assert_eq!(changed["extra"], body["extra"]);
    assert_eq!(engine.get(&path).await.expect(200).json()["name"], "other");
    engine.call("DELETE", &path, "").await.expect(202);
    engine.call("DELETE", &path, "").await.expect(404);
    assert_eq!(engine.get(&path).await.expect(404).json()["detail"], "session not found");
}

#[tokio::test]
async fn a_session_that_cannot_be_is_told_why() {
    let engine = Engine::start().await;
    let answer = engine.post("/sessions", &json!({"description": "d"})).await.expect(422).json();
    assert_eq!(answer["detail"][0]["loc"], json!(["body", "name"]));
    engine.get("/sessions/nonsense").await.expect(422);
    engine.call("POST", "/sessions", "[]").await.expect(400);
}

#[tokio::test]
async fn feedback_is_made_found_changed_and_removed() {
    let engine = Engine::start().await;
    let body = json!({"id": ID, "run_id": RUN, "key": "user_score", "score": 0.123_456, "comment": "c",
                      "created_at": "2026-11-22T02:22:34.341376+00:00", "feedback_source": {"type": "api"},
                      "feedback_group_id": RUN, "extend_trace_retention": true});
    let made = engine.post("/feedback", &body).await.expect(200).json();
    for key in ["id", "created_at", "modified_at", "run_id", "trace_id", "key"] {
        assert!(keys(&made).contains(&key), "{key}");
    }
    assert_eq!(made["score"], 0.1235);
    assert_eq!(made["created_at"], "2026-11-22T02:22:34.341376+00:00");
    engine.post("/feedback", &body).await.expect(200);
    let listed = engine.get(&format!("/feedback?run={RUN}&key=a&key=user_score&limit=100&offset=0")).await.expect(200);
    assert_eq!(listed.json().as_array().unwrap().len(), 1);
    assert_eq!(engine.get("/feedback?source=model").await.json(), json!([]));
    let path = format!("/feedback/{ID}");
    let changed = engine.patch(&path, &json!({"score": 0.5, "comment": null})).await.expect(200).json();
    assert_eq!(
        (&changed["score"], &changed["comment"], &changed["key"]),
        (&json!(0.5), &Value::Null, &json!("user_score"))
    );
    assert_eq!(changed["feedback_group_id"], RUN);
    assert_eq!(engine.get(&path).await.expect(200).json(), changed);
    engine.call("DELETE", &path, "").await.expect(200);
    engine.get(&path).await.expect(404);
    engine.patch(&path, &json!({})).await.expect(404);
}

#[tokio::test]
async fn feedback_that_cannot_be_is_told_why() {
    let engine = Engine::start().await;
    let long = engine.post("/feedback", &json!({"run_id": RUN, "key": "k".repeat(181)})).await.expect(422).json();
    assert_eq!(long["detail"][0]["loc"], json!(["body", "key"]));
    engine.post("/feedback", &json!({"key": "k"})).await.expect(422);
    engine.get("/feedback?run=nonsense").await.expect(422);
    engine.get("/feedback?has_score=true").await.expect(422);
}
