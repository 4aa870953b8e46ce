//! Applying through the API, on a real database.

use serde_json::{Value, json};

use super::{House, said};

const FILE: &str = "version: 1
rules:
  - key: errors
    name: Errors
    project: support-*
    filter: and(eq(status, \"error\"), has(tags, \"production\"))
    every: immediate
    webhooks:
      - url: ${URL}
        query: { secret: \"${TOKEN}\" }
        headers: { X-Token: \"${TOKEN}\", X-Team: platform }
      - endpoint: oncall
  - key: digest
    project: \"*\"
    tree_filter: eq(status, \"error\")
    sampling_rate: 0.25
    cron: \"0 9 * * MON-FRI\"
    timezone: Europe/Berlin
    backfill_from: 2026-11-01
    batch: { max_runs: 10, max_bytes: 1MB }
    webhooks:
      - endpoint: oncall
endpoints:
  - key: oncall
    url: https://oncall.example.com/planted-path
";

#[tokio::test]
async fn applying_twice_changes_nothing_the_second_time() {
    let house = House::open().await;
    let (status, first) = house.apply(FILE, json!({})).await;
    assert_eq!((status, said(&first).as_str()), (200, "create rule digest, create rule errors, create endpoint oncall"));
    let (_, second) = house.apply(FILE, json!({"prune": true})).await;
    assert_eq!(said(&second), "unchanged rule digest, unchanged rule errors, unchanged endpoint oncall");
}

#[tokio::test]
async fn a_rule_shows_what_the_file_said_and_no_secret() {
    let house = House::open().await;
    house.apply(FILE, json!({})).await;
    let digest = house.rule("digest").await;
    let expected = json!({
        "key": "digest", "name": "digest", "project": "*", "tree_filter": "eq(status, \"error\")", "filter": null,
        "sampling_rate": 0.25, "cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin", "every": null, "settle": "10s",
        "backfill_from": "2026-11-01T00:00:00.000000Z", "state": "active", "origin": "f.yaml",
        "batch": {"max_runs": 10, "max_bytes": 1_000_000, "inline_bytes": 65_536},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&digest[name], value, "{name}");
    }
    let errors = house.rule("errors").await;
    assert_eq!(errors["settle"], "0s");
    assert_eq!(errors["webhooks"][0]["url"], "https://hooks.example.com/…");
    assert_eq!(errors["webhooks"][0]["headers"], json!({"X-Token": "********", "X-Team": "********"}));
    assert_eq!(errors["webhooks"][1]["endpoint"], "oncall");
    let by_id = house.rule(errors["id"].as_str().unwrap()).await;
    assert_eq!(by_id, errors);
}

#[tokio::test]
async fn an_edited_rule_keeps_its_id_and_a_renamed_one_is_another() {
    let house = House::open().await;
    house.apply(FILE, json!({})).await;
    let id = house.rule("errors").await["id"].clone();
    let edited = FILE.replace("every: immediate", "every: 5m").replace("key: digest", "key: weekly");
    let (_, answer) = house.apply(&edited, json!({})).await;
    assert_eq!(said(&answer), "create rule weekly, update rule errors, unchanged endpoint oncall");
    assert_eq!(answer["items"][1]["changes"], json!([{"field": "every", "before": "immediate", "after": "5m"}]));
    assert_eq!(house.rule("errors").await["id"], id);
    let (_, pruned) = house.apply(&edited, json!({"prune": true})).await;
    assert_eq!(said(&pruned), "remove rule digest, unchanged rule errors, unchanged endpoint oncall, unchanged rule weekly");
    assert_eq!(house.call("GET", "/v1/rules/digest", None).await.0, 404);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let house = House::open().await;
    let (status, answer) = house.apply(FILE, json!({"dry_run": true})).await;
    assert_eq!((status, &answer["applied"]), (200, &json!(false)));
    assert_eq!(house.call("GET", "/v1/rules", None).await.1, json!({"rules": []}));
}

#[tokio::test]
async fn files_with_an_error_change_nothing_and_are_answered_with_places() {
    let house = House::open().await;
    let wrong = FILE.replace("status, \"error\"), has", "sttus, \"error\"), has").replace("https://oncall.example.com", "http://127.0.0.1");
    let (status, problem) = house.apply(&wrong, json!({})).await;
    assert_eq!((status, problem["code"].as_str().unwrap()), (422, "rules-invalid"));
    let problems = problem["reports"][0]["problems"].as_array().unwrap();
    let places: Vec<(&str, i64, i64)> = problems
        .iter()
        .map(|p| (p["code"].as_str().unwrap(), p["line"].as_i64().unwrap(), p["column"].as_i64().unwrap()))
        .collect();
    assert_eq!(places, [("unknown-field", 6, 20), ("forbidden-target", 25, 10)]);
    assert!(problem["rendered"].as_str().unwrap().contains("^^^^^"), "{problem:#}");
    assert_eq!(house.call("GET", "/v1/rules", None).await.1, json!({"rules": []}));
}

#[tokio::test]
async fn a_missing_variable_is_named() {
    let house = House::open().await;
    let (status, problem) = house.apply(FILE, json!({"variables": {"URL": "https://hooks.example.com/planted-path"}})).await;
    assert_eq!(status, 422);
    let told = problem["reports"][0]["problems"][0]["message"].as_str().unwrap();
    assert_eq!(told, "the variable TOKEN is not set");
}

#[tokio::test]
async fn a_changed_secret_is_a_change_that_nobody_can_read() {
    let house = House::open().await;
    house.apply(FILE, json!({})).await;
    let variables = json!({"URL": "https://hooks.example.com/planted-path", "TOKEN": "planted-other"});
    let (_, answer) = house.apply(FILE, json!({"variables": variables})).await;
    let mask = |field: &str| json!({"field": field, "before": "********", "after": "********"});
    assert_eq!(
        answer["items"][0]["changes"],
        json!([mask("webhooks[0].query.secret"), mask("webhooks[0].headers.X-Token")])
    );
}

#[tokio::test]
async fn what_is_exported_applies_again() {
    let house = House::open().await;
    house.apply(FILE, json!({})).await;
    house.call("POST", "/v1/rules/errors/pause", None).await;
    let (_, exported) = house.call("GET", "/v1/rules/export", None).await;
    let yaml = exported["yaml"].as_str().unwrap();
    insta::assert_snapshot!(yaml);
    let variables = json!({
        "ERRORS_URL": "https://hooks.example.com/planted-path",
        "ERRORS_SECRET": "planted-token",
        "ERRORS_X_TOKEN": "planted-token",
        "ERRORS_X_TEAM": "platform",
        "ONCALL_URL": "https://oncall.example.com/planted-path",
    });
    let (status, again) = house.apply(yaml, json!({"variables": variables})).await;
    assert_eq!(status, 200, "{again:#}");
    // The order of headers is not kept by an export; everything else is.
    let differing: Vec<&Value> = again["items"].as_array().unwrap().iter().flat_map(|i| i["changes"].as_array()).flatten().collect();
    assert!(differing.iter().all(|change| change["field"] == "webhooks[0].headers"), "{again:#}");
}

#[tokio::test]
async fn a_paused_rule_stays_paused_when_its_file_is_applied_again() {
    let house = House::open().await;
    house.apply(FILE, json!({})).await;
    let (_, answer) = house.call("POST", "/v1/rules/errors/pause", None).await;
    assert_eq!((&answer["state"], &answer["changed"]), (&json!("paused"), &json!(true)));
    house.apply(&FILE.replace("name: Errors", "name: All errors"), json!({})).await;
    let rule = house.rule("errors").await;
    assert_eq!((&rule["state"], &rule["name"]), (&json!("paused"), &json!("All errors")));
    let (_, answer) = house.call("POST", "/v1/rules/errors/resume", None).await;
    assert_eq!((&answer["state"], &answer["changed"]), (&json!("active"), &json!(true)));
    assert_eq!(house.call("POST", "/v1/rules/nothing/pause", None).await.0, 404);
}

#[tokio::test]
async fn no_answer_and_no_file_of_the_server_holds_a_planted_secret() {
    let house = House::open().await;
    let mut said = String::new();
    let edited = FILE.replace("every: immediate", "every: 5m").replace("platform", "planted-literal");
    let wrong = edited.replace("has(tags", "hs(tags");
    for (text, more) in [(FILE, json!({})), (edited.as_str(), json!({})), (wrong.as_str(), json!({}))] {
        said += &house.apply(text, more).await.1.to_string();
    }
    for path in ["/v1/rules", "/v1/rules/errors", "/v1/rules/export"] {
        said += &house.call("GET", path, None).await.1.to_string();
    }
    let (status, malformed) = house.call("POST", "/v1/rules/apply", Some(json!({"files": "planted", "variables": 1}))).await;
    assert_eq!(status, 400);
    said += &malformed.to_string();
    assert!(!said.contains("planted"), "{said}");
    house.engine.close().await.unwrap();
    for entry in std::fs::read_dir(house.home.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        assert!(!bytes.windows(7).any(|window| window == b"planted"), "{}", path.display());
    }
}
