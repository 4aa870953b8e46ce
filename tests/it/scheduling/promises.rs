//! The plain promises: what is in a window, when a window is made, and what it costs when nothing happens.

use std::time::Duration;

use runhook::blob::BlobStore as _;
use runhook::model::rule::{BatchLimits, Cadence, Rule};
use runhook::model::time::Timestamp;
use runhook::task::Next;

use super::world::{World, begun, cron, ended, every, finished, inputs, part, rule};
use runhook::model::run::{Fields, PartKind};

#[tokio::test]
async fn a_run_that_matches_is_told_once_and_only_in_one_window() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.post(1, finished("a")).await;
    world.post(2, finished("b")).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    world.patch(1, Fields { tags: Some(vec!["again".to_owned()]), ..ended() }).await;
    world.post(3, finished("a")).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![1], vec![3]]);
    let windows: Vec<_> =
        world.windows("r").await.iter().map(|(window, runs)| (window.after, window.through, *runs)).collect();
    assert_eq!(windows, [(0, 2, 1), (2, 4, 1)]);
}

#[tokio::test]
async fn runs_are_told_in_the_order_of_their_changes_and_once_however_often_they_changed() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.send((1..=3).map(|number| part(number, PartKind::Post, begun("a"))).collect()).await;
    for number in [2, 3, 1] {
        world.patch(number, ended()).await;
    }
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![2, 3, 1]]);
}

#[tokio::test]
async fn windows_of_a_group_follow_each_other_without_a_gap() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    for number in 1..=4 {
        world.post(number, finished("a")).await;
        world.settle(&mut scheduler).await;
        world.wait(5);
    }
    let windows: Vec<_> = world.windows("r").await.into_iter().map(|(window, _)| window).collect();
    assert_eq!(windows.len(), 4);
    for pair in windows.windows(2) {
        assert_eq!(pair[0].through, pair[1].after);
        assert_eq!(pair[0].end_time, pair[1].start_time);
        assert!(pair[1].start_time < pair[1].end_time);
    }
    let told = world.told("r").await;
    assert!(
        told.iter().zip(&windows).all(|(told, window)| told.start == window.start_time && told.end == window.end_time)
    );
}

#[tokio::test]
async fn feedback_that_comes_late_makes_a_run_match() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let filter = Some("and(eq(feedback_key, \"user_score\"), lt(feedback_score, 0.5))".to_owned());
    world.apply(&[Rule { filter, ..rule("r") }]).await;
    world.post(1, finished("a")).await;
    world.post(2, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
    world.wait(3600);
    world.judge(1, "user_score", 0.1).await;
    world.judge(2, "user_score", 0.9).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}

#[tokio::test]
async fn a_patch_after_the_window_makes_a_run_match() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.post(1, begun("a")).await;
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
    world.patch(1, ended()).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}

#[tokio::test]
async fn an_unfinished_run_matches_only_a_filter_that_asks_for_it() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let pending = Some("eq(status, \"pending\")".to_owned());
    world.apply(&[rule("finished"), Rule { filter: pending, ..rule("pending") }]).await;
    world.post(1, begun("a")).await;
    world.settle(&mut scheduler).await;
    assert!(world.told("finished").await.is_empty());
    assert_eq!(world.told_runs("pending").await, [vec![1]]);
}

#[tokio::test]
async fn an_interval_gathers_what_arrives_between_its_windows() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[Rule { cadence: every(60), ..rule("r") }]).await;
    world.post(1, finished("a")).await;
    world.settle(&mut scheduler).await;
    let first_end = world.told("r").await.first().map(|told| told.end);
    for number in 2..=5 {
        world.wait(10);
        world.post(number, finished("a")).await;
        let next = world.settle(&mut scheduler).await;
        assert_eq!(Some(next), first_end.map(|end| Next::At(end.after(Duration::from_mins(1)))));
    }
    world.wait(20);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![1], vec![2, 3, 4, 5]]);
}

#[tokio::test]
async fn a_cron_rule_is_evaluated_at_its_instants() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[Rule { cadence: cron("0 10 * * *", "Europe/Berlin"), ..rule("r") }]).await;
    world.post(1, finished("a")).await;
    world.wait(600);
    let ten_in_berlin = Timestamp::parse("2026-11-22T09:00:00Z").unwrap();
    assert_eq!(world.settle(&mut scheduler).await, Next::At(ten_in_berlin));
    world.post(2, finished("a")).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::At(ten_in_berlin));
    assert!(world.told("r").await.is_empty());
    world.wait(3000);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![1, 2]]);
    world.wait(60);
    world.post(3, finished("a")).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::At(ten_in_berlin.after(Duration::from_hours(24))));
}

#[tokio::test]
async fn sampling_gives_the_same_answer_in_every_world() {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let world = World::new().await;
        let mut scheduler = world.scheduler();
        world.apply(&[Rule { sampling_rate: 0.5, ..rule("r") }]).await;
        world.send((1..=40).map(|number| part(number, PartKind::Post, finished("a"))).collect()).await;
        world.settle(&mut scheduler).await;
        answers.push(world.told_runs("r").await);
    }
    assert_eq!(answers[0], answers[1]);
    let taken = answers[0].iter().flatten().count();
    assert!((10..=30).contains(&taken), "{taken}");
}

