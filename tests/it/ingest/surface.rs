//! What every request meets: prefixes, keys, wrong turns, health.

use axum::body::Body;
use axum::http::Request;
use runhook::model::id::TenantId;
use serde_json::json;

use super::engine::Engine;

#[tokio::test]
async fn every_prefix_leads_to_the_same_place() {
    let engine = Engine::start().await;
    for path in ["/info", "/api/v1/info", "/api/info", "/info/", "/api/v1/info/"] {
        engine.get(path).await.expect(200);
    }
    for path in ["/api/v1/runs/batch", "/api/runs/batch/", "/runs/batch"] {
        engine.post(path, &json!({"post": [], "patch": []})).await.expect(202);
    }
    engine.get("/api/v1/sessions/?limit=1").await.expect(200);
}

#[tokio::test]
async fn info_says_what_the_clients_read() {
    let engine = Engine::start().await;
    assert_eq!(
        engine.get("/info").await.json(),
        json!({"version":"0.16.20","license_expiration_time":null,
         "batch_ingest_config":{"use_multipart_endpoint":true,"scale_up_qsize_trigger":1000,
           "scale_up_nthreads_limit":16,"scale_down_nempty_trigger":4,"size_limit":100,"size_limit_bytes":20_971_520},
         "instance_flags":{"zstd_compression_enabled":true,"gzip_body_enabled":true,"ch_query_enabled":true,
           "sdb_query_enabled":false}})
    );
    engine.get("/ok?check_db=1").await.expect(200);
}

#[tokio::test]
async fn settings_say_who_the_tenant_is() {
    let engine = Engine::start().await;
    let settings = engine.get("/api/v1/settings").await.expect(200).json();
    assert_eq!(settings["id"], TenantId::DEFAULT.to_string());
    assert!(settings["created_at"].is_string() && settings["display_name"].is_string(), "{settings}");
}

#[tokio::test]
async fn a_key_is_taken_from_any_header_a_client_puts_it_in() {
    let engine = Engine::start().await;
    engine.require_key("rh_secret").await;
    engine.get("/info").await.expect(200);
    let answer = engine.get("/sessions").await.expect(401).json();
    assert!(answer["detail"].as_str().unwrap().contains("API key"));
    let send = |name: &'static str, value: &'static str| {
        engine.send(Request::get("/sessions").header(name, value).body(Body::empty()).unwrap())
    };
    send("x-api-key", "rh_secret").await.expect(200);
    send("authorization", "Bearer rh_secret").await.expect(200);
    send("authorization", "bearer  rh_secret").await.expect(200);
    send("authorization", "Basic rh_secret").await.expect(401);
    send("X-Argilla-Api-Key", "rh_secret").await.expect(200);
    let wrong = send("x-api-key", "rh_wrong").await.expect(403);
    assert!(!String::from_utf8_lossy(&wrong.body).contains("rh_wrong"));
    let refused = engine.post("/runs/batch", &json!({})).await.expect(401).json();
    assert!(refused["error"].is_string() && refused["details"].is_string());
}

#[tokio::test]
async fn a_wrong_turn_is_told_what_there_is() {
    let engine = Engine::start().await;
    let nowhere = engine.get("/nowhere?secret=s3cret").await.expect(404);
    assert!(nowhere.json()["hint"].as_str().unwrap().contains("/runs"));
    assert!(!String::from_utf8_lossy(&nowhere.body).contains("s3cret"));
    let wrong = engine.get("/runs/multipart").await.expect(405);
    assert_eq!(wrong.header("allow"), Some("POST"));
    assert_eq!(wrong.json()["code"], "wrong-method");
}

#[tokio::test]
async fn health_needs_no_key_and_every_answer_has_an_id() {
    let engine = Engine::start().await;
    engine.require_key("rh_secret").await;
    engine.get("/healthz").await.expect(200);
    let ready = engine.get("/readyz").await.expect(200);
    assert!(ready.header("x-request-id").is_some());
    engine.get("/metrics").await.expect(404);
}

#[tokio::test]
async fn a_tenant_that_does_not_own_the_server_cannot_wipe_it_or_touch_its_keys() {
    let engine = Engine::start().await;
    engine.require_key_of(TenantId(uuid::Uuid::from_u128(7)), "rh_other").await;
    for (method, path) in [("GET", "/v1/keys"), ("POST", "/v1/keys/rotate"), ("POST", "/v1/wipe")] {
        let request = Request::builder().method(method).uri(path).header("x-api-key", "rh_other");
        let refused = engine.send(request.body(Body::from(r#"{"yes": true}"#)).unwrap()).await.expect(403);
        assert_eq!(refused.json()["code"], "not-the-operator", "{path}");
    }
}

#[tokio::test]
async fn what_is_not_text_is_refused_in_json() {
    let engine = Engine::start().await;
    for (method, path) in [("GET", "/runs/%ff"), ("PATCH", "/api/v1/runs/%ff"), ("GET", "/v1/rules/%c3%28")] {
        let answer = engine.call(method, path, "{}").await.expect(400).json();
        assert!(
            answer["detail"].as_str().unwrap().contains("UTF-8") && answer["error"] == answer["detail"],
            "{answer}"
        );
    }
    for path in ["/runs", "/runs/batch", "/v1/rules/apply"] {
        let request = Request::post(path).header("content-encoding", &b"gz\xffip"[..]).body(Body::from("{}")).unwrap();
        let answer = engine.send(request).await.expect(415).json();
        assert!(answer.is_object(), "{answer}");
    }
    let request = Request::post("/runs/multipart").header("content-type", &b"multipart/form-data; boundary=\xff"[..]);
    assert!(engine.send(request.body(Body::empty()).unwrap()).await.expect(415).json().is_object());
    let request = Request::get("/runs/x").header("x-api-key", &b"\xff"[..]).body(Body::empty()).unwrap();
    engine.require_key("rh_secret").await;
    assert!(engine.send(request).await.expect(401).json().is_object());
}
