//! Endpoints that are made through the API, beside those of files.

use serde_json::{Value, json};

use crate::rule_files::{House, said};
use crate::support::server::runhook;

const RULE: &str = "version: 1\nrules:\n  - key: errors\n    project: p\n    filter: eq(status, \"error\")\n    webhooks: \
                    [{ endpoint: oncall }]\n";

const ENDPOINTS: &str = "endpoints:\n  - key: oncall\n    url: https://of-the-file.example/x\n";

fn oncall() -> Value {
    json!({
        "key": "oncall", "url": "https://hooks.example.com/planted-path?planted=1", "format": "standard",
        "headers": {"X-Token": "planted-token", "X-Team": "a ${b} c"}, "query": {"secret": "planted-secret"},
        "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "timeout": "9s", "retries": ["1s", "5m"],
    })
}

async fn create(house: &House, endpoint: Value) -> Value {
    let (status, answer) = house.call("POST", "/v1/endpoints", Some(endpoint)).await;
    assert_eq!(status, 201, "{answer:#}");
    answer
}

async fn patch(house: &House, patch: Value) -> (u16, Value) {
    house.call("PATCH", "/v1/endpoints/oncall", Some(patch)).await
}

#[tokio::test]
async fn an_endpoint_is_made_shown_and_listed_without_a_secret() {
    let house = House::open().await;
    let made = create(&house, oncall()).await;
    let expected = json!({
        "endpoint": "oncall", "url": "https://hooks.example.com/…", "format": "standard", "policy": "standard",
        "headers": {"X-Token": "********", "X-Team": "********"}, "query": {"secret": "********"}, "timeout": "9s",
        "retries": ["1s", "5m"], "origin": null, "disabled": null, "rule_id": null,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!(house.call("GET", "/v1/endpoints/oncall", None).await, (200, made.clone()));
    let by_id = format!("/v1/endpoints/{}", made["endpoint_id"].as_str().unwrap());
    assert_eq!(house.call("GET", &by_id, None).await, (200, made.clone()));
    let (_, listed) = house.call("GET", "/v1/endpoints", None).await;
    assert_eq!(listed, json!({"endpoints": [made], "next": null}));
    assert!(!listed.to_string().contains("planted") && !listed.to_string().contains("MfKQ"), "{listed:#}");
    let (status, again) = house.call("POST", "/v1/endpoints", Some(oncall())).await;
    assert_eq!((status, &again["code"]), (409, &json!("endpoint-exists")));
}

#[tokio::test]
async fn pages_of_endpoints_follow_each_other() {
    let house = House::open().await;
    for key in ["c", "a", "b"] {
        create(&house, json!({"key": key, "url": "https://h.example"})).await;
    }
    let (mut keys, mut path) = (Vec::new(), "/v1/endpoints?limit=2".to_owned());
    loop {
        let (_, page) = house.call("GET", &path, None).await;
        keys.extend(
            page["endpoints"].as_array().unwrap().iter().map(|one| one["endpoint"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/endpoints?limit=2&cursor={next}");
    }
    assert_eq!(keys, ["a", "b", "c"]);
    assert_eq!(house.call("GET", "/v1/endpoints?cursor=x", None).await.0, 400);
}

#[tokio::test]
async fn what_is_wrong_with_an_endpoint_is_told_at_its_place_and_never_repeated() {
    let house = House::open().await;
    for (change, code, place, why) in [
        (json!({"url": "ftp://planted.example"}), "invalid", "url", "neither http nor https"),
        (json!({"url": "http://127.0.0.1/planted"}), "invalid", "url", "not public"),
        (json!({"url": null}), "invalid", "", "no `url`"),
        (json!({"headers": {"Host": "planted"}}), "invalid", "headers", "set by Runhook"),
        (json!({"headers": {"X": "planted\nline"}}), "invalid", "headers", "line break"),
        (json!({"format": "slak"}), "invalid", "format", "did you mean `slack`"),
        (json!({"signing_secret": "planted"}), "invalid", "signing_secret", "signing secret"),
        (json!({"timeout": "1h"}), "invalid", "timeout", "out of range"),
        (json!({"key": "on call"}), "invalid", "key", "not a key"),
        (json!({"urls": "planted"}), "invalid", "urls", "did you mean `url`"),
        (json!({"format": "template", "template": "{\n{{ nothing }}"}), "invalid", "template", "line 2"),
        (json!({"format": "template", "template": "{{ project }} planted"}), "invalid", "template", "no JSON"),
        (json!({"format": "pagerduty"}), "invalid", "format", "routing_key"),
    ] {
        let mut endpoint = oncall();
        endpoint.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, answer) = house.call("POST", "/v1/endpoints", Some(endpoint)).await;
        assert_eq!((status, answer["code"].as_str()), (422, Some(code)), "{change}: {answer:#}");
        assert!(answer["detail"].as_str().unwrap().contains(why), "{change}: {answer:#}");
        assert!(place.is_empty() || answer["loc"] == json!(["body", place]), "{change}: {answer:#}");
        assert!(!answer.to_string().contains("planted"), "{change}: {answer:#}");
    }
    for body in [json!(["planted"]), json!("planted")] {
        let (status, answer) = house.call("POST", "/v1/endpoints", Some(body)).await;
        assert!(status == 400 && !answer.to_string().contains("planted"), "{answer:#}");
    }
    assert_eq!(house.call("GET", "/v1/endpoints", None).await.1["endpoints"], json!([]));
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let house = House::open().await;
    let made = create(&house, oncall()).await;
    let change = json!({"timeout": null, "headers": {"x-token": "other", "X-Team": null}, "policy": "langsmith"});
    let (status, changed) = patch(&house, change).await;
    assert_eq!(status, 200, "{changed:#}");
    assert_eq!((&changed["timeout"], &changed["policy"]), (&Value::Null, &json!("langsmith")));
    assert_eq!(changed["headers"], json!({"x-token": "********"}));
    for same in ["endpoint_id", "url", "query", "retries", "format", "signing"] {
        assert_eq!(changed[same], made[same], "{same}");
    }
    let (_, unsigned) = patch(&house, json!({"signing_secret": null})).await;
    assert_eq!(unsigned["signing"], Value::Null);
    assert_eq!(patch(&house, json!({"key": "other"})).await.0, 422);
    assert_eq!(patch(&house, json!({"key": "oncall"})).await.0, 200);
    assert_eq!(house.call("PATCH", "/v1/endpoints/nobody", Some(json!({}))).await.0, 404);
}

#[tokio::test]
async fn a_stored_value_goes_to_no_other_server() {
    let house = House::open().await;
    create(&house, oncall()).await;
    let (status, refused) = patch(&house, json!({"url": "https://thief.example"})).await;
    let detail = refused["detail"].as_str().unwrap();
    assert_eq!((status, &refused["loc"]), (422, &json!(["body", "url"])));
    assert!(["query.secret", "headers.X-Team", "headers.X-Token"].iter().all(|name| detail.contains(name)), "{detail}");
    let given = json!({"url": "https://thief.example", "headers": null, "query": {"secret": "theirs"}});
    assert_eq!(patch(&house, given).await.0, 200);
    let elsewhere = json!({"url": "https://thief.example/another-path"});
    assert_eq!(patch(&house, elsewhere).await.0, 200, "the same server knows what it was sent before");
}

#[tokio::test]
async fn an_endpoint_that_is_disabled_stays_so_when_it_changes() {
    let house = House::open().await;
    create(&house, oncall()).await;
    house.call("POST", "/v1/endpoints/oncall/disable", Some(json!({"reason": "moving"}))).await;
    let (_, changed) = patch(&house, json!({"timeout": "5s"})).await;
    assert_eq!(changed["disabled"]["reason"], "moving");
    let (_, shown) = house.call("GET", "/v1/endpoints/oncall", None).await;
    assert_eq!(shown, changed);
}

#[tokio::test]
async fn rules_of_files_name_endpoints_that_are_stored() {
    let house = House::open().await;
    let (status, refused) = house.apply(RULE, json!({})).await;
    assert_eq!((status, &refused["code"]), (422, &json!("rules-invalid")));
    let problem = &refused["reports"][0]["problems"][0];
    assert_eq!((&problem["code"], &problem["line"]), (&json!("unknown-endpoint"), &json!(6)));
    assert!(problem["hint"].as_str().unwrap().contains("runhook endpoints create oncall"), "{problem:#}");
    create(&house, json!({"key": "on-call", "url": "https://h.example"})).await;
    let (_, near) = house.apply(RULE, json!({})).await;
    assert_eq!(near["reports"][0]["problems"][0]["hint"], "did you mean `on-call`?");

    let made = create(&house, oncall()).await;
    let (status, applied) = house.apply(RULE, json!({"prune": true})).await;
    assert_eq!((status, said(&applied).as_str()), (200, "create rule errors"), "{applied:#}");
    assert_eq!(house.rule("errors").await["webhooks"][0]["endpoint_id"], made["endpoint_id"]);
    let (_, again) = house.apply(RULE, json!({"prune": true})).await;
    assert_eq!(said(&again), "unchanged rule errors");
}

#[tokio::test]
async fn an_endpoint_that_a_rule_sends_to_is_not_deleted() {
    let house = House::open().await;
    create(&house, oncall()).await;
    house.apply(RULE, json!({})).await;
    let (status, refused) = house.call("DELETE", "/v1/endpoints/oncall", None).await;
    assert_eq!((status, &refused["rules"]), (409, &json!(["errors"])), "{refused:#}");
    assert!(refused["detail"].as_str().unwrap().contains("the rule errors sends to"), "{refused:#}");
    house.apply("version: 1\nrules: []\n", json!({"prune": true})).await;
    let (status, _) = house.call("GET", "/v1/endpoints/oncall", None).await;
    assert_eq!(status, 200, "no application of files takes it away");
    assert_eq!(house.call("DELETE", "/v1/endpoints/oncall", None).await.0, 200);
    assert_eq!(house.call("DELETE", "/v1/endpoints/oncall", None).await.0, 404);
}

#[tokio::test]
async fn what_a_file_says_of_an_endpoint_changes_with_the_file_alone() {
    let house = House::open().await;
    let file = format!("{RULE}{ENDPOINTS}");
    assert_eq!(house.apply(&file, json!({})).await.0, 200);
    let (_, shown) = house.call("GET", "/v1/endpoints/oncall", None).await;
    assert_eq!(shown["origin"], "f.yaml");
    for (method, body) in [("PATCH", Some(json!({"timeout": "5s"}))), ("DELETE", None)] {
        let (status, refused) = house.call(method, "/v1/endpoints/oncall", body).await;
        assert_eq!((status, &refused["origin"]), (409, &json!("f.yaml")), "{method}: {refused:#}");
    }
    for act in ["disable", "enable", "rotate-secret"] {
        assert_eq!(house.call("POST", &format!("/v1/endpoints/oncall/{act}"), None).await.0, 200, "{act}");
    }
    // A rule applied by itself finds it; a file that has lost it does not, where what files lost is removed.
    assert_eq!(house.apply(RULE, json!({})).await.0, 200);
    let (status, refused) = house.apply(RULE, json!({"prune": true})).await;
    assert_eq!(status, 422, "{refused:#}");
    let message = &refused["reports"][0]["problems"][0]["message"];
    assert_eq!(message, "the endpoint `oncall` is no longer in f.yaml, and goes with this");
}

#[tokio::test]
async fn no_file_takes_over_an_endpoint_of_the_api() {
    let house = House::open().await;
    let made = create(&house, oncall()).await;
    let (status, refused) = house.apply(&format!("{RULE}{ENDPOINTS}"), json!({})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("endpoint-registered")), "{refused:#}");
    assert_eq!(house.call("GET", "/v1/endpoints/oncall", None).await.1, made);
}

#[test]
fn a_check_without_a_server_warns_of_an_endpoint_that_the_server_may_have() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("rules.yaml"), RULE).unwrap();
    let output = runhook().args(["rules", "check", "rules.yaml"]).current_dir(home.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning[outside-endpoint]") && said.contains("the server must have it"), "{said}");
    assert!(said.contains("0 errors, 1 warning"), "{said}");
}
