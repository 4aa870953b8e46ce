//! The API: what it takes in whose spelling, what it shows, and what it refuses.

use runhook::config::Limits;
use serde_json::{Value, json};

use super::{House, rule, webhook, with};
use crate::support::receiver::Receiver;

const URL: &str = "https://8.8.8.8/planted-path";
const MASK: &str = "********";

#[tokio::test]
async fn an_alert_is_made_read_changed_listed_and_removed() {
    let house = House::open().await;
    let change = json!({
        "type": "change", "threshold": null, "threshold_multiplier": 1.5, "threshold_window_minutes": 30,
        "filter": "eq(is_root, true)", "operator": "gt",
    });
    let alert =
        house.alert(&with(rule("run_latency", "avg", 1.0), &change), &webhook("http://127.0.0.1:45999/x")).await;
    let shown = &alert["rule"];
    assert_eq!(
        (&shown["type"], &shown["threshold_multiplier"], &shown["threshold"]),
        (&json!("change"), &json!(1.5), &Value::Null)
    );
    assert_eq!((&shown["session_id"], &shown["filter"]), (&json!(house.session), &json!("eq(is_root, true)")));
    assert_eq!(alert["state"]["state"], "ok");
    let path = format!("{}/{}", house.path(), alert["id"].as_str().unwrap());
    for prefix in ["", "/api", "/api/v1"] {
        assert_eq!(house.call("GET", &format!("{prefix}{path}/"), &Value::Null).await.0, 200, "{prefix}");
    }
    let short = path.replace("/v1/platform", "/api/v1/platform");
    assert_eq!(house.call("GET", &short, &Value::Null).await.1["id"], alert["id"]);
    let edit = json!({"rule": {"name": "Renamed", "threshold": 2, "type": "threshold", "filter": null}});
    let (status, changed) = house.call("PATCH", &path, &edit).await;
    assert_eq!(
        (status, &changed["rule"]["name"], &changed["rule"]["threshold"]),
        (200, &json!("Renamed"), &json!(2.0))
    );
    assert_eq!((&changed["rule"]["filter"], &changed["rule"]["operator"]), (&Value::Null, &json!("gt")));
    assert_eq!(changed["actions"], alert["actions"]);
    let (_, listed) = house.call("GET", "/v1/alerts", &Value::Null).await;
    assert_eq!((&listed["alerts"][0]["project"], &listed["alerts"][0]["rule"]), (&json!("p"), &changed["rule"]));
    assert_eq!(house.call("DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(house.call("GET", &path, &Value::Null).await.0, 404);
}

#[tokio::test]
async fn the_terraform_provider_gets_back_what_it_writes_as_text_in_text() {
    let mut receiver = Receiver::start([]).await;
    let mut house = House::open().await;
    let config = json!({
        "url": receiver.url(),
        "headers": json!({"X-Token": "planted-header"}).to_string(),
        "body": json!({"to": "planted-body"}).to_string(),
    });
    let rule = with(rule("run_count", "sum", 0.0), &json!({"threshold": "1", "window_minutes": "5"}));
    let alert = house.alert(&rule, &json!([{"target": "webhook", "config": config.to_string()}])).await;
    let text = alert["actions"][0]["config"].as_str().unwrap();
    let shown: Value = serde_json::from_str(text).unwrap();
    assert_eq!(shown["headers"], json!({"X-Token": MASK}).to_string());
    assert_eq!(shown["body"], MASK);
    // What it read it sends again, and nothing is lost of what it cannot see.
    let path = format!("{}/{}", house.path(), alert["id"].as_str().unwrap());
    let again = json!({"rule": alert["rule"], "actions": [{"target": "webhook", "config": text}]});
    let (status, same) = house.call("PATCH", &path, &again).await;
    assert_eq!((status, &same["actions"]), (200, &alert["actions"]), "{same}");
    house.runs(1, 0).await;
    house.minutes(1).await;
    house.send().await;
    let request = receiver.next().await;
    assert_eq!((request.header("x-token"), &request.json()["to"]), ("planted-header", &json!("planted-body")));
}

#[tokio::test]
async fn no_secret_of_an_alert_is_readable_in_an_answer_or_in_the_database() {
    let house = House::open().await;
    let actions = json!([
        {"target": "webhook", "config": {"url": format!("{URL}?key=planted-query"), "headers": {"X": "planted-header"}, "body": {"a": "planted-body"}}},
        {"target": "pagerduty", "config": {"integration_key": "planted-key", "url": "https://8.8.4.4/"}},
    ]);
    let alert = house.alert(&rule("run_count", "sum", 1.0), &actions).await;
    let path = format!("{}/{}", house.path(), alert["id"].as_str().unwrap());
    let wrong = json!({"actions": [{"target": "webhook", "config": {"url": "planted-url", "headers": {"planted header": "planted-header"}}}]});
    let mut seen = vec![alert.to_string()];
    for (method, path, body) in [
        ("GET", path.as_str(), &Value::Null),
        ("GET", "/v1/alerts", &Value::Null),
        ("GET", "/v1/endpoints", &Value::Null),
        ("PATCH", &path, &wrong),
        (
            "POST",
            &format!("{}/test", house.path()),
            &json!({"rule": rule("run_count", "sum", 1.0), "actions": wrong["actions"]}),
        ),
    ] {
        seen.push(house.call(method, path, body).await.1.to_string());
    }
    seen.extend(house.home.rows().await);
    if !house.home.is_shared() {
        seen.extend(std::fs::read_dir(house.home.data_dir()).unwrap().filter_map(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }));
    }
    for text in seen {
        for secret in ["planted-path", "planted-query", "planted-header", "planted-body", "planted-key", "planted-url"]
        {
            assert!(!text.contains(secret), "{secret} is readable in {}", &text.chars().take(500).collect::<String>());
        }
    }
}

#[tokio::test]
async fn a_masked_value_stands_for_what_is_stored_under_its_url_and_nothing_else() {
    let house = House::open().await;
    let webhook = json!({"url": URL, "headers": {"X": "secret"}, "body": {"a": 1}});
    let key = json!({"integration_key": "key", "url": "https://8.8.4.4/"});
    let actions = json!([{"target": "webhook", "config": webhook}, {"target": "pagerduty", "config": key}]);
    let alert = house.alert(&rule("run_count", "sum", 1.0), &actions).await;
    let path = format!("{}/{}", house.path(), alert["id"].as_str().unwrap());
    let shown = alert["actions"][0]["config"]["url"].clone();
    for config in [
        json!({"url": "https://9.9.9.9/", "headers": {"X": MASK}}),
        json!({"url": "https://9.9.9.9/", "body": MASK}),
        json!({"url": "https://1.1.1.1/…"}),
        json!({"url": shown, "headers": {"Y": MASK}}),
    ] {
        let body = json!({"actions": [{"target": "webhook", "config": config}]});
        let (status, answer) = house.call("PATCH", &path, &body).await;
        assert_eq!(status, 422, "{config} {answer}");
    }
    let elsewhere = json!({"integration_key": MASK, "url": "https://9.9.9.9/"});
    let body = json!({"actions": [{"target": "pagerduty", "config": elsewhere}]});
    assert_eq!(house.call("PATCH", &path, &body).await.0, 422);
    let kept = json!({"actions": [
        {"target": "webhook", "config": {"url": shown, "headers": {"X": MASK}, "body": MASK}},
        {"target": "pagerduty", "config": {"integration_key": MASK}},
    ]});
    let (status, same) = house.call("PATCH", &path, &kept).await;
    assert_eq!((status, &same["actions"]), (200, &alert["actions"]));
}

/// Keys of a rule that are wrong, each with what is said of it.
fn wrong_rules() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"name": null}), "`rule.name` is missing"),
        (json!({"name": " "}), "`rule.name` is empty"),
        (json!({"description": null}), "`rule.description` is missing"),
        (json!({"type": "sudden"}), "`rule.type` must be one of threshold, change"),
        (json!({"attribute": "tokens"}), "`rule.attribute` must be one of"),
        (json!({"operator": "eq"}), "`rule.operator` must be one of"),
        (json!({"aggregation": "avg"}), "`rule.aggregation` does not go with the attribute"),
        (json!({"window_minutes": 0}), "`rule.window_minutes` must be a whole number of minutes from 1 to 60"),
        (json!({"window_minutes": 61}), "`rule.window_minutes`"),
        (json!({"window_minutes": 1.5}), "`rule.window_minutes`"),
        (json!({"threshold": null}), "`rule.threshold` is missing"),
        (json!({"threshold": "many"}), "`rule.threshold` must be a number"),
        (json!({"type": "change", "threshold_window_minutes": 5}), "`rule.threshold_multiplier` is missing"),
        (json!({"type": "change", "threshold_multiplier": 5}), "`rule.threshold_window_minutes` is missing"),
        (json!({"filter": "eq(nme, 1)"}), "`rule.filter` does not parse: at character 4"),
        (json!({"denominator_filter": "eq(name, \"a\")"}), "`rule.denominator_filter` is of use with"),
        (json!({"severity": "high"}), "`rule.severity` is unknown"),
    ]
}

