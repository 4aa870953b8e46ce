//! The payload is the documented one, key for key and byte for byte; batches are cut without losing or repeating a run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use bytes::Bytes;
use proptest::prelude::*;
use runhook::blob::key_of;
use runhook::model::feedback::Score;
use runhook::model::id::RunId;
use runhook::model::message::{Body, Message};
use runhook::model::rule::BatchLimits;
use runhook::model::run::{Attachment, BlobKey, BlobRef, Payload, Status, StoredRun};
use runhook::model::usage::Usage;
use runhook::payload::{Built, render, stats};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;
use uuid::Uuid;

use crate::support::samples::{at, built, documented_run, feedback, json, run_with};

const DOCUMENTED: &str = include_str!("../fixtures/rule_webhook_payload.json");
const DOCUMENTED_STATS: &str = include_str!("../fixtures/feedback_stats.json");

/// Keys of ours that follow the documented ones.
const MORE_OF_A_MESSAGE: [&str; 5] = ["feedback_stats", "rule_name", "project", "part", "parts"];
const MORE_OF_A_RUN: [&str; 6] = ["tags", "error", "parent_run_id", "reference_example_id", "thread_id", "s3_urls"];

/// A link that JSON has to escape.
fn link_to(key: &BlobKey) -> Url {
    Url::parse(&format!("https://blobs.example.com/{}?sig=a\\b&x=1", key.0)).unwrap()
}

fn rendered(body: &Body) -> Bytes {
    let links: HashMap<BlobKey, Url> = body.links.iter().map(|link| (link.key.clone(), link_to(&link.key))).collect();
    render(body, &links)
}

fn parsed(body: &Body) -> Value {
    serde_json::from_slice(&rendered(body)).unwrap()
}

/// The members of an object in the order they are written, each in its own bytes.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

impl Members {
    fn of(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).unwrap().1.get()
    }

    /// The object again without its last members, which must be these.
    fn without_last(&self, more: &[&str]) -> String {
        let (kept, last) = self.0.split_at(self.0.len() - more.len());
        assert_eq!(last.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), more);
        let members: Vec<String> = kept.iter().map(|(name, value)| format!("\"{name}\":{}", value.get())).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// JSON without the white space between its tokens.
fn compact(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keeps = |c: &char| {
        let keep = quoted || !c.is_ascii_whitespace();
        quoted ^= *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        keep
    };
    text.chars().filter(keeps).collect()
}

