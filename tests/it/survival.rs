//! Promises 1 to 3 under `kill -9`: an acknowledged run is there, a match is notified once, a message reaches its end.
//!
//! The process is killed at chosen moments (while a request is under way, right after acknowledgements, while what
//! arrived is evaluated, while it catches up with what the last life left, while the receiver holds a notification,
//! right after it answered), first each of them in turn and then as they are drawn. Four rules of different cadences
//! look at the same project, one of them at whole traces, one at threads that go on over several batches. Nothing waits for time to pass: every moment is an event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::home::is_on_a_server;
use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::server::{Server, Settings};

/// On a server each life waits for the leases of the last; `replicas` has more of it.
fn moments() -> usize {
    if is_on_a_server() { 20 } else { 60 }
}

const RUNS_PER_BATCH: usize = 6;
const RUNS_PER_BURST: usize = 90;
/// How often the outcome is asked for before the test gives up; each question is one request of the API.
const QUESTIONS: usize = 20_000;

const RULES: &str = r#"
version: 1
rules:
  - key: failing
    project: survival
    filter: eq(status, "error")
    every: immediate
    webhooks: [{ url: "${RECEIVER}" }]
  - key: broken-traces
    project: survival
    filter: eq(is_root, true)
    tree_filter: eq(status, "error")
    every: immediate
    settle: 50ms
    webhooks: [{ url: "${RECEIVER}" }]
  - key: fine
    project: survival
    filter: and(eq(is_root, true), eq(status, "success"))
    every: 1s
    webhooks: [{ url: "${RECEIVER}" }]
  - key: conversations
    project: survival
    filter: eq(is_root, true)
    group_by: thread_id
    idle: 100ms
    every: immediate
    webhooks: [{ url: "${RECEIVER}" }]
"#;

/// Which runs of a number a rule matches.
type Matches = fn(usize) -> Vec<Uuid>;

/// The rules, by key.
const MATCHES: [(&str, Matches); 4] = [
    ("failing", |number| {
        let (root, child) = (fails(number).then(|| run_id(number)), child_fails(number).then(|| child_id(number)));
        root.into_iter().chain(child).collect()
    }),
    ("broken-traces", |number| (fails(number) || child_fails(number)).then(|| run_id(number)).into_iter().collect()),
    ("fine", |number| (!fails(number)).then(|| run_id(number)).into_iter().collect()),
    ("conversations", |number| vec![run_id(number)]),
];

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// While a batch is on its way: it may be stored or not, and nobody was told.
    WhileAccepting,
    /// Right after this many acknowledgements.
    AfterAcknowledging(usize),
    /// This many answers after a burst was acknowledged: while it is looked at, and more and more of it committed.
    WhileEvaluating(usize),
    /// Right after a burst was acknowledged, and again right after the next start.
    WhileCatchingUp,
    /// While the receiver holds a notification that it has not answered.
    WhileDelivering,
    /// Right after the receiver answered.
    AfterDelivering,
}

/// A small generator with a fixed seed, so that a failure can be repeated.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn moment(&mut self) -> Moment {
        let mut count = |bound| usize::try_from(self.below(bound)).unwrap();
        match count(8) {
            0 => Moment::WhileAccepting,
            1 => Moment::AfterAcknowledging(1 + count(3)),
            2 => Moment::WhileCatchingUp,
            3 => Moment::WhileDelivering,
            4 => Moment::AfterDelivering,
            _ => Moment::WhileEvaluating(count(16)),
        }
    }
}

pub(crate) fn run_id(number: usize) -> Uuid {
    Uuid::from_u128(0x5000_0000_0000_4000_8000_0000_0000_0000 + number as u128)
}

fn child_id(number: usize) -> Uuid {
    Uuid::from_u128(0x6000_0000_0000_4000_8000_0000_0000_0000 + number as u128)
}

pub(crate) fn fails(number: usize) -> bool {
    number.is_multiple_of(3)
}

fn child_fails(number: usize) -> bool {
    number % 4 == 1
}

