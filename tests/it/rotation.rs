//! Sealing keys are rotated while the server serves, and it is killed in the middle: every sealed value still opens, and
//! the old key can go.
//!
//! Each life is killed after so many values were sealed anew, as its own API counts them, while runs arrive, secrets of
//! endpoints are replaced and rules are applied. Where replicas share a database the key file is the operator's, who puts
//! the new key first and asks for the rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runhook::crypto::{Keyring, open_target};
use runhook::model::id::TenantId;
use runhook::task::Supervisor;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::home::{Home, is_on_a_server};
use crate::support::receiver::Receiver;
use crate::support::server::{Server, Settings};

/// More than two batches of a rotation.
const ENDPOINTS: usize = 450;

/// How many values are sealed anew when a life ends.
const KILLS: [u64; 5] = [0, 1, 60, 210, 401];

/// How often the outcome is asked for before the test gives up; each question is one request of the API.
const QUESTIONS: usize = 20_000;

fn signing_secret(number: usize) -> String {
    format!("whsec_{}", STANDARD.encode(format!("signing secret number {number:08}")))
}

fn rules(receiver: &str) -> Value {
    let mut text = "version: 1\nrules:\n  - key: all\n    project: p\n    every: immediate\n    \
                    webhooks: [{ endpoint: e449 }]\nendpoints:\n"
        .to_owned();
    let mut variables = serde_json::Map::new();
    for number in 0..ENDPOINTS {
        write!(
            text,
            "  - key: e{number}\n    url: {receiver}\n    headers: {{ X-Token: \"${{H{number}}}\" }}\n    \
             query: {{ secret: \"${{Q{number}}}\" }}\n    signing_secret: \"${{S{number}}}\"\n"
        )
        .unwrap();
        variables.insert(format!("H{number}"), format!("header-{number}").into());
        variables.insert(format!("Q{number}"), format!("query-{number}").into());
        variables.insert(format!("S{number}"), signing_secret(number).into());
    }
    json!({"files": [{"name": "all.yaml", "text": text}], "variables": variables})
}

/// What a server is asked while it may die: an answer, or nothing when it did.
async fn ask(url: &str, method: &str, path: &str, body: Value) -> Option<(u16, Value)> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.request(method.parse().unwrap(), format!("{url}{path}")).body(body.to_string());
    let answer = request.header("content-type", "application/json").send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, serde_json::from_slice(&answer.bytes().await.ok()?).unwrap_or_default()))
}

/// How many values the key that seals has sealed, and how many others have.
async fn counted(url: &str) -> Option<(u64, u64)> {
    let (status, answer) = ask(url, "GET", "/v1/keys", Value::Null).await?;
    assert_eq!(status, 200, "{answer}");
    let keys = answer["keys"].as_array().unwrap();
    let values = |seals: bool| {
        keys.iter().filter(|key| key["seals"] == seals).map(|key| key["values"].as_u64().unwrap()).sum::<u64>()
    };
    Some((values(true), values(false)))
}

/// Goes on until the server is gone: runs, secrets that are replaced, rules that are applied as they were. The newest
/// secret of each endpoint that the server acknowledged.
fn load(server: &Server, rules: &Value) -> JoinSet<BTreeMap<String, String>> {
    let (url, rules) = (server.url.clone(), rules.clone());
    let mut load = JoinSet::new();
    load.spawn(async move {
        let mut made = BTreeMap::new();
        for number in 0_usize.. {
            let run = json!({"name": "a", "run_type": "chain", "session_name": "p",
                "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z"});
            let Some((202, _)) = ask(&url, "POST", "/runs", run).await else { break };
            // From the end, where a rotation comes last.
            let key = format!("e{}", 300 + number % 100);
            let path = format!("/v1/endpoints/{key}/rotate-secret");
            let Some((200, answer)) = ask(&url, "POST", &path, json!({"grace": "24h"})).await else { break };
            made.insert(key, answer["secret"].as_str().unwrap().to_owned());
            if number % 8 == 7 {
                let Some((200, _)) = ask(&url, "POST", "/v1/rules/apply", rules.clone()).await else { break };
            }
        }
        made
    });
    load
}

/// A rotation that was asked for: its answer, or nothing when the server died.
type Rotation = JoinSet<Option<(u16, Value)>>;

/// Begins a rotation as it is done here.
fn rotate(server: &Server, key: u32) -> Rotation {
    let shared = is_on_a_server();
    if shared {
        put_first(server.home(), key);
    }
    let (url, step) = (server.url.clone(), if shared { "reseal" } else { "add" });
    let mut rotation = JoinSet::new();
    rotation.spawn(async move { ask(&url, "POST", "/v1/keys/rotate", json!({ "step": step })).await });
    rotation
}

