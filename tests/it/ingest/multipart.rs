//! Multipart requests that are not as they should be.

use runhook::config::Limits;
use serde_json::json;

use super::engine::{Engine, form, multipart_request};

const GOOD: &str = "01a2010f-fb2e-7c64-8ea0-e9d36097932f";
const BAD: &str = "01a2010f-fb2e-7c64-8ea0-e9d36097932e";
const RUN: &[u8] = br#"{"name":"n","run_type":"chain","start_time":"2026-11-22T02:22:34Z"}"#;
const JSON: &str = "application/json";

#[tokio::test]
async fn a_bad_part_does_not_sink_the_good_ones() {
    let engine = Engine::start().await;
    let (good, bad) = (format!("post.{GOOD}"), format!("post.{BAD}"));
    let (extra, outputs) = (format!("post.{GOOD}.extra"), format!("post.{GOOD}.outputs"));
    let answer = engine
        .multipart(&[
            (&bad, JSON, br#"{"name":"n","start_time":"soon"}"#),
            (&good, JSON, RUN),
            (&extra, JSON, b"{broken"),
            (&outputs, JSON, br#"{"a":1}"#),
            ("something.else", JSON, b"{}"),
            ("feedback.x", JSON, br#"{"key":"k"}"#),
        ])
        .await
        .expect(202)
        .json();
    assert_eq!(answer["runs"], 1);
    let refused: Vec<_> = answer["refused"].as_array().unwrap().iter().map(|refused| &refused["part"]).collect();
    assert_eq!(refused, [bad.as_str(), extra.as_str(), "something.else", "feedback.x"]);
    assert!(answer["refused"][0]["error"].as_str().unwrap().contains("`start_time`"));
    assert_eq!(engine.get(&format!("/runs/{GOOD}")).await.json()["outputs"], json!({"a": 1}));
    assert_eq!(engine.runs().await.len(), 1);
}

#[tokio::test]
async fn a_request_of_which_nothing_can_be_read_is_422_and_never_404() {
    let engine = Engine::start().await;
    let answer = engine.multipart(&[("post.not-an-id", JSON, RUN)]).await.expect(422).json();
    assert!(answer["error"].is_string() && answer["details"].is_string());
    assert_eq!(answer["refused"][0]["part"], "post.not-an-id");
    engine.multipart(&[]).await.expect(202);
}

#[tokio::test]
async fn broken_framing_costs_only_what_follows_it() {
    let engine = Engine::start().await;
    let mut body = form(&[(&format!("post.{GOOD}"), JSON, RUN), (&format!("post.{BAD}"), JSON, RUN)]);
    body.truncate(body.len() - 60);
    let answer = engine.send(multipart_request(body, None)).await.expect(202).json();
    assert_eq!(answer["runs"], 1);
    assert_eq!(answer["refused"].as_array().unwrap().len(), 1);
    assert!(engine.run(GOOD).await.is_some());
}

#[tokio::test]
async fn a_body_in_many_small_chunks_without_a_length_is_read() {
    let engine = Engine::start().await;
    let body = form(&[(&format!("post.{GOOD}"), JSON, RUN)]);
    let chunks: Vec<_> =
        body.chunks(3).map(|chunk| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(chunk))).collect();
    let body = axum::body::Body::from_stream(futures_util::stream::iter(chunks));
    engine.send(multipart_request(body, None)).await.expect(202);
    assert!(engine.run(GOOD).await.is_some());
}

#[tokio::test]
async fn an_attachment_over_its_limit_is_refused_and_its_run_is_not() {
    let engine = Engine::with(Limits { attachment_bytes: 10, ..Limits::default() }).await;
    let (run, file) = (format!("post.{GOOD}"), format!("attachment.{GOOD}.big"));
    let answer = engine.multipart(&[(&file, "text/plain", b"eleven byte"), (&run, JSON, RUN)]).await.expect(202).json();
    assert_eq!(answer["refused"][0]["part"], file);
    assert!(engine.run(GOOD).await.unwrap().run.attachments.is_empty());
}

#[tokio::test]
async fn a_multipart_request_without_a_boundary_is_415() {
    let engine = Engine::start().await;
    engine.call("POST", "/runs/multipart", "{}").await.expect(415);
}

#[tokio::test]
async fn more_runs_than_the_limit_are_413() {
    let engine = Engine::with(Limits { runs_per_request: 1, ..Limits::default() }).await;
    let parts = [(&*format!("post.{GOOD}"), JSON, RUN), (&*format!("post.{BAD}"), JSON, RUN)];
    engine.multipart(&parts).await.expect(413);
    assert!(engine.runs().await.is_empty());
}

/// Clients that are answered 404 give multipart up for as long as they live.
#[tokio::test]
async fn nothing_that_is_sent_here_is_answered_404_whatever_it_names() {
    let engine = Engine::start().await;
    let (id, json) = ("01a2010f-fb2e-7c64-8ea0-e9d36097932f", "application/json");
    let [post, patch, feedback, attachment] =
        ["post", "patch", "feedback", "attachment"].map(|event| format!("{event}.{id}"));
    let attachment = format!("{attachment}.note");
    let elsewhere = br#"{"name":"n","run_type":"chain","start_time":"2026-11-22T02:22:34Z","session_id":"01a2010f-fb2e-7c64-8ea0-e9d36097932e"}"#;
    let said = br#"{"key":"k","run_id":"01a2010f-fb2e-7c64-8ea0-e9d36097932d","score":1}"#;
    let bodies = [
        form(&[(&post, json, elsewhere)]),
        form(&[(&patch, json, br#"{"end_time":"2026-11-22T02:22:35Z"}"#)]),
        form(&[(&feedback, json, said)]),
        form(&[(&attachment, "text/plain", b"bytes")]),
        form(&[("nonsense", json, b"{}")]),
        form(&[(&post, json, b"[")]),
        form(&[]),
        b"no form at all".to_vec(),
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let answer = engine.send(multipart_request(body, None)).await;
        assert_ne!(answer.status.as_u16(), 404, "{number}: {:?}", answer.body);
        assert!(!answer.status.is_server_error(), "{number}: {:?}", answer.body);
    }
}
