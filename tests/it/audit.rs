//! The audit log, through the real binary: what is in it, whose name stands there, and that an act and its entry are
//! there together or not at all.

use std::collections::BTreeSet;
use std::fs;

use runhook::model::id::DeliveryId;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::receiver::Answer::Status;
use crate::support::receiver::{Receiver, nobody};
use crate::support::server::{Server, Settings, runhook};

const MASTER: &str = "the-key-that-the-server-was-given";

/// A server, and how it is asked with its key.
struct Office {
    server: Server,
    http: reqwest::Client,
}

impl Office {
    fn open(settings: Settings) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { server: Server::start(settings.env("RUNHOOK_API_KEY", MASTER)), http }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.ask_as(MASTER, method, path, body).await
    }

    async fn ask_as(&self, key: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.server.url));
        let mut request = request.header("x-api-key", key).header("x-forwarded-for", "6.6.6.6");
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Asks for what must be done. Returns the answer.
    async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    async fn entries(&self, query: &str) -> Vec<Value> {
        let page = self.done("GET", &format!("/v1/audit{query}"), Value::Null).await;
        page["entries"].as_array().unwrap().clone()
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| word(&entry["action"])).collect()
}

/// Every route of `needs.rs` that needs `manage` and is not for looking.
fn managing() -> BTreeSet<String> {
    let lines = include_str!("../../src/api/needs.rs").lines().filter(|line| line.trim_end().ends_with("Manage),"));
    let mut found = BTreeSet::new();
    for line in lines {
        let mut quoted = line.split('"').skip(1).step_by(2);
        let (methods, path) = (quoted.next().unwrap(), quoted.next().unwrap());
        found.extend(methods.split(' ').filter(|method| *method != "GET").map(|method| format!("{method} {path}")));
    }
    found
}

const RULES: &str = r#"
version: 1
rules:
  - key: told
    project: p
    every: immediate
    webhooks: [{ url: "${HOOK}" }]
"#;

/// One route after the other: what is asked, and what the newest entry then says.
struct Round<'a> {
    office: &'a Office,
    left: BTreeSet<String>,
}

