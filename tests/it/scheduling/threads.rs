//! Rules that are told by threads: they wait until a thread has been idle, and tell all of it that they have not told.

use std::time::Duration;

use runhook::config::Limits;
use runhook::model::json::RawJson;
use runhook::model::rule::{BatchLimits, Cadence, GroupBy, Rule, RuleState};
use runhook::model::run::{Fields, PartKind};
use runhook::model::time::Timestamp;
use runhook::task::Next;
use serde_json::{Value, json};

use super::faults::{Fault, Leases};
use super::world::{World, begun, below, ended, every, finished, part, rule, run_id};

pub(super) const IDLE: Duration = Duration::from_mins(1);

/// What a run's metadata says of its thread.
pub(super) fn extra(thread: &str) -> RawJson {
    RawJson::of(&json!({"metadata": {"session_id": thread}})).unwrap()
}

/// A turn of a thread, which started at this second.
pub(super) fn turn(thread: &str, second: i64, fields: Fields) -> Fields {
    Fields { extra: Some(extra(thread)), start_time: Some(Timestamp(second * 1_000_000)), ..fields }
}

fn failed(name: &str) -> Fields {
    Fields { error: Some("boom".to_owned()), ..finished(name) }
}

/// All threads, once they have been idle for a minute.
pub(super) fn thread_rule(key: &str) -> Rule {
    Rule { filter: None, group_by: Some(GroupBy::Thread), settle: IDLE, ..rule(key) }
}

async fn bodies(world: &World, key: &str) -> Vec<Value> {
    world.bodies(key).await.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

#[tokio::test]
async fn a_thread_is_told_whole_once_it_has_been_idle_and_then_costs_nothing() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[thread_rule("r")]).await;
    world.post(2, turn("A", 1, finished("a"))).await;
    world.wait(40);
    let last = world.now();
    world.post(1, turn("A", 2, finished("b"))).await;
    world.wait(30);
    assert_eq!(world.settle(&mut scheduler).await, Next::At(last.after(IDLE)));
    assert!(world.told("r").await.is_empty());
    world.wait(31);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![2, 1]], "in the order in which they started");
    world.faults.take_reads();
    for _ in 0..10 {
        world.wait(3600);
        assert_eq!(world.pass(&mut scheduler).await, Next::Idle);
    }
    assert_eq!(world.faults.take_reads(), 0);
    assert_eq!(world.told("r").await.len(), 1);
}

#[tokio::test]
async fn a_late_turn_brings_what_is_new_with_the_thread_as_it_stands() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[thread_rule("r")]).await;
    for number in 1..=2 {
        world.post(number, turn("A", i64::try_from(number).unwrap(), finished("a"))).await;
    }
    world.wait(61);
    world.settle(&mut scheduler).await;
    world.post(3, turn("A", 3, finished("a"))).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    // Feedback is a change of the thread, and nothing of it is new.
    world.judge(1, "bad", 0.0).await;
    world.wait(61);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    let told = bodies(&world, "r").await;
    let threads: Vec<&Value> = told.iter().map(|body| &body["threads"]).collect();
    let thread = |count: u32, last: u32, runs: &[u128]| {
        let runs: Vec<_> = runs.iter().map(|run| run_id(*run)).collect();
        json!([{
            "thread_id": "A", "filter": "eq(thread_id, \"A\")", "count": count, "run_ids": runs,
            "min_start_time": "1970-01-01T00:00:01.000000+00:00",
            "max_start_time": format!("1970-01-01T00:00:0{last}.000000+00:00"),
        }])
    };
    assert_eq!(threads, [&thread(2, 2, &[1, 2]), &thread(3, 3, &[3])]);
    assert_eq!(world.told_runs("r").await, [vec![1, 2], vec![3]]);
    assert_eq!(told[1]["runs"][0]["thread_id"], "A");
}

#[tokio::test]
async fn of_a_thread_that_goes_on_what_was_told_is_not_read_again() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[thread_rule("r")]).await;
    let long = (1..=100_u128)
        .map(|number| part(number, PartKind::Post, turn("A", i64::try_from(number).unwrap(), finished("a"))));
    world.send(long.collect()).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await.concat(), (1..=100).collect::<Vec<_>>());
    world.faults.take_loaded();
    for number in 101..=103 {
        world.post(number, turn("A", i64::try_from(number).unwrap(), finished("a"))).await;
        world.wait(61);
        world.settle(&mut scheduler).await;
        assert_eq!(world.faults.take_loaded(), 1);
    }
    assert_eq!(bodies(&world, "r").await.last().unwrap()["threads"][0]["count"], 103);
    // Nothing of it is new.
    world.judge(7, "bad", 0.0).await;
    world.wait(61);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.faults.take_loaded(), 0);
}

