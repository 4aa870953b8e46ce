//! From a data directory to PostgreSQL with the real binary: what one server had, replicas have, whatever was killed on
//! the way; and what stands in the way is said before anything is written.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use runhook::model::id::TenantId;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use url::Url;
use uuid::Uuid;

use crate::replicas::{BOUND, rest, within};
use crate::support::home::Home;
use crate::support::postgres::Database;
use crate::support::receiver::{Answer, Gate, Received, Receiver};
use crate::support::s3::S3Server;
use crate::support::server::{Server, Settings, runhook};
use crate::survival::{fails, run_id};

const TOKEN: &str = "planted-token-9c1";

const RULE: &str = r#"
version: 1
rules:
  - key: failing
    name: Failing
    project: moving
    filter: eq(status, "error")
    every: immediate
    webhooks: [{ url: "${RECEIVER}", headers: { X-Token: "${TOKEN}" } }]
"#;

/// A run whose inputs are so many characters long, as a post.
fn post(number: usize, length: usize) -> Value {
    let id = run_id(number);
    json!({
        "id": id, "trace_id": id, "dotted_order": format!("20260102T030405000000Z{id}"),
        "name": format!("run {number} \u{0} é"), "run_type": "chain", "session_name": "moving",
        "error": fails(number).then_some("boom"), "inputs": {"text": "x".repeat(length)}, "outputs": {},
        "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z",
    })
}

/// A patch of a run that nobody posted and that names no project.
fn lone_patch(id: Uuid) -> Value {
    json!({"post": [], "patch": [{
        "id": id, "trace_id": id, "dotted_order": format!("20260102T030405000000Z{id}"),
        "outputs": {"came": "first"}, "end_time": "2026-01-02T03:04:06Z",
    }]})
}

async fn accepted(server: &Server, path: &str, body: &Value) {
    let (status, answer) = server.call("POST", path, Some(body)).await;
    assert!((200..300).contains(&status), "{path}: {status}: {answer}");
}

/// Where a server was, and where replicas are to be.
struct Stage {
    home: Arc<Home>,
    database: Database,
    receiver: Receiver,
}

