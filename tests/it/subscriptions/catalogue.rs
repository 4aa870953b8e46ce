//! The catalogue and what happens in it, over the wire: what every tenant has, bytes as they came, what tells of itself, and
//! one tenant that is wiped.

use std::time::{Duration, Instant};

use runhook::model::id::TenantId;
use serde_json::{Value, json};

use super::{TOKEN, application, call, done, serve};
use crate::support::receiver::{Answer, Receiver};

async fn endpoint(server: &crate::support::server::Server, app: &str, url: &str, types: &[&str]) -> Value {
    let body = json!({"url": url, "filterTypes": types});
    done(server, "POST", &format!("/api/v1/app/{app}/endpoint"), &body).await
}

#[tokio::test]
async fn a_payload_is_sent_byte_for_byte_and_its_attempt_is_listed_at_once() {
    let server = serve();
    let mut receiver = Receiver::start([Answer::Body(200, "OK".into())]).await;
    application(&server, "a").await;
    endpoint(&server, "a", &receiver.url(), &["x.y"]).await;
    let payload = r#"{ "z":1.10,"a" : [1e3,"\u00fc"] ,"z2":{}}"#;
    let body = format!(r#"{{"eventType":"x.y","payload":{payload}}}"#);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(format!("{}/api/v1/app/a/msg", server.url)).bearer_auth(TOKEN).body(body);
    let answer = request.header("content-type", "application/json").send().await.unwrap().text().await.unwrap();
    assert!(answer.contains(payload), "it is shown as it came too: {answer}");
    let arrived = receiver.next().await;
    let answered = Instant::now();
    assert_eq!(String::from_utf8(arrived.body.clone()).unwrap(), payload);
    assert_eq!(arrived.header("content-type"), "application/json");
    let id = arrived.header("webhook-id");
    let attempt = loop {
        let page = done(&server, "GET", &format!("/api/v1/app/a/attempt/msg/{id}"), &Value::Null).await;
        if let Some(attempt) = page["data"].get(0) {
            break attempt.clone();
        }
    };
    assert!(answered.elapsed() < Duration::from_secs(2), "{:?}", answered.elapsed());
    let at = chrono::DateTime::parse_from_rfc3339(attempt["timestamp"].as_str().unwrap()).unwrap();
    assert_eq!(at.timestamp().to_string(), arrived.header("webhook-timestamp"), "the very second that was signed");
    assert_eq!(attempt["response"], "OK");
}

#[tokio::test]
async fn every_tenant_has_the_built_in_event_types_and_nobody_changes_them() {
    let server = serve();
    let all = done(&server, "GET", "/v1/event-types", &Value::Null).await;
    let names: Vec<&str> =
        all["event_types"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 18, "{names:?}");
    assert!(names.contains(&"rule.matched") && names.contains(&"response.deleted"));
    let listed = done(&server, "GET", "/api/v1/event-type", &Value::Null).await;
    assert_eq!(listed["data"], json!([]), "clients take this list for what they made");
    application(&server, "a").await;
    for (method, path, body) in [
        ("POST", "/api/v1/event-type", json!({"name": "run.failed", "description": ""})),
        ("PUT", "/api/v1/event-type/run.failed", json!({"description": ""})),
        ("DELETE", "/api/v1/event-type/run.failed", Value::Null),
    ] {
        let (status, answer) = call(&server, method, path, &body).await;
        assert_eq!((status, &answer["code"]), (409, &json!("event_type_exists")), "{method}: {answer}");
    }
    let (status, answer) =
        call(&server, "POST", "/api/v1/app/a/msg", &json!({"eventType": "rule.matched", "payload": {}})).await;
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "eventType"])));
    done(&server, "POST", "/api/v1/event-type", &json!({"name": "a.b", "description": ""})).await;
    done(&server, "DELETE", "/api/v1/event-type/a.b", &Value::Null).await;
    let (status, answer) =
        call(&server, "POST", "/api/v1/app/a/msg", &json!({"eventType": "a.b", "payload": {}})).await;
    assert_eq!(status, 422, "{answer}");
    done(&server, "POST", "/api/v1/event-type", &json!({"name": "a.b", "description": "again"})).await;
    done(&server, "POST", "/api/v1/app/a/msg", &json!({"eventType": "a.b", "payload": {}})).await;
}

