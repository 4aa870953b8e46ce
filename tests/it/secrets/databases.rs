//! A PostgreSQL that fails while its password is known: what the server, its answers and the commands say of it does not
//! hold it.

use serde_json::json;

use crate::replicas::Shared;
use crate::support::cluster::Cluster;
use crate::support::postgres::Database;

const PASSWORD: &str = "planted-database-7f70";
const API_KEY: &str = "planted-api-key-7f71";

/// One user must have a password, all others get in without.
fn guarded(home: &std::path::Path) -> Vec<String> {
    let hba = "local all all trust\nhost all nobody 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";
    std::fs::write(home.join("hba"), hba).unwrap();
    vec![format!("hba_file={}", home.join("hba").display())]
}

fn search(place: &str, said: &str) {
    for secret in [PASSWORD, API_KEY] {
        assert!(!said.contains(secret), "{secret} is told by {place}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_or_goes_away_under_a_server_tells_no_password() {
    let Some(mut cluster) = Cluster::create_with(guarded).await else { return };
    let shared = Shared::on(Database::create_on(cluster.url()).await).await;
    let mut url = shared.database.url.clone();
    url.set_password(Some(PASSWORD)).unwrap();
    let mut refused = url.clone();
    refused.set_username("nobody").unwrap();
    for command in [&["doctor"][..], &["rules", "list"], &["serve", "--listen", "127.0.0.1:0"]] {
        let (code, said) = shared.command_at(&refused, command);
        search(&command.join(" "), &said);
        assert!(code != 0 && said.contains("authentication failed"), "{command:?}: {said}");
    }

    let settings = shared.settings(&url, &["--rules", &shared.at("rules")]);
    let settings = settings.env("RUNHOOK_LOG", "trace").env("RUNHOOK_API_KEY", API_KEY).env("RUST_BACKTRACE", "1");
    let server = shared.start(settings);
    cluster.kill();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let run = json!({"name": "a", "run_type": "chain", "start_time": "2026-01-02T03:04:05Z"});
    for (method, path, body) in [
        ("POST", "/runs", run),
        ("POST", "/v1/endpoints", json!({"key": "a", "url": "https://h.example"})),
        ("POST", "/v1/api-keys", json!({"name": "a"})),
        ("POST", "/v1/keys/rotate", json!({"step": "reseal"})),
        ("POST", "/v1/wipe", json!({"yes": true})),
        ("GET", "/v1/audit", json!(null)),
        ("GET", "/v1/deliveries", json!(null)),
        ("GET", "/runs/rules", json!(null)),
        ("GET", "/readyz", json!(null)),
    ] {
        let request = http.request(method.parse().unwrap(), format!("{}{path}", server.url));
        let request = request.header("x-api-key", API_KEY).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        search(path, &answer.text().await.unwrap());
        assert!(status >= 500, "{method} {path}: {status}");
    }
    for path in ["/metrics", "/v1/status", "/healthz"] {
        search(path, &server.text(path).await);
    }
    for command in [&["doctor"][..], &["audit"], &["migrate"]] {
        let (code, said) = shared.command_at(&url, command);
        search(&command.join(" "), &said);
        assert_ne!(code, 0, "{command:?}: {said}");
    }
    server.until_it_says("the database does not answer").await;
    let (_, log) = server.stop();
    search("the log", &log);
}
