//! Where rules begin: new, edited, moved, paused, resumed, backfilled.

use std::time::Duration;

use runhook::model::id::ProjectId;
use runhook::model::project::{Project, ProjectRef};
use runhook::model::rule::{Cadence, Rule, RuleState};
use runhook::model::run::{Part, PartKind};
use runhook::store::rules::RuleChanges;
use runhook::task::Next;

use super::world::{PROJECT, TENANT, World, begun, cron, ended, every, finished, part, rule};

#[tokio::test]
async fn a_new_rule_starts_at_the_newest_change() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("old")]).await;
    world.post(1, finished("a")).await;
    world.apply(&[rule("new")]).await;
    world.post(2, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("old").await, [vec![1, 2]]);
    assert_eq!(world.told_runs("new").await, [vec![2]]);
}

#[tokio::test]
async fn a_project_without_rules_is_settled_and_a_later_rule_still_works() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.post(1, finished("a")).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert!(world.store.stirred_projects().await.unwrap().is_empty());
    world.apply(&[rule("r")]).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    world.post(2, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![2]]);
    assert!(world.store.stirred_projects().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_rule_by_glob_sees_a_project_that_came_after_it_from_the_first_change() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world
        .apply(&[Rule { project: "b*".to_owned(), ..rule("glob") }, Rule { project: "c*".to_owned(), ..rule("other") }])
        .await;
    world.post(1, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("glob").await, [vec![1]]);
    assert!(world.told("other").await.is_empty());
}

#[tokio::test]
async fn a_project_that_is_renamed_is_seen_by_the_rules_of_its_new_name_from_then_on() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let renamed = || Some(ProjectRef::Name("cat".to_owned()));
    world.apply(&[rule("old"), Rule { project: "cat".to_owned(), ..rule("new") }]).await;
    world.post(1, finished("a")).await;
    world.settle(&mut scheduler).await;
    let project = world.store.project(TENANT, ProjectId::of_name(TENANT, PROJECT)).await.unwrap().unwrap();
    let project = Project { name: "cat".to_owned(), ..project };
    world.store.update_project(project).await.unwrap();
    world.send(vec![Part { project: renamed(), ..part(2, PartKind::Post, finished("a")) }]).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("old").await, [vec![1]]);
    assert_eq!(world.told_runs("new").await, [vec![2]]);
}

#[tokio::test]
async fn backfill_brings_what_arrived_since_that_instant_and_nothing_earlier() {
    for settled in [true, false] {
        let world = World::new().await;
        let mut scheduler = world.scheduler();
        world.apply(&[rule("other")]).await;
        world.post(1, finished("a")).await;
        world.wait(60);
        let since = world.now();
        world.post(2, finished("a")).await;
        world.post(3, finished("a")).await;
        if settled {
            world.settle(&mut scheduler).await;
        }
        world.wait(60);
        let yearly = cron("0 0 1 1 *", "UTC");
        world
            .apply(&[
                Rule { backfill_from: Some(since), ..rule("r") },
                Rule { backfill_from: Some(since), cadence: yearly, ..rule("yearly") },
            ])
            .await;
        world.settle(&mut scheduler).await;
        assert_eq!(world.told_runs("r").await, [vec![2, 3]], "settled: {settled}");
        assert_eq!(world.told_runs("yearly").await, [vec![2, 3]], "a backfill does not wait for the cadence");
        world.post(4, finished("a")).await;
        world.settle(&mut scheduler).await;
        assert_eq!(world.told_runs("r").await, [vec![2, 3], vec![4]]);
    }
}

#[tokio::test]
async fn a_rule_that_comes_back_with_another_filter_is_backfilled_again_over_the_same_changes() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let since = Some(world.now());
    world.apply(&[Rule { cadence: every(3600), ..rule("other") }]).await;
    world.post(1, finished("a")).await;
    world.post(2, finished("b")).await;
    world.wait(60);
    world.apply(&[Rule { backfill_from: since, ..rule("r") }]).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1]]);
    let gone = RuleChanges { remove_rules: vec![rule("r").id], ..RuleChanges::default() };
    world.store.apply_rules(TENANT, gone, world.now()).await.unwrap();
    let wider = Some("in(name, [\"a\", \"b\"])".to_owned());
    world.apply(&[Rule { backfill_from: since, filter: wider, ..rule("r") }]).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1], vec![2]]);
}

