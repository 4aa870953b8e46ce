//! Several replicas on one PostgreSQL, as the real binary: they share the work, take over from one another, hear of each
//! other's changes, and live through the loss of the database.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::support::home::Home;
use crate::support::postgres::Database;
use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::server::{NotStarted, Server, Settings, runhook};
use crate::support::way::Way;
use crate::survival::{Draw, fails, run_id};

const KILLS: usize = 16;
const RUNS_PER_BATCH: usize = 6;

/// The longest anything takes here: a lease runs 30 seconds, a loop that sees no poke looks every 30.
pub(crate) const BOUND: Duration = Duration::from_secs(65);
/// Less than the time after which loops look by themselves: whoever is faster than this was poked.
pub(crate) const POKED: Duration = Duration::from_secs(20);

/// PostgreSQL asks nobody for one here; that is no reason to show it.
const PASSWORD: &str = "planted-password-7f41";

const RULE: &str = r#"
version: 1
rules:
  - key: failing
    name: Failing
    project: replicas
    filter: eq(status, "error")
    every: immediate
    webhooks: [{ url: "${RECEIVER}" }]
"#;

pub(crate) async fn within<T>(bound: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(bound, future).await;
    ended.unwrap_or_else(|_| panic!("{what}: not within {bound:?}"))
}

/// What replicas share.
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) home: Arc<Home>,
    pub(crate) receiver: Receiver,
}

impl Shared {
    pub(crate) async fn begin() -> Option<Self> {
        Some(Self::on(Database::create().await?).await)
    }