/// The next runs as the body of a batch. Some have a child that fails.
fn batch(numbers: &[usize]) -> Value {
    let run = |id: Uuid, trace: Uuid, number: usize, fails: bool| {
        let above = if id == trace { String::new() } else { format!("20260102T030405000000Z{trace}.") };
        json!({
            "id": id, "trace_id": trace, "parent_run_id": (id != trace).then_some(trace),
            "dotted_order": format!("{above}20260102T030405000000Z{id}"),
            "name": "survivor", "run_type": "chain", "session_name": "survival",
            "extra": {"metadata": {"thread_id": (id == trace).then(|| format!("thread {}", number / 10))}},
            "error": fails.then_some("boom"), "inputs": {"number": number}, "outputs": {},
            "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z",
        })
    };
    let runs = numbers.iter().flat_map(|&number| {
        let root = run_id(number);
        let child = child_fails(number).then(|| run(child_id(number), root, number, true));
        std::iter::once(run(root, root, number, fails(number))).chain(child)
    });
    json!({"post": runs.collect::<Vec<_>>(), "patch": []})
}

/// A server that is killed again and again, and what it promised.
struct Life {
    server: Option<Server>,
    receiver: Receiver,
    http: reqwest::Client,
    sent: usize,
    kills: usize,
    acknowledged: BTreeSet<usize>,
}

impl Life {
    async fn begin() -> (tempfile::TempDir, Self) {
        let rules = tempfile::tempdir().unwrap();
        std::fs::write(rules.path().join("survival.yaml"), RULES).unwrap();
        let receiver = Receiver::start([]).await;
        let folder = rules.path().to_str().unwrap();
        let settings =
            Settings::with(["--rules", folder, "--allow-targets", "127.0.0.0/8"]).env("RECEIVER", &receiver.url());
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let server = Some(Server::start(settings));
        (rules, Self { server, receiver, http, sent: 0, kills: 0, acknowledged: BTreeSet::new() })
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn rise_again(&mut self) {
        self.kills += 1;
        self.server = self.server.take().map(Server::restart);
    }

    fn next_numbers(&mut self, count: usize) -> Vec<usize> {
        self.sent += count;
        (self.sent - count + 1..=self.sent).collect()
    }

    fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/runs/batch", self.server().url);
        self.http.post(url).header("content-type", "application/json").body(body.to_string())
    }

    async fn send(&mut self, count: usize) {
        let numbers = self.next_numbers(count);
        let answer = self.post(&batch(&numbers)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202);
        self.acknowledged.extend(numbers);
    }

    /// Sends a batch and waits until some notification of this life is with the receiver.
    async fn send_and_hear(&mut self) {
        let heard = self.receiver.requests().len();
        self.send(RUNS_PER_BATCH).await;
        self.receiver.arrived(heard + 1).await;
    }

    async fn live_and_die(&mut self, moment: Moment) {
        match moment {
            Moment::WhileAccepting => {
                let numbers = self.next_numbers(RUNS_PER_BATCH);
                let request = self.post(&batch(&numbers)).send();
                let mut under_way = JoinSet::new();
                under_way.spawn(request);
                // The request's own task runs before this one goes on; how far it gets is the machine's choice.
                tokio::task::yield_now().await;
                self.rise_again();
                if let Some(Ok(Ok(answer))) = under_way.join_next().await {
                    assert_eq!(answer.status().as_u16(), 202);
                    self.acknowledged.extend(numbers);
                }
            }
            Moment::AfterAcknowledging(count) => {
                for _ in 0..count {
                    self.send(RUNS_PER_BATCH).await;
                }
                self.rise_again();
            }
            Moment::WhileEvaluating(answers) => {
                self.send(RUNS_PER_BURST).await;
                for _ in 0..answers {
                    self.get("/healthz").await;
                }
                self.rise_again();
            }
            Moment::WhileCatchingUp => {
                self.send(RUNS_PER_BURST).await;
                self.rise_again();
                self.rise_again();
            }
            Moment::WhileDelivering => {
                let gate = Gate::closed();
                self.receiver.answer_next(Answer::Held(gate.clone()));
                self.send_and_hear().await;
                self.rise_again();
                gate.open();
            }
            Moment::AfterDelivering => {
                self.send_and_hear().await;
                self.rise_again();
            }
        }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.server().url)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Waits until every change has been looked at and every delivery has reached its end.
    async fn come_to_rest(&self) {
        for _ in 0..QUESTIONS {
            let stirred = self.get("/v1/status").await;
            let pending = self.get("/v1/deliveries?state=pending&limit=1").await;
            if stirred["projects_behind"] == 0 && pending["deliveries"] == json!([]) {
                return;
            }
        }
        panic!("deliveries or changes are still waiting; the server said:\n{}", self.server().log());
    }