#[tokio::test]
async fn what_was_told_is_asked_when_what_is_new_does_not_pass() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let filter = Some("eq(status, \"error\")".to_owned());
    let tree_filter = filter.clone();
    world.apply(&[Rule { filter, ..thread_rule("r") }, Rule { tree_filter, ..thread_rule("tree") }]).await;
    world.post(1, turn("A", 1, failed("a"))).await;
    for number in 2..=10 {
        world.post(number, turn("A", i64::try_from(number).unwrap(), finished("a"))).await;
    }
    world.wait(61);
    world.settle(&mut scheduler).await;
    world.faults.take_loaded();
    // The thread has a turn that passes, so it is told of what is new, which does not.
    world.post(11, turn("A", 11, finished("a"))).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.faults.take_loaded(), 11);
    world.post(12, turn("A", 12, failed("a"))).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.faults.take_loaded(), 1, "what is new passes by itself");
    for key in ["r", "tree"] {
        assert_eq!(world.told_runs(key).await, [(1..=10).collect::<Vec<_>>(), vec![11], vec![12]], "{key}");
    }
    // One rule has told what another, which was made later, has not.
    world.apply(&[thread_rule("late")]).await;
    world.post(13, turn("A", 13, finished("a"))).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("late").await, [(1..=13).collect::<Vec<_>>()]);
}

#[tokio::test]
async fn two_threads_that_take_turns_are_told_each_when_it_has_been_idle() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[thread_rule("r")]).await;
    world.post(1, turn("A", 1, finished("a"))).await;
    world.post(2, turn("B", 2, finished("a"))).await;
    world.post(9, finished("of no thread")).await;
    world.wait(30);
    world.post(3, turn("A", 3, finished("a"))).await;
    world.wait(31);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![2]]);
    world.post(4, turn("B", 4, finished("a"))).await;
    world.wait(31);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![2], vec![1, 3]]);
    world.wait(31);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![2], vec![1, 3], vec![4]]);
}

#[tokio::test]
async fn threads_that_are_told_together_share_a_message_and_keep_together() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let batch = BatchLimits { max_runs: 3, ..BatchLimits::default() };
    world.apply(&[thread_rule("r"), Rule { batch, ..thread_rule("cut") }]).await;
    for (number, thread) in [(1, "A"), (2, "B"), (3, "A"), (4, "B"), (5, "C")] {
        world.post(number, turn(thread, i64::try_from(number).unwrap(), finished("a"))).await;
    }
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1, 3, 2, 4, 5]]);
    let mut parts = bodies(&world, "cut").await;
    parts.sort_by_key(|body| body["part"].as_u64());
    let named = |body: &Value| -> Vec<String> {
        body["threads"].as_array().unwrap().iter().map(|thread| thread["thread_id"].to_string()).collect()
    };
    assert_eq!(parts.iter().map(named).collect::<Vec<_>>(), [vec!["\"A\""], vec!["\"B\"", "\"C\""]]);
}

#[tokio::test]
async fn a_thread_matches_when_any_turn_of_it_does() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let filter = Some("eq(status, \"error\")".to_owned());
    world.apply(&[Rule { filter, ..thread_rule("r") }]).await;
    world.post(1, turn("A", 1, finished("a"))).await;
    world.post(2, turn("A", 2, failed("a"))).await;
    world.post(3, turn("B", 3, finished("a"))).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1, 2]]);
    world.post(4, turn("B", 4, failed("a"))).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1, 2], vec![3, 4]]);
}

#[tokio::test]
async fn filters_on_traces_are_about_one_turn_and_its_trace() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let usage = || Some(RawJson::parse(r#"{"usage_metadata":{"total_tokens":60}}"#.to_owned()).unwrap());
    let spent = || Fields { outputs: usage().map(runhook::model::run::Payload::Inline), ..finished("llm") };
    let tree_filter = Some("eq(status, \"error\")".to_owned());
    let tokens = Some("gt(total_tokens, 100)".to_owned());
    world
        .apply(&[
            Rule { tree_filter: tree_filter.clone(), ..thread_rule("tree") },
            Rule { tree_filter, trace_filter: Some("eq(name, \"b\")".to_owned()), ..thread_rule("both") },
            Rule { filter: tokens, ..thread_rule("tokens") },
        ])
        .await;
    world.post(1, turn("A", 1, finished("a"))).await;
    world.post(11, below(1, failed("tool"))).await;
    world.post(2, turn("A", 2, finished("b"))).await;
    world.post(3, turn("B", 3, finished("a"))).await;
    world.post(31, below(3, spent())).await;
    world.post(32, below(3, spent())).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("tree").await, [vec![1, 2]]);
    assert!(world.told("both").await.is_empty(), "no turn is named b and has an error in its trace");
    assert_eq!(world.told_runs("tokens").await, [vec![3]]);
}

#[tokio::test]
async fn a_thread_is_not_idle_while_a_run_of_a_turn_changes_and_a_turn_is_told_when_it_has_ended() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[thread_rule("r")]).await;
    world.post(1, turn("A", 1, finished("a"))).await;
    world.post(2, turn("A", 2, begun("a"))).await;
    world.wait(50);
    world.post(21, below(2, begun("tool"))).await;
    world.wait(50);
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
    world.wait(11);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1]]);
    world.patch(2, ended()).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1], vec![2]]);
}

