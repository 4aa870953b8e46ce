//! API keys are for something: every route lets the keys in that have its scope, and tells the others which one it is.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::server::{Server, Settings};

/// Routes that ask for no key: they show nothing of anybody's, or what they show is signed.
const OPEN: [&str; 8] =
    ["/info", "/ok", "/health", "/healthz", "/readyz", "/metrics", "/blobs/{*key}", "/feedback/tokens/{token}"];

const SCOPES: [&str; 3] = ["ingest", "read", "manage"];

/// Every route of the sources, as (method, path).
fn routes() -> Vec<(String, String)> {
    let mut found = Vec::new();
    look_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"), &mut found);
    found
}

fn look_below(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look_below(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for (at, opening) in text.match_indices(".route(") {
                look_at(&text[at + opening.len()..], found);
            }
        }
    }
}

/// Reads one route from what follows `.route(`.
fn look_at(text: &str, found: &mut Vec<(String, String)>) {
    let mut parts = text.splitn(3, '"');
    let (_, path, rest) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
    let mut depth = 1;
    let end = rest.find(|c: char| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    let answers = &rest[..end.unwrap()];
    for method in ["get", "post", "put", "patch", "delete"] {
        let call = format!("{method}(");
        let mut calls = answers.match_indices(&call);
        if calls.any(|(at, _)| !answers[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')) {
            found.push((method.to_uppercase(), path.to_owned()));
        }
    }
}

/// The path with something in place of every `{name}`.
fn filled(path: &str) -> String {
    let fill =
        |part: &str| if part.starts_with('{') { "0195c0de-0000-7000-8000-000000000001" } else { part }.to_owned();
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

async fn ask(server: &Server, method: &str, path: &str, key: Option<&str>) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.request(method.parse().unwrap(), format!("{}{}", server.url, filled(path)));
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

fn made(server: &Server, master: &str, scopes: &str) -> String {
    let name = format!("for {scopes}");
    let made = server.run(["api-keys", "create", &name, "--scope", scopes, "--api-key", master]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

const MASTER: &str = "the-key-that-the-server-was-given";

fn serve() -> Server {
    Server::start(Settings::default().env("RUNHOOK_API_KEY", MASTER))
}

#[tokio::test]
async fn every_route_lets_in_whoever_has_its_scope_and_tells_the_others_which_it_is() {
    let server = serve();
    let keys = SCOPES.map(|scope| made(&server, MASTER, scope));
    let table = include_str!("../../src/api/needs.rs");
    let routes = routes();
    assert!(routes.len() > 70, "the routes were found: {routes:?}");
    for (method, path) in &routes {
        let named = table.lines().any(|line| line.contains(&format!("\"{path}\"")) && line.contains(method.as_str()));
        let (status, body) = ask(&server, method, path, None).await;
        if OPEN.contains(&path.as_str()) {
            assert!(status != 401 && !named, "{method} {path} asks for no key, and is in no table: {status}");
            continue;
        }
        assert!(named, "{method} {path} has a line in src/api/needs.rs");
        assert_eq!(status, 401, "{method} {path} without a key: {body}");
        let mut needed = Vec::new();
        for (scope, key) in SCOPES.into_iter().zip(&keys) {
            let (status, body) = ask(&server, method, path, Some(key)).await;
            if status == 403 {
                let missing = SCOPES.into_iter().find(|name| body.to_string().contains(&format!("scope `{name}`")));
                assert!(missing.is_some_and(|missing| missing != scope), "{method} {path} with `{scope}`: {body}");
                needed.push(missing.unwrap());
            } else {
                assert!(status < 500 && status != 401, "{method} {path} with `{scope}`: {status} {body}");
                needed.push(scope);
            }
        }
        assert!(needed.iter().all(|scope| *scope == needed[0]), "{method} {path} needs one scope: {needed:?}");
        match method.as_str() {
            "GET" => assert_ne!(needed[0], "ingest", "{method} {path} looks"),
            "DELETE" => assert_eq!(needed[0], "manage", "{method} {path} removes"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_key_for_ingest_reads_nothing_and_makes_no_key() {
    let server = serve();
    let key = made(&server, MASTER, "ingest");
    assert_eq!(ask(&server, "POST", "/api/v1/sessions", Some(&key)).await.0, 400, "let in, and the body is no JSON");
    let (status, body) = ask(&server, "GET", "/v1/runs", Some(&key)).await;
    assert_eq!((status, &body["code"], &body["scope"]), (403, &"missing-scope".into(), &"read".into()), "{body}");
    let (_, body) = ask(&server, "POST", "/runs/query", Some(&key)).await;
    assert!(body["detail"].as_str().unwrap().contains("the scope `read`, and this key has `ingest`"), "{body}");
    let refused = server.run(["api-keys", "create", "mine", "--api-key", &key]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("scope `manage`"), "{said}");
}

#[tokio::test]
async fn a_key_has_the_scopes_it_was_made_with_and_all_when_nothing_was_said() {
    let server = serve();
    made(&server, MASTER, "read,ingest");
    let listed = server.run(["api-keys", "list", "--json", "--api-key", MASTER]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let scopes: Vec<&Value> = listed["api_keys"].as_array().unwrap().iter().map(|key| &key["scopes"]).collect();
    assert_eq!(scopes, [&serde_json::json!(["ingest", "read", "manage"]), &serde_json::json!(["ingest", "read"])]);
    let server = server.restart();
    let wrong = server.run(["api-keys", "create", "x", "--scope", "admin", "--api-key", MASTER]);
    assert_eq!(wrong.status.code(), Some(2), "{}", String::from_utf8_lossy(&wrong.stderr));
    let key = made(&server, MASTER, "read");
    let empty = reqwest::Client::builder().no_proxy().build().unwrap();
    let empty = empty.post(format!("{}/v1/api-keys", server.url)).header("x-api-key", MASTER);
    let empty = empty.body(r#"{"name": "none", "scopes": []}"#).send().await.unwrap();
    assert_eq!(empty.status().as_u16(), 400);
    assert_eq!(ask(&server, "GET", "/v1/runs", Some(&key)).await.0, 200);
}