impl Round<'_> {
    async fn take(&mut self, route: &str, names: &[&str], body: Value, expected: (&str, &str)) -> Value {
        let (method, path) = route.split_once(' ').unwrap();
        assert!(self.left.remove(route), "{route} is in the table, once");
        let mut names = names.iter();
        let part =
            |part: &str| if part.starts_with('{') { (*names.next().unwrap()).to_owned() } else { part.to_owned() };
        let path = path.split('/').map(part).collect::<Vec<_>>().join("/");
        let answer = self.office.done(method, &path, body).await;
        let newest = self.office.entries("?limit=1").await.remove(0);
        assert_eq!((word(&newest["action"]), word(&newest["object"]["key"])), expected, "{route}: {newest}");
        assert_eq!(word(&newest["actor"]["name"]), "RUNHOOK_API_KEY", "{route}: {newest}");
        assert_eq!(word(&newest["address"]), "127.0.0.1", "no header says where a request comes from");
        assert!(!word(&newest["request_id"]).is_empty());
        answer
    }

    async fn endpoints(&mut self) {
        let url = format!("http://{}/planted", nobody().await);
        let own = json!({"key": "own", "url": url, "headers": {"A": "planted"}});
        self.take("POST /v1/endpoints", &[], own, ("endpoint.create", "own")).await;
        let change = json!({"headers": {"B": "planted"}});
        self.take("PATCH /v1/endpoints/{key}", &["own"], change, ("endpoint.update", "own")).await;
        for (act, action) in [
            ("test", "endpoint.test"),
            ("disable", "endpoint.disable"),
            ("enable", "endpoint.enable"),
            ("rotate-secret", "endpoint.rotate-secret"),
        ] {
            let route = format!("POST /v1/endpoints/{{key}}/{act}");
            self.take(&route, &["own"], Value::Null, (action, "own")).await;
        }
        self.take("DELETE /v1/endpoints/{key}", &["own"], Value::Null, ("endpoint.delete", "own")).await;
    }

    async fn rules(&mut self, hook: &str) {
        let files = json!({"files": [{"name": "a.yaml", "text": RULES}], "variables": {"HOOK": hook}});
        self.take("POST /v1/rules/apply", &[], files, ("rule.create", "told")).await;
        self.take("POST /v1/rules/{key}/pause", &["told"], Value::Null, ("rule.pause", "told")).await;
        self.take("POST /v1/rules/{key}/resume", &["told"], Value::Null, ("rule.resume", "told")).await;
        let session = self.office.done("POST", "/sessions", json!({"name": "q"})).await;
        let rule = json!({"display_name": "Told", "sampling_rate": 1, "session_id": session["id"], "webhooks": [{"url": hook}]});
        let made = self.office.done("POST", "/runs/rules", rule.clone()).await;
        let key = word(&self.office.entries("?limit=1").await[0]["object"]["key"]).to_owned();
        let id = word(&made["id"]);
        self.left.remove("POST /runs/rules");
        assert!(key.starts_with("told-"), "{key}");
        let change = json!({"sampling_rate": 0.5});
        self.take("PATCH /runs/rules/{id}", &[id], change, ("rule.update", &key)).await;
        self.take("POST /runs/rules/{id}/trigger", &[id], Value::Null, ("rule.trigger", &key)).await;
        let both = json!({"rule_ids": [id]});
        self.take("POST /runs/rules/trigger", &[], both, ("rule.trigger", &key)).await;
        self.take("DELETE /runs/rules/{id}", &[id], Value::Null, ("rule.delete", &key)).await;
    }

    /// Both paths that lead to each act.
    async fn alerts(&mut self, hook: &str) {
        let session = self.office.done("POST", "/sessions", json!({"name": "watched"})).await;
        let session = word(&session["id"]);
        let rule = json!({"name": "Errors", "description": "too many", "type": "threshold", "attribute": "run_count",
            "aggregation": "sum", "operator": "gte", "threshold": 1.0, "window_minutes": 5});
        let hook = json!([{"target": "webhook", "config": {"url": hook, "headers": {"A": "planted"}}}]);
        let body = json!({"rule": rule, "actions": hook});
        for base in ["/v1/platform/alerts/{session_id}", "/platform/alerts/{session_id}"] {
            let told = |act| (act, "Errors");
            let test = format!("POST {base}/test");
            self.take(&test, &[session], body.clone(), told("alert.test")).await;
            let made = self.take(&format!("POST {base}"), &[session], body.clone(), told("alert.create")).await;
            let id = word(&made["id"]);
            let names = &[session, id];
            let change = json!({"rule": {"threshold": 2.0}});
            self.take(&format!("PATCH {base}/{{alert_id}}"), names, change.clone(), told("alert.update")).await;
            let path = format!("/v1/platform/alerts/{session}/{id}");
            self.office.done("PATCH", &path, change).await;
            let found = self.office.entries(&format!("?object={id}")).await;
            assert_eq!(actions(&found), ["alert.update", "alert.create"], "the same again changes nothing");
            assert_eq!(found[0]["detail"], json!({"fields": ["threshold"]}));
            self.take(&format!("DELETE {base}/{{alert_id}}"), names, Value::Null, told("alert.delete")).await;
        }
    }

    async fn data(&mut self, receiver: &mut Receiver) {
        let run = "0195c0de-0000-7000-8000-000000000001";
        let body = json!({"id": run, "name": "a", "run_type": "chain", "session_name": "p",
            "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z"});
        self.office.done("POST", "/runs", body).await;
        receiver.next().await;
        let delivered = loop {
            let page = self.office.done("GET", "/v1/deliveries?state=delivered", Value::Null).await;
            if let Some(delivery) = page["deliveries"].as_array().unwrap().first() {
                break word(&delivery["id"]).to_owned();
            }
        };
        let ids = json!({"ids": [delivered]});
        self.take("POST /v1/deliveries/replay", &[], ids, ("delivery.replay", &delivered)).await;
        let feedback = json!({"run_id": run, "key": "k", "score": 1});
        let feedback = self.office.done("POST", "/feedback", feedback).await;
        let id = word(&feedback["id"]);
        self.take("DELETE /feedback/{id}", &[id], Value::Null, ("feedback.delete", id)).await;
        let set = self.office.done("POST", "/datasets", json!({"name": "set"})).await;
        let set = word(&set["id"]);
        let example = self.office.done("POST", "/examples", json!({"dataset_id": set, "inputs": {"a": 1}})).await;
        let id = word(&example["id"]);
        self.take("DELETE /examples/{id}", &[id], Value::Null, ("example.delete", id)).await;
        self.take("DELETE /datasets/{id}", &[set], Value::Null, ("dataset.delete", "set")).await;
        let queue = self.office.done("POST", "/annotation-queues", json!({"name": "queue"})).await;
        let queue = word(&queue["id"]);
        self.office.done("POST", &format!("/annotation-queues/{queue}/runs"), json!([run])).await;
        let (route, told) = ("DELETE /annotation-queues/{id}/runs/{run_id}", ("annotation-queue.take-out", queue));
        self.take(route, &[queue, run], Value::Null, told).await;
        self.take("DELETE /annotation-queues/{id}", &[queue], Value::Null, ("annotation-queue.delete", "queue")).await;
        let session = self.office.done("GET", "/sessions?name=p", Value::Null).await;
        let id = word(&session[0]["id"]);
        let traces = json!({"session_id": id, "trace_ids": [run]});
        self.take("POST /runs/delete", &[], traces, ("trace.delete", "p")).await;
        self.take("DELETE /sessions/{id}", &[id], Value::Null, ("project.delete", "p")).await;
    }

    async fn catalogue(&mut self) {
        let made = json!({"name": "order.paid", "description": ""});
        self.take("POST /event-type", &[], made.clone(), ("event-type.create", "order.paid")).await;
        for method in ["PUT", "PATCH"] {
            let route = format!("{method} /event-type/{{name}}");
            self.take(&route, &["order.paid"], made.clone(), ("event-type.update", "order.paid")).await;
        }
        let told = ("event-type.update", "order.paid");
        self.take("DELETE /event-type/{name}", &["order.paid"], Value::Null, told).await;
        self.office.done("DELETE", "/event-type/order.paid?expunge=true", Value::Null).await;
        assert_eq!(actions(&self.office.entries("?limit=1").await), ["event-type.delete"]);
        self.take("POST /app", &[], json!({"name": "shop", "uid": "s"}), ("application.create", "shop")).await;
        for method in ["PUT", "PATCH"] {
            let route = format!("{method} /app/{{app}}");
            self.take(&route, &["s"], json!({"name": "shop"}), ("application.update", "shop")).await;
        }
    }

    async fn subscribers(&mut self) {
        let unwilling = Receiver::start([Status(400)]).await;
        let own = json!({"url": unwilling.url(), "uid": "e", "headers": {"A": "planted"}});
        self.take("POST /app/{app}/endpoint", &["s"], own.clone(), ("endpoint.create", "e")).await;
        let path = "/app/{app}/endpoint/{endpoint}";
        let (headers, updated) = (json!({"headers": {"B": "planted"}}), ("endpoint.update", "e"));
        for (route, body) in [
            (format!("PUT {path}"), own),
            (format!("PATCH {path}"), json!({"description": "planted"})),
            (format!("PUT {path}/headers"), headers.clone()),
            (format!("PATCH {path}/headers"), headers),
        ] {
            self.take(&route, &["s", "e"], body, updated).await;
        }
        let told = ("endpoint.rotate-secret", "e");
        self.take(&format!("POST {path}/secret/rotate"), &["s", "e"], json!({}), told).await;
        for (disabled, action) in [(true, "endpoint.disable"), (false, "endpoint.enable")] {
            self.office.done("PATCH", "/app/s/endpoint/e", json!({ "disabled": disabled })).await;
            assert_eq!(actions(&self.office.entries("?limit=2").await), [action, "endpoint.update"]);
        }
        self.office.done("POST", "/event-type", json!({"name": "order.paid", "description": ""})).await;
        let message = json!({"eventType": "order.paid", "payload": {"a": 1}});
        let message = self.office.done("POST", "/app/s/msg", message).await;
        let id = self.failed().await;
        let replayed = ("delivery.replay", &*id);
        let resend = "POST /app/{app}/msg/{msg}/endpoint/{endpoint}/resend";
        self.take(resend, &["s", word(&message["id"]), "e"], Value::Null, replayed).await;
        self.failed().await;
        let since = json!({"since": "2020-01-01T00:00:00Z"});
        self.take(&format!("POST {path}/recover"), &["s", "e"], since.clone(), replayed).await;
        self.failed().await;
        self.take(&format!("POST {path}/bulk-replay"), &["s", "e"], since.clone(), replayed).await;
        let late = self.office.done("POST", "/app/s/endpoint", json!({"url": unwilling.url(), "uid": "late"})).await;
        let (message, late) = (word(&message["id"]).parse().unwrap(), word(&late["id"]).parse().unwrap());
        let missing = DeliveryId::of(message, late).to_string();
        self.take(&format!("POST {path}/replay-missing"), &["s", "late"], since, ("delivery.replay", &missing)).await;
        let example = json!({"eventType": "order.paid", "payload": {"a": "planted"}});
        self.take(&format!("POST {path}/send-example"), &["s", "e"], example, ("endpoint.test", "e")).await;
        self.take(&format!("DELETE {path}"), &["s", "e"], Value::Null, ("endpoint.delete", "e")).await;
        self.take("DELETE /app/{app}", &["s"], Value::Null, ("application.delete", "shop")).await;
    }

    /// The one delivery that has failed, as soon as it has.
    async fn failed(&self) -> String {
        loop {
            let page = self.office.done("GET", "/v1/deliveries?state=failed", Value::Null).await;
            if let Some(delivery) = page["deliveries"].as_array().unwrap().first() {
                return word(&delivery["id"]).to_owned();
            }
        }
    }

    async fn listeners(&mut self, hook: &str) {
        let made = json!({"url": hook, "events": ["record.created"]});
        let answer = self.office.done("POST", "/webhooks", made).await;
        assert!(self.left.remove("POST /webhooks"));
        let id = word(&answer["id"]);
        let newest = self.office.entries("?limit=1").await.remove(0);
        assert_eq!((word(&newest["action"]), word(&newest["object"]["key"])), ("endpoint.create", id));
        let change = json!({"description": "planted"});
        self.take("PATCH /webhooks/{id}", &[id], change, ("endpoint.update", id)).await;
        self.take("POST /webhooks/{id}/ping", &[id], Value::Null, ("endpoint.test", id)).await;
        self.take("DELETE /webhooks/{id}", &[id], Value::Null, ("endpoint.delete", id)).await;
    }

    async fn keys(&mut self) {
        let made = self.take("POST /v1/api-keys", &[], json!({"name": "ci"}), ("api-key.create", "ci")).await;
        let (id, key) = (word(&made["id"]), word(&made["key"]));
        let named = json!({"key": "by-ci", "url": "https://h.example"});
        assert_eq!(self.office.ask_as(key, "POST", "/v1/endpoints", named).await.0, 201);
        let of_key = self.office.entries(&format!("?actor={id}")).await;
        assert_eq!(actions(&of_key), ["endpoint.create"]);
        assert_eq!(self.office.entries("?actor=ci").await, of_key);
        self.take("DELETE /v1/api-keys/{id}", &[id], Value::Null, ("api-key.revoke", "ci")).await;
        let step = json!({"step": "reseal"});
        self.take("POST /v1/keys/rotate", &[], step, ("sealing-key.reseal", "sealing keys")).await;
        let all = self.office.entries("?limit=1000").await;
        self.take("POST /v1/wipe", &[], json!({"yes": true}), ("data.wipe", "everything")).await;
        assert_eq!(self.office.entries("?limit=1000").await[1..], all, "a wipe leaves what was told before");
        assert!(!json!(all).to_string().contains("planted") && !json!(all).to_string().contains(key), "{all:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_manages_leaves_an_entry_of_who_did_what_from_where() {
    let mut receiver = Receiver::start([]).await;
    let office = Office::open(Settings::with(["--allow-targets", "127.0.0.1"]));
    let mut round = Round { office: &office, left: managing() };
    assert!(round.left.len() > 20, "the table was read: {:?}", round.left);
    round.endpoints().await;
    round.rules(&receiver.url()).await;
    let other = Receiver::start([]).await;
    round.alerts(&other.url()).await;
    round.data(&mut receiver).await;
    round.catalogue().await;
    round.subscribers().await;
    round.listeners(&receiver.url()).await;
    round.keys().await;
    assert!(round.left.is_empty(), "these leave no entry: {:?}", round.left);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_or_changes_nothing_leaves_none() {
    let office = Office::open(Settings::with(["--allow-targets", "127.0.0.1"]));
    let seeded = office.entries("").await;
    assert_eq!((actions(&seeded), word(&seeded[0]["actor"]["kind"])), (vec!["api-key.create"], "server"));
    let files = |text: &str, dry_run: bool| json!({"files": [{"name": "a.yaml", "text": text}], "variables": {"HOOK": "https://h.example"}, "dry_run": dry_run});
    assert_eq!(office.ask("POST", "/v1/rules/apply", files("version: 2", false)).await.0, 422);
    assert_eq!(office.ask("POST", "/v1/rules/apply", files(RULES, true)).await.0, 200);
    assert_eq!(office.ask("DELETE", "/v1/endpoints/none", Value::Null).await.0, 404);
    let (nobody, wrong) = ("/sessions/0195c0de-0000-7000-8000-000000000001", json!({"yes": false}));
    assert_eq!(office.ask("DELETE", nobody, Value::Null).await.0, 404);
    assert_eq!(office.ask("POST", "/v1/wipe", wrong).await.0, 422);
    assert_eq!(office.ask_as("wrong", "POST", "/v1/wipe", json!({"yes": true})).await.0, 403);
    assert_eq!(office.entries("").await, seeded);
    for _ in 0..2 {
        assert_eq!(office.ask("POST", "/v1/rules/apply", files(RULES, false)).await.0, 200);
    }
    let found = office.entries("?object=told").await;
    assert_eq!(actions(&found), ["rule.create"], "applying the same again changes nothing");
    let changed = RULES.replace("every: immediate", "every: 5m");
    assert_eq!(office.ask("POST", "/v1/rules/apply", files(&changed, false)).await.0, 200);
    let found = office.entries("?object=told&action=rule.update").await;
    assert_eq!(found[0]["detail"], json!({"origin": "a.yaml", "fields": ["every"]}));
    for wrong in ["?action=rule.creat", "?since=yesterday", "?cursor=x", "?who=me"] {
        let (status, problem) = office.ask("GET", &format!("/v1/audit{wrong}"), Value::Null).await;
        assert!(status == 400 && problem["hint"].is_string() | wrong.contains("cursor"), "{wrong}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_rules_is_the_servers_own_act_when_it_changes_something() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, RULES).unwrap();
    let settings = Settings::with(["--rules", folder.path().to_str().unwrap()]).env("HOOK", "https://h.example");
    let office = Office::open(settings);
    let own = || office.entries("?actor=server&action=rule");
    let found = own().await;
    assert_eq!(actions(&found), ["rule.create"]);
    assert!(found[0]["address"].is_null() && word(&found[0]["detail"]["origin"]).starts_with("folder:"), "{found:?}");
    fs::write(&file, format!("{RULES}\n# nothing new\n")).unwrap();
    fs::write(folder.path().join("b.yaml"), RULES.replace("told", "other")).unwrap();
    while own().await.len() < 2 {}
    let office = Office { server: office.server.restart(), http: office.http };
    let found = office.entries("?actor=server&action=rule").await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(word(&found[0]["object"]["key"]), "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_the_clients_where_a_trusted_proxy_says_it_and_the_connections_otherwise() {
    for (arguments, expected) in [
        (&["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"][..], "6.6.6.6"),
        (&["--trusted-proxies", "10.0.0.0/8"], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ] {
        let mut settings = Settings::with::<0>([]);
        settings.arguments.extend(arguments.iter().map(|&one| one.to_owned()));
        let office = Office::open(settings);
        let made = office.done("POST", "/v1/api-keys", json!({"name": "ci"})).await;
        let found = office.entries(&format!("?object={}", word(&made["id"]))).await;
        assert_eq!(actions(&found), ["api-key.create"], "found by the id of what it is about");
        assert_eq!(word(&found[0]["address"]), expected, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_on_the_database_is_told_as_such_and_pages_follow_one_another() {
    let home = crate::support::home::Home::new();
    let run = |arguments: &[&str]| {
        let output = home.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for name in ["one", "two", "three"] {
        run(&["api-keys", "create", name]);
    }
    let page: Value = serde_json::from_str(&run(&["audit", "--json", "--limit", "2"])).unwrap();
    let names = |page: &Value| -> Vec<String> {
        page["entries"].as_array().unwrap().iter().map(|entry| word(&entry["object"]["key"]).to_owned()).collect()
    };
    assert_eq!(names(&page), ["three", "two"]);
    assert_eq!(page["entries"][0]["actor"], json!({"kind": "command-line", "id": null, "name": null}));
    let rest = run(&["audit", "--json", "--limit", "2", "--cursor", word(&page["next"])]);
    let rest: Value = serde_json::from_str(&rest).unwrap();
    assert_eq!((names(&rest), &rest["next"]), (vec!["one".to_owned()], &Value::Null));
    let text = run(&["audit", "--since", "1h", "--action", "api-key", "--object", "two"]);
    assert!(text.starts_with("AT ") && text.contains("command-line"), "{text}");
    assert!(text.contains("api-key.create  two") && !text.contains("three"), "{text}");
    assert_eq!(run(&["audit", "--until", "1h"]), "no entries\n");
    let wrong = runhook().args(["audit", "--limit", "0"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_endpoints_are_limited_wherever_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    fs::write(&config, "limits: { endpoints_per_tenant: 2 }\n").unwrap();
    let office = Office::open(Settings::with(["--config", config.to_str().unwrap()]));
    let endpoint = |key: &str| json!({"key": key, "url": "https://h.example"});
    let files = |rules: &str| {
        let text = format!("version: 1\nrules:\n{rules}");
        json!({"files": [{"name": "a.yaml", "text": text}], "prune": true})
    };
    let rule = |key: &str| format!("  - key: {key}\n    project: p\n    webhooks: [{{ url: https://h.example }}]\n");
    office.done("POST", "/v1/endpoints", endpoint("a")).await;
    office.done("POST", "/v1/rules/apply", files(&rule("one"))).await;
    for (method, path, body) in [
        ("POST", "/v1/endpoints", endpoint("b")),
        ("POST", "/v1/rules/apply", files(&format!("{}{}", rule("one"), rule("two")))),
    ] {
        let (status, problem) = office.ask(method, path, body).await;
        assert_eq!((status, word(&problem["code"])), (422, "too-many-endpoints"), "{problem}");
        assert!(word(&problem["detail"]).contains("the limit is 2"), "{problem}");
        assert!(word(&problem["hint"]).contains("limits.endpoints_per_tenant"), "{problem}");
    }
    let session = office.done("POST", "/sessions", json!({"name": "watched"})).await;
    let path = format!("/v1/platform/alerts/{}", word(&session["id"]));
    let actions = |count: usize| vec![json!({"target": "webhook", "config": {"url": "https://h.example"}}); count];
    let watch = json!({"name": "Errors", "description": "too many", "type": "threshold", "attribute": "run_count",
        "aggregation": "sum", "operator": "gte", "threshold": 1.0, "window_minutes": 5});
    let refused = |(status, answer): (u16, Value)| {
        assert_eq!(status, 422, "{answer}");
        assert_eq!(word(&answer["error"]), "this would make 3 endpoints, and the limit is 2");
        assert!(word(&answer["details"]).contains("limits.endpoints_per_tenant"), "{answer}");
    };
    refused(office.ask("POST", &path, json!({"rule": watch, "actions": actions(1)})).await);
    office.done("POST", "/v1/rules/apply", files("  []\n")).await;
    let alert = office.done("POST", &path, json!({"rule": watch, "actions": actions(1)})).await;
    let one = format!("{path}/{}", word(&alert["id"]));
    refused(office.ask("PATCH", &one, json!({"actions": actions(2)})).await);
    office.done("PATCH", &one, json!({"actions": actions(1)})).await;
    office.done("DELETE", &one, Value::Null).await;
    office.done("POST", "/v1/rules/apply", files(&rule("two"))).await;
    office.done("PATCH", "/v1/endpoints/a", json!({"headers": {"A": "b"}})).await;
    let metrics = office.server.text("/metrics").await;
    assert!(metrics.contains(r#"runhook_limit_refusals_total{limit="endpoints"} 4"#), "{metrics}");
}

/// How often it is killed.
const KILLS: usize = 8;

/// Requests that are under way when it is.
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_an_act_with_its_entry_or_neither() {
    let mut office = Office::open(Settings::default());
    for kill in 0..KILLS {
        let mut requests = JoinSet::new();
        for number in 0..AT_ONCE {
            let body = json!({"key": format!("e{kill}-{number}"), "url": "https://h.example"}).to_string();
            let request = office.http.post(format!("{}/v1/endpoints", office.server.url)).header("x-api-key", MASTER);
            requests.spawn(async move { request.body(body).send().await.is_ok_and(|answer| answer.status() == 201) });
        }
        // They are made one after the other: some have been answered now, one is under way, the others wait.
        for _ in 0..=kill {
            requests.join_next().await;
        }
        office = Office { server: office.server.restart(), http: office.http };
        let listed = office.done("GET", "/v1/endpoints?limit=1000", Value::Null).await;
        let there: BTreeSet<String> =
            listed["endpoints"].as_array().unwrap().iter().map(|one| word(&one["endpoint"]).to_owned()).collect();
        let entries = office.entries("?action=endpoint.create&limit=1000").await;
        let told: Vec<String> = entries.iter().map(|entry| word(&entry["object"]["key"]).to_owned()).collect();
        assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), there, "after kill {kill}");
        assert_eq!(told.len(), there.len(), "each is told once");
        assert!(there.len() > kill, "what was answered is there");
    }
}
