//! What runs used and cost: by themselves, with all below them, and together.

use runhook::config::Document;
use runhook::model::price::Prices;
use serde_json::{Value, json};
use uuid::Uuid;

use super::engine::Engine;

fn id(number: u128) -> String {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number).to_string()
}

/// 2 for a million tokens in, 0.5 for those from a cache, 10 for those out.
fn prices() -> Prices {
    let yaml = "prices: [{ model: ^acme-1$, prompt: 2, completion: 10, prompt_details: { cache_read: 0.5 } }]";
    Document::parse("c.yaml", yaml, std::collections::HashMap::new()).unwrap().prices.into()
}

fn run(number: u128, parent: Option<u128>, run_type: &str, usage: &Value, model: Option<&str>) -> Value {
    json!({
        "id": id(number), "parent_run_id": parent.map(id), "name": run_type, "run_type": run_type, "session_name": "s",
        "start_time": format!("2026-11-22T11:00:{number:02}Z"), "end_time": "2026-11-22T11:02:00Z",
        "outputs": {"usage_metadata": usage}, "extra": {"metadata": {"ls_model_name": model, "thread_id": "t"}},
    })
}

/// An agent that says nothing; below it a tool that states a cost and asks a priced model, and an unpriced one.
async fn filled(engine: &Engine) -> String {
    let cached = json!({"input_tokens": 1000, "output_tokens": 100, "input_token_details": {"cache_read": 400}});
    let runs = [
        run(3, Some(2), "llm", &cached, Some("acme-1")),
        run(4, Some(1), "llm", &json!({"input_tokens": 7, "output_tokens": 3}), Some("other")),
        run(2, Some(1), "tool", &json!({"total_cost": "0.25"}), Some("acme-1")),
        run(1, None, "chain", &Value::Null, None),
    ];
    for run in &runs {
        engine.post("/runs", run).await.expect(202);
    }
    let sessions = engine.get("/sessions?name=s").await.expect(200).json();
    sessions[0]["id"].as_str().unwrap().to_owned()
}

fn money(shown: &Value) -> String {
    [&shown["total_cost"], &shown["prompt_cost"], &shown["completion_cost"]].map(ToString::to_string).join(" ")
}

#[tokio::test]
async fn a_run_has_its_own_costs_and_those_below_it_wherever_it_is_read() {
    let engine = Engine::with_prices(prices()).await;
    let session = filled(&engine).await;
    // 600 x 2 + 400 x 0.5 and 100 x 10 millionths below what the tool says it cost.
    for (number, total, costs) in [
        (3, 1100, r#""0.0024" "0.0014" "0.001""#),
        (2, 1100, r#""0.2524" "0.0014" "0.001""#),
        (4, 10, "null null null"),
        (1, 1110, r#""0.2524" "0.0014" "0.001""#),
    ] {
        let read = engine.get(&format!("/runs/{}", id(number))).await.expect(200).json();
        let asked =
            json!({"id": [id(number)], "select": ["total_tokens", "total_cost", "prompt_cost", "completion_cost"]});
        let queried = engine.post("/runs/query", &asked).await.expect(200).json()["runs"][0].clone();
        let native = engine.get(&format!("/v1/runs/{}", id(number))).await.expect(200).json()["usage"].clone();
        for shown in [&read, &queried, &native] {
            assert_eq!((&shown["total_tokens"], money(shown)), (&json!(total), costs.to_owned()), "{number}");
        }
    }
    let root = engine.get(&format!("/runs/{}", id(1))).await.json();
    assert_eq!(root["prompt_token_details"], json!({"cache_read": 400}));
    assert_eq!(root["prompt_cost_details"], json!({"cache_read": "0.0002"}));
    assert_eq!(root["completion_cost_details"], Value::Null);
    let listed = engine.get("/v1/runs?roots=true").await.expect(200).json();
    assert_eq!(money(&listed["runs"][0]["usage"]), r#""0.2524" "0.0014" "0.001""#);
    let filter = json!({"session": [session], "filter": "and(gt(total_cost, 0.25), lt(prompt_cost, 0.0015))"});
    assert_eq!(engine.post("/runs/query", &filter).await.json()["runs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn sums_of_statistics_and_threads_count_each_run_once() {
    let engine = Engine::with_prices(prices()).await;
    let session = filled(&engine).await;
    let all = json!({"session": [session]});
    let stats = async |asked: &Value| engine.post("/runs/stats", asked).await.expect(200).json();
    let whole = stats(&all).await;
    assert_eq!((&whole["total_tokens"], money(&whole)), (&json!(1110), r#""0.2524" "0.0014" "0.001""#.to_owned()));
    assert_eq!(whole["prompt_token_details"], json!({"cache_read": 400}));
    assert_eq!(whole["prompt_cost_details"], json!({"cache_read": "0.0002"}));
    let models = stats(&json!({"session": [session], "run_type": "llm"})).await;
    assert_eq!((&models["total_tokens"], money(&models)), (&json!(1110), r#""0.0024" "0.0014" "0.001""#.to_owned()));
    // Its ancestors are not asked for.
    let alone = stats(&json!({"id": [id(2)]})).await;
    assert_eq!((&alone["total_tokens"], money(&alone)), (&json!(1100), r#""0.2524" "0.0014" "0.001""#.to_owned()));
    let shown = engine.get(&format!("/sessions/{session}?include_stats=true")).await.expect(200).json();
    assert_eq!((&shown["total_tokens"], money(&shown)), (&json!(1110), r#""0.2524" "0.0014" "0.001""#.to_owned()));
    let groups = engine.post("/runs/group", &json!({"session_id": session, "group_by": "conversation"})).await.json();
    let group = &groups["groups"][0];
    assert_eq!((&group["total_tokens"], money(group)), (&json!(1110), r#""0.2524" "0.0014" "0.001""#.to_owned()));
}

#[tokio::test]
async fn the_second_version_shows_a_runs_own_usage_unless_asked_even_when_the_filter_sums() {
    let engine = Engine::with_prices(prices()).await;
    let session = filled(&engine).await;
    for (subtree, expected) in [(false, json!([0, Value::Null])), (true, json!([1110, 0.2524]))] {
        for filter in ["eq(is_root, true)", "and(eq(is_root, true), gt(total_tokens, 1109))"] {
            let asked = json!({"project_ids": [session], "filter": filter, "include_subtree_usage": subtree,
                               "selects": ["TOTAL_TOKENS", "TOTAL_COST", "PROMPT_TOKEN_DETAILS"]});
            let run = engine.post("/api/v2/runs/query", &asked).await.expect(200).json()["items"][0].clone();
            assert_eq!(json!([run["total_tokens"], run["total_cost"]]), expected, "{filter} {run}");
        }
    }
}

#[tokio::test]
async fn given_runs_are_priced_like_stored_ones() {
    let engine = Engine::with_prices(prices()).await;
    let given = run(3, None, "llm", &json!({"input_tokens": 1000, "output_tokens": 0}), Some("acme-1"));
    let matched = async |filter: &str| {
        let asked = json!({"filter": filter, "runs": [given]});
        engine.post("/v1/filter/match", &asked).await.expect(200).json()
    };
    for (filter, expected) in [("eq(total_cost, 0.002)", 1), ("gt(total_cost, 0.002)", 0)] {
        let found = matched(filter).await;
        assert_eq!(found["matched"].as_array().unwrap().len(), expected, "{filter} {found}");
    }
}