impl Stage {
    async fn begin() -> Option<Self> {
        let database = Database::create().await?;
        let home = Arc::new(Home::embedded());
        fs::create_dir(home.path().join("rules")).unwrap();
        fs::write(home.path().join("rules/moving.yaml"), RULE).unwrap();
        Some(Self { home, database, receiver: Receiver::start([]).await })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A server on the data directory.
    fn embedded(&self) -> Server {
        let settings = Settings::with(["--rules", self.at("rules").to_str().unwrap()]);
        self.start(settings)
    }

    /// A replica on what was copied.
    fn replica(&self) -> Server {
        let (keys, blobs) = (self.at("data/keys"), format!("dir:{}", self.at("blobs").display()));
        let given = ["--key-file", keys.to_str().unwrap(), "--blob-url", &blobs];
        self.start(Settings::with(given).env("RUNHOOK_DATABASE_URL", self.database.url.as_str()))
    }

    fn start(&self, mut settings: Settings) -> Server {
        settings.arguments.extend(["--allow-targets", "127.0.0.0/8"].map(str::to_owned));
        let settings = settings.env("RECEIVER", &self.receiver.url()).env("TOKEN", TOKEN);
        Server::start_in(Arc::clone(&self.home), settings).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The command that copies, in batches of a few rows.
    fn migrate(&self, more: &[&str]) -> Command {
        let mut command = self.migrate_from("data", more);
        command.args(["--batch-rows", "7"]).env("RUNHOOK_BLOB_URL", "dir:blobs");
        command
    }

    fn migrate_from(&self, from: &str, more: &[&str]) -> Command {
        let mut command = runhook();
        command.current_dir(self.home.path()).args(["migrate", "--from", from]).args(more).stdin(Stdio::null());
        command.env("RUNHOOK_DATABASE_URL", self.database.url.as_str());
        command
    }

    /// Lets it copy until it has said this many lines of which the last holds this word, and kills it. Whether it was
    /// still at work.
    fn copy_until(&self, lines: usize, word: &str) -> bool {
        let mut child = self.migrate(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut found = said.enumerate().skip_while(|(number, line)| number + 1 < lines || !line.contains(word));
        let was_at_work = found.next().is_some();
        if was_at_work {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        was_at_work
    }

    /// A data directory with a few runs, whose server has ended.
    async fn with_runs(&self, numbers: std::ops::Range<usize>) {
        let server = self.embedded();
        let runs: Vec<Value> = numbers.map(|number| post(number, 10)).collect();
        accepted(&server, "/runs/batch", &json!({"post": runs, "patch": []})).await;
        rest(&server).await;
        let (status, log) = server.stop();
        assert!(status.success(), "{log}");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

fn refused(mut command: Command, code: i32, expected: &str) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    assert!(said(&output).contains(expected), "{expected}: {}", said(&output));
}

/// The bytes of the database, its log included.
fn bytes_of(data_dir: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    ["runhook.db", "runhook.db-wal"].map(|name| (name, fs::read(data_dir.join(name)).unwrap_or_default())).into()
}

/// What both must answer alike.
async fn answers(server: &Server) -> BTreeMap<String, Value> {
    let fixed =
        ["/v1/rules", "/v1/rules/failing", "/v1/deliveries?state=delivered&limit=100", "/sessions", "/feedback"];
    let runs = [1, 3, 77, 500].map(|number| format!("/runs/{}", run_id(number)));
    let mut found = BTreeMap::new();
    for path in fixed.into_iter().map(str::to_owned).chain(runs) {
        let (status, mut answer) = server.call("GET", &path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        // Links are made for whoever asks.
        if let Some(run) = answer.as_object_mut() {
            run.retain(|name, _| !name.ends_with("_urls"));
        }
        found.insert(path, answer);
    }
    found
}

/// Fills a server with some of everything, and kills it while the last notification is under way. What it answered
/// before, and that notification.
async fn fill(stage: &mut Stage, gate: &Gate) -> (BTreeMap<String, Value>, Received) {
    let server = stage.embedded();
    for first in (1..150).step_by(30) {
        let runs: Vec<Value> = (first..first + 30).map(|number| post(number, number)).collect();
        accepted(&server, "/runs/batch", &json!({"post": runs, "patch": []})).await;
    }
    for number in 500..503 {
        accepted(&server, "/runs", &post(number, 100_000 + number)).await;
    }
    for number in [1_usize, 3, 77] {
        let feedback = json!({"run_id": run_id(number), "key": "user_score", "score": number, "comment": "naïve"});
        accepted(&server, "/feedback", &feedback).await;
    }
    for number in 900..905 {
        accepted(&server, "/runs/batch", &lone_patch(run_id(number))).await;
    }
    rest(&server).await;
    let heard = stage.receiver.requests().len();
    stage.receiver.answer_next(Answer::Held(gate.clone()));
    accepted(&server, "/runs", &post(600, 10)).await;
    within(BOUND, "a notification", stage.receiver.arrived(heard + 1)).await;
    let before = answers(&server).await;
    server.kill9();
    let pending = stage.receiver.requests()[heard].clone();
    (before, pending)
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_go_on_where_a_server_was_killed_although_the_copy_was_killed_many_times() {
    let Some(mut stage) = Stage::begin().await else { return };
    let gate = Gate::closed();
    let (before, pending) = fill(&mut stage, &gate).await;
    let bytes = bytes_of(&stage.at("data"));
    assert!(!bytes["runhook.db-wal"].is_empty(), "a killed server leaves its log");

    let mut kills = 0;
    while kills < 24 && stage.copy_until(kills + 1, "") {
        kills += 1;
        if kills == 5 {
            let settings = Settings::with(["--key-file", "data/keys", "--blob-url", "dir:blobs"]);
            let mut serve = runhook();
            serve.args(["serve", "--listen", "127.0.0.1:0"]).args(settings.arguments).current_dir(stage.home.path());
            serve.env("RUNHOOK_DATABASE_URL", stage.database.url.as_str());
            refused(serve, 3, "holds a copy that is not finished");
        }
    }
    assert!(kills > 10, "only {kills} kills");
    let output = stage.migrate(&[]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("counts and checksums agree"), "{}", said(&output));
    assert!(said(&output).contains("3 blobs copied and read back"), "{}", said(&output));
    let again = stage.migrate(&["--json"]).output().unwrap();
    let document: Value = serde_json::from_slice(&again.stdout).unwrap_or_else(|_| panic!("{}", said(&again)));
    assert!(again.status.success() && document["finished_before"] == json!(true), "{}", said(&again));
    assert!(bytes_of(&stage.at("data")) == bytes, "the file is only read");

    let heard = stage.receiver.requests().len();
    let replica = stage.replica();
    for (path, answer) in answers(&replica).await {
        assert!(answer == before[&path], "{path} is answered otherwise");
    }
    gate.open();
    within(BOUND, "what was pending", stage.receiver.arrived(heard + 1)).await;
    let sent = stage.receiver.requests()[heard].clone();
    assert_eq!(sent.header("webhook-id"), pending.header("webhook-id"));
    assert_eq!((sent.header("x-token"), &sent.body), (TOKEN, &pending.body));
    goes_on(&replica, &mut stage, heard + 1).await;
}

/// New runs are notified on top of the old ones, waiting patches find their runs, and large values are there.
async fn goes_on(replica: &Server, stage: &mut Stage, heard: usize) {
    for number in 905..908 {
        accepted(replica, "/runs/batch", &lone_patch(run_id(number))).await;
    }
    for number in [900, 904, 907] {
        let mut run = post(number, 10);
        run.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "outputs" | "end_time"));
        accepted(replica, "/runs", &run).await;
        let (_, run) = replica.call("GET", &format!("/runs/{}", run_id(number)), None).await;
        assert_eq!(run["outputs"], json!({"came": "first"}), "run {number}");
    }
    accepted(replica, "/runs", &post(603, 10)).await;
    rest(replica).await;
    within(BOUND, "what came later", stage.receiver.arrived(heard + 1)).await;
    let requests = stage.receiver.requests().split_off(heard);
    let told: Vec<Value> =
        requests.iter().flat_map(|request| request.json()["runs"].as_array().unwrap().clone()).collect();
    let told: Vec<&str> = told.iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert!(told.contains(&run_id(603).to_string().as_str()), "{told:?}");
    assert!(!told.contains(&run_id(600).to_string().as_str()), "a match moves with its run: {told:?}");
    let (_, large) = replica.call("GET", &format!("/runs/{}", run_id(501)), None).await;
    assert_eq!(large["inputs"]["text"].as_str().unwrap_or_else(|| panic!("{large}")).len(), 100_501);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_changed_in_the_target_meanwhile_is_found_and_a_new_copy_puts_it_right() {
    let Some(stage) = Stage::begin().await else { return };
    stage.with_runs(1..40).await;
    for (table, damage) in [
        ("runs", "UPDATE runs SET name = 'another' WHERE run_id = (SELECT run_id FROM runs LIMIT 1)"),
        (
            "run_bodies",
            "UPDATE run_bodies SET body = set_byte(body, 9, 255 - get_byte(body, 9)) WHERE run_id = \
                        (SELECT run_id FROM run_bodies LIMIT 1)",
        ),
        ("matches", "DELETE FROM matches WHERE run_id = (SELECT run_id FROM matches LIMIT 1)"),
        ("rules", "UPDATE rules SET rule = rule || ' '"),
    ] {
        assert!(stage.copy_until(1, "comparing"), "it was killed when everything was copied");
        stage.database.sql(damage).await;
        refused(stage.migrate(&[]), 1, &format!("table `{table}` differs"));
        let anew = stage.migrate(&["--start-over"]).output().unwrap();
        assert!(anew.status.success(), "{table}: {}", said(&anew));
        stage.database.sql(BEGIN_AGAIN).await;
    }
}

/// Takes a finished copy away.
const BEGIN_AGAIN: &str = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_said_before_anything_is_copied() {
    let Some(stage) = Stage::begin().await else { return };
    refused(stage.migrate(&[]), 3, "there is no database data/runhook.db");
    let server = stage.embedded();
    refused(stage.migrate(&[]), 3, &format!("in use by the server at {}", server.url));
    refused(stage.migrate(&[]), 3, "stop it first");
    server.kill9();
    let mut nowhere = stage.migrate(&[]);
    nowhere.env_remove("RUNHOOK_DATABASE_URL");
    refused(nowhere, 3, "RUNHOOK_DATABASE_URL, or with --to");
    refused(stage.migrate_from("data", &[]), 3, "--blob-url s3://BUCKET/PREFIX");
    refused(stage.migrate(&["--to", "sqlite://other.db"]), 3, "RUNHOOK_DATABASE_URL, or with --to");
    let generated = runhook().args(["keys", "generate", "--file"]).arg(stage.at("other-keys")).status().unwrap();
    assert!(generated.success());
    refused(stage.migrate(&["--key-file", "other-keys"]), 3, "not the key 1 this data was sealed with");
    refused(stage.migrate(&["--key-file", "no-keys"]), 3, "no-keys is missing");

    // A copy of another directory is under way.
    assert!(stage.copy_until(1, "copying"));
    fs::rename(stage.at("data"), stage.at("first")).unwrap();
    stage.with_runs(1..4).await;
    refused(stage.migrate(&[]), 3, "unfinished copy of another database");
    let anew = stage.migrate(&["--start-over"]).output().unwrap();
    assert!(anew.status.success(), "{}", said(&anew));
    // The directory was used after it was copied.
    stage.with_runs(5..9).await;
    refused(stage.migrate(&[]), 3, "the target holds data already");
    refused(stage.migrate(&["--start-over"]), 3, "the target holds data already");
    // Its schema is another version's.
    let url = format!("sqlite://{}", stage.at("data/runhook.db").display());
    let mut file = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("DELETE FROM _sqlx_migrations WHERE version = 3").execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    refused(stage.migrate(&[]), 3, "if it is older, bring it up to date");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_used_after_its_copy_began_is_copied_anew() {
    let Some(stage) = Stage::begin().await else { return };
    stage.with_runs(1..40).await;
    assert!(stage.copy_until(3, "copying"));
    stage.with_runs(40..43).await;
    refused(stage.migrate(&[]), 3, "was used after its copy began");
    let anew = stage.migrate(&["--start-over"]).output().unwrap();
    assert!(anew.status.success(), "{}", said(&anew));
    let replica = stage.replica();
    let (status, _) = replica.call("GET", &format!("/runs/{}", run_id(42)), None).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_replicas_have_used_is_left_as_it_is() {
    let Some(stage) = Stage::begin().await else { return };
    stage.with_runs(1..4).await;
    let replica = stage.replica();
    refused(stage.migrate(&["--start-over"]), 3, "the target holds data already");
    accepted(&replica, "/runs", &post(700, 10)).await;
    refused(stage.migrate(&[]), 3, "the target holds data already");
    let (status, _) = replica.call("GET", &format!("/runs/{}", run_id(700)), None).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_go_into_a_bucket_with_their_bytes_and_stay_where_the_directory_is_the_same() {
    let Some(stage) = Stage::begin().await else { return };
    let server = stage.embedded();
    for number in 1..4 {
        accepted(&server, "/runs", &post(number, 100_000 + number)).await;
    }
    rest(&server).await;
    server.kill9();
    let s3 = S3Server::start().await;
    let credentials = s3.settings.credentials.as_ref().unwrap();
    let endpoint: &Url = s3.settings.endpoint.as_ref().unwrap();
    let blob_url = format!("s3://{}/{}?endpoint={endpoint}", s3.settings.bucket, s3.settings.prefix);
    let mut to_bucket = stage.migrate_from("data", &["--blob-url", &blob_url]);
    to_bucket.env("AWS_ACCESS_KEY_ID", &credentials.access_key_id).env("AWS_REGION", "us-east-1");
    to_bucket.env("AWS_SECRET_ACCESS_KEY", secrecy::ExposeSecret::expose_secret(&credentials.secret_access_key));
    let output = to_bucket.env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap();
    assert!(output.status.success() && said(&output).contains("3 blobs copied"), "{}", said(&output));
    for number in 1..4 {
        let folder = PathBuf::from(format!("{}/{}", TenantId::DEFAULT, run_id(number)));
        let file = |root: PathBuf| {
            fs::read(fs::read_dir(root.join(&folder)).unwrap().next().unwrap().unwrap().path()).unwrap()
        };
        assert!(file(s3.root.path().join("runs/a/b")) == file(stage.at("data/blobs")), "run {number}");
    }
    stage.database.sql(BEGIN_AGAIN).await;
    let more = ["--blob-url", "dir:./data/../data/blobs", "--to", stage.database.url.as_str()];
    let output = stage.migrate_from("sqlite://data/runhook.db", &more).output().unwrap();
    assert!(output.status.success() && said(&output).contains("blobs stay where they are"), "{}", said(&output));
}
