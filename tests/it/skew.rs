//! Replicas whose machines' clocks are twenty minutes apart, and one that stands still for longer than its leases last.
//!
//! `libfaketime` shifts the clock of one process; the time that passes is left as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use runhook::model::time::{Clock as _, SystemClock, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::replicas::{BOUND, POKED, Shared, batch, rest, until, within};
use crate::support::receiver::{Answer, Gate};
use crate::support::server::Server;
use crate::survival::{fails, run_id, windows_follow_each_other};

const AHEAD: &str = "+10m";
const BEHIND: &str = "-10m";

/// How far the time that receivers and operators see may be from what it is.
const NEAR: Duration = Duration::from_mins(1);

const RULES: &str = r#"
version: 1
rules:
  - key: failing
    project: replicas
    filter: eq(status, "error")
    every: immediate
    webhooks: [{ url: "${RECEIVER}" }]
  - key: broken-traces
    project: replicas
    filter: eq(is_root, true)
    tree_filter: eq(status, "error")
    every: immediate
    settle: 500ms
    webhooks: [{ url: "${RECEIVER}" }]
  - key: fine
    project: replicas
    filter: eq(status, "success")
    every: 1s
    webhooks: [{ url: "${RECEIVER}" }]
"#;

/// Which runs each rule matches.
type Matching = fn(usize) -> bool;

const MATCHES: [(&str, Matching); 3] =
    [("failing", fails), ("broken-traces", fails), ("fine", |number| !fails(number))];

/// A replica on a machine with such a clock.
fn replica(shared: &Shared, clock: &str) -> Server {
    let settings = shared.settings(&shared.database.url, &["--rules", &shared.at("rules")]);
    let shifted = settings
        .env("LD_PRELOAD", libfaketime().to_str().unwrap())
        .env("FAKETIME", clock)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DISABLE_SHM", "1")
        .env("NO_FAKE_STAT", "1");
    shared.start(shifted)
}

fn libfaketime() -> PathBuf {
    let machines = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    machines
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("libfaketime is installed: run `make test`, or apt-get install faketime")
}

async fn send(server: &Server, numbers: &[usize]) {
    let (status, answer) = server.call("POST", "/runs/batch", Some(&batch(numbers))).await;
    assert_eq!(status, 202, "{answer}");
}

fn is_near(at: Timestamp) -> bool {
    let now = SystemClock.now();
    now.since(at) < NEAR && at.since(now) < NEAR
}

