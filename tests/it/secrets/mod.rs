//! Promise 5: a planted secret is readable nowhere, in the database, the logs, or any answer of the API or a command.

mod databases;
mod mistakes;
mod panics;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::receiver::{Answer, Receiver, nobody};
use crate::support::server::{Server, Settings};

/// What must not be found. Each is planted in a place of its own.
const PLANTED: [&str; 7] = [
    "planted-path-7f31",
    "planted-userless-query-7f32",
    "planted-header-7f33",
    "planted-query-7f34",
    "planted-api-key-7f35",
    "planted-named-endpoint-7f36",
    "cGxhbnRlZCBzaWduaW5nIHNlY3JldCA3ZjM3",
];

fn rules(receiver: &str, nobody: &str) -> String {
    format!(
        r#"
version: 1
rules:
  - key: everything
    name: Everything
    project: secrets
    every: immediate
    webhooks:
      - url: "${{HOOK}}"
        headers: {{ X-Token: "${{TOKEN}}" }}
        query: {{ secret: "${{QUERY}}" }}
      - endpoint: named
      - url: http://{nobody}/${{NAMED}}
endpoints:
  - key: named
    url: {receiver}/${{NAMED}}
    signing_secret: "${{SIGNING}}"
"#
    )
}

fn variables(receiver: &str) -> [(String, String); 5] {
    [
        ("HOOK".to_owned(), format!("{receiver}/{}?token={}", PLANTED[0], PLANTED[1])),
        ("TOKEN".to_owned(), PLANTED[2].to_owned()),
        ("QUERY".to_owned(), PLANTED[3].to_owned()),
        ("NAMED".to_owned(), PLANTED[5].to_owned()),
        ("SIGNING".to_owned(), format!("whsec_{}", PLANTED[6])),
    ]
}

fn server(receiver: &Receiver, nobody: &str, folder: &Path) -> Server {
    let base = format!("http://{}", receiver.address());
    fs::write(folder.join("rules.yaml"), rules(&base, nobody)).unwrap();
    let folder = folder.to_str().unwrap();
    let mut settings = Settings::with(["--rules", folder, "--allow-targets", "127.0.0.0/8"])
        .env("RUNHOOK_API_KEY", PLANTED[4])
        .env("RUNHOOK_LOG", "trace");
    for (name, value) in variables(&base) {
        settings = settings.env(&name, &value);
    }
    Server::start(settings)
}

/// Looks for every planted secret, also where bytes were escaped or encoded.
fn search(place: &str, bytes: &[u8]) {
    for secret in PLANTED {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is readable in {place}");
    }
}

fn search_folder(folder: &Path, searched: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search_folder(&path, searched);
        } else {
            search(&path.display().to_string(), &fs::read(&path).unwrap());
            *searched += 1;
        }
    }
}

async fn call(server: &Server, method: &str, path: &str, body: Option<Value>) -> Vec<u8> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.request(method.parse().unwrap(), format!("{}{path}", server.url));
    request = request.header("x-api-key", PLANTED[4]);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    request.send().await.unwrap().bytes().await.unwrap().to_vec()
}

/// Makes an alert that fires at once, with secrets in every place that an alert has for them.
async fn alert(server: &Server, receiver: &Receiver) -> Value {
    let sessions = call(server, "GET", "/sessions?name=secrets", None).await;
    let sessions: Value = serde_json::from_slice(&sessions).unwrap();
    let path = format!("/v1/platform/alerts/{}", sessions[0]["id"].as_str().unwrap());
    let url = format!("http://{}/{}?token={}", receiver.address(), PLANTED[0], PLANTED[1]);
    let webhook = json!({"url": url, "headers": {"X-Token": PLANTED[2]}, "body": {"secret": PLANTED[5]}});
    let pagerduty = json!({"integration_key": PLANTED[3], "url": url});
    let body = json!({
        "rule": {
            "name": "Quiet", "description": "", "type": "threshold", "attribute": "error_count", "aggregation": "sum",
            "operator": "lt", "threshold": 1, "window_minutes": 1,
        },
        "actions": [{"target": "webhook", "config": webhook}, {"target": "pagerduty", "config": pagerduty}],
    });
    for path in [format!("{path}/test"), path.replace("alerts/", "alerts/x")] {
        search(&path, &call(server, "POST", &path, Some(body.clone())).await);
    }
    let made: Value = serde_json::from_slice(&call(server, "POST", &path, Some(body)).await).unwrap();
    assert!(made["state"]["state"].is_string(), "{made}");
    made
}