fn put_first(home: &Home, key: u32) {
    let text = fs::read_to_string(home.key_file()).unwrap();
    let bytes = [u8::try_from(key).unwrap(); 32];
    let fresh = home.path().join("keys.new");
    fs::write(&fresh, format!("{}\n{text}", Keyring::line(key, &bytes).as_str())).unwrap();
    fs::rename(fresh, home.key_file()).unwrap();
}

fn first_key(home: &Home) -> u32 {
    fs::read_to_string(home.key_file()).unwrap().split(':').next().unwrap().parse().unwrap()
}

/// Waits until the new key is first and has sealed this much, or the rotation is over.
async fn reached(server: &Server, key: u32, values: u64, rotation: &mut Rotation) {
    for _ in 0..QUESTIONS {
        let known = first_key(server.home()) == key;
        let (sealed, others) = counted(&server.url).await.expect("the server lives");
        if (known && values == 0) || (others > 0 && known && sealed >= values) || rotation.try_join_next().is_some() {
            return;
        }
    }
    panic!("the rotation did not come so far");
}

/// Opens every target with what is in the key file, and compares it with what was planted and what was acknowledged.
async fn everything_opens(home: &Home, replaced: &BTreeMap<String, String>) {
    let ring = Keyring::parse(&fs::read_to_string(home.key_file()).unwrap()).unwrap();
    let supervisor = Supervisor::default();
    let store = home.open(&supervisor).await;
    let endpoints = store.list_endpoints(TenantId::DEFAULT).await.unwrap();
    assert_eq!(endpoints.len(), ENDPOINTS);
    for endpoint in endpoints {
        let key = endpoint.key.unwrap();
        let number: usize = key[1..].parse().unwrap();
        let target = open_target(&ring, endpoint.id, &endpoint.target).unwrap_or_else(|error| panic!("{key}: {error}"));
        let only = |pairs: &[(String, secrecy::SecretString)]| pairs[0].1.expose_secret().to_owned();
        assert_eq!(
            (only(&target.headers), only(&target.query)),
            (format!("header-{number}"), format!("query-{number}"))
        );
        let signing: Vec<&str> = target.signing.secrets.iter().map(|one| one.secret.expose_secret()).collect();
        let newest = replaced.get(&key).cloned().unwrap_or_else(|| signing_secret(number));
        assert!(signing.contains(&newest.as_str()), "{key} is signed with what was acknowledged last");
    }
    supervisor.stop();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_through_kills_and_the_old_ones_go() {
    let mut receiver = Receiver::start([]).await;
    let mut server = Server::start(Settings::with(["--allow-targets", "127.0.0.0/8"]));
    let rules = rules(&receiver.url());
    let (status, answer) = ask(&server.url, "POST", "/v1/rules/apply", rules.clone()).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let (mut replaced, mut in_the_middle) = (BTreeMap::new(), 0);
    for (key, kill_at) in (2..).zip(KILLS) {
        let load = load(&server, &rules);
        let mut rotation = rotate(&server, key);
        reached(&server, key, kill_at, &mut rotation).await;
        server = server.restart();
        // What was asked for last may have been done without an answer.
        replaced.extend(load.join_all().await.remove(0));
        while rotation.join_next().await.is_some() {}
        let (sealed, others) = counted(&server.url).await.unwrap();
        assert_eq!(sealed + others, ENDPOINTS as u64);
        in_the_middle += usize::from(sealed > 0 && others > 0);
    }
    assert!(in_the_middle >= 2, "{in_the_middle} kills found some values sealed with the new key and others not");

    let load = load(&server, &rules);
    let step = if is_on_a_server() { "reseal" } else { "drop" };
    for _ in 0..2 {
        let (status, answer) = ask(&server.url, "POST", "/v1/keys/rotate", json!({ "step": step })).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    let home = server.kill9();
    replaced.extend(load.join_all().await.remove(0));
    if is_on_a_server() {
        let text = fs::read_to_string(home.key_file()).unwrap();
        fs::write(home.key_file(), text.lines().next().unwrap()).unwrap();
    }
    assert_eq!(fs::read_to_string(home.key_file()).unwrap().lines().count(), 1, "the old keys are gone");
    everything_opens(&home, &replaced).await;

    let server = Server::start_in(home, Settings::with(["--allow-targets", "127.0.0.0/8"])).unwrap();
    let run = json!({"name": "last", "run_type": "chain", "session_name": "p",
        "start_time": "2026-11-22T08:00:00Z", "end_time": "2026-11-22T08:00:01Z"});
    assert_eq!(ask(&server.url, "POST", "/runs", run).await.unwrap().0, 202);
    let request = loop {
        let request = receiver.next().await;
        if String::from_utf8_lossy(&request.body).contains("\"last\"") {
            break request;
        }
    };
    assert_eq!(request.header("x-token"), "header-449");
    assert!(request.target.contains("secret=query-449") && request.has_header("webhook-signature"));
}
