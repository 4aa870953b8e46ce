//! Large values and files: where they go and how they come back.

use std::time::Duration;

use runhook::model::run::Payload;
use serde_json::{Value, json};

use super::engine::{Engine, Part};

const ID: &str = "01a2010f-fb2e-7c64-8ea0-e9d36097932f";
const RUN: &[u8] =
    br#"{"name":"big","run_type":"chain","start_time":"2026-11-22T02:22:34Z","end_time":"2026-11-22T02:22:35Z"}"#;

fn names() -> (String, String, String) {
    (format!("post.{ID}"), format!("post.{ID}.inputs"), format!("attachment.{ID}.notes"))
}

/// A link's path and query, as this server is asked for it.
fn local(link: &Value) -> String {
    link.as_str().unwrap().strip_prefix("http://runhook.test").unwrap().to_owned()
}

#[tokio::test]
async fn five_megabytes_of_inputs_come_back_byte_for_byte() {
    let engine = Engine::start().await;
    let (run, inputs, _) = names();
    let text = format!(r#"{{"question" : "{}", "n": 1.10, "model":"m"}}"#, "ab\\u00e9\\n".repeat(600_000));
    assert!(text.len() > 5_000_000);
    let json = "application/json";
    engine.multipart(&[(&run, json, RUN), (&inputs, json, text.as_bytes())]).await.expect(202);
    let stored = engine.run(ID).await.unwrap().run;
    let offloaded = stored.inputs.and_then(|inputs| match inputs {
        Payload::Blob(blob) => Some(blob),
        Payload::Inline(_) => None,
    });
    let blob = offloaded.unwrap();
    assert_eq!(blob.bytes, text.len() as u64);
    assert!(blob.extract.text().len() <= 16 * 1024);
    let extract: Value = blob.extract.read().unwrap();
    assert_eq!(extract["model"], "m");
    let answer = engine.get(&format!("/runs/{ID}")).await.expect(200);
    let shown: std::collections::HashMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(shown["inputs"].get(), text);
}

#[tokio::test]
async fn the_same_large_inputs_twice_are_a_repeat() {
    let engine = Engine::start().await;
    let (run, inputs, _) = names();
    let text = json!({"q": "x".repeat(200_000)}).to_string();
    let parts: [Part<'_>; 2] = [(&run, "application/json", RUN), (&inputs, "application/json", text.as_bytes())];
    engine.multipart(&parts).await.expect(202);
    let once = engine.run(ID).await.unwrap().changed_seq;
    engine.multipart(&parts).await.expect(202);
    assert_eq!(engine.run(ID).await.unwrap().changed_seq, once);
}

#[tokio::test]
async fn an_attachment_downloads_through_its_link_until_that_expires() {
    let engine = Engine::start().await;
    let (run, _, file) = names();
    engine.multipart(&[(&run, "application/json; length=97", RUN), (&file, "text/html; length=9", b"<b>hi</b>")]).await;
    let shown = engine.get(&format!("/runs/{ID}")).await.expect(200).json();
    let entry = &shown["s3_urls"]["attachment.notes"];
    assert_eq!(entry["mime_type"], "text/html");
    let link = local(&entry["presigned_url"]);
    let download = engine.get(&link).await.expect(200);
    assert_eq!(download.body, "<b>hi</b>");
    assert_eq!(download.header("content-type"), Some("text/html"));
    assert_eq!(download.header("content-disposition"), Some("attachment"));
    assert_eq!(download.header("x-content-type-options"), Some("nosniff"));
    engine.get(&link.replace("expires=1", "expires=2")).await.expect(403);
    engine.get(link.split('?').next().unwrap()).await.expect(403);
    engine.clock.advance(Duration::from_hours(25));
    assert_eq!(engine.get(&link).await.expect(403).json()["code"], "expired");
}

#[tokio::test]
async fn an_attachment_may_come_before_its_run() {
    let engine = Engine::start().await;
    let (run, _, file) = names();
    engine.multipart(&[(&file, "text/plain", b"hello")]).await.expect(202);
    engine.multipart(&[(&run, "application/json", RUN)]).await.expect(202);
    assert_eq!(engine.run(ID).await.unwrap().run.attachments[0].bytes, 5);
}

#[tokio::test]
async fn storage_that_fails_refuses_the_request_for_a_while() {
    let engine = Engine::start().await;
    let (run, inputs, _) = names();
    let text = json!({"q": "x".repeat(200_000)}).to_string();
    let blobs = engine.home.data_dir().join("blobs");
    std::fs::remove_dir_all(&blobs).unwrap();
    std::fs::write(&blobs, "not a directory").unwrap();
    let parts: [Part<'_>; 2] = [(&run, "application/json", RUN), (&inputs, "application/json", text.as_bytes())];
    let answer = engine.multipart(&parts).await.expect(503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(engine.run(ID).await.is_none(), "a row must not name a blob that is not there");
}