/// Which runs each rule, by its id, has told of, and in which messages.
fn notified(shared: &Shared) -> BTreeMap<String, BTreeMap<Uuid, BTreeSet<String>>> {
    let mut found: BTreeMap<String, BTreeMap<Uuid, BTreeSet<String>>> = BTreeMap::new();
    for request in shared.receiver.requests() {
        let body = request.json();
        let of_rule = found.entry(body["rule_id"].as_str().unwrap().to_owned()).or_default();
        for run in body["runs"].as_array().unwrap() {
            let id = run["id"].as_str().unwrap().parse().unwrap();
            of_rule.entry(id).or_default().insert(request.header("webhook-id").to_owned());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_clocks_twenty_minutes_apart_lose_nothing_and_notify_once() {
    let Some(shared) = Shared::begin().await else { return };
    std::fs::write(shared.home.path().join("rules/survival.yaml"), RULES).unwrap();
    let replicas = [replica(&shared, AHEAD), replica(&shared, BEHIND)];
    for server in &replicas {
        let (_, status) = server.call("GET", "/v1/status", None).await;
        let now = Timestamp::parse(status["now"].as_str().unwrap()).unwrap();
        assert!(is_near(now), "replicas go by the database's clock, not by {now}");
        assert!(server.log().contains("the database's, which is used instead"), "{}", server.log());
    }
    let mut sent = BTreeSet::new();
    for round in 0..16 {
        let numbers: Vec<usize> = (round * 6 + 1..).take(6).collect();
        send(&replicas[round % 2], &numbers).await;
        sent.extend(numbers);
    }
    let wanted: usize = MATCHES.iter().map(|(_, matches)| sent.iter().filter(|number| matches(**number)).count()).sum();
    let all = async {
        loop {
            let heard = shared.receiver.requests().len();
            if notified(&shared).values().map(BTreeMap::len).sum::<usize>() >= wanted {
                return;
            }
            shared.receiver.arrived(heard + 1).await;
        }
    };
    within(BOUND, "notifications", all).await;
    rest(&replicas[0]).await;
    let found = notified(&shared);
    for (key, matches) in MATCHES {
        let (_, rule) = replicas[1].call("GET", &format!("/v1/rules/{key}?windows=1000"), None).await;
        let found = &found[rule["id"].as_str().unwrap()];
        let right: BTreeSet<Uuid> =
            sent.iter().filter(|number| matches(**number)).map(|number| run_id(*number)).collect();
        assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), right, "{key}");
        for (id, messages) in found {
            assert_eq!(messages.len(), 1, "{key}: run {id} is in messages {messages:?}");
        }
        windows_follow_each_other(&rule, found.len());
    }
    for request in shared.receiver.requests() {
        let seconds: i64 = request.header("webhook-timestamp").parse().unwrap();
        assert!(is_near(Timestamp(seconds * 1_000_000)), "a receiver would take it for a replay");
    }
    for server in replicas {
        let (status, log) = server.stop();
        assert!(status.success() && !log.contains("ERROR"), "{log}");
    }
}

/// The ids of the messages the receiver was sent, as often as it was sent them.
fn messages(shared: &Shared) -> Vec<String> {
    shared.receiver.requests().iter().map(|request| request.header("webhook-id").to_owned()).collect()
}

/// Has a replica, which is alone, send a notification that is not answered. The message, and what holds the answer back.
async fn hold(shared: &Shared, server: &Server, number: usize) -> (String, Gate) {
    let (gate, heard) = (Gate::closed(), shared.receiver.requests().len());
    shared.receiver.answer_next(Answer::Held(gate.clone()));
    send(server, &[number]).await;
    within(POKED, "a notification", shared.receiver.arrived(heard + 1)).await;
    (messages(shared)[heard].clone(), gate)
}

/// Waits until a message has been sent so often.
async fn sent(shared: &Shared, message: &str, times: usize) {
    loop {
        let all = messages(shared);
        if all.iter().filter(|id| *id == message).count() >= times {
            return;
        }
        shared.receiver.arrived(all.len() + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_lasts_as_long_for_all_replicas_and_one_that_stood_still_has_lost_it() {
    let Some(shared) = Shared::begin().await else { return };
    let slow = replica(&shared, BEHIND);
    let (message, gate) = hold(&shared, &slow, 3).await;
    let fast = replica(&shared, AHEAD);
    send(&fast, &[6]).await;
    within(POKED, "a notification", shared.receiver.arrived(2)).await;
    rest_of_rules(&fast).await;
    assert_eq!(
        messages(&shared).iter().filter(|id| **id == message).count(),
        1,
        "its lease has not expired for anyone"
    );
    gate.open();
    rest(&fast).await;
    assert_eq!(messages(&shared).len(), 2);
    slow.kill9();

    let (message, gate) = hold(&shared, &fast, 9).await;
    fast.signal("STOP");
    let mut waiting = JoinSet::new();
    let url = format!("{}/runs/batch", fast.url);
    let http = reqwest::Client::builder().no_proxy().timeout(2 * BOUND).build().unwrap();
    let request = http.post(url).header("content-type", "application/json").body(batch(&[12]).to_string());
    waiting.spawn(request.send());
    let slow = replica(&shared, BEHIND);
    within(BOUND, "the other's attempt", sent(&shared, &message, 2)).await;
    rest(&slow).await;
    gate.open();
    fast.signal("CONT");
    within(POKED, "the late record", fast.until_it_says("the lease was lost")).await;
    let answer = within(POKED, "an answer", waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 202, "what was asked for meanwhile is done");
    within(POKED, "notifications", shared.all_notified(&[3, 6, 9, 12].into())).await;
    rest(&fast).await;
    assert_eq!(
        messages(&shared).iter().filter(|id| **id == message).count(),
        2,
        "nothing was sent under a stale lease"
    );
    shared.check_once(&[3, 6, 9, 12].into());
    let (_, page) = fast.call("GET", "/v1/deliveries?limit=10", None).await;
    for delivery in page["deliveries"].as_array().unwrap() {
        assert_eq!((&delivery["state"], &delivery["attempt_count"]), (&json!("delivered"), &json!(1)), "{delivery}");
    }
    until(&fast, "/readyz", |status, _| status == 200).await;
}

/// Waits until every change has been looked at.
async fn rest_of_rules(server: &Server) {
    until(server, "/v1/status", |_, status| status["projects_behind"] == 0).await;
}
