//! After downtime, and far behind: bounded windows, one after the other, with nothing lost.

use runhook::config::Limits;
use runhook::model::rule::{Cadence, Rule};
use runhook::model::run::PartKind;
use runhook::task::Next;

use super::world::{World, cron, every, finished, part, rule};

fn narrow() -> Limits {
    Limits { changes_per_window: 3, ..Limits::default() }
}

async fn behind_by_ten(cadence: Cadence) -> World {
    let world = World::with(narrow()).await;
    world.apply(&[Rule { cadence, ..rule("r") }]).await;
    for number in 1..=10 {
        world.wait(1);
        world.post(number, finished("a")).await;
    }
    world.wait(7200);
    world
}

#[tokio::test]
async fn catching_up_goes_in_bounded_windows_at_once_and_loses_nothing() {
    for cadence in [Cadence::Immediate, every(60), cron("0 * * * *", "Europe/Berlin")] {
        let world = behind_by_ten(cadence.clone()).await;
        let mut scheduler = world.scheduler();
        assert_eq!(world.pass(&mut scheduler).await, Next::Now);
        assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
        let expected: [&[u128]; 4] = [&[1, 2, 3], &[4, 5, 6], &[7, 8, 9], &[10]];
        assert_eq!(world.told_runs("r").await, expected, "{cadence:?}");
        let windows: Vec<_> = world.windows("r").await.into_iter().map(|(window, _)| window).collect();
        assert!(
            windows.windows(2).all(|pair| pair[0].end_time == pair[1].start_time && pair[0].through == pair[1].after)
        );
        assert!(windows.iter().all(|window| window.through - window.after <= 3));
    }
}

#[tokio::test]
async fn catching_up_goes_on_after_a_restart_in_the_middle() {
    let world = behind_by_ten(Cadence::Immediate).await;
    for _ in 0..10 {
        world.pass(&mut world.scheduler()).await;
    }
    assert_eq!(world.told_runs("r").await.concat(), (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_group_that_is_far_behind_does_not_hold_up_the_others() {
    let world = World::with(narrow()).await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("quick"), Rule { cadence: cron("0 * * * *", "UTC"), ..rule("hourly") }]).await;
    world.wait(60);
    for number in 1..=9 {
        world.post(number, finished("a")).await;
        world.settle(&mut scheduler).await;
    }
    world.wait(3600);
    world.post(10, finished("a")).await;
    world.pass(&mut scheduler).await;
    assert_eq!(world.told_runs("quick").await.last(), Some(&vec![10]));
    assert_eq!(world.told_runs("hourly").await, [vec![1, 2, 3]]);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("hourly").await.concat(), (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn missed_instants_of_a_cron_rule_are_made_good_once() {
    let world = World::new().await;
    world.apply(&[Rule { cadence: cron("*/5 * * * *", "UTC"), ..rule("r") }]).await;
    for number in 1..=6 {
        world.post(number, finished("a")).await;
        world.wait(300);
    }
    let mut scheduler = world.scheduler();
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [(1..=6).collect::<Vec<_>>()]);
}

#[tokio::test]
async fn a_thousand_runs_in_one_request_are_all_told() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.send((1..=1000).map(|number| part(number, PartKind::Post, finished("a"))).collect()).await;
    world.settle(&mut scheduler).await;
    let mut told = world.told_runs("r").await.concat();
    told.sort_unstable();
    assert_eq!(told, (1..=1000).collect::<Vec<_>>());
}
