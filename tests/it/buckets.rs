//! A bucket that is slow, away, in trouble or unwilling, and credentials that end: nothing is stored by halves, nothing
//! waits for ever, and what to do about it is said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::blob::s3::S3Blobs;
use runhook::blob::{BlobError, BlobStore as _, Patience, key_of};
use runhook::model::id::{RunId, TenantId};
use runhook::model::run::BlobKey;
use runhook::model::time::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use crate::support::credentials::CredentialsServer;
use crate::support::home::Home;
use crate::support::receiver::{Gate, Received, Receiver};
use crate::support::s3::{ACCESS_KEY, S3Server, SECRET_KEY, Trouble};
use crate::support::server::{Server, Settings};
use crate::support::way::Way;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

const MINUTE: Duration = Duration::from_mins(1);

/// More than is kept in a row, and less.
const LARGE: usize = 200_000;
const SMALL: usize = 100;

fn key() -> BlobKey {
    key_of(TenantId::DEFAULT, RunId(Uuid::from_u128(9)), "inputs", b"x")
}

async fn put(store: &S3Blobs) -> Result<(), BlobError> {
    store.put(&key(), Bytes::from_static(b"x"), "application/json").await
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

async fn status_of(link: impl reqwest::IntoUrl) -> u16 {
    http().get(link).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_server_in_trouble_for_a_moment_is_asked_again() {
    let server = S3Server::start().await;
    let store = S3Blobs::connect(&server.settings).await;
    server.once(Trouble::Says(503, "SlowDown"));
    server.once(Trouble::Says(500, "InternalError"));
    put(&store).await.unwrap();
    assert_eq!(server.count(), 3);
    server.always(Some(Trouble::Says(503, "SlowDown")));
    let error = put(&store).await.unwrap_err();
    assert!(matches!(&error, BlobError::Unavailable(why) if why.contains("503 SlowDown")), "{error}");
    assert_eq!(server.count(), 6, "a server that cannot keep up is not pressed for ever");
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_a_bounded_time() {
    let server = S3Server::start().await;
    server.always(Some(Trouble::Held(Gate::closed())));
    let short = Duration::from_millis(100);
    let patience = Patience { connection: short, answer: short, call: 4 * short, check: short };
    let mut settings = server.settings.clone();
    settings.patience = patience;
    let store = S3Blobs::connect(&settings).await;
    let bounded = async {
        let error = put(&store).await.unwrap_err();
        assert!(matches!(&error, BlobError::Unavailable(why) if why.contains("in time")), "{error}");
        let error = store.check().await.unwrap_err();
        assert!(matches!(&error, BlobError::Unavailable(why) if why.contains("within 100ms")), "{error}");
    };
    tokio::time::timeout(PATIENCE, bounded).await.unwrap();
    let default = Patience::default();
    assert!(default.check <= default.call && default.call <= MINUTE, "a request is not held longer");
}

#[tokio::test]
async fn what_a_server_refuses_is_said_with_what_to_do() {
    let server = S3Server::start().await;
    let store = S3Blobs::connect(&server.settings).await;
    for (status, code, advice) in [
        (403, "AccessDenied", "let these credentials put, get and delete objects"),
        (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        (301, "PermanentRedirect", "`region`"),
        (404, "NoSuchBucket", "make the bucket"),
    ] {
        server.once(Trouble::Says(status, code));
        let error = put(&store).await.unwrap_err();
        assert!(matches!(&error, BlobError::Refused(why) if why.contains(code) && why.contains(advice)), "{error}");
    }
    server.once(Trouble::Says(400, "ExpiredToken"));
    let error = put(&store).await.unwrap_err();
    assert!(matches!(&error, BlobError::Unavailable(_)), "others may come: {error}");
    let mut elsewhere = server.settings.clone();
    elsewhere.bucket = "elsewhere".into();
    let error = S3Blobs::connect(&elsewhere).await.check().await.unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket: make the bucket"), "{error}");
}

#[tokio::test]
async fn a_session_token_travels_with_requests_and_with_links() {
    let server = S3Server::start().await;
    server.take("ASIATEMPORARY", "secret", Some("token+/="));
    let mut settings = server.settings.clone();
    let given = settings.credentials.as_mut().unwrap();
    (given.access_key_id, given.secret_access_key) = ("ASIATEMPORARY".into(), "secret".into());
    let error = S3Blobs::connect(&settings).await.check().await.unwrap_err();
    assert!(error.to_string().contains("403 InvalidToken: look at"), "{error}");
    settings.credentials.as_mut().unwrap().session_token = Some("token+/=".into());
    let store = S3Blobs::connect(&settings).await;
    put(&store).await.unwrap();
    let link = store.link(&key(), SystemClock.now(), MINUTE).await.unwrap();
    assert_eq!(status_of(link.clone()).await, 200);
    let mut without = link.clone();
    let kept = link.query_pairs().into_owned().filter(|(name, _)| name != "X-Amz-Security-Token").collect::<Vec<_>>();
    without.query_pairs_mut().clear().extend_pairs(kept);
    assert_eq!(status_of(without).await, 403);
}

/// A server with a bucket, and a rule on every run that failed.
struct House {
    s3: S3Server,
    way: Way,
    receiver: Receiver,
    rules: TempDir,
}

impl House {
    async fn new() -> Self {
        let s3 = S3Server::start().await;
        let way = Way::to(s3.settings.endpoint.as_ref().unwrap()).await;
        let receiver = Receiver::start([]).await;
        let house = Self { s3, way, receiver, rules: tempfile::tempdir().unwrap() };
        house.rule("all", "");
        house
    }

    fn rule(&self, key: &str, more: &str) {
        let url = self.receiver.url();
        let text = format!(
            "version: 1\nrules:\n  - key: {key}\n    project: \"*\"\n    filter: eq(status, \"error\")\n    \
             every: immediate\n{more}    webhooks: [{{ url: \"{url}?{key}\" }}]\n"
        );
        std::fs::write(self.rules.path().join(format!("{key}.yaml")), text).unwrap();
    }

    /// The blob URL by the way that can be cut.
    fn blob_url(&self) -> String {
        let endpoint = self.s3.settings.endpoint.as_ref().unwrap();
        self.s3.blob_url().replace(endpoint.as_str(), self.way.url(endpoint).as_str())
    }

    /// Settings without credentials.
    fn bare(&self) -> Settings {
        let rules = self.rules.path().to_str().unwrap();
        Settings::with(["--rules", rules, "--allow-targets", "127.0.0.1", "--blob-url", &self.blob_url()])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
            .env("AWS_CONFIG_FILE", "/nowhere")
    }

    fn settings(&self) -> Settings {
        self.bare().env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    }

    /// The next notification: whose it is, and the runs in it.
    async fn next(&mut self) -> (Received, Vec<Value>) {
        let request = tokio::time::timeout(PATIENCE, self.receiver.next()).await.expect("a notification");
        let runs = request.json()["runs"].as_array().unwrap().clone();
        (request, runs)
    }

    async fn next_link(&mut self) -> Url {
        let (_, runs) = self.next().await;
        assert_eq!((runs.len(), &runs[0]["inputs"]), (1, &Value::Null), "large inputs travel as a link");
        runs[0]["inputs_s3_urls"]["ROOT"]["presigned_url"].as_str().unwrap().parse().unwrap()
    }
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A failed run with inputs of about that many bytes.
fn run(number: u128, bytes: usize) -> Value {
    let id = id(number);
    json!({
        "id": id, "trace_id": id, "dotted_order": format!("20260102T030405000000Z{id}"), "name": "agent",
        "run_type": "chain", "session_name": "shop", "error": "boom", "inputs": {"text": "x".repeat(bytes)},
        "start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-02T03:04:06Z",
    })
}

/// Sends runs in one request: the status, `Retry-After`, and what is said.
async fn send(server: &Server, runs: &[Value]) -> (u16, Option<String>, Value) {
    let body = json!({"post": runs, "patch": []}).to_string();
    let request = http().post(format!("{}/runs/batch", server.url)).header("content-type", "application/json");
    let answer = request.body(body).send().await.unwrap();
    let (status, wait) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
    (status, wait.map(|wait| wait.to_str().unwrap().to_owned()), answer["error"].clone())
}

async fn is_there(server: &Server, number: u128) -> bool {
    server.call("GET", &format!("/runs/{}", id(number)), None).await.0 == 200
}

async fn says(server: &Server, word: &str) {
    tokio::time::timeout(PATIENCE, server.until_it_says(word)).await.unwrap_or_else(|_| panic!("{}", server.log()));
}

fn refused() -> (u16, Option<String>, Value) {
    (503, Some("1".to_owned()), json!("the storage for large values does not answer; nothing was stored"))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bucket_is_away_a_batch_is_taken_whole_or_refused_whole() {
    let mut house = House::new().await;
    let server = Server::start(house.settings());
    house.way.cut();
    assert_eq!(send(&server, &[run(1, SMALL), run(2, LARGE)]).await, refused());
    assert!(!is_there(&server, 1).await && !is_there(&server, 2).await, "nothing of a batch that was refused is kept");
    assert_eq!(send(&server, &[run(3, SMALL)]).await.0, 202, "small values need no bucket");
    let (_, runs) = house.next().await;
    assert_eq!(runs[0]["id"], json!(id(3)));
    assert_eq!(server.call("GET", "/readyz", None).await.0, 200);
    house.way.mend();
    assert_eq!(send(&server, &[run(2, LARGE)]).await.0, 202);
    // Links are made without asking the bucket.
    house.way.cut();
    let link = house.next_link().await;
    house.way.mend();
    assert_eq!(status_of(link).await, 200);
    assert!(is_there(&server, 2).await);
    assert_eq!(house.receiver.requests().len(), 2, "what was refused is notified of once, when it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_without_its_bucket_and_says_what_it_lacks() {
    let house = House::new().await;
    house.way.cut();
    let server = Server::start(house.settings());
    says(&server, "large values are answered 503").await;
    assert_eq!(send(&server, &[run(1, SMALL)]).await.0, 202);
    assert_eq!(send(&server, &[run(2, LARGE)]).await, refused());
    house.way.mend();
    assert_eq!(send(&server, &[run(2, LARGE)]).await.0, 202);
    drop(server);
    let server = Server::start(house.bare());
    says(&server, "no credentials").await;
    assert!(server.log().contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{}", server.log());
    assert_eq!(send(&server, &[run(2, LARGE)]).await, refused());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_stops_the_start_and_the_doctor_says_why() {
    let house = House::new().await;
    let elsewhere = house.blob_url().replace("s3://runs", "s3://elsewhere");
    let unknown = ("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN");
    let known = ("AWS_ACCESS_KEY_ID", ACCESS_KEY);
    let cases = [
        (elsewhere.as_str(), known, "the bucket `elsewhere`", "NoSuchBucket: make the bucket"),
        (&house.blob_url(), unknown, "the bucket `runs`", "InvalidAccessKeyId: look at AWS_ACCESS_KEY_ID"),
    ];
    for (blob_url, (name, value), which, why) in cases {
        let settings = house.settings().env(name, value).env("RUNHOOK_BLOB_URL", blob_url);
        let settings = Settings { arguments: settings.arguments[..4].to_vec(), ..settings };
        let home = Arc::new(Home::new());
        let log = Server::start_in(home, settings.clone()).err().expect("it does not start").log;
        assert!(log.contains(which) && log.contains(why) && !log.contains(SECRET_KEY), "{log}");
        let (code, said) = doctor(&Home::new(), &settings);
        assert!(code == 1 && said.contains("FAIL  blobs") && said.contains(why), "{code}: {said}");
    }
    let (code, said) = doctor(&Home::new(), &house.settings());
    assert!(code == 0 && said.contains("ok    blobs"), "{code}: {said}");
}

fn doctor(home: &Home, settings: &Settings) -> (i32, String) {
    let mut command = home.command();
    command.arg("doctor").envs(settings.environment.iter().cloned());
    let blob_url = settings.arguments.iter().skip_while(|argument| *argument != "--blob-url");
    let output = command.args(blob_url).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_credentials_are_renewed_and_a_link_ends_with_them() {
    let mut house = House::new().await;
    let credentials = CredentialsServer::start().await;
    credentials.give("first", MINUTE, &house.s3);
    let server = Server::start(credentials.asked_by(house.bare()));
    // The first are still good for a minute by their own word, and are not used any more.
    let lasts = Duration::from_mins(30);
    credentials.give("second", lasts, &house.s3);
    house.s3.end("first");
    let before = Instant::now();
    assert_eq!(send(&server, &[run(1, LARGE)]).await.0, 202, "{}", server.log());
    let link = house.next_link().await;
    let asked = |name: &str| link.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!(asked("X-Amz-Security-Token"), "token-of-second");
    let seconds: u64 = asked("X-Amz-Expires").parse().unwrap();
    let longest = lasts.as_secs();
    assert!((longest - 1 - before.elapsed().as_secs()..=longest).contains(&seconds), "{seconds} of {longest}");
    assert_eq!(status_of(link.clone()).await, 200);
    let (status, log) = server.stop();
    assert!(status.success() && log.contains("links to large values end with the temporary credentials"), "{log}");
    assert!(!log.contains("token-of") && !log.contains("secret-of"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_renewed_are_used_to_their_end() {
    let mut house = House::new().await;
    let credentials = CredentialsServer::start().await;
    credentials.give("first", MINUTE, &house.s3);
    let server = Server::start(credentials.asked_by(house.bare()));
    credentials.stop_giving();
    assert_eq!(send(&server, &[run(1, LARGE)]).await.0, 202, "{}", server.log());
    let link = house.next_link().await;
    assert_eq!(status_of(link).await, 200);
    says(&server, "credentials were not renewed").await;
    house.s3.end("first");
    assert_eq!(send(&server, &[run(2, LARGE)]).await, refused());
    assert_eq!(send(&server, &[run(3, SMALL)]).await.0, 202);
    credentials.give("second", Duration::from_hours(1), &house.s3);
    assert_eq!(send(&server, &[run(2, LARGE)]).await.0, 202, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_uploads_has_acknowledged_nothing_and_takes_it_when_it_is_sent_again() {
    let mut house = House::new().await;
    let server = Server::start(house.settings());
    let (gate, before) = (Gate::closed(), house.s3.count());
    house.s3.once(Trouble::Held(gate.clone()));
    let runs = [run(1, LARGE), run(2, SMALL)];
    let home = {
        let body = json!({"post": runs, "patch": []}).to_string();
        let request = http().post(format!("{}/runs/batch", server.url)).header("content-type", "application/json");
        let sending = request.body(body).send();
        tokio::pin!(sending);
        tokio::select! {
            answer = &mut sending => panic!("answered before its values are stored: {answer:?}"),
            () = house.s3.arrived(before + 1) => {}
        }
        let home = server.kill9();
        assert!(sending.await.is_err());
        home
    };
    gate.open();
    house.s3.once(Trouble::Says(500, "InternalError"));
    let server = Server::start_in(home, house.settings()).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(!is_there(&server, 1).await && !is_there(&server, 2).await);
    assert_eq!(send(&server, &runs).await.0, 202);
    let (_, told) = house.next().await;
    assert_eq!(told.len(), 2);
    let link = told.iter().find_map(|run| run["inputs_s3_urls"]["ROOT"]["presigned_url"].as_str()).unwrap();
    assert_eq!(status_of(link).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_whose_values_the_bucket_refuses_sends_them_inside_and_holds_up_no_other() {
    let mut house = House::new().await;
    house.rule("heavy", "    batch: { inline_bytes: 0 }\n");
    let server = Server::start(house.settings());
    house.s3.always(Some(Trouble::Says(403, "AccessDenied")));
    assert_eq!(send(&server, &[run(1, 10_000)]).await.0, 202);
    let mut told = Vec::new();
    for _ in 0..2 {
        let (request, runs) = house.next().await;
        assert_eq!(runs[0]["inputs"], run(1, 10_000)["inputs"], "{}", request.target);
        told.push(request.target);
    }
    told.sort();
    assert_eq!(told, ["/hook?all", "/hook?heavy"]);
    house.s3.always(None);
    assert_eq!(send(&server, &[run(2, 10_000)]).await.0, 202);
    let mut links = 0;
    for _ in 0..2 {
        let (_, runs) = house.next().await;
        links += usize::from(runs[0]["inputs_s3_urls"]["ROOT"]["presigned_url"].is_string());
    }
    assert_eq!(links, 1, "a bucket that takes them again gets them");
}