/// Actions that are wrong, each with what is said of them.
fn wrong_actions() -> Vec<(Value, &'static str)> {
    let action = |target: &str, config: Value| json!([{"target": target, "config": config}]);
    vec![
        (json!({}), "`actions` must be a list"),
        (json!([{"target": "webhook"}]), "`actions` must be a list"),
        (action("slack", json!({})), "`actions[0].target` must be webhook or pagerduty"),
        (
            action("dynatrace", json!({})),
            "`actions[0].target` `dynatrace` is not supported by this server: name a webhook",
        ),
        (action("webhook", json!({})), "`actions[0].config.url` is missing"),
        (action("webhook", json!("{")), "`actions[0].config` must be an object, or text that holds one"),
        (
            action("webhook", json!({"url": "http://127.0.0.1/", "method": "PUT"})),
            "`actions[0].config.method` is unknown",
        ),
        (action("webhook", json!({"url": "ftp://8.8.8.8/"})), "`actions[0].config`: the URL is neither http nor https"),
        (action("webhook", json!({"url": "http://10.0.0.1/"})), "`actions[0].config`: "),
        (
            action("webhook", json!({"url": "http://127.0.0.1/", "headers": {"Host": "x"}})),
            "`actions[0].config`: the header host is set by Runhook",
        ),
        (action("webhook", json!({"url": "http://127.0.0.1/", "headers": "x"})), "`actions[0].config.headers` must be"),
        (
            action("webhook", json!({"url": "http://127.0.0.1/", "body": "[1]"})),
            "`actions[0].config`: `body` is no JSON object",
        ),
        (
            action("webhook", json!({"url": "http://127.0.0.1/", "merge_alert_fields": false})),
            "`actions[0].config.merge_alert_fields` is false",
        ),
        (
            action(
                "webhook",
                json!({"url": "http://127.0.0.1/", "merge_alert_fields": false, "body": "{{ nothing }}"}),
            ),
            "`actions[0].config`: `body` line 1",
        ),
        (action("pagerduty", json!({})), "`actions[0].config.integration_key` is missing"),
        (action("pagerduty", json!({"integration_key": MASK})), "`actions[0].config.integration_key` is masked"),
        (
            action("pagerduty", json!({"integration_key": "k", "severity": "bad"})),
            "`actions[0].config.severity` must be one of",
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place_and_nothing_is_stored() {
    let house = House::open().await;
    let good = rule("error_count", "sum", 1.0);
    let hook = webhook("http://127.0.0.1:45999/");
    let of_rules = wrong_rules()
        .into_iter()
        .map(|(more, said)| (json!({"rule": with(good.clone(), &more), "actions": hook}), said));
    let of_actions =
        wrong_actions().into_iter().map(|(actions, said)| (json!({"rule": good, "actions": actions}), said));
    let rest = [
        (json!({"rule": good}), "`actions` is missing"),
        (json!({"actions": hook}), "`rule` is missing"),
        (json!({"rule": [], "actions": hook}), "`rule` must be an object"),
        (json!({"rule": good, "actions": hook, "more": 1}), "`more` is unknown"),
    ];
    for (body, said) in of_rules.chain(of_actions).chain(rest) {
        for path in [house.path(), format!("{}/test", house.path())] {
            let (status, answer) = house.call("POST", &path, &body).await;
            let error = answer["error"].as_str().unwrap_or_default();
            assert!(
                status == 422 && error.starts_with(said),
                "{path} {body}\n{status} {answer}\nand should say {said}"
            );
        }
    }
    assert_eq!(house.call("POST", &house.path(), &json!([])).await.0, 400);
    assert_eq!(house.call("GET", "/v1/alerts", &Value::Null).await.1, json!({"alerts": []}));
    assert_eq!(house.store.list_endpoints(super::TENANT).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let house = House::open().await;
    let alert = house.alert(&rule("run_count", "sum", 1.0), &webhook("http://127.0.0.1:45999/")).await;
    let (_, other) = house.call("POST", "/sessions", &json!({"name": "other"})).await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    let id = alert["id"].as_str().unwrap();
    let elsewhere = format!("/v1/platform/alerts/{}/{id}", other["id"].as_str().unwrap());
    for (method, path, said) in [
        ("POST", format!("/v1/platform/alerts/{nobody}"), "session not found"),
        ("POST", format!("/v1/platform/alerts/{nobody}/test"), "session not found"),
        ("GET", format!("{}/{nobody}", house.path()), "alert rule not found"),
        ("PATCH", format!("{}/{nobody}", house.path()), "alert rule not found"),
        ("DELETE", format!("{}/{nobody}", house.path()), "alert rule not found"),
        ("GET", elsewhere.clone(), "alert rule not found"),
        ("DELETE", elsewhere, "alert rule not found"),
    ] {
        let (status, answer) = house.call(method, &path, &json!({"rule": {}})).await;
        assert_eq!((status, &answer["error"]), (404, &json!(said)), "{method} {path}");
    }
    let (status, answer) = house.call("GET", "/v1/platform/alerts/x/y", &Value::Null).await;
    assert!(status == 422 && answer["error"].as_str().unwrap().starts_with("`session_id` is not an id"), "{answer}");
}

#[tokio::test]
async fn no_more_alerts_are_made_than_are_allowed() {
    let house = House::with(Limits { alerts_per_tenant: 1, ..Limits::default() }).await;
    let alert = house.alert(&rule("run_count", "sum", 1.0), &webhook("http://127.0.0.1:45999/")).await;
    let body = json!({"rule": rule("run_count", "sum", 1.0), "actions": webhook("http://127.0.0.1:45999/")});
    let (status, answer) = house.call("POST", &house.path(), &body).await;
    assert_eq!((status, &answer["error"]), (429, &json!("alert rule limit reached: there are 1")), "{answer}");
    assert_eq!(house.store.list_endpoints(super::TENANT).await.unwrap().len(), 1);
    let path = format!("{}/{}", house.path(), alert["id"].as_str().unwrap());
    assert_eq!(house.call("PATCH", &path, &json!({"rule": {"name": "Other"}})).await.0, 200, "it may be changed");
    assert_eq!(house.call("DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(house.call("POST", &house.path(), &body).await.0, 201);
}
