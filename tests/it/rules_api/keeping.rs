//! How rules of the API are kept: beside those of files, with their secrets masked, and nothing stored that is not done.

use std::fs;

use serde_json::json;

use super::{Desk, ids, next, text};
use crate::support::receiver::Receiver;

const FILE: &str = "version: 1\nrules:\n  - key: from-file\n    project: p*\n    filter: eq(status, \"error\")\n    \
                    webhooks: [{ url: \"https://hooks.example.com/x\" }]\n";

#[tokio::test]
async fn what_this_server_does_not_do_is_refused_by_name_and_nothing_is_stored() {
    let desk = Desk::open().await;
    let hook = json!([{"url": "https://hooks.example.com/x"}]);
    for (key, value) in [
        ("evaluators", json!([{"structured": {"hub_ref": "a/b"}}])),
        ("code_evaluators", json!([{"code": "def perform_eval(run): ...", "language": "python"}])),
        ("alerts", json!([{"type": "pagerduty", "routing_key": "planted-key"}])),
        ("extend_only", json!(true)),
        ("spend_limit", json!({"limit_usd": 5, "window": "weekly"})),
        ("filter", json!("eq(nmae, \"x\")")),
        ("sampling_rate", json!(50)),
        ("webhooks", json!([{"url": "http://127.0.0.2/x"}])),
        ("webhooks", json!([{"url": "https://hooks.example.com/x", "headers": {"Host": "elsewhere"}}])),
        ("webhooks", json!([])),
        ("session_id", json!("0195c0de-0000-7000-8000-0000000000ff")),
        ("unheard_of", json!("something")),
    ] {
        let mut body = desk.body(&json!({"webhooks": hook}));
        body[key] = value;
        let (status, answer) = desk.server.call("POST", "/runs/rules", Some(&body)).await;
        assert_eq!((status, &answer["detail"][0]["loc"][1]), (422, &json!(key)), "{answer}");
        assert!(!answer.to_string().contains("planted"), "{answer}");
    }
    let (_, rules) = desk.server.call("GET", "/runs/rules", None).await;
    assert_eq!(rules, json!([]));
    // What clients send of keys they do not use asks for nothing.
    let silent = json!({"webhooks": hook, "evaluators": null, "code_evaluators": [], "transient": false, "alerts": []});
    desk.rule(&silent).await;
}

#[tokio::test]
async fn a_rule_of_a_file_is_listed_with_its_origin_and_read_only() {
    let desk = Desk::open().await;
    let files = json!({"files": [{"name": "f.yaml", "text": FILE}]});
    assert_eq!(desk.server.call("POST", "/v1/rules/apply", Some(&files)).await.0, 200);
    let of_session = format!("/api/v1/runs/rules?session_id={}", desk.session);
    let (_, rules) = desk.server.call("GET", &of_session, None).await;
    let rule = &rules[0];
    assert_eq!(
        (&rule["origin"], &rule["read_only"], &rule["display_name"]),
        (&json!("f.yaml"), &json!(true), &json!("from-file"))
    );
    let (status, refused) = desk.change(rule, &json!({"display_name": "Mine", "sampling_rate": 1})).await;
    assert_eq!(status, 409);
    assert!(text(&refused["detail"]).contains("f.yaml"), "{refused}");
    let path = format!("/runs/rules/{}", text(&rule["id"]));
    assert_eq!(desk.server.call("DELETE", &path, None).await.0, 409);
    assert_eq!(desk.listed(&rule["id"]).await, *rule);
}

#[tokio::test]
async fn no_file_changes_or_removes_a_rule_of_the_api() {
    let desk = Desk::open().await;
    let rule = desk.rule(&json!({"webhooks": [{"url": "https://hooks.example.com/secret-path"}]})).await;
    let key = text(&rule["key"]);
    let (_, plan) = desk
        .server
        .call("POST", "/v1/rules/apply", Some(&json!({"files": [{"name": "f.yaml", "text": FILE}], "prune": true})))
        .await;
    assert_eq!(plan["items"].as_array().unwrap().len(), 1, "{plan}");
    let taking = FILE.replace("from-file", key);
    let (status, refused) = desk
        .server
        .call("POST", "/v1/rules/apply", Some(&json!({"files": [{"name": "g.yaml", "text": taking}]})))
        .await;
    assert_eq!((status, &refused["code"]), (409, &json!("rule-registered")), "{refused}");
    assert_eq!(desk.listed(&rule["id"]).await, rule);
    // A folder that a server watches prunes what the folder no longer has, and nothing else.
    let (_, shown) = desk.server.call("GET", &format!("/v1/rules/{key}"), None).await;
    assert_eq!((&shown["origin"], &shown["id"]), (&json!("api"), &rule["id"]));
    for command in [vec!["rules", "list"], vec!["rules", "show", key], vec!["rules", "export"]] {
        let output = desk.server.command([]).args(&command).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains(key) && !told.contains("secret-path"), "{told}");
    }
    let exported = String::from_utf8(desk.server.run(["rules", "export"]).stdout).unwrap();
    assert!(exported.contains("# made through the API"), "{exported}");
}

#[tokio::test]
async fn masked_values_that_come_back_mean_as_it_is_and_never_under_another_url() {
    let mut receiver = Receiver::start([]).await;
    let desk = Desk::open().await;
    let url = format!("{}?secret=planted-query", receiver.url());
    let rule = desk.rule(&json!({"webhooks": [{"url": url, "headers": {"X-Token": "planted-token"}}]})).await;
    assert!(!rule.to_string().contains("planted"), "{rule}");
    let (status, changed) =
        desk.change(&rule, &json!({"display_name": "Renamed", "sampling_rate": 1, "webhooks": rule["webhooks"]})).await;
    assert_eq!((status, &changed["display_name"]), (200, &json!("Renamed")), "{changed}");
    assert_eq!(changed["webhooks"], rule["webhooks"]);
    let mut elsewhere = rule["webhooks"].clone();
    elsewhere[0]["url"] = json!("https://thief.example.com/");
    let (status, refused) = desk.change(&rule, &json!({"webhooks": elsewhere})).await;
    assert_eq!(status, 422, "{refused}");
    let run = desk.send(1).await;
    desk.trigger(&rule).await;
    let request = next(&mut receiver).await;
    assert_eq!((ids(&request), request.header("x-token")), (vec![run], "planted-token"));
    assert!(request.target.ends_with("?secret=planted-query"), "{}", request.target);
    let home = desk.server.home();
    let mut stored = home.rows().await;
    if !home.is_shared() {
        stored.push(String::from_utf8_lossy(&fs::read(home.data_dir().join("runhook.db")).unwrap()).into_owned());
    }
    assert!(!stored.is_empty() && !stored.iter().any(|row| row.contains("planted-token")));
    assert!(!desk.server.log().contains("planted"));
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let mut desk = Desk::open().await;
    let kept = desk.rule(&json!({"webhooks": [{"url": "https://hooks.example.com/x"}], "is_enabled": false})).await;
    let gone = desk.rule(&json!({"webhooks": [{"url": "https://hooks.example.com/x"}]})).await;
    let (status, _) = desk.server.call("DELETE", &format!("/runs/rules/{}", text(&gone["id"])), None).await;
    assert_eq!(status, 200);
    desk.server = desk.server.restart();
    let (_, rules) = desk.server.call("GET", "/runs/rules", None).await;
    assert_eq!(rules, json!([kept]));
    assert_eq!(rules[0]["is_enabled"], false);
}
