//! Which run is whose child, whatever comes first.

use runhook::model::run::{Run, Status, StoredRun};
use runhook::model::time::Timestamp;
use serde_json::{Value, json};

use super::{Engine, every_way, root, run_of, send, span};
use crate::support::home::is_on_a_server;

fn timeless(stored: StoredRun) -> Run {
    Run { modified_at: Timestamp(0), ..stored.run }
}

async fn stored(engine: &Engine) -> Vec<Run> {
    engine.runs().await.into_iter().map(timeless).collect()
}

/// A root, two children of its, and a grandchild.
fn tree() -> Vec<Value> {
    let exception = json!({ "name": "exception", "timeUnixNano": "1795348802000000000", "attributes": super::pairs(&json!({
        "exception.message": "no such order", "exception.stacktrace": "at shop:1" })) });
    let mut failed = span(3, Some(1), json!({ "gen_ai.tool.name": "look_up" }));
    failed["events"] = json!([exception]);
    failed["status"] = json!({ "code": 2, "message": "failed" });
    vec![
        span(
            1,
            None,
            json!({ "input.value": "{\"q\": 1}", "langsmith.metadata.thread_id": "t-1", "list": [1, true, 0.5] }),
        ),
        span(2, Some(1), json!({ "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 3 })),
        failed,
        span(4, Some(3), json!({})),
    ]
}

#[tokio::test]
async fn the_same_trace_is_the_same_runs_in_either_encoding() {
    let mut seen = Vec::new();
    for request in every_way(&tree()) {
        let engine = Engine::start().await;
        let content_type = request.headers()["content-type"].to_str().unwrap().to_owned();
        let answer = engine.send(request).await.expect(200);
        let is_json = content_type.starts_with("application/json");
        let expected = if is_json { ("application/json", &b"{}"[..]) } else { ("application/x-protobuf", &b""[..]) };
        assert_eq!((answer.header("content-type"), &*answer.body), (Some(expected.0), expected.1));
        seen.push(stored(&engine).await);
    }
    assert!(seen.iter().all(|runs| *runs == seen[0]), "{seen:#?}");
    let named = |name: &str| seen[0].iter().find(|run| run.name == name).unwrap();
    let top = named("span 1");
    assert_eq!((top.id.to_string(), top.trace_id.to_string(), top.parent_run_id), (root(), root(), None));
    assert_eq!(named("span 2").id.to_string(), run_of(2));
    for (child, parent) in [("span 2", "span 1"), ("span 3", "span 1"), ("span 4", "span 3")] {
        let (child, parent) = (named(child), named(parent));
        assert_eq!((child.parent_run_id, child.trace_id), (Some(parent.id), top.trace_id));
        assert!(child.dotted_order.starts_with(&format!("{}.", parent.dotted_order)));
    }
    let failed = named("span 3");
    assert_eq!(failed.status, Status::Error);
    assert_eq!(failed.error.as_deref(), Some("no such order\n\nStacktrace:\nat shop:1"));
    assert_eq!((&named("span 2").status, named("span 2").usage.prompt_tokens), (&Status::Success, 3));
    assert_eq!(top.end_time.unwrap().0 - top.start_time.0, 500_000);
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    (0..count)
        .flat_map(|at| {
            shorter.iter().map(move |order| {
                let mut longer = order.clone();
                longer.insert(at, count - 1);
                longer
            })
        })
        .collect()
}

#[tokio::test]
async fn spans_in_any_order_one_at_a_time_and_repeated_give_the_same_runs() {
    let spans = tree();
    let whole = Engine::start().await;
    send(&whole, &spans).await.expect(200);
    let expected = stored(&whole).await;
    // Each is a database of its own.
    for order in orders(4).into_iter().step_by(if is_on_a_server() { 7 } else { 1 }) {
        let engine = Engine::start().await;
        for index in &order {
            send(&engine, &[spans[*index].clone()]).await.expect(200);
        }
        for index in order.iter().rev().step_by(2) {
            send(&engine, &[spans[*index].clone(), spans[order[0]].clone()]).await.expect(200);
        }
        assert_eq!(stored(&engine).await, expected, "{order:?}");
    }
}

#[tokio::test]
async fn a_child_whose_parent_never_comes_is_kept_in_its_trace() {
    let engine = Engine::start().await;
    send(&engine, &[span(2, Some(1), json!({})), span(3, Some(2), json!({}))]).await.expect(200);
    let runs = stored(&engine).await;
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run.trace_id.to_string() == root() && run.parent_run_id.is_some()), "{runs:#?}");
    assert!(engine.run(&run_of(1)).await.is_none());
    // What stands for a root under its span's id is no run.
    send(&engine, &[span(1, None, json!({}))]).await.expect(200);
    assert!(engine.run(&run_of(1)).await.is_none() && engine.run(&root()).await.is_some());
    assert_eq!(engine.run(&run_of(2)).await.unwrap().run.parent_run_id.unwrap().to_string(), root());
}

#[tokio::test]
async fn ids_that_spans_bring_along_win_over_those_they_have() {
    let (top, below) = ("01a2010f-f272-74d0-816b-895478208850", "01a20110-1e2b-7995-b1aa-a4e1248ba31a");
    let path = format!("20261122T120000000000Z{top}.20261122T120001000000Z{below}");
    let spans = [
        span(1, None, json!({ "langsmith.span.id": top, "langsmith.trace.id": top })),
        span(2, Some(7), json!({ "langsmith.span.id": below, "langsmith.span.dotted_order": path })),
        // Another library's, below a span whose run is called differently.
        span(3, Some(2), json!({})),
        span(4, Some(1), json!({ "langsmith.span.parent_id": below })),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let engine = Engine::start().await;
        for index in order {
            send(&engine, &[spans[index].clone()]).await.expect(200);
        }
        for (run, parent) in [(below, top), (&run_of(3), below), (&run_of(4), below)] {
            let run = engine.run(run).await.unwrap().run;
            assert_eq!((run.parent_run_id.unwrap().to_string(), run.trace_id.to_string()), (parent.into(), top.into()));
        }
        assert_eq!(engine.run(below).await.unwrap().run.dotted_order, path);
    }
}

#[tokio::test]
async fn a_span_that_says_it_is_a_root_is_one() {
    let engine = Engine::start().await;
    let spans = [span(1, Some(9), json!({ "langsmith.is_root": true })), span(2, Some(1), json!({}))];
    send(&engine, &spans).await.expect(200);
    assert!(engine.run(&root()).await.unwrap().run.is_root());
    assert_eq!(engine.run(&run_of(2)).await.unwrap().run.parent_run_id.unwrap().to_string(), root());
}

#[tokio::test]
async fn a_span_that_has_not_ended_is_pending_until_it_comes_again() {
    let engine = Engine::start().await;
    let mut open = span(1, None, json!({ "langsmith.span.tags": "a" }));
    open["endTimeUnixNano"] = json!("0");
    send(&engine, &[open]).await.expect(200);
    assert_eq!(engine.run(&root()).await.unwrap().run.status, Status::Pending);
    send(&engine, &[span(1, None, json!({ "langsmith.span.tags": "a, b" }))]).await.expect(200);
    let run = engine.run(&root()).await.unwrap().run;
    assert_eq!((run.status, run.tags.len()), (Status::Success, 2));
}