    pub(crate) async fn on(database: Database) -> Self {
        let home = Arc::new(Home::embedded());
        std::fs::create_dir(home.path().join("rules")).unwrap();
        std::fs::write(home.path().join("rules/survival.yaml"), RULE).unwrap();
        generate_key(&home.path().join("keys"));
        Self { database, home, receiver: Receiver::start([]).await }
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    /// How a replica with these arguments reaches the database at this URL.
    pub(crate) fn settings(&self, url: &Url, more: &[&str]) -> Settings {
        let given = ["--key-file", &self.at("keys"), "--allow-targets", "127.0.0.0/8"].map(str::to_owned);
        let blobs = ["--blob-url".to_owned(), format!("dir:{}", self.at("blobs"))];
        let more = more.iter().map(|argument| (*argument).to_owned());
        let arguments = given.into_iter().chain(blobs).chain(more).collect();
        Settings { arguments, ..Settings::default() }
            .env("RUNHOOK_DATABASE_URL", url.as_str())
            .env("RECEIVER", &self.receiver.url())
    }

    pub(crate) fn start(&self, settings: Settings) -> Server {
        Server::start_in(Arc::clone(&self.home), settings).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// A replica that does everything and keeps to the folder of rules.
    pub(crate) fn replica(&self) -> Server {
        self.start(self.settings(&self.database.url, &["--rules", &self.at("rules")]))
    }

    fn replica_with_roles(&self, roles: &str) -> Server {
        self.start(self.settings(&self.database.url, &["--roles", roles]))
    }

    /// A command on the database, beside whoever serves.
    pub(crate) fn command(&self, arguments: &[&str]) -> (i32, String) {
        self.command_at(&self.database.url, arguments)
    }

    /// A command on the database at this URL.
    pub(crate) fn command_at(&self, url: &Url, arguments: &[&str]) -> (i32, String) {
        let settings = self.settings(url, &[]);
        let mut command = runhook();
        command.args(arguments).args(&settings.arguments[..2]).args(&settings.arguments[4..]);
        let output = command.envs(settings.environment).current_dir(self.home.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    /// Waits until the receiver has seen all of these runs that fail.
    pub(crate) async fn all_notified(&self, runs: &BTreeSet<usize>) {
        let wanted: BTreeSet<_> = runs.iter().filter(|number| fails(**number)).map(|number| run_id(*number)).collect();
        loop {
            // Counted before it is looked: what arrives in between is not waited for in vain.
            let heard = self.receiver.requests().len();
            let found = notified(&self.receiver);
            if wanted.iter().all(|id| found.contains_key(id)) {
                return;
            }
            self.receiver.arrived(heard + 1).await;
        }
    }

    /// Each run that fails is in one message, no other run is in any.
    pub(crate) fn check_once(&self, runs: &BTreeSet<usize>) {
        let found = notified(&self.receiver);
        for number in runs.iter().filter(|number| fails(**number)) {
            let messages = found.get(&run_id(*number)).map_or(0, BTreeSet::len);
            assert_eq!(messages, 1, "run {number} belongs into one message");
        }
        for (id, messages) in &found {
            assert_eq!(messages.len(), 1, "run {id} was matched twice: it is in messages {messages:?}");
        }
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

/// These runs as the body of a batch.
pub(crate) fn batch(numbers: &[usize]) -> Value {
    let run = |number: &usize| {
        let id = run_id(*number);
        json!({
            "id": id, "trace_id": id, "dotted_order": format!("20260102T030405000000Z{id}"),
            "name": "replicated", "run_type": "chain", "session_name": "replicas",
            "error": fails(*number).then_some("boom"), "inputs": {"number": number}, "outputs": {},
            "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z",
        })
    };
    json!({"post": numbers.iter().map(run).collect::<Vec<_>>(), "patch": []})
}

pub(crate) fn generate_key(file: &Path) {
    let made = runhook().args(["keys", "generate", "--file"]).arg(file).output().unwrap();
    assert!(made.status.success());
}

pub(crate) async fn send(server: &Server, numbers: &[usize]) -> u16 {
    server.call("POST", "/runs/batch", Some(&batch(numbers))).await.0
}

/// Asks until the answer is the one that is waited for.
pub(crate) async fn until(server: &Server, path: &str, wanted: impl Fn(u16, &Value) -> bool) {
    let ask = async {
        loop {
            let (status, answer) = server.call("GET", path, None).await;
            if wanted(status, &answer) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(BOUND, path, ask).await;
}

/// Waits until nothing is left to do.
pub(crate) async fn rest(server: &Server) {
    until(server, "/v1/status", |_, status| status["projects_behind"] == 0).await;
    until(server, "/v1/deliveries?state=pending&limit=1", |_, page| page["deliveries"] == json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_share_the_work_and_notify_once() {
    let Some(shared) = Shared::begin().await else { return };
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| shared.replica());
        let other = scope.spawn(|| shared.replica());
        (one.join().unwrap(), other.join().unwrap())
    });
    let mut sent = BTreeSet::new();
    for round in 0..20 {
        let numbers: Vec<usize> = (round * 2 * RUNS_PER_BATCH + 1..).take(2 * RUNS_PER_BATCH).collect();
        let (left, right) = numbers.split_at(RUNS_PER_BATCH);
        let answers = tokio::join!(send(&one, left), send(&other, right));
        assert_eq!(answers, (202, 202));
        sent.extend(numbers);
    }
    within(BOUND, "notifications", shared.all_notified(&sent)).await;
    rest(&one).await;
    shared.check_once(&sent);
    assert!(!shared.home.path().join("data").exists(), "replicas have no data directory");
    for server in [one, other] {
        let (status, log) = server.stop();
        assert!(status.success() && !log.contains("ERROR"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_replicas_are_killed_the_others_take_over_and_nothing_is_lost_or_notified_twice() {
    let Some(shared) = Shared::begin().await else { return };
    let mut replicas = vec![shared.replica(), shared.replica()];
    let mut draw = Draw(0x2545_F491_4F6C_DD1D);
    let (mut sent, mut acknowledged) = (0, BTreeSet::new());
    for _ in 0..KILLS {
        let victim = usize::try_from(draw.below(2)).unwrap();
        let gate = (draw.below(2) == 0).then(Gate::closed);
        if let Some(gate) = &gate {
            shared.receiver.answer_next(Answer::Held(gate.clone()));
        }
        let heard = shared.receiver.requests().len();
        for server in &replicas {
            let numbers: Vec<usize> = (sent + 1..=sent + RUNS_PER_BATCH).collect();
            sent += RUNS_PER_BATCH;
            assert_eq!(send(server, &numbers).await, 202);
            acknowledged.extend(numbers);
        }
        if draw.below(2) == 0 {
            within(BOUND, "a notification", shared.receiver.arrived(heard + 1)).await;
        }
        replicas.swap_remove(victim).kill9();
        // The one that is left does the work of both, before another comes.
        let numbers: Vec<usize> = (sent + 1..=sent + RUNS_PER_BATCH).collect();
        sent += RUNS_PER_BATCH;
        assert_eq!(send(&replicas[0], &numbers).await, 202);
        acknowledged.extend(numbers);
        if let Some(gate) = gate {
            gate.open();
        }
        replicas.push(shared.replica());
    }
    within(BOUND, "notifications", shared.all_notified(&acknowledged)).await;
    rest(&replicas[0]).await;
    for number in &acknowledged {
        let (status, run) = replicas[1].call("GET", &format!("/runs/{}", run_id(*number)), None).await;
        assert_eq!((status, &run["inputs"]["number"]), (200, &json!(number)), "run {number} was acknowledged");
    }
    shared.check_once(&acknowledged);
    let (_, failed) = replicas[0].call("GET", "/v1/deliveries?state=failed&limit=1", None).await;
    assert_eq!(failed["deliveries"], json!([]), "a kill fails no delivery");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_from_role_to_role_without_waiting_for_the_next_look() {
    let Some(mut shared) = Shared::begin().await else { return };
    let api = shared.replica_with_roles("api");
    let ingest = shared.replica_with_roles("ingest");
    let scheduler = shared.replica_with_roles("scheduler");
    let delivery = shared.replica_with_roles("delivery");
    let body = json!({
        "files": [{"name": "f.yaml", "text": RULE}], "variables": {"RECEIVER": shared.receiver.url()},
        "dry_run": false, "prune": false,
    });
    assert_eq!(api.call("POST", "/v1/rules/apply", Some(&body)).await.0, 200);
    for first in [1, 10, 20] {
        let numbers: Vec<usize> = (first..first + RUNS_PER_BATCH).collect();
        assert_eq!(send(&ingest, &numbers).await, 202);
        let request = within(POKED, "a notification", shared.receiver.next()).await;
        assert_eq!(request.json()["runs"].as_array().unwrap().len(), 2);
    }
    assert_eq!(send(&api, &[1]).await, 404);
    for server in [&scheduler, &delivery] {
        assert_eq!(server.call("GET", "/readyz", None).await.0, 200);
        assert_eq!(server.call("GET", "/runs/x", None).await.0, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_rules_or_keys_on_one_replica_reaches_the_other() {
    let Some(mut shared) = Shared::begin().await else { return };
    let one = shared.replica();
    let other = shared.replica_with_roles("ingest,scheduler,delivery,api");
    assert_eq!(send(&other, &[3]).await, 202);
    within(POKED, "a notification", shared.receiver.next()).await;
    assert_eq!(one.call("POST", "/v1/rules/failing/pause", None).await.0, 200);
    assert_eq!(send(&other, &[6]).await, 202);
    rest(&other).await;
    assert_eq!(one.call("POST", "/v1/rules/failing/resume", None).await.0, 200);
    assert_eq!(send(&other, &[9]).await, 202);
    let request = within(POKED, "a notification", shared.receiver.next()).await;
    assert_eq!(request.json()["runs"][0]["id"], json!(run_id(9)), "what came during the pause is not told");

    let rotated = one.run(["keys", "rotate"]);
    let said = String::from_utf8(rotated.stderr).unwrap();
    assert!(said.contains("put the new key's line last in every replica's key file"), "{said}");
    let file = shared.home.path().join("keys");
    let old = std::fs::read_to_string(&file).unwrap();
    let new = runhook().args(["keys", "generate", "--id", "2"]).output().unwrap().stdout;
    let new = String::from_utf8(new).unwrap();
    std::fs::write(&file, format!("{old}{new}")).unwrap();
    until(&other, "/v1/keys", |_, answer| answer["keys"].as_array().is_some_and(|keys| keys.len() == 2)).await;
    std::fs::write(&file, format!("{new}{old}")).unwrap();
    until(&other, "/v1/keys", |_, answer| answer["keys"][0]["id"] == 2).await;
    let resealed = one.run(["keys", "rotate", "--reseal"]);
    assert!(resealed.status.success(), "{}", String::from_utf8_lossy(&resealed.stderr));
    assert_eq!(send(&other, &[12]).await, 202);
    within(POKED, "a notification", shared.receiver.next()).await;

    let (made, api_key) = one.call("POST", "/v1/api-keys", Some(&json!({"name": "ci"}))).await;
    assert_eq!(made, 201, "{api_key}");
    until(&other, "/v1/runs", |status, _| status == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_said_and_survived() {
    let Some(mut shared) = Shared::begin().await else { return };
    let way = Way::to(&shared.database.url).await;
    let mut url = way.url(&shared.database.url);
    url.set_password(Some(PASSWORD)).unwrap();
    let server = shared.start(shared.settings(&url, &["--rules", &shared.at("rules"), "--log", "trace"]));
    assert_eq!(send(&server, &[3]).await, 202);
    within(POKED, "a notification", shared.receiver.next()).await;
    way.cut();
    until(&server, "/readyz", |status, _| status == 503).await;
    assert_eq!(server.call("GET", "/healthz", None).await.0, 200, "a restart would not help");
    let (status, answer) = server.call("POST", "/runs/batch", Some(&batch(&[6]))).await;
    assert_eq!(status, 503, "{answer}");
    assert!(!answer.to_string().contains(PASSWORD), "{answer}");
    way.mend();
    until(&server, "/readyz", |status, _| status == 200).await;
    assert_eq!(send(&server, &[9]).await, 202);
    let (_, status_page) = server.call("GET", "/v1/status", None).await;
    let request = within(BOUND, "a notification", shared.receiver.next()).await;
    assert!(request.json().to_string().contains(&run_id(9).to_string()), "{}", request.json());
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(log.contains("it will be repeated") && log.contains("DEBUG"), "{log}");
    assert!(!log.contains(PASSWORD) && !status_page.to_string().contains(PASSWORD), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_another_key_does_not_start() {
    let Some(shared) = Shared::begin().await else { return };
    let server = shared.replica();
    std::fs::rename(shared.home.path().join("keys"), shared.home.path().join("right")).unwrap();
    generate_key(&shared.home.path().join("keys"));
    let settings = shared.settings(&shared.database.url, &[]);
    let refused: NotStarted = Server::start_in(Arc::clone(&shared.home), settings).err().unwrap();
    assert!(refused.log.contains("not the key 1 this data was sealed with"), "{}", refused.log);
    server.until_it_says("pass failed").await;
    assert_eq!(server.call("GET", "/readyz", None).await.0, 200, "it goes on with the keys it has");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_on_the_database_beside_its_replicas() {
    let Some(shared) = Shared::begin().await else { return };
    let (code, said) = shared.command(&["doctor"]);
    assert!(code == 0 && said.contains("to apply"), "{code}: {said}");
    let (code, said) = shared.command(&["migrate"]);
    assert!(code == 0 && said.contains("applied migration 0001") && said.contains("postgres://"), "{code}: {said}");
    let server = shared.replica();
    let (code, said) = shared.command(&["migrate"]);
    assert!(code == 0 && said.contains("is up to date"), "{code}: {said}");
    let (code, said) = shared.command(&["doctor"]);
    assert!(code == 0 && said.contains("at schema version") && said.contains("can be written"), "{code}: {said}");
    let (code, said) = shared.command(&["rules", "list"]);
    assert!(code == 0 && said.contains("failing"), "{code}: {said}");
    let (_, status) = server.call("GET", "/v1/status", None).await;
    assert_eq!(status["data_dir"], Value::Null);
    assert!(status["database"].as_str().unwrap().starts_with("postgres://127.0.0.1"), "{status}");
}