    /// Which run was in which messages of each rule, over all the receiver ever saw.
    fn notified(&self) -> BTreeMap<String, BTreeMap<Uuid, BTreeSet<String>>> {
        let mut found: BTreeMap<String, BTreeMap<Uuid, BTreeSet<String>>> = BTreeMap::new();
        for request in self.receiver.requests() {
            let body = request.json();
            let of_rule = found.entry(body["rule_id"].as_str().unwrap().to_owned()).or_default();
            for run in body["runs"].as_array().unwrap() {
                let id = run["id"].as_str().unwrap().parse().unwrap();
                of_rule.entry(id).or_default().insert(request.header("webhook-id").to_owned());
            }
        }
        found
    }

    /// Every acknowledged run is there.
    async fn nothing_is_lost(&self) {
        for number in &self.acknowledged {
            let run = self.get(&format!("/runs/{}", run_id(*number))).await;
            assert_eq!(run["inputs"]["number"], *number);
        }
    }

    /// Every run of a number that matches a rule is in one of its messages, and no other run is in any.
    async fn everything_is_notified_once(&self) {
        let notified = self.notified();
        for (key, matches) in MATCHES {
            let rule = self.get(&format!("/v1/rules/{key}?windows=1000")).await;
            let notified = &notified[rule["id"].as_str().unwrap()];
            for number in &self.acknowledged {
                for id in matches(*number) {
                    assert!(notified.contains_key(&id), "{key}: run {number} was not notified");
                }
            }
            let right: BTreeSet<Uuid> = (1..=self.sent).flat_map(matches).collect();
            for (id, messages) in notified {
                assert!(right.contains(id), "{key}: run {id} does not match");
                assert_eq!(messages.len(), 1, "{key}: run {id} is in messages {messages:?}");
            }
            windows_follow_each_other(&rule, notified.len());
        }
    }
}

/// A rule's windows do not overlap, neither in changes nor in time, and found what was notified. One that begins at the
/// change where another ended begins at its instant, too.
pub(crate) fn windows_follow_each_other(rule: &Value, notified: usize) {
    let mut windows: Vec<&Value> = rule["windows"].as_array().unwrap().iter().collect();
    windows.sort_by_key(|window| window["after"].as_i64());
    let found: u64 = windows.iter().map(|window| window["runs"].as_u64().unwrap()).sum();
    assert_eq!(found, notified as u64, "{}", rule["key"]);
    assert!(windows.iter().all(|window| window["after"].as_i64() < window["through"].as_i64()));
    assert!(windows.iter().all(|window| window["start_time"].as_str() <= window["end_time"].as_str()));
    for (one, next) in windows.iter().zip(windows.iter().skip(1)) {
        assert!(one["through"].as_i64() <= next["after"].as_i64(), "{one:#} overlaps {next:#}");
        assert!(one["end_time"].as_str() <= next["start_time"].as_str(), "{one:#} overlaps {next:#}");
        let adjoin = one["through"] == next["after"];
        assert!(!adjoin || one["end_time"] == next["start_time"], "time is missing between {one:#} and {next:#}");
        // Each batch has a run that fails, and is looked at whole: this rule has found something in every window.
        assert!(adjoin || rule["key"] != "failing", "changes are missing between {one:#} and {next:#}");
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_notified_twice_over_many_kills() {
    let (_rules, mut life) = Life::begin().await;
    let each = [
        Moment::WhileAccepting,
        Moment::AfterAcknowledging(1),
        Moment::WhileEvaluating(0),
        Moment::WhileEvaluating(8),
        Moment::WhileCatchingUp,
        Moment::WhileDelivering,
        Moment::AfterDelivering,
    ];
    let mut draw = Draw(0x5DEE_CE66_D1CE_4E5B);
    let drawn = std::iter::repeat_with(|| draw.moment());
    let count = moments();
    let moments: Vec<Moment> = each.into_iter().chain(drawn).take(count).collect();
    for moment in moments {
        life.live_and_die(moment).await;
    }
    assert!(life.kills >= count);
    life.come_to_rest().await;
    life.nothing_is_lost().await;
    life.everything_is_notified_once().await;
    let failed = life.get("/v1/deliveries?state=failed&limit=1").await;
    assert_eq!(failed["deliveries"], json!([]), "a kill fails no delivery");
}
