//! Runs that are too large to travel inside a notification, through the real binary: they arrive as links, which anyone
//! who holds one downloads from.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::s3::S3Server;
use crate::support::server::{Server, Settings};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// An API key, which a link must work without.
const API_KEY: &str = "rh_0123456789abcdef0123456789abcdef";

const RUN: &str = "0195c0de-0000-7000-8000-000000000005";

/// Five megabytes of inputs, with spaces and escapes that reading and writing JSON would not keep.
fn inputs() -> String {
    format!("{{\"q\":  \"{}\"}}", "é\\u00e9x".repeat(600_000))
}

/// The settings of a server with one rule that sends to this receiver.
fn settings(folder: &Path, receiver: &Receiver, blob_url: &str) -> Settings {
    let rule = format!(
        "version: 1\nrules:\n  - key: all\n    project: \"*\"\n    filter: eq(status, \"success\")\n    every: immediate\n    \
         webhooks: [{{ url: \"{}\" }}]\n",
        receiver.url()
    );
    std::fs::write(folder.join("all.yaml"), rule).unwrap();
    let rules = folder.to_str().unwrap();
    Settings::with(["--rules", rules, "--allow-targets", "127.0.0.1", "--blob-url", blob_url])
}

/// A client that sends nothing but what it is told, and goes through no proxy.
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

async fn send(server: &Server, inputs: &str) {
    let body = format!(
        "{{\"id\":\"{RUN}\",\"name\":\"agent\",\"run_type\":\"chain\",\"start_time\":\"2026-11-22T08:00:00Z\",\
         \"end_time\":\"2026-11-22T08:00:01Z\",\"inputs\":{inputs},\"outputs\":{{\"a\":1}}}}"
    );
    let request = http().post(format!("{}/runs", server.url)).header("x-api-key", API_KEY);
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202);
}

async fn next(receiver: &mut Receiver) -> Received {
    tokio::time::timeout(PATIENCE, receiver.next()).await.unwrap()
}

/// The link to the inputs of the only run of a notification.
fn link(request: &Received) -> String {
    let run = &request.json()["runs"][0];
    assert_eq!((&run["inputs"], &run["outputs"]), (&Value::Null, &json!({"a": 1})), "large inputs travel as a link");
    run["inputs_s3_urls"]["ROOT"]["presigned_url"].as_str().unwrap().to_owned()
}

async fn downloads_to(link: &str, expected: &str) {
    let answer = http().get(link).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{link}");
    let bytes = answer.bytes().await.unwrap();
    assert!(bytes == expected.as_bytes(), "{} bytes of {}", bytes.len(), expected.len());
}

fn files_under(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn five_megabytes_of_inputs_arrive_as_a_link_into_the_directory_that_downloads_to_the_same_bytes() {
    let mut receiver = Receiver::start([]).await;
    let folders = tempfile::tempdir().unwrap();
    let (rules, blobs) = (folders.path().join("rules"), folders.path().join("blobs"));
    std::fs::create_dir(&rules).unwrap();
    let settings = settings(&rules, &receiver, &format!("dir:{}", blobs.display()));
    let server = Server::start(settings.env("RUNHOOK_API_KEY", API_KEY));
    let inputs = inputs();
    send(&server, &inputs).await;
    let link = link(&next(&mut receiver).await);
    assert!(link.starts_with(&format!("{}/blobs/", server.url)), "{link}");
    downloads_to(&link, &inputs).await;
    let forged = link.replace("sig=", "sig=0");
    assert_eq!(http().get(forged).send().await.unwrap().status().as_u16(), 403);
    let unsigned = format!("{}/v1/runs/{RUN}", server.url);
    assert_eq!(
        http().get(unsigned).send().await.unwrap().status().as_u16(),
        401,
        "the link needs no key; the API does"
    );
}

#[tokio::test]
async fn five_megabytes_of_inputs_arrive_as_a_link_to_s3_that_downloads_to_the_same_bytes() {
    let mut receiver = Receiver::start([]).await;
    let s3 = S3Server::start().await;
    let endpoint = s3.settings.endpoint.clone().unwrap();
    let rules = tempfile::tempdir().unwrap();
    let blob_url = format!("s3://{}/{}?endpoint={endpoint}", s3.settings.bucket, s3.settings.prefix);
    let credentials = s3.settings.credentials.as_ref().unwrap();
    let settings = settings(rules.path(), &receiver, &blob_url)
        .env("AWS_ACCESS_KEY_ID", &credentials.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", secrecy::ExposeSecret::expose_secret(&credentials.secret_access_key))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let server = Server::start(settings);
    let inputs = inputs();
    send(&server, &inputs).await;
    let link = link(&next(&mut receiver).await);
    assert!(link.starts_with(&format!("{endpoint}runs/a/b/")) && link.contains("X-Amz-Signature="), "{link}");
    downloads_to(&link, &inputs).await;
    let forged = |signature: &str| link.replace(signature, &signature.chars().rev().collect::<String>());
    let signature = link.split("X-Amz-Signature=").nth(1).unwrap().split('&').next().unwrap();
    assert_eq!(http().get(forged(signature)).send().await.unwrap().status().as_u16(), 403);
    let (status, log) = server.stop();
    assert!(status.success() && !log.contains("not-a-real-secret") && !log.contains("X-Amz"), "{log}");
}

#[tokio::test]
async fn a_delivery_whose_blob_is_gone_fails_with_a_reason_and_its_run_can_still_be_seen() {
    let mut receiver = Receiver::start([Answer::Status(500), Answer::Status(200)]).await;
    let folders = tempfile::tempdir().unwrap();
    let (rules, blobs) = (folders.path().join("rules"), folders.path().join("blobs"));
    std::fs::create_dir(&rules).unwrap();
    let server = Server::start(settings(&rules, &receiver, &format!("dir:{}", blobs.display())));
    send(&server, &inputs()).await;
    next(&mut receiver).await;
    let files = files_under(&blobs);
    assert_eq!(files.len(), 1, "{files:?}");
    std::fs::remove_file(&files[0]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let reason = loop {
        let (_, failed) = server.call("GET", "/v1/deliveries?state=failed", None).await;
        if let Some(reason) = failed["deliveries"][0]["reason"].as_str() {
            break reason.to_owned();
        }
        assert!(Instant::now() < deadline, "{}", server.log());
    };
    assert!(reason.contains("a blob it links to cannot be read: the blob is gone"), "{reason}");
    assert_eq!(receiver.requests().len(), 1);
    let (status, run) = server.call("GET", &format!("/v1/runs/{RUN}"), None).await;
    assert_eq!((status, &run["links"]["inputs"]["url"]), (200, &Value::Null), "{run:#}");
}
