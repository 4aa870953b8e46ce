//! Runs asked for: pages, cursors, filters, statistics and threads.

use serde_json::{Value, json};
use uuid::Uuid;

use super::engine::Engine;

fn id(number: u128) -> String {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number).to_string()
}

/// Ten traces of two runs, every fourth of which failed in its tool.
async fn filled(engine: &Engine) -> String {
    let mut runs = Vec::new();
    for number in 0..10_u128 {
        let (root, tool) = (id(number), id(100 + number));
        let second = format!("{number:02}");
        let path = format!("20261122T1100{second}000000Z{root}");
        runs.push(json!({
            "id": root, "trace_id": root, "dotted_order": path, "name": "agent", "run_type": "chain",
            "session_name": "support", "start_time": format!("2026-11-22T11:00:{second}Z"),
            "end_time": format!("2026-11-22T11:01:{second}Z"), "inputs": {"q": number}, "outputs": {"a": number},
            "tags": [if number % 2 == 0 { "even" } else { "odd" }], "extra": {"metadata": {"thread_id": format!("t{}", number % 3)}},
        }));
        runs.push(json!({
            "id": tool, "trace_id": root, "parent_run_id": root, "name": "tool", "run_type": "llm",
            "dotted_order": format!("{path}.20261122T1100{second}500000Z{tool}"), "session_name": "support",
            "start_time": format!("2026-11-22T11:00:{second}.5Z"), "end_time": format!("2026-11-22T11:00:{second}.9Z"),
            "error": (number % 4 == 0).then_some("broken"),
            "outputs": {"usage_metadata": {"input_tokens": 2, "output_tokens": 3, "total_cost": "0.01"}},
        }));
    }
    engine.post("/runs/batch", &json!({ "post": runs })).await.expect(202);
    let sessions = engine.get("/sessions?name=support").await.expect(200).json();
    sessions[0]["id"].as_str().unwrap().to_owned()
}

/// All runs of a query, page by page.
async fn all(engine: &Engine, mut body: Value) -> (Vec<Value>, usize) {
    let (mut runs, mut pages) = (Vec::new(), 0);
    loop {
        let answer = engine.post("/api/v1/runs/query", &body).await.expect(200).json();
        runs.extend(answer["runs"].as_array().unwrap().clone());
        pages += 1;
        let next = &answer["cursors"]["next"];
        if next.is_null() {
            return (runs, pages);
        }
        body["cursor"] = next.clone();
    }
}

#[tokio::test]
async fn pages_follow_one_another_and_hold_each_run_once() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    for (order, first) in [("desc", id(109)), ("asc", id(0))] {
        let (runs, pages) = all(&engine, json!({"session": [session], "limit": 7, "order": order})).await;
        assert_eq!((runs.len(), pages), (20, 3), "{order}");
        assert_eq!(runs[0]["id"], json!(first));
        let ids: std::collections::BTreeSet<&str> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 20);
    }
}

#[tokio::test]
async fn parameters_and_filters_narrow_together() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    for (narrowing, expected) in [
        (json!({"is_root": true}), 10),
        (json!({"run_type": "llm"}), 10),
        (json!({"error": true}), 3),
        (json!({"error": false}), 17),
        (json!({"filter": "has(tags, \"odd\")"}), 5),
        (json!({"filter": "eq(name, \"tool\")", "trace_filter": "has(tags, \"odd\")"}), 5),
        (json!({"is_root": true, "tree_filter": "eq(status, \"error\")"}), 3),
        (json!({"is_root": true, "tree_filter": "search(\"broken\")"}), 3),
        (json!({"is_root": true, "filter": "gt(total_tokens, 4)"}), 10),
        (json!({"start_time": "2026-11-22T11:00:08", "end_time": "2026-11-22T11:00:09Z"}), 3),
        (json!({"trace": id(3)}), 2),
        (json!({"parent_run": id(3)}), 1),
        (json!({"id": [id(3), id(4)], "filter": "eq(name, \"nobody\")"}), 2),
        (json!({"query": "broken"}), 3),
        (json!({"filter": "eq(thread_id, \"t1\")"}), 3),
    ] {
        let mut body = json!({ "session": [session], "limit": 2 });
        body.as_object_mut().unwrap().extend(narrowing.as_object().unwrap().clone());
        assert_eq!(all(&engine, body).await.0.len(), expected, "{narrowing}");
    }
}

#[tokio::test]
async fn parameters_that_say_how_to_look_change_nothing() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    let plain = all(&engine, json!({"session": [session], "limit": 7})).await.0;
    let how = json!({"session": [session], "limit": 7, "data_source_type": "current", "skip_pagination": false,
        "use_experimental_search": true, "skip_prev_cursor": true, "start_time": null, "id": null, "execution_order": null});
    assert_eq!(all(&engine, how).await.0, plain);
    let roots = all(&engine, json!({"session": [session], "execution_order": 1})).await.0;
    assert_eq!(roots.len(), 10, "execution order 1 is a root's");
    let example = id(77);
    let answers = json!({"id": id(200), "name": "answer", "run_type": "chain", "session_name": "support",
        "start_time": "2026-11-22T12:00:00Z", "reference_example_id": example});
    engine.post("/runs", &answers).await.expect(202);
    let found = all(&engine, json!({"reference_example": [example]})).await.0;
    assert_eq!(found.iter().map(|run| &run["id"]).collect::<Vec<_>>(), [&json!(id(200))]);
}

