//! Promises 1 to 3 under `kill -9`: an acknowledged run is there, a match is notified once, a message reaches its end.
//!
//! The process is killed at chosen moments (while a request is under way, right after acknowledgements, while the
//! receiver holds a notification, right after it answered), first each of them in turn and then as they are drawn.
//! Nothing waits for time to pass: every moment is an event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::server::{Server, Settings};

const KILLS: usize = 60;
const RUNS_PER_BATCH: usize = 6;
/// How often the outcome is asked for before the test gives up; each question is one request of the API.
const QUESTIONS: usize = 20_000;

const RULE: &str = r#"
version: 1
rules:
  - key: failing
    name: Failing
    project: survival
    filter: eq(status, "error")
    every: immediate
    webhooks: [{ url: "${RECEIVER}" }]
"#;

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// While a batch is on its way: it may be stored or not, and nobody was told.
    WhileAccepting,
    /// Right after this many acknowledgements.
    AfterAcknowledging(usize),
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
        match self.below(4) {
            0 => Moment::WhileAccepting,
            1 => Moment::AfterAcknowledging(usize::try_from(1 + self.below(3)).unwrap()),
            2 => Moment::WhileDelivering,
            _ => Moment::AfterDelivering,
        }
    }
}

pub(crate) fn run_id(number: usize) -> Uuid {
    Uuid::from_u128(0x5000_0000_0000_4000_8000_0000_0000_0000 + number as u128)
}

pub(crate) fn fails(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// The next runs as the body of a batch.
pub(crate) fn batch(numbers: &[usize]) -> Value {
    let run = |number: &usize| {
        let id = run_id(*number);
        json!({
            "id": id, "trace_id": id, "dotted_order": format!("20260102T030405000000Z{id}"),
            "name": "survivor", "run_type": "chain", "session_name": "survival",
            "error": fails(*number).then_some("boom"), "inputs": {"number": number}, "outputs": {},
            "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z",
        })
    };
    json!({"post": numbers.iter().map(run).collect::<Vec<_>>(), "patch": []})
}

/// A server that is killed again and again, and what it promised.
struct Life {
    server: Option<Server>,
    receiver: Receiver,
    http: reqwest::Client,
    sent: usize,
    acknowledged: BTreeSet<usize>,
}

impl Life {
    async fn begin() -> (tempfile::TempDir, Self) {
        let rules = tempfile::tempdir().unwrap();
        std::fs::write(rules.path().join("survival.yaml"), RULE).unwrap();
        let receiver = Receiver::start([]).await;
        let folder = rules.path().to_str().unwrap();
        let settings =
            Settings::with(["--rules", folder, "--allow-targets", "127.0.0.0/8"]).env("RECEIVER", &receiver.url());
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let server = Some(Server::start(settings));
        (rules, Self { server, receiver, http, sent: 0, acknowledged: BTreeSet::new() })
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn rise_again(&mut self) {
        self.server = self.server.take().map(Server::restart);
    }

    fn next_numbers(&mut self) -> Vec<usize> {
        self.sent += RUNS_PER_BATCH;
        (self.sent - RUNS_PER_BATCH + 1..=self.sent).collect()
    }

    fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/runs/batch", self.server().url);
        self.http.post(url).header("content-type", "application/json").body(body.to_string())
    }

    async fn send(&mut self) {
        let numbers = self.next_numbers();
        let answer = self.post(&batch(&numbers)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202);
        self.acknowledged.extend(numbers);
    }

    /// Sends a batch and waits until some notification of this life is with the receiver.
    async fn send_and_hear(&mut self) {
        let heard = self.receiver.requests().len();
        self.send().await;
        self.receiver.arrived(heard + 1).await;
    }

    async fn live_and_die(&mut self, moment: Moment) {
        match moment {
            Moment::WhileAccepting => {
                let numbers = self.next_numbers();
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
                    self.send().await;
                }
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

    /// Waits until every delivery has reached its end.
    async fn come_to_rest(&self) {
        for _ in 0..QUESTIONS {
            let (status, stirred) = self.server().call("GET", "/v1/status", None).await;
            assert_eq!(status, 200);
            let (_, pending) = self.server().call("GET", "/v1/deliveries?state=pending&limit=1", None).await;
            if stirred["projects_behind"] == 0 && pending["deliveries"].as_array().unwrap().is_empty() {
                return;
            }
        }
        panic!("deliveries or changes are still waiting; the server said:\n{}", self.server().log());
    }
}

/// Which run was in which messages, over all the receiver ever saw.
pub(crate) fn notified(receiver: &Receiver) -> BTreeMap<Uuid, BTreeSet<String>> {
    let mut found: BTreeMap<Uuid, BTreeSet<String>> = BTreeMap::new();
    for request in receiver.requests() {
        for run in request.json()["runs"].as_array().unwrap() {
            let id = run["id"].as_str().unwrap().parse().unwrap();
            found.entry(id).or_default().insert(request.header("webhook-id").to_owned());
        }
    }
    found
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_notified_twice_over_sixty_kills() {
    let (_rules, mut life) = Life::begin().await;
    let each =
        [Moment::WhileAccepting, Moment::AfterAcknowledging(1), Moment::WhileDelivering, Moment::AfterDelivering];
    let mut draw = Draw(0x5DEE_CE66_D1CE_4E5B);
    let drawn = std::iter::repeat_with(|| draw.moment());
    let moments: Vec<Moment> = each.into_iter().chain(drawn).take(KILLS).collect();
    for moment in moments {
        life.live_and_die(moment).await;
    }
    life.come_to_rest().await;

    for number in &life.acknowledged {
        let (status, run) = life.server().call("GET", &format!("/runs/{}", run_id(*number)), None).await;
        assert_eq!(status, 200, "run {number} was acknowledged and is gone");
        assert_eq!(run["inputs"]["number"], *number);
    }
    let notified = notified(&life.receiver);
    for number in life.acknowledged.iter().filter(|number| fails(**number)) {
        let messages = notified.get(&run_id(*number)).map(BTreeSet::len);
        assert_eq!(messages, Some(1), "run {number} belongs into one message");
    }
    for (id, messages) in &notified {
        assert_eq!(messages.len(), 1, "run {id} was matched twice: it is in messages {messages:?}");
    }
    let (_, failed) = life.server().call("GET", "/v1/deliveries?state=failed&limit=1", None).await;
    assert_eq!(failed["deliveries"], json!([]), "a kill fails no delivery");
}
