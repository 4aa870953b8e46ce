//! The process dies around a commit, or someone else is at work: nothing is lost and nothing is told twice.

use std::sync::Arc;

use futures_util::FutureExt as _;
use runhook::model::rule::{Cadence, Rule, RuleState};
use runhook::model::run::PartKind;
use runhook::store::rules::RuleChanges;
use runhook::store::runs::Batch;
use runhook::task::{self, Activity, Next, Status};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::faults::Fault;
use super::world::{TENANT, World, cron, every, finished, part, rule};

#[tokio::test]
async fn a_crash_before_the_commit_loses_nothing() {
    let world = World::new().await;
    world.apply(&[rule("r")]).await;
    world.post(1, finished("a")).await;
    world.faults.at_commit(Fault::Before);
    assert!(matches!(world.pass(&mut world.scheduler()).await, Next::At(_)));
    assert!(world.told("r").await.is_empty());
    world.settle(&mut world.scheduler()).await;
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}

#[tokio::test]
async fn a_crash_after_the_commit_tells_nothing_twice() {
    let world = World::new().await;
    world.apply(&[rule("r")]).await;
    world.post(1, finished("a")).await;
    world.faults.at_commit(Fault::After);
    world.pass(&mut world.scheduler()).await;
    world.settle(&mut world.scheduler()).await;
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}

#[tokio::test]
async fn a_failed_evaluation_is_repeated_after_a_pause_and_the_loop_goes_on() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.post(1, finished("a")).await;
    world.faults.at_commit(Fault::Before);
    let Next::At(again) = world.pass(&mut scheduler).await else { panic!("a pause follows a failure") };
    assert!(again > world.now());
    world.wait(1);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![1]]);
}

#[tokio::test]
async fn two_schedulers_on_one_store_match_each_run_once() {
    let world = World::new().await;
    world.apply(&[rule("quick"), Rule { cadence: every(1), ..rule("slow") }]).await;
    let (mut one, mut other) = (world.scheduler(), world.scheduler());
    for round in 0..20_u128 {
        let parts = (1..=5).map(|number| part(round * 5 + number, PartKind::Post, finished("a"))).collect();
        world.send(parts).await;
        let _both = tokio::join!(world.pass(&mut one), world.pass(&mut other));
        world.wait(1);
    }
    world.settle(&mut one).await;
    world.settle(&mut other).await;
    for key in ["quick", "slow"] {
        let mut told = world.told_runs(key).await.concat();
        told.sort_unstable();
        assert_eq!(told, (1..=100).collect::<Vec<_>>(), "{key}");
    }
}

/// Lets this happen just before the next window is committed.
fn meanwhile(world: &World, rules: Vec<Rule>, run: u128) {
    let now = world.now();
    world.faults.at_commit(Fault::Meanwhile(Box::new(move |store| {
        async move {
            let changes = RuleChanges { put_rules: rules, ..RuleChanges::default() };
            store.apply_rules(TENANT, changes, now).await.unwrap();
            let batch = Batch {
                parts: vec![part(run, PartKind::Post, finished("a"))],
                feedback: Vec::new(),
                ..Batch::default()
            };
            store.accept(TENANT, batch, now).await.unwrap();
        }
        .boxed()
    })));
}

#[tokio::test]
async fn a_rule_that_joins_a_group_while_it_is_evaluated_misses_nothing() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let daily = |key| Rule { cadence: cron("0 0 * * *", "UTC"), ..rule(key) };
    world.apply(&[rule("stays"), daily("moves")]).await;
    world.post(1, finished("a")).await;
    meanwhile(&world, vec![rule("moves"), rule("new")], 2);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("stays").await.concat(), [1, 2]);
    assert_eq!(world.told_runs("moves").await.concat(), [1, 2]);
    assert_eq!(world.told_runs("new").await.concat(), [2]);
}

#[tokio::test]
async fn a_rule_that_is_paused_while_it_is_evaluated_says_nothing_more() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.post(1, finished("a")).await;
    let (id, now) = (rule("r").id, world.now());
    world.faults.at_commit(Fault::Meanwhile(Box::new(move |store| {
        async move { assert!(store.set_rule_state(TENANT, id, RuleState::Paused, now, None).await.unwrap()) }.boxed()
    })));
    world.settle(&mut scheduler).await;
    assert!(world.told("r").await.is_empty());
}

#[tokio::test]
async fn every_commit_may_die_on_either_side() {
    let world = World::new().await;
    world
        .apply(&[rule("r"), Rule { cadence: Cadence::Immediate, ..rule("s") }, Rule { cadence: every(1), ..rule("t") }])
        .await;
    for number in 1..=12 {
        world.post(number, finished("a")).await;
        world.faults.at_commit(if number % 2 == 0 { Fault::Before } else { Fault::After });
        if number % 3 == 0 {
            world.faults.at_commit(Fault::After);
        }
        world.pass(&mut world.scheduler()).await;
        world.wait(2);
    }
    let mut scheduler = world.scheduler();
    for _ in 0..3 {
        world.wait(120);
        world.settle(&mut scheduler).await;
    }
    for key in ["r", "s", "t"] {
        assert_eq!(world.told_runs(key).await.concat(), (1..=12).collect::<Vec<_>>(), "{key}");
    }
}

#[tokio::test]
async fn delivery_is_poked_when_there_are_messages_and_only_then() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.post(1, finished("b")).await;
    world.settle(&mut scheduler).await;
    assert!(!poked(&world).await);
    world.post(2, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert!(poked(&world).await);
}

/// Ends its loop with the second pass, which only a poke brings about.
struct Poked {
    passes: u32,
    cancelled: CancellationToken,
}

#[async_trait::async_trait]
impl Activity for Poked {
    fn name(&self) -> &'static str {
        "poked"
    }

    async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        self.passes += 1;
        if self.passes == 2 {
            self.cancelled.cancel();
        }
        Ok(Next::Idle)
    }
}

/// Whether a poke waits for delivery; takes it.
async fn poked(world: &World) -> bool {
    let cancelled = CancellationToken::new();
    let activity = Poked { passes: 0, cancelled: cancelled.clone() };
    let (status, _) = watch::channel(Status::default());
    let clock = Arc::clone(&world.clock);
    tokio::select! {
        biased;
        () = task::run(activity, world.delivery.clone(), clock, status, cancelled) => true,
        () = tokio::task::yield_now() => false,
    }
}
