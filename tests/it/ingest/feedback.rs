//! Feedback beyond single records: lists, what comes before its run, and tokens for those without an API key.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::engine::Engine;

const RUN: &str = "e095c2b7-87b0-4c30-b6e3-650e75c4735f";

async fn give(engine: &Engine, body: Value) {
    engine.post("/feedback", &body).await.expect(200);
}

async fn keys_of(engine: &Engine, query: &str) -> Vec<String> {
    let listed = engine.get(&format!("/feedback?{query}")).await.expect(200).json();
    listed.as_array().unwrap().iter().map(|record| record["key"].as_str().unwrap().to_owned()).collect()
}

/// The path of a URL this server made.
fn path(token: &Value) -> String {
    token["url"].as_str().unwrap().strip_prefix("http://runhook.test").unwrap().to_owned()
}

#[tokio::test]
async fn lists_are_narrowed_by_what_records_hold() {
    let engine = Engine::start().await;
    let sessions = engine.get("/sessions").await.json();
    let user = "9b1c6d6a-5c0e-4f3e-8c58-3a4f0f2b9a11";
    let at = |second: u32| format!("2026-11-22T10:00:{second:02}Z");
    give(&engine, json!({"key": "a", "run_id": RUN, "score": 1, "created_at": at(1)})).await;
    give(
        &engine,
        json!({"key": "b", "run_id": RUN, "comment": "so so", "created_at": at(2), "comparative_experiment_id": RUN}),
    )
    .await;
    let by = json!({"type": "app", "user_id": user});
    give(&engine, json!({"key": "c", "run_id": RUN, "score": false, "feedback_source": by, "created_at": at(3)})).await;
    give(&engine, json!({"key": "d", "session_id": sessions[0]["id"], "created_at": at(4)})).await;
    for (query, expected) in [
        ("has_score=true", "ca"),
        ("has_score=False&limit=1", "d"),
        ("has_score=false&limit=1&offset=1", "b"),
        ("has_comment=true", "b"),
        ("level=session", "d"),
        ("level=run", "cba"),
        (&format!("user={user}"), "c"),
        (&format!("comparative_experiment_id={RUN}"), "b"),
        ("min_created_at=2026-11-22T10:00:02Z&max_created_at=2026-11-22T10:00:03", "cb"),
        ("source=app&key=c&key=a", "c"),
    ] {
        assert_eq!(keys_of(&engine, query).await.concat(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_list_that_is_narrowed_by_what_records_hold_goes_back_as_far_as_it_must() {
    let engine = Engine::start().await;
    let parts: Vec<(String, String)> = (0..1200)
        .map(|number| {
            let id = uuid::Uuid::from_u128(number + 1);
            let comment = (number % 400 == 0).then_some("rare");
            let record = json!({"id": id, "run_id": RUN, "key": format!("k{number}"), "comment": comment,
                "created_at": 1_763_000_000_000_u64 + u64::try_from(number).unwrap()});
            (format!("feedback.{id}"), record.to_string())
        })
        .collect();
    for parts in parts.chunks(100) {
        let parts: Vec<_> =
            parts.iter().map(|(name, body)| (name.as_str(), "application/json", body.as_bytes())).collect();
        engine.multipart(&parts).await.expect(202);
    }
    assert_eq!(keys_of(&engine, "has_comment=true&limit=2").await, ["k800", "k400"]);
    assert_eq!(keys_of(&engine, "has_comment=true&limit=2&offset=2").await, ["k0"]);
}

#[tokio::test]
async fn feedback_that_comes_first_is_counted_with_its_run() {
    let engine = Engine::start().await;
    give(&engine, json!({"key": "early", "run_id": RUN, "score": 0.5})).await;
    engine.get(&format!("/runs/{RUN}")).await.expect(404);
    let run = json!({"id": RUN, "name": "late", "run_type": "chain", "start_time": "2026-11-22T10:00:00Z"});
    engine.post("/runs", &run).await.expect(202);
    let run = engine.get(&format!("/runs/{RUN}")).await.expect(200).json();
    assert_eq!(
        (&run["feedback_stats"]["early"]["n"], &run["feedback_stats"]["early"]["avg"]),
        (&json!(1), &json!(0.5))
    );
}

#[tokio::test]
async fn a_token_is_made_listed_and_used_without_an_api_key() {
    let engine = Engine::start().await;
    let config = json!({"type": "continuous", "min": 0, "max": 1});
    let asked = json!({"run_id": RUN, "feedback_key": "thumbs", "feedback_config": config, "expires_in": {"hours": 1}});
    let one = engine.post("/feedback/tokens", &asked).await.expect(200).json();
    assert_eq!(
        (&one["expires_at"], &one["feedback_key"]),
        (&json!("2026-11-22T13:00:00.000000+00:00"), &json!("thumbs"))
    );
    assert!(path(&one).ends_with(one["id"].as_str().unwrap()));
    let two = json!([{"run_id": RUN, "feedback_key": "a", "expires_in": null}, {"run_id": RUN, "feedback_key": "b"}]);
    let two = engine.post("/feedback/tokens", &two).await.expect(200).json();
    assert_eq!((two.as_array().unwrap().len(), &two[1]["feedback_key"]), (2, &json!("b")));
    let listed = engine.get(&format!("/feedback/tokens?run_id={RUN}&limit=2&offset=2")).await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 1);

    engine.require_key("secret").await;
    engine.post("/feedback/tokens", &asked).await.expect(401);
    engine.get(&format!("/feedback/tokens?run_id={RUN}")).await.expect(401);
    let said = json!({"score": 0.123_456, "comment": "nice", "metadata": {"page": "help"}, "value": null});
    engine.post(&format!("/api/v1{}", path(&one)), &said).await.expect(200);
    engine.get(&format!("{}?score=true&comment=by%20link&value=good", path(&one))).await.expect(200);
    let request = Request::get(format!("/feedback?run={RUN}&key=thumbs")).header("x-api-key", "secret");
    let mut given = engine.send(request.body(Body::empty()).unwrap()).await.expect(200).json();
    let given = given.as_array_mut().unwrap();
    given.sort_by_key(|record| record["comment"].to_string());
    assert_eq!((&given[0]["score"], &given[0]["value"], given.len()), (&json!(true), &json!("good"), 2));
    assert_eq!(given[1]["score"], 0.1235);
    assert_eq!(given[1]["feedback_source"], json!({"type": "api", "metadata": {"page": "help"}}));
}

#[tokio::test]
async fn a_token_that_is_of_no_use_is_told_so() {
    let engine = Engine::start().await;
    let asked = json!({"run_id": RUN, "feedback_key": "thumbs"});
    let token = engine.post("/feedback/tokens", &asked).await.expect(200).json();
    let wrong = engine.post(&path(&token), &json!({"score": "high"})).await.expect(422).json();
    assert_eq!(wrong["detail"][0]["loc"], json!(["body", "score"]));
    let wrong = engine.get(&format!("{}?score=high", path(&token))).await.expect(422).json();
    assert_eq!(wrong["detail"][0]["loc"], json!(["query", "score"]));
    let long = json!({"comment": "x".repeat(300 * 1024)});
    engine.post(&path(&token), &long).await.expect(413);
    engine.clock.advance(Duration::from_hours(3));
    assert_eq!(
        engine.post(&path(&token), &json!({"score": 1})).await.expect(410).json()["detail"],
        "the feedback token has expired"
    );
    assert_eq!(engine.get(&format!("/feedback/tokens?run_id={RUN}")).await.expect(200).json(), json!([]));
    engine.get(&format!("/feedback/tokens/{RUN}")).await.expect(404);
    engine.get("/feedback/tokens/nonsense").await.expect(404);
    engine.get("/feedback/tokens").await.expect(422);
    for (field, value) in [("run_id", json!("x")), ("feedback_key", json!("")), ("expires_at", json!("2026-11-22"))] {
        let mut body = json!({"run_id": RUN, "feedback_key": "thumbs"});
        body[field] = value;
        let refused = engine.post("/feedback/tokens", &json!([body])).await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", field]));
    }
    assert_eq!(engine.get(&format!("/feedback?run={RUN}")).await.json(), json!([]));
}

#[tokio::test]
async fn a_page_of_any_origin_may_use_a_token_and_nothing_else() {
    let engine = Engine::start().await;
    let preflight = |path: &str| {
        let request = Request::options(path).header("origin", "https://app.example");
        let request = request.header("access-control-request-method", "POST");
        request.header("access-control-request-headers", "content-type").body(Body::empty()).unwrap()
    };
    let answer = engine.send(preflight(&format!("/api/v1/feedback/tokens/{RUN}"))).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type"));
    assert_eq!(engine.send(preflight("/feedback/tokens")).await.header("access-control-allow-origin"), None);
}