#[tokio::test]
async fn a_project_in_which_nothing_happens_costs_nothing() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r"), Rule { cadence: cron("0 0 1 1 *", "UTC"), ..rule("yearly") }]).await;
    world.post(1, finished("a")).await;
    assert!(matches!(world.settle(&mut scheduler).await, Next::At(_)));
    world.faults.take_reads();
    for _ in 0..10 {
        world.pass(&mut scheduler).await;
    }
    assert_eq!(world.faults.take_reads(), 0);
    world.post(2, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert!(world.faults.take_reads() > 0);
}

#[tokio::test]
async fn rules_of_several_cadences_that_are_due_together_share_one_read_of_the_changes() {
    let world = World::new().await;
    world
        .apply(&[rule("one"), Rule { cadence: every(1), ..rule("two") }, Rule { cadence: every(2), ..rule("three") }])
        .await;
    world.post(1, finished("a")).await;
    world.faults.take_reads();
    let mut scheduler = world.scheduler();
    world.pass(&mut scheduler).await;
    // The standing, the changes, the runs, and the trace of what was found: once each.
    assert_eq!(world.faults.take_reads(), 4);
    for key in ["one", "two", "three"] {
        assert_eq!(world.told_runs(key).await, [vec![1]], "{key}");
    }
}

#[tokio::test]
async fn a_large_window_becomes_several_messages_of_one_window() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let batch = BatchLimits { max_runs: 3, ..BatchLimits::default() };
    world.apply(&[Rule { batch, ..rule("r") }]).await;
    world.send((1..=7).map(|number| part(number, PartKind::Post, finished("a"))).collect()).await;
    world.settle(&mut scheduler).await;
    let mut sizes: Vec<_> = world.told_runs("r").await.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3, 3]);
    assert_eq!(world.windows("r").await.len(), 1);
}

#[tokio::test]
async fn a_large_value_is_in_blob_storage_when_its_message_is_there() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let batch = BatchLimits { inline_bytes: 100, ..BatchLimits::default() };
    world.apply(&[Rule { batch, ..rule("r") }]).await;
    world.post(1, Fields { inputs: Some(inputs(1000)), ..finished("a") }).await;
    world.settle(&mut scheduler).await;
    let query = runhook::store::outbox::DeliveryQuery { limit: 10, ..Default::default() };
    let delivery = world.store.list_deliveries(super::world::TENANT, &query).await.unwrap().remove(0);
    let message = world.store.message(super::world::TENANT, delivery.message_id).await.unwrap().unwrap();
    assert_eq!(message.body.links.len(), 1);
    assert!(world.blobs.get(&message.body.links[0].key).await.unwrap().is_some_and(|bytes| bytes.len() > 1000));
}

#[tokio::test]
async fn a_run_that_does_not_decode_does_not_hold_up_the_others() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.send((1..=4).map(|number| part(number, PartKind::Post, finished("a"))).collect()).await;
    world.break_run(2).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![1, 3, 4]]);
}

#[tokio::test]
async fn a_cadence_that_no_longer_reads_rests_and_disturbs_no_other() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let broken = Cadence::Cron { expression: "nonsense".to_owned(), timezone: "UTC".to_owned() };
    world.apply(&[rule("r"), Rule { cadence: broken, ..rule("broken") }]).await;
    world.post(1, finished("a")).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}

#[tokio::test]
async fn a_rule_whose_window_cannot_be_stored_holds_up_no_other_rule() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let heavy = Rule { batch: BatchLimits { inline_bytes: 100, ..BatchLimits::default() }, ..rule("heavy") };
    world.apply(&[heavy, Rule { cadence: every(1), ..rule("light") }]).await;
    world.refuse_blobs(true);
    world.post(1, Fields { inputs: Some(inputs(5000)), ..finished("a") }).await;
    world.pass(&mut scheduler).await;
    assert_eq!(world.told_runs("light").await, [vec![1]]);
    assert!(world.told("heavy").await.is_empty());
    world.refuse_blobs(false);
    world.wait(60);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("heavy").await, [vec![1]]);
    assert_eq!(world.told_runs("light").await, [vec![1]]);
}

#[tokio::test]
async fn storage_that_stays_away_holds_up_the_rules_beside_a_heavy_one_for_a_while_only() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let heavy = Rule { batch: BatchLimits { inline_bytes: 100, ..BatchLimits::default() }, ..rule("heavy") };
    world.apply(&[heavy, rule("light")]).await;
    world.refuse_blobs(true);
    world.post(1, Fields { inputs: Some(inputs(5000)), ..finished("a") }).await;
    world.pass(&mut scheduler).await;
    assert!(world.told("light").await.is_empty(), "they share a window, and it may still be mended");
    for _ in 0..6 {
        world.wait(60);
        world.pass(&mut scheduler).await;
    }
    assert_eq!(world.told_runs("light").await, [vec![1]]);
    assert_eq!(world.told_runs("heavy").await, [vec![1]]);
}