#[tokio::test]
async fn traces_are_deleted_whole() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    let body = json!({"session_id": session, "trace_ids": [id(3), id(4), id(77)]});
    let answer = engine.post("/api/v1/runs/delete", &body).await.expect(202).json();
    assert_eq!(answer["runs"], json!(4));
    assert_eq!(engine.post("/runs/delete", &body).await.expect(202).json()["runs"], json!(0));
    let left = all(&engine, json!({"session": [session]})).await.0;
    assert_eq!(left.len(), 16);
    engine.get(&format!("/runs/{}", id(3))).await.expect(404);
    let of_nobody = json!({"session_id": id(9), "trace_ids": [id(1)]});
    engine.post("/runs/delete", &of_nobody).await.expect(404);
    for wrong in [
        json!({"session_id": session}),
        json!({"trace_ids": [id(1)]}),
        json!({"session_id": session, "trace_ids": ["x"]}),
        json!({"session_id": session, "trace_ids": []}),
        json!({"session_id": session, "metadata": {"user": ["a"]}}),
    ] {
        engine.post("/runs/delete", &wrong).await.expect(422);
    }
}

#[tokio::test]
async fn what_is_selected_is_shown_and_a_root_has_what_its_tree_used() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    let body =
        json!({"session": [session], "is_root": true, "limit": 1, "select": ["total_tokens", "total_cost", "inputs"]});
    let run = engine.post("/runs/query", &body).await.expect(200).json()["runs"][0].clone();
    assert_eq!((&run["total_tokens"], &run["total_cost"], &run["inputs"]["q"]), (&json!(5), &json!("0.01"), &json!(9)));
    assert!(run.get("outputs").is_none() && run["session_id"] == json!(session));
    let whole = engine.get(&format!("/runs/{}", id(9))).await.expect(200).json();
    assert_eq!(whole["child_run_ids"], json!([id(109)]));
}

#[tokio::test]
async fn what_cannot_be_answered_is_said() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    let nothing = engine.post("/runs/query", &json!({"limit": 5})).await.expect(400).json();
    let detail = "At least one of 'session', 'id', 'parent_run', or 'reference_example' must be specified";
    assert_eq!(nothing, json!({ "detail": detail }));
    for (field, value) in [
        ("filter", json!("eq(nme, \"x\")")),
        ("select", json!(["nme"])),
        ("cursor", json!("x")),
        ("order", json!("up")),
    ] {
        let mut body = json!({ "session": [session] });
        body[field] = value;
        let refused = engine.post("/runs/query", &body).await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", field]), "{refused}");
        let verdict = engine.post("/runs/query/validate", &body).await.expect(200).json();
        assert!(verdict["valid"] == json!(false) && verdict["errors"][0]["field"] == json!(field), "{verdict}");
    }
    let fine = engine.post("/runs/query/validate", &json!({"session": [session]})).await.expect(200).json();
    assert_eq!(fine, json!({"valid": true, "errors": []}));
}

#[tokio::test]
async fn statistics_count_what_was_used_once() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    for (is_root, runs) in [(json!(null), 20), (json!(true), 10), (json!(false), 10)] {
        let body = json!({"session": [session], "is_root": is_root});
        let stats = engine.post("/runs/stats", &body).await.expect(200).json();
        assert_eq!((&stats["run_count"], &stats["total_tokens"]), (&json!(runs), &json!(50)), "{is_root}");
        assert_eq!(stats["total_cost"], json!("0.10"));
    }
}

#[tokio::test]
async fn threads_are_listed_by_when_they_were_last_active() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    let body = json!({"session_id": session, "group_by": "conversation", "limit": 2});
    let answer = engine.post("/runs/group", &body).await.expect(200).json();
    let keys: Vec<&Value> = answer["groups"].as_array().unwrap().iter().map(|group| &group["group_key"]).collect();
    assert_eq!((keys, &answer["total"]), (vec![&json!("t0"), &json!("t2")], &json!(3)));
    assert_eq!((&answer["groups"][0]["count"], &answer["groups"][0]["total_tokens"]), (&json!(4), &json!(20)));
}

#[tokio::test]
async fn the_second_version_shows_what_is_selected_in_its_own_words() {
    let engine = Engine::start().await;
    let session = filled(&engine).await;
    let mut body = json!({"project_ids": [session], "page_size": 2, "is_root": true, "selects": ["ID", "STATUS", "TOTAL_TOKENS"],
        "include_subtree_usage": true});
    let mut seen = 0;
    loop {
        let page = engine.post("/api/v2/runs/query", &body).await.expect(200).json();
        for run in page["items"].as_array().unwrap() {
            assert_eq!((&run["status"], &run["total_tokens"]), (&json!("SUCCESS"), &json!(5)), "{run}");
            seen += 1;
        }
        if page["has_more"] == json!(false) {
            break;
        }
        body["cursor"] = page["next_cursor"].clone();
    }
    assert_eq!(seen, 10);
    let one = engine.get(&format!("/api/v2/runs/{}?project_id={session}&selects=NAME", id(1))).await.expect(200);
    assert_eq!(one.json(), json!({"name": "agent"}));
    let refused = engine.post("/api/v2/runs/query", &json!({})).await.expect(400);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
}
