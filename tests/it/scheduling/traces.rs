//! Rules that look at whole traces: they wait for the trace to rest, and see all of it.

use std::time::Duration;

use runhook::model::json::RawJson;
use runhook::model::rule::Rule;
use runhook::model::run::{Fields, Payload};
use runhook::task::Next;

use super::world::{World, begun, below, ended, every, finished, rule};

const SETTLE: Duration = Duration::from_secs(10);

fn failed(name: &str) -> Fields {
    Fields { error: Some("boom".to_owned()), ..finished(name) }
}

/// Finished runs named `a` in traces with an error somewhere.
fn tree_rule(key: &str) -> Rule {
    Rule { tree_filter: Some("eq(status, \"error\")".to_owned()), settle: SETTLE, ..rule(key) }
}

#[tokio::test]
async fn a_rule_on_traces_waits_until_the_trace_has_rested() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[tree_rule("r")]).await;
    world.post(1, begun("a")).await;
    world.post(2, below(1, failed("tool"))).await;
    world.wait(6);
    let ended_at = world.now();
    world.patch(1, ended()).await;
    // The first changes are ready at 10 s, but their trace has changed again.
    world.wait(5);
    let next = world.settle(&mut scheduler).await;
    assert_eq!(next, Next::At(ended_at.after(SETTLE)));
    assert!(world.told("r").await.is_empty());
    world.wait(5);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}

#[tokio::test]
async fn rules_on_single_runs_do_not_wait_for_those_on_traces() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[tree_rule("tree"), rule("run")]).await;
    world.post(1, failed("a")).await;
    assert!(matches!(world.settle(&mut scheduler).await, Next::At(_)));
    assert_eq!(world.told_runs("run").await, [vec![1]]);
    assert!(world.told("tree").await.is_empty());
}

#[tokio::test]
async fn a_late_child_makes_runs_of_its_trace_match() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[tree_rule("r")]).await;
    world.post(1, finished("a")).await;
    world.post(2, below(1, finished("a"))).await;
    world.wait(11);
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
    world.post(3, below(1, failed("tool"))).await;
    world.wait(11);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1, 2]]);
}

#[tokio::test]
async fn a_trace_filter_asks_the_root() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let trace_filter = Some("eq(name, \"agent\")".to_owned());
    world.apply(&[Rule { trace_filter, settle: SETTLE, ..rule("r") }]).await;
    world.post(2, below(1, finished("a"))).await;
    world.wait(11);
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty(), "the root has not arrived");
    world.post(1, finished("agent")).await;
    world.post(4, below(3, finished("a"))).await;
    world.post(3, finished("other")).await;
    world.wait(11);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![2]]);
}

#[tokio::test]
async fn tokens_are_summed_up_the_tree_once_it_rests() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let filter = Some("and(eq(is_root, true), gt(total_tokens, 100))".to_owned());
    world.apply(&[Rule { filter, settle: SETTLE, ..rule("r") }]).await;
    let usage = r#"{"usage_metadata":{"input_tokens":40,"output_tokens":20,"total_tokens":60}}"#;
    let outputs = || Some(Payload::Inline(RawJson::parse(usage.to_owned()).unwrap()));
    world.post(1, finished("agent")).await;
    world.post(2, below(1, Fields { outputs: outputs(), ..finished("llm") })).await;
    world.wait(11);
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
    world.post(3, below(1, Fields { outputs: outputs(), ..finished("llm") })).await;
    world.wait(11);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}

#[tokio::test]
async fn what_is_told_of_a_run_is_what_its_subtree_used_whichever_rule_found_it() {
    let usage = r#"{"usage_metadata":{"input_tokens":40,"output_tokens":20}}"#;
    let used = |name: &str| {
        let outputs = Some(Payload::Inline(RawJson::parse(usage.to_owned()).unwrap()));
        Fields { outputs, ..finished(name) }
    };
    let on_traces = || Rule { tree_filter: Some("eq(name, \"llm\")".to_owned()), ..rule("tree") };
    for rules in [vec![rule("run")], vec![rule("run"), on_traces()]] {
        let world = World::new().await;
        let mut scheduler = world.scheduler();
        world.apply(&rules).await;
        world.post(1, used("a")).await;
        world.post(2, below(1, used("llm"))).await;
        world.post(3, below(2, used("a"))).await;
        world.settle(&mut scheduler).await;
        assert_eq!(world.told_runs("run").await, [vec![1, 3]]);
        for rule in rules {
            assert_eq!(world.told_tokens(&rule.key).await, [180, 60], "{}", rule.key);
        }
    }
}

#[tokio::test]
async fn late_feedback_on_one_run_brings_the_whole_trace_back() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let tree_filter = Some("eq(feedback_key, \"bad\")".to_owned());
    world.apply(&[Rule { tree_filter, settle: SETTLE, cadence: every(60), ..rule("r") }]).await;
    world.post(1, finished("a")).await;
    world.post(2, below(1, finished("tool"))).await;
    world.wait(100);
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
    world.judge(2, "bad", 0.0).await;
    world.wait(100);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}