#[tokio::test]
async fn no_planted_secret_is_readable_anywhere() {
    let refusals = [Answer::Status(404), Answer::Redirect(format!("http://127.0.0.1/{}", PLANTED[0]))];
    let mut receiver = Receiver::start(refusals).await;
    let folder = tempfile::tempdir().unwrap();
    let server = server(&receiver, &nobody().await.to_string(), folder.path());
    let run = json!({"name": "a", "run_type": "chain", "session_name": "secrets",
        "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z"});
    let accepted = call(&server, "POST", "/runs", Some(run)).await;
    search("the answer to POST /runs", &accepted);
    let requests = [receiver.next().await, receiver.next().await];
    let sent = requests.map(|request| format!("{} {:?}", request.target, request.headers)).concat();
    for secret in [PLANTED[0], PLANTED[1], PLANTED[2], PLANTED[3], PLANTED[5]] {
        assert!(sent.contains(secret), "the receiver did get {secret}");
    }

    let made = alert(&server, &receiver).await;
    search("the answer to an alert", made.to_string().as_bytes());

    let broken = rules("not a url", "not a url").replace("every:", "evry:");
    let variables: serde_json::Map<String, Value> =
        variables("not a url").into_iter().map(|(name, value)| (name, value.into())).collect();
    let apply = json!({"files": [{"name": "broken.yaml", "text": broken}], "variables": variables, "dry_run": true});
    for (method, path, body) in [
        ("GET", "/v1/rules", None),
        ("GET", "/v1/rules/everything", None),
        ("GET", "/v1/rules/export", None),
        ("POST", "/v1/rules/apply", Some(apply)),
        ("GET", "/v1/deliveries", None),
        ("GET", "/v1/api-keys", None),
        ("POST", "/v1/endpoints/named/rotate-secret", Some(json!({"kind": "v1a"}))),
        ("POST", "/v1/endpoints/named/test", None),
        ("POST", "/v1/rules/everything/pause", None),
        ("GET", "/v1/audit?limit=1000", None),
        ("GET", "/v1/keys", None),
        ("GET", "/v1/endpoints", None),
        ("GET", "/runs/rules", None),
        ("GET", "/v1/alerts", None),
        ("POST", "/v1/endpoints/named/disable", None),
        ("POST", "/v1/endpoints/named/enable", None),
        ("POST", "/v1/deliveries/replay", Some(json!({"ids": ["x"]}))),
        ("GET", "/v1/status", None),
        ("GET", "/metrics", None),
        ("GET", "/v1/nothing/here", None),
        ("POST", "/v1/rules/apply", Some(json!({"files": PLANTED[0].len()}))),
    ] {
        search(path, &call(&server, method, path, body).await);
    }
    let deliveries: Value = serde_json::from_slice(&call(&server, "GET", "/v1/deliveries", None).await).unwrap();
    for delivery in deliveries["deliveries"].as_array().unwrap() {
        let path = format!("/v1/deliveries/{}", delivery["id"].as_str().unwrap());
        search(&path, &call(&server, "GET", &path, None).await);
    }

    let key = format!("--api-key={}", PLANTED[4]);
    for arguments in [
        ["rules", "list", &key],
        ["rules", "export", &key],
        ["deliveries", "list", &key],
        ["api-keys", "list", &key],
        ["keys", "list", &key],
        ["endpoints", "list", &key],
        ["audit", "--limit=1000", &key],
        ["runs", "list", "--api-key=planted-api-key-wrong"],
    ] {
        let output = server.run(arguments);
        search(&format!("stdout of {arguments:?}"), &output.stdout);
        search(&format!("stderr of {arguments:?}"), &output.stderr);
    }

    let mut searched = 0;
    search_folder(&server.data_dir(), &mut searched);
    for row in server.home().rows().await {
        search("a row of the database", row.as_bytes());
        searched += 1;
    }
    assert!(searched >= 2, "the database and the key file were searched");
    let (_, log) = server.stop();
    search("the log", log.as_bytes());
}