#[tokio::test]
async fn a_turn_that_goes_over_to_another_thread_leaves_nothing_behind_untold() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[thread_rule("r")]).await;
    world.post(1, turn("A", 1, finished("a"))).await;
    world.wait(50);
    world.post(2, turn("A", 2, finished("a"))).await;
    world.wait(20);
    // The window of the first change: the thread has changed again behind it.
    world.settle(&mut scheduler).await;
    world.patch(2, Fields { extra: Some(extra("B")), ..Fields::default() }).await;
    world.wait(45);
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
    world.wait(61);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    let mut told = world.told_runs("r").await.concat();
    told.sort_unstable();
    assert_eq!(told, [1, 2]);
    let threads = bodies(&world, "r").await.into_iter().flat_map(|body| body["threads"].as_array().unwrap().clone());
    let mut names: Vec<_> = threads.map(|thread| (thread["thread_id"].clone(), thread["count"].clone())).collect();
    names.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(names, [(json!("A"), json!(1)), (json!("B"), json!(1))]);
}

#[tokio::test]
async fn sampling_takes_whole_threads() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[Rule { sampling_rate: 0.5, ..thread_rule("r") }]).await;
    let turns = (0..80).map(|number: u128| {
        let thread = (number % 40).to_string();
        part(number + 1, PartKind::Post, turn(&thread, i64::try_from(number).unwrap(), finished("a")))
    });
    world.send(turns.collect()).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    let told = world.told_runs("r").await.concat();
    assert!((20..=60).contains(&told.len()), "{}", told.len());
    for number in 1..=40_u128 {
        assert_eq!(told.contains(&number), told.contains(&(number + 40)), "thread {number}");
    }
}

#[tokio::test]
async fn a_new_rule_begins_with_threads_that_go_on_unless_it_looks_back() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let before = world.now();
    world.post(1, turn("A", 1, finished("a"))).await;
    world.post(2, turn("B", 2, finished("a"))).await;
    world.wait(600);
    world.apply(&[thread_rule("new"), Rule { backfill_from: Some(before), ..thread_rule("back") }]).await;
    world.settle(&mut scheduler).await;
    assert!(world.told("new").await.is_empty());
    assert_eq!(world.told_runs("back").await, [vec![1, 2]]);
    world.post(3, turn("A", 3, finished("a"))).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("new").await, [vec![1, 3]], "the thread is told as it stands");
    assert_eq!(world.told_runs("back").await, [vec![1, 2], vec![3]]);
}

#[tokio::test]
async fn a_paused_rule_is_told_of_threads_that_go_on_when_it_is_resumed() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[thread_rule("r")]).await;
    world.set_state("r", RuleState::Paused).await;
    world.post(1, turn("A", 1, finished("a"))).await;
    world.post(2, turn("B", 2, finished("a"))).await;
    world.set_state("r", RuleState::Active).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
    world.post(3, turn("B", 3, finished("a"))).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![2, 3]]);
}

#[tokio::test]
async fn a_thread_is_told_once_whatever_dies_around_the_commit_and_however_many_look() {
    let world = World::new().await;
    world.apply(&[thread_rule("r"), Rule { cadence: every(1), ..thread_rule("s") }]).await;
    for number in 1..=12_u128 {
        world.post(number, turn(&(number % 3).to_string(), i64::try_from(number).unwrap(), finished("a"))).await;
        world.wait(61);
        world.faults.at_commit(if number % 2 == 0 { Fault::Before } else { Fault::After });
        world.pass(&mut world.scheduler()).await;
        world.faults.forget();
        world.faults.leases(Leases::Blind);
        let (mut one, mut other) = (world.scheduler(), world.scheduler());
        let _both = tokio::join!(world.pass(&mut one), world.pass(&mut other));
        world.faults.leases(Leases::Kept);
    }
    world.wait(600);
    world.settle(&mut world.scheduler()).await;
    for key in ["r", "s"] {
        let mut told = world.told_runs(key).await.concat();
        told.sort_unstable();
        assert_eq!(told, (1..=12).collect::<Vec<_>>(), "{key}");
    }
}

#[tokio::test]
async fn of_a_thread_without_end_the_last_turns_are_looked_at() {
    let world = World::with(Limits { turns_per_thread: 3, ..Limits::default() }).await;
    let mut scheduler = world.scheduler();
    world.apply(&[Rule { cadence: Cadence::Immediate, ..thread_rule("r") }]).await;
    let turns = (1..=5)
        .map(|number: u128| part(number, PartKind::Post, turn("A", i64::try_from(number).unwrap(), finished("a"))));
    world.send(turns.collect()).await;
    world.wait(61);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![3, 4, 5]]);
}

#[tokio::test]
async fn a_database_with_a_rule_on_threads_is_not_for_binaries_that_know_none() {
    let world = World::new().await;
    let asked = "UPDATE counters SET value = 9020 WHERE name = 'least_version' AND value = 20";
    world.apply(&[rule("r")]).await;
    world.sql(asked).await;
    world.store.check_schema().await.expect("until then it is");
    world.apply(&[thread_rule("t")]).await;
    world.sql(asked).await;
    let refused = world.store.check_schema().await.unwrap_err();
    assert!(refused.to_string().contains("9020"), "{refused}");
}