#[tokio::test]
async fn an_edited_rule_keeps_its_place_and_its_matches() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[Rule { cadence: every(60), ..rule("r") }]).await;
    world.post(1, finished("a")).await;
    world.settle(&mut scheduler).await;
    world.post(2, finished("b")).await;
    let either = Some("in(name, [\"a\", \"b\"])".to_owned());
    world.apply(&[Rule { cadence: every(60), filter: either, ..rule("r") }]).await;
    world.wait(60);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1], vec![2]]);
}

#[tokio::test]
async fn a_rule_that_moves_to_a_group_that_is_ahead_misses_nothing() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let daily = Rule { cadence: cron("0 0 * * *", "UTC"), ..rule("moves") };
    world.apply(&[rule("stays"), daily]).await;
    world.post(1, finished("a")).await;
    world.post(2, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("stays").await, [vec![1, 2]]);
    assert!(world.told("moves").await.is_empty());
    world.apply(&[rule("moves")]).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("moves").await, [vec![1, 2]]);
    world.post(3, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("moves").await, [vec![1, 2], vec![3]]);
    assert_eq!(world.told_runs("stays").await, [vec![1, 2], vec![3]]);
}

#[tokio::test]
async fn a_rule_that_moves_to_a_group_that_is_behind_is_told_nothing_twice() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let daily = |key| Rule { cadence: cron("0 0 * * *", "UTC"), ..rule(key) };
    world.apply(&[daily("stays"), rule("moves")]).await;
    world.post(1, finished("a")).await;
    world.settle(&mut scheduler).await;
    world.apply(&[daily("moves")]).await;
    world.post(2, finished("a")).await;
    world.wait(20 * 3600);
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("moves").await, [vec![1], vec![2]]);
    assert_eq!(world.told_runs("stays").await, [vec![1, 2]]);
}

#[tokio::test]
async fn a_paused_rule_is_not_evaluated_and_resumes_at_the_newest_change() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[rule("r")]).await;
    world.post(1, finished("a")).await;
    world.settle(&mut scheduler).await;
    world.set_state("r", RuleState::Paused).await;
    world.post(2, finished("a")).await;
    world.post(3, begun("a")).await;
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    world.set_state("r", RuleState::Active).await;
    world.patch(3, ended()).await;
    world.post(4, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1], vec![3, 4]]);
}

#[tokio::test]
async fn a_rule_that_was_removed_and_comes_back_tells_nothing_twice() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    let since = world.now().before(Duration::from_hours(1));
    let backfilled = Rule { backfill_from: Some(since), ..rule("r") };
    world.apply(std::slice::from_ref(&backfilled)).await;
    world.post(1, finished("a")).await;
    world.settle(&mut scheduler).await;
    let changes = RuleChanges { remove_rules: vec![backfilled.id], ..Default::default() };
    world.store.apply_rules(TENANT, changes, world.now()).await.unwrap();
    world.post(2, finished("a")).await;
    world.settle(&mut scheduler).await;
    world.apply(&[backfilled]).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![1], vec![2]]);
}

#[tokio::test]
async fn a_project_that_was_deleted_and_made_again_is_told_anew() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.apply(&[Rule { cadence: Cadence::Immediate, ..rule("r") }]).await;
    world.post(1, finished("a")).await;
    world.settle(&mut scheduler).await;
    let project = ProjectId::of_name(TENANT, PROJECT);
    assert!(world.store.delete_project(TENANT, project, None).await.unwrap());
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    world.wait(1);
    world.post(2, finished("a")).await;
    world.settle(&mut scheduler).await;
    let told = world.told_runs("r").await;
    assert_eq!(told.last(), Some(&vec![2]), "{told:?}");
}

#[tokio::test]
async fn the_first_window_of_a_new_rule_does_not_wait_for_its_interval() {
    let world = World::new().await;
    let mut scheduler = world.scheduler();
    world.post(1, finished("a")).await;
    world.apply(&[Rule { cadence: every(3600), ..rule("r") }]).await;
    world.post(2, finished("a")).await;
    let next = world.settle(&mut scheduler).await;
    assert_eq!((world.told_runs("r").await, next), (vec![vec![2]], Next::Idle));
    world.wait(60);
    world.post(3, finished("a")).await;
    let Next::At(second) = world.settle(&mut scheduler).await else { panic!("the second waits for the interval") };
    assert!(second > world.now().after(Duration::from_mins(58)));
    world.set_state("r", RuleState::Paused).await;
    world.wait(60);
    world.set_state("r", RuleState::Active).await;
    world.post(4, finished("a")).await;
    world.settle(&mut scheduler).await;
    assert_eq!(world.told_runs("r").await, [vec![2], vec![4]], "and so does the first after a pause");
}
