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
    for (name, at) in [("order b", "2026-01-01T00:00:00Z"), ("order a", "2026-01-02T00:00:00Z")] {
        engine.post("/sessions", &json!({"name": name, "start_time": at})).await.expect(200);
    }
    for (asked, first) in [
        ("", "order a"),
        ("&sort_by=start_time&sort_by_desc=false", "order b"),
        ("&sort_by=name&sort_by_desc=true", "order b"),
        ("&sort_by=name&sort_by_desc=false", "order a"),
    ] {
        let found = engine.get(&format!("/sessions?name_contains=order{asked}")).await.expect(200).json();
        assert_eq!(found[0]["name"], first, "{asked}");
    }
    engine.get("/sessions?sort_by=latency_p99").await.expect(422);
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
async fn sessions_are_narrowed_by_their_metadata_and_by_the_dataset_they_are_about() {
    let engine = Engine::start().await;
    let dataset = engine.post("/datasets", &json!({"name": "questions"})).await.expect(200).json()["id"].clone();
    for (name, extra, about) in [
        ("one", json!({"metadata": {"team": "blue", "floor": 2}}), Value::Null),
        ("two", json!({"metadata": {"team": "blue", "floor": "2"}}), dataset.clone()),
        ("three", json!({"other": 1}), Value::Null),
    ] {
        let body = json!({"name": name, "extra": extra, "reference_dataset_id": about});
        engine.post("/sessions", &body).await.expect(200);
    }
    let names = async |query: String| {
        let found = engine.get(&format!("/sessions?{query}")).await.expect(200).json();
        let names = found.as_array().unwrap().iter().map(|session| session["name"].as_str().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let metadata = |wanted: &str| {
        let pairs = url::form_urlencoded::Serializer::new(String::new()).append_pair("metadata", wanted).finish();
        format!("limit=100&offset=0&{pairs}")
    };
    assert_eq!(names(metadata(r#"{"team": "blue"}"#)).await, ["one", "two"]);
    assert_eq!(names(metadata(r#"{"team": "blue", "floor": 2}"#)).await, ["one"]);
    assert_eq!(names(metadata(r#"{"team": "red"}"#)).await, Vec::<String>::new());
    let dataset = dataset.as_str().unwrap();
    assert_eq!(names(format!("reference_dataset={dataset}&limit=100")).await, ["two"]);
    assert_eq!(names("reference_free=True&name_contains=o".to_owned()).await, ["one"]);
    assert_eq!(names("reference_free=false".to_owned()).await, ["two"]);
    for query in ["metadata=blue", "reference_dataset=x", "reference_free=maybe", "filter=eq(name,%22one%22)"] {
        engine.get(&format!("/sessions?{query}")).await.expect(422);
    }
}

#[tokio::test]
async fn a_session_is_shown_with_statistics_when_they_are_asked_for() {
    let engine = Engine::start().await;
    let run = |id: &str, at: &str, error: Value| {
        json!({"id": id, "name": "r", "run_type": "chain", "session_name": "np", "start_time": format!("{at}:00Z"),
            "end_time": format!("{at}:04Z"), "error": error})
    };
    for run in [run(RUN, "2026-11-22T10:00", json!("broken")), run(ID, "2026-11-21T10:00", Value::Null)] {
        engine.post("/runs", &run).await.expect(202);
    }
    let plain = engine.get("/sessions?name=np&include_stats=False").await.expect(200).json()[0].clone();
    assert!(!keys(&plain).contains(&"run_count"), "{plain}");
    let id = plain["id"].as_str().unwrap();
    engine.post("/feedback", &json!({"key": "whole", "session_id": id, "score": 1})).await.expect(200);
    engine.post("/feedback", &json!({"key": "one", "run_id": RUN, "score": 0})).await.expect(200);
    let listed = engine.get("/sessions?name=np&include_stats=True").await.expect(200).json()[0].clone();
    assert_eq!(engine.get(&format!("/sessions/{id}?include_stats=true")).await.expect(200).json(), listed);
    assert_eq!(
        (&listed["run_count"], &listed["error_rate"], &listed["latency_p50"]),
        (&json!(2), &json!(0.5), &json!(4.0))
    );
    assert_eq!(listed["feedback_stats"]["one"]["avg"], 0.0);
    assert_eq!(keys(&listed["feedback_stats"]), ["one"]);
    assert_eq!(listed["session_feedback_stats"]["whole"]["n"], 1);
    let since = "include_stats=true&stats_start_time=2026-11-22T00:00:00Z";
    assert_eq!(engine.get(&format!("/sessions/{id}?{since}")).await.expect(200).json()["run_count"], 1);
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
    engine.get("/feedback?has_score=maybe").await.expect(422);
    engine.get("/feedback?level=trace").await.expect(422);
    engine.get("/feedback?min_created_at=noon").await.expect(422);
}