#[tokio::test]
async fn what_fails_and_what_is_disabled_is_told_once_and_never_of_itself() {
    let server = serve();
    let mut watcher = Receiver::start([Answer::Status(400), Answer::Status(200)]).await;
    let failing = Receiver::start([Answer::Status(410)]).await;
    application(&server, "a").await;
    let told = endpoint(&server, "a", &watcher.url(), &["delivery.failed", "endpoint.disabled"]).await;
    let gone = endpoint(&server, "a", &failing.url(), &["x.y"]).await;
    let sent = done(&server, "POST", "/api/v1/app/a/msg", &json!({"eventType": "x.y", "payload": {}})).await;
    let (one, other) = (watcher.next().await, watcher.next().await);
    let bodies = [one.json(), other.json()];
    let failed = bodies.iter().find(|body| body["delivery_id"].is_string()).unwrap();
    assert_eq!((&failed["message_id"], &failed["endpoint_id"]), (&sent["id"], &gone["id"]));
    let disabled = bodies.iter().find(|body| body["disabled_at"].is_string()).unwrap();
    assert_eq!(disabled["endpoint_id"], gone["id"]);
    // One of the two was refused with 400, of which nothing is told.
    let failed = loop {
        let (_, page) = call(&server, "GET", "/v1/deliveries?limit=10", &Value::Null).await;
        let all = page["deliveries"].as_array().unwrap().clone();
        if all.iter().all(|delivery| !delivery["finished_at"].is_null()) {
            assert_eq!(all.len(), 3, "{page:#}");
            break all.iter().filter(|delivery| delivery.to_string().contains(told["id"].as_str().unwrap())).count();
        }
    };
    assert_eq!(failed, 2);
}

#[tokio::test]
async fn a_tenant_that_is_wiped_is_empty_in_a_moment_and_its_keys_stay() {
    let server = serve();
    let receiver = Receiver::start([]).await;
    application(&server, "a").await;
    endpoint(&server, "a", &receiver.url(), &["x.y"]).await;
    done(&server, "POST", "/api/v1/event-type", &json!({"name": "x.y", "description": ""})).await;
    done(&server, "POST", "/api/v1/app/a/msg", &json!({"eventType": "x.y", "payload": {}})).await;
    let began = Instant::now();
    let body = json!({"yes": true, "tenant": TenantId::DEFAULT});
    assert_eq!(done(&server, "POST", "/v1/wipe", &body).await["wiped"], true);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(call(&server, "GET", "/api/v1/app/a", &Value::Null).await.0, 404);
    assert_eq!(done(&server, "GET", "/api/v1/event-type", &Value::Null).await["data"], json!([]));
    let (_, page) = call(&server, "GET", "/v1/deliveries", &Value::Null).await;
    assert_eq!(page["deliveries"], json!([]));
    let wiped = server.run(["wipe", "--yes", "--tenant", &TenantId::DEFAULT.to_string(), "--api-key", TOKEN]);
    assert!(wiped.status.success(), "{}", String::from_utf8_lossy(&wiped.stderr));
    let other = TenantId(uuid::Uuid::from_u128(7));
    done(&server, "POST", "/v1/wipe", &json!({"yes": true, "tenant": other})).await;
}

#[tokio::test]
async fn no_endpoint_is_made_that_leads_where_nothing_is_sent_and_no_header_is_shown() {
    let server = serve();
    application(&server, "a").await;
    for url in ["http://10.0.0.1/", "ftp://example.com/", "https://user:pw@example.com/", "nowhere"] {
        let (status, answer) = call(&server, "POST", "/api/v1/app/a/endpoint", &json!({"url": url})).await;
        assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "url"])), "{url}: {answer}");
    }
    let wrong = [
        json!({"headers": {"Webhook-Id": "x"}}),
        json!({"headers": {"X": "a\nb"}}),
        json!({"secret": "short"}),
        json!({"uid": "a/b"}),
        json!({"filterTypes": []}),
        json!({"channels": ["a b"]}),
    ];
    for more in wrong {
        let mut body = json!({"url": "http://127.0.0.1:4711/"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = call(&server, "POST", "/api/v1/app/a/endpoint", &body).await;
        assert_eq!(status, 422, "{body}: {answer}");
    }
    let kept = json!({"url": "http://127.0.0.1:4711/", "uid": "kept", "headers": {"X-Key": "s3cret"}});
    done(&server, "POST", "/api/v1/app/a/endpoint", &kept).await;
    for path in ["/api/v1/app/a/endpoint/kept", "/api/v1/app/a/endpoint/kept/headers", "/v1/endpoints"] {
        let shown = done(&server, "GET", path, &Value::Null).await;
        assert!(!shown.to_string().contains("s3cret"), "{path}: {shown}");
    }
    let away = json!({"url": "http://127.0.0.2:4711/"});
    let (status, answer) = call(&server, "PATCH", "/api/v1/app/a/endpoint/kept", &away).await;
    assert_eq!(status, 422, "a header is taken to no other server: {answer}");
}