#[test]
fn a_run_like_the_documented_one_gives_the_documented_bytes_and_then_the_keys_of_ours() {
    let stored = StoredRun { run: documented_run(), feedback: Vec::new(), changed_seq: 1 };
    let built = built(BatchLimits::default(), &[stored]);
    assert!(built.uploads.is_empty());
    let [message] = built.messages.as_slice() else { panic!("{} messages", built.messages.len()) };
    let text = String::from_utf8(rendered(&message.body).to_vec()).unwrap();
    let body = Members::of(&text);
    let run = body.get("runs").strip_prefix('[').unwrap().strip_suffix(']').unwrap();
    let documented = body.without_last(&MORE_OF_A_MESSAGE).replace(run, &Members::of(run).without_last(&MORE_OF_A_RUN));
    assert_eq!(documented, compact(DOCUMENTED));

    assert_eq!(body.get("feedback_stats"), "{}");
    assert_eq!(body.get("rule_name"), r#""The \"documented\" one""#);
    assert_eq!((body.get("project"), body.get("part"), body.get("parts")), ("\"support-bot\"", "1", "1"));
    assert_eq!(Members::of(run).get("tags"), "[]");
    assert_eq!(MORE_OF_A_RUN[1..].iter().filter(|name| Members::of(run).get(name) != "null").count(), 0);
}

#[test]
fn every_value_of_a_run_has_its_documented_form() {
    let (root, parent) = (RunId(Uuid::from_u128(0xa)), RunId(Uuid::from_u128(0xb)));
    let mut stored = run_with(0xc, Some(r#"{"b": 1.50, "a":"é\u00e9"}"#));
    let id = stored.run.id;
    stored.run.trace_id = root.into();
    stored.run.parent_run_id = Some(parent);
    stored.run.dotted_order =
        format!("20260102T030405000006Z{root}.20260102T030405000007Z{parent}.20260102T030406000008Z{id}");
    stored.run.status = Status::Other("interrupted".into());
    stored.run.end_time = None;
    stored.run.error = Some("stop\n\"now\"".into());
    stored.run.tags = vec!["a".into(), "b".into()];
    stored.run.reference_example_id = Some(Uuid::from_u128(0xe));
    stored.run.extra = Some(json(r#"{"metadata":{"thread_id":"","session_id":null,"conversation_id":77}}"#));
    stored.run.usage = Usage {
        prompt_tokens: 2,
        completion_tokens: 3,
        total_tokens: 5,
        prompt_cost: None,
        completion_cost: None,
        total_cost: Some("0.00012300".parse().unwrap()),
        ..Usage::default()
    };
    stored.run.first_token_time = Some(at("2026-01-02T03:04:07Z"));
    stored.run.attachments = vec![Attachment {
        name: "a \"picture\"".into(),
        mime_type: "image/png".into(),
        key: BlobKey("t/r/attachment".into()),
        bytes: 3,
    }];
    stored.feedback = vec![feedback(1, "user_score", Some(Score::Bool(true)), None, None)];
    let built = built(BatchLimits::default(), std::slice::from_ref(&stored));
    let text = String::from_utf8(rendered(&built.messages[0].body).to_vec()).unwrap();
    let run = Members::of(Members::of(&text).get("runs").strip_prefix('[').unwrap().strip_suffix(']').unwrap());
    let stats = r#"{"user_score":{"n":1,"avg":1.0,"show_feedback_arrow":false,"values":{}}}"#;
    let expected = [
        ("status", r#""interrupted""#.to_owned()),
        ("is_root", "false".into()),
        ("end_time", "null".into()),
        ("parent_run_ids", format!(r#"["{root}","{parent}"]"#)),
        ("child_run_ids", "null".into()),
        ("total_tokens", "5".into()),
        ("completion_tokens", "3".into()),
        ("prompt_tokens", "2".into()),
        ("total_cost", r#""0.00012300""#.into()),
        ("completion_cost", "null".into()),
        ("first_token_time", r#""2026-01-02T03:04:07.000000""#.into()),
        ("inputs", r#"{"b": 1.50, "a":"é\u00e9"}"#.into()),
        ("inputs_s3_urls", "null".into()),
        ("outputs", "null".into()),
        ("extra", r#"{"metadata":{"thread_id":"","session_id":null,"conversation_id":77}}"#.into()),
        ("feedback_stats", stats.into()),
        ("tags", r#"["a","b"]"#.into()),
        ("error", r#""stop\n\"now\"""#.into()),
        ("parent_run_id", format!(r#""{parent}""#)),
        ("reference_example_id", format!(r#""{}""#, Uuid::from_u128(0xe))),
        ("thread_id", r#""77""#.into()),
    ];
    for (name, value) in expected {
        assert_eq!(run.get(name), value, "{name}");
    }
    assert!(run.get("app_path").ends_with(&format!("/r/{id}?trace_id={root}&start_time=2026-01-02T03:04:05.000006\"")));
    let picture = &parsed(&built.messages[0].body)["runs"][0]["s3_urls"]["attachment.a \"picture\""];
    assert_eq!(picture["presigned_url"], link_to(&BlobKey("t/r/attachment".into())).as_str());
    assert_eq!((&picture["s3_url"], &picture["mime_type"]), (&"t/r/attachment".into(), &"image/png".into()));
    assert_eq!(Members::of(&text).get("feedback_stats"), stats);
}

#[test]
fn feedback_gives_the_documented_statistics() {
    let evaluator = Some(r#"{"type":"model","metadata":{"__run":{"run_id":"x"}}}"#);
    let person = Some(r#"{"type":"app","metadata":{"__run":null}}"#);
    let records = [
        feedback(1, "user_score", Some(Score::Number(0.0)), None, person),
        feedback(2, "about_langchain", Some(Score::Number(0.0)), None, evaluator),
        feedback(3, "category", None, Some("\"CONCEPTUAL\""), evaluator),
        feedback(4, "user_score", Some(Score::Bool(false)), None, Some("\"odd\"")),
        feedback(5, "vagueness", Some(Score::Number(0.0)), None, evaluator),
    ];
    let stats = serde_json::to_string(&stats::of(&records)).unwrap();
    assert_eq!(format!(r#"{{"feedback_stats":{stats}}}"#), compact(DOCUMENTED_STATS));
}

#[test]
fn a_batch_weighs_each_score_alike_and_sums_labels() {
    let mut one = run_with(1, None);
    one.feedback = vec![
        feedback(1, "k", Some(Score::Number(1.0)), Some("\"a\""), None),
        feedback(2, "k", Some(Score::Number(0.5)), Some("\"a\""), None),
        feedback(3, "comment", None, Some("{\"not\":\"a label\"}"), None),
    ];
    let mut other = run_with(2, None);
    other.feedback =
        vec![feedback(4, "k", Some(Score::Bool(false)), Some("\"b\""), Some(r#"{"metadata":{"__run":{}}}"#))];
    let body = parsed(&built(BatchLimits::default(), &[one, other]).messages[0].body);
    let expected = serde_json::json!({
        "k": { "n": 3, "avg": 0.5, "show_feedback_arrow": true, "values": { "a": 2, "b": 1 } },
        "comment": { "n": 0, "avg": null, "show_feedback_arrow": false, "values": {} },
    });
    assert_eq!(body["feedback_stats"], expected);
    assert_eq!(body["runs"][0]["feedback_stats"]["k"]["avg"], 0.75);
}

#[test]
fn a_batch_is_split_by_count_into_numbered_parts() {
    let runs: Vec<StoredRun> = (1..=5).map(|number| run_with(number, Some("{}"))).collect();
    let built = built(BatchLimits { max_runs: 2, ..BatchLimits::default() }, &runs);
    let seen: Vec<_> = built.messages.iter().map(|message| (message.part, message.parts, message.runs)).collect();
    assert_eq!(seen, [(1, 3, 2), (2, 3, 2), (3, 3, 1)]);
    let ids: HashSet<_> = built.messages.iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_batch_is_split_by_bytes() {
    let text = format!("{{\"q\":\"{}\"}}", "x".repeat(30_000));
    let runs: Vec<StoredRun> = (1..=7).map(|number| run_with(number, Some(&text))).collect();
    let built = built(BatchLimits { max_bytes: 100_000, ..BatchLimits::default() }, &runs);
    assert_eq!(built.messages.iter().map(|message| message.runs).collect::<Vec<_>>(), [3, 3, 1]);
    assert!(built.messages.iter().all(|message| rendered(&message.body).len() <= 100_000));
    assert!(built.uploads.is_empty(), "splitting is preferred to offloading");
}

#[test]
fn a_large_input_leaves_as_a_link_and_the_rest_stays() {
    let text = format!("{{\"q\":\"{}\"}}", "x".repeat(5_000_000));
    let mut stored = run_with(1, Some(&text));
    stored.run.outputs = Some(Payload::Inline(json("{\"a\":1}")));
    let built = built(BatchLimits::default(), std::slice::from_ref(&stored));
    let key = key_of(stored.run.tenant_id, stored.run.id, "inputs", text.as_bytes());
    let [upload] = built.uploads.as_slice() else { panic!("{} uploads", built.uploads.len()) };
    assert_eq!((&upload.key, upload.mime_type.as_str()), (&key, "application/json"));
    assert!(upload.bytes == text.as_bytes());
    let run = &parsed(&built.messages[0].body)["runs"][0];
    assert_eq!(run["inputs"], Value::Null);
    assert_eq!(run["inputs_s3_urls"]["ROOT"]["presigned_url"], link_to(&key).as_str());
    assert_eq!(run["inputs_s3_urls"]["ROOT"]["s3_url"], key.0.as_str());
    assert_eq!(run["outputs"], serde_json::json!({"a": 1}));
    assert_eq!(run["outputs_s3_urls"], Value::Null);
}

#[test]
fn a_run_that_is_too_large_for_any_message_sends_its_large_values_to_blobs() {
    let text = format!("{{\"q\":\"{}\"}}", "x".repeat(20_000));
    let mut stored = run_with(1, Some(&text));
    stored.run.extra = Some(json(&text));
    stored.run.events = Some(json("[]"));
    let fields = |max_bytes| {
        let limits = BatchLimits { max_bytes, ..BatchLimits::default() };
        let built = built(limits, std::slice::from_ref(&stored));
        assert!(max_bytes < 10_000 || rendered(&built.messages[0].body).len() as u64 <= max_bytes);
        let run = parsed(&built.messages[0].body)["runs"][0].clone();
        assert_eq!(run["events"], serde_json::json!([]));
        (built.uploads.len(), run["inputs"].is_null(), run["extra"].is_null(), run["s3_urls"]["extra"].is_null())
    };
    assert_eq!(fields(100_000), (0, false, false, true));
    assert_eq!(fields(30_000), (1, true, false, true));
    assert_eq!(fields(10_000), (2, true, true, false));
    assert_eq!(fields(0), (2, true, true, false), "it is sent on its own, larger than the limit");
}

#[test]
fn nothing_matched_is_no_message() {
    let built = built(BatchLimits::default(), &[]);
    assert!(built.messages.is_empty() && built.uploads.is_empty());
}

fn any_payload() -> impl Strategy<Value = Option<Payload>> {
    let inline =
        (0_usize..4000).prop_map(|size| Payload::Inline(json(&format!("{{\"x\": \"{}\"}}", "é".repeat(size)))));
    let blob = (0_u64..100).prop_map(|bytes| {
        Payload::Blob(BlobRef { key: BlobKey(format!("t/r/inputs-{bytes}")), bytes, extract: json("{}") })
    });
    prop_oneof![Just(None), Just(Some(Payload::Inline(json("{}")))), inline.prop_map(Some), blob.prop_map(Some)]
}

fn any_run() -> impl Strategy<Value = StoredRun> {
    let attachments = prop::collection::vec("[a-z\"\\\\ ]{1,8}", 0..3);
    let judged = prop::collection::vec(("[a-c]", any::<Option<f32>>(), "[x-z]{0,2}"), 0..4);
    (any_payload(), any_payload(), attachments, judged, any::<Option<String>>(), 0_usize..4000).prop_map(
        |(inputs, outputs, attachments, scores, error, extra)| {
            let mut stored = run_with(0, None);
            stored.run.inputs = inputs;
            stored.run.outputs = outputs;
            stored.run.error = error;
            stored.run.extra = (extra > 500).then(|| json(&format!("{{\"x\":\"{}\"}}", "y".repeat(extra))));
            let names: BTreeSet<String> = attachments.into_iter().collect();
            stored.run.attachments = names
                .into_iter()
                .map(|name| Attachment { key: BlobKey("t/r/a".into()), name, mime_type: "a/b".into(), bytes: 1 })
                .collect();
            stored.feedback = scores
                .iter()
                .map(|(key, score, label)| {
                    let score = score.filter(|score| score.is_finite()).map(|score| Score::Number(score.into()));
                    feedback(1, key, score, Some(&format!("\"{label}\"")), None)
                })
                .collect();
            stored
        },
    )
}

fn all_runs(messages: &[Message]) -> Vec<Value> {
    messages.iter().flat_map(|message| parsed(&message.body)["runs"].as_array().unwrap().clone()).collect()
}

fn check_exactly_one_holds(sent: &Value, field: &str, had: Option<&Payload>) -> Result<(), TestCaseError> {
    let (inline, urls) = (&sent[field], &sent[format!("{field}_s3_urls")]);
    prop_assert!(inline.is_null() || urls.is_null(), "{} is there twice", field);
    prop_assert_eq!(had.is_none(), inline.is_null() && urls.is_null(), "{}", field);
    if let Some(key) = urls["ROOT"]["s3_url"].as_str() {
        let link = link_to(&BlobKey(key.into()));
        prop_assert_eq!(&urls["ROOT"]["presigned_url"], link.as_str());
    }
    Ok(())
}

fn check_uploads(built: &Built, runs: &[StoredRun]) -> Result<(), TestCaseError> {
    let mut stored: Vec<&BlobKey> = built.uploads.iter().map(|upload| &upload.key).collect();
    let count = stored.len();
    stored.sort();
    stored.dedup();
    prop_assert_eq!(stored.len(), count, "a blob is uploaded twice");
    for run in runs {
        stored.extend(run.run.attachments.iter().map(|attachment| &attachment.key));
        for payload in [&run.run.inputs, &run.run.outputs].into_iter().flatten() {
            if let Payload::Blob(blob) = payload {
                stored.push(&blob.key);
            }
        }
    }
    let linked = built.messages.iter().flat_map(|message| &message.body.links);
    for link in linked {
        prop_assert!(stored.contains(&&link.key), "{:?} is linked and nowhere stored", link.key);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_matched_is_told_once_in_order_and_within_the_limits(
        runs in prop::collection::vec(any_run(), 0..9),
        max_runs in 0_u32..5,
        max_bytes in 1_000_u64..40_000,
        inline_bytes in 0_u64..6_000,
    ) {
        let mut runs = runs;
        for (index, stored) in runs.iter_mut().enumerate() {
            stored.run.id = RunId(Uuid::from_u128(index as u128));
        }
        let built = built(BatchLimits { max_runs, max_bytes, inline_bytes }, &runs);
        let parts = built.messages.len();
        for (index, message) in built.messages.iter().enumerate() {
            prop_assert_eq!((message.part as usize, message.parts as usize), (index + 1, parts));
            let body = parsed(&message.body);
            prop_assert_eq!((&body["part"], &body["parts"]), (&message.part.into(), &message.parts.into()));
            prop_assert_eq!(body["runs"].as_array().unwrap().len(), message.runs as usize);
            prop_assert!(message.runs <= max_runs.max(1));
            prop_assert!(message.runs == 1 || rendered(&message.body).len() as u64 <= max_bytes);
        }
        let sent = all_runs(&built.messages);
        prop_assert_eq!(sent.len(), runs.len());
        for (sent, stored) in sent.iter().zip(&runs) {
            prop_assert_eq!(&sent["id"], &stored.run.id.to_string());
            check_exactly_one_holds(sent, "inputs", stored.run.inputs.as_ref())?;
            check_exactly_one_holds(sent, "outputs", stored.run.outputs.as_ref())?;
        }
        check_uploads(&built, &runs)?;
    }
}
