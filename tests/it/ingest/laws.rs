//! How parts of a run add up.

use runhook::model::run::Status;
use serde_json::{Value, json};

use super::engine::{Engine, form, gzip, multipart_request};

const ID: &str = "691753af-99d4-4de3-9b4b-678bffa9aa39";
const CHILD: &str = "791753af-99d4-4de3-9b4b-678bffa9aa39";

fn post() -> Value {
    json!({"id": ID, "name": "manual", "run_type": "chain", "start_time": "2026-11-22T02:22:34.197283+00:00",
           "session_name": "p2", "inputs": {"x": 1}, "outputs": {}, "extra": {"metadata": {"a": 1}}})
}

/// What the Python client's `update_run` sends: nulls for everything it was not given.
fn patch() -> Value {
    json!({"id": ID, "name": null, "run_type": null, "trace_id": null, "parent_run_id": null, "dotted_order": null,
           "tags": null, "extra": null, "session_id": null, "session_name": null,
           "end_time": "2026-11-22T02:22:34.242529+00:00", "outputs": {"y": 2}})
}

async fn assert_is_whole(engine: &Engine) {
    let run = engine.get(&format!("/runs/{ID}")).await.expect(200).json();
    assert_eq!(run["name"], "manual");
    assert_eq!(run["status"], "success");
    assert_eq!(run["inputs"], json!({"x": 1}));
    assert_eq!(run["outputs"], json!({"y": 2}));
    assert_eq!(run["extra"]["metadata"]["a"], 1);
    assert_eq!(run["trace_id"], ID);
    assert_eq!(run["dotted_order"], format!("20261122T022234197283Z{ID}"));
}

#[tokio::test]
async fn a_patch_full_of_nulls_changes_only_what_it_names() {
    let engine = Engine::start().await;
    engine.post("/runs", &post()).await.expect(202);
    let open = engine.run(ID).await.unwrap().run;
    assert_eq!(open.status, Status::Pending, "empty outputs are not an end");
    engine.patch(&format!("/runs/{ID}"), &patch()).await.expect(202);
    assert_is_whole(&engine).await;
}

#[tokio::test]
async fn a_patch_may_come_before_its_post() {
    let engine = Engine::start().await;
    engine.patch(&format!("/runs/{}", ID.replace('-', "")), &patch()).await.expect(202);
    assert!(engine.run(ID).await.is_none(), "it has no name yet");
    engine.get(&format!("/runs/{ID}")).await.expect(404);
    engine.post("/runs", &post()).await.expect(202);
    assert_is_whole(&engine).await;
}

#[tokio::test]
async fn a_repeat_changes_nothing() {
    let engine = Engine::start().await;
    engine.post("/runs", &post()).await.expect(202);
    engine.patch(&format!("/runs/{ID}"), &patch()).await.expect(202);
    let once = engine.run(ID).await.unwrap();
    engine.clock.advance(std::time::Duration::from_mins(1));
    engine.post("/runs", &post()).await.expect(202);
    engine.post("/runs/batch", &json!({"post": [post()], "patch": [patch()]})).await.expect(202);
    let twice = engine.run(ID).await.unwrap();
    assert_eq!((once.run, once.changed_seq), (twice.run, twice.changed_seq));
}

#[tokio::test]
async fn ids_without_dashes_and_epoch_milliseconds_name_the_same_run_and_instant() {
    let engine = Engine::start().await;
    let mut naive = post();
    naive["id"] = ID.replace('-', "").into();
    naive["start_time"] = "2026-11-22T02:22:34.197283".into();
    engine.post("/runs", &naive).await.expect(202);
    engine.patch(&format!("/runs/{ID}"), &json!({"end_time": 1_795_314_154_242_u64})).await.expect(202);
    let run = engine.run(ID).await.unwrap().run;
    assert_eq!(run.start_time.to_string(), "2026-11-22T02:22:34.197283Z");
    assert_eq!(run.end_time.unwrap().to_string(), "2026-11-22T02:22:34.242000Z");
}

#[tokio::test]
async fn a_child_that_names_only_its_parent_joins_its_trace() {
    let engine = Engine::start().await;
    engine.post("/runs", &post()).await.expect(202);
    let child = json!({"id": CHILD, "name": "step", "run_type": "tool", "session_name": "p2", "parent_run_id": ID,
                       "start_time": "2026-11-22T02:22:35Z"});
    engine.post("/runs", &child).await.expect(202);
    let run = engine.run(CHILD).await.unwrap().run;
    assert_eq!(run.trace_id.to_string(), ID);
    assert_eq!(run.dotted_order, format!("20261122T022234197283Z{ID}.20261122T022235000000Z{CHILD}"));
    let parent = engine.get(&format!("/runs/{ID}")).await.json();
    assert_eq!(parent["direct_child_run_ids"], json!([CHILD]));
    let child = engine.get(&format!("/runs/{CHILD}")).await.json();
    assert_eq!(child["parent_run_ids"], json!([ID]));
}

#[tokio::test]
async fn a_run_without_an_id_gets_one_and_its_client_is_told() {
    let engine = Engine::start().await;
    let body = json!({"name": "n", "run_type": "chain", "start_time": "2026-11-22T02:22:35Z"});
    let id = engine.post("/runs", &body).await.expect(202).json()["id"].as_str().unwrap().to_owned();
    let run = engine.get(&format!("/runs/{id}")).await.expect(200).json();
    let project = engine.get("/sessions?name=default").await.json()[0]["id"].clone();
    assert_eq!(run["session_id"], project);
}

#[tokio::test]
async fn feedback_may_come_before_its_run() {
    let engine = Engine::start().await;
    let feedback = json!({"id": CHILD, "run_id": ID, "key": "user_score", "score": 0.25});
    engine.post("/feedback", &feedback).await.expect(200);
    assert!(engine.run(ID).await.is_none());
    engine.post("/runs", &post()).await.expect(202);
    assert_eq!(engine.run(ID).await.unwrap().feedback[0].key, "user_score");
    let shown = engine.get(&format!("/runs/{ID}")).await.json();
    assert_eq!(shown["feedback_stats"]["user_score"]["avg"], 0.25);
}

#[tokio::test]
async fn two_patches_of_one_run_in_one_request_are_two_patches() {
    let engine = Engine::start().await;
    engine.post("/runs", &post()).await.expect(202);
    let label = format!("patch.{ID}");
    let outputs = format!("patch.{ID}.outputs");
    let body = form(&[
        (&label, "application/json", br#"{"tags": ["first"]}"#),
        (&outputs, "application/json", br#"{"y": 1}"#),
        (&label, "application/json", br#"{"end_time": "2026-11-22T02:22:36Z"}"#),
        (&outputs, "application/json", br#"{"y": 2}"#),
    ]);
    let answer = engine.send(multipart_request(gzip(&body), Some("gzip"))).await.expect(202).json();
    assert_eq!(answer["runs"], 2);
    let run = engine.get(&format!("/runs/{ID}")).await.json();
    assert_eq!(run["tags"], json!(["first"]));
    assert_eq!(run["outputs"], json!({"y": 2}));
}
