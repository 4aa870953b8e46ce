//! Several schedulers on one store share its projects, and one slow project does not hold up the others.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runhook::blob::{BlobError, BlobPages, BlobStore};
use runhook::model::project::ProjectRef;
use runhook::model::rule::{BatchLimits, Rule};
use runhook::model::run::{BlobKey, Fields, Part, PartKind};
use runhook::model::time::Timestamp;
use runhook::scheduler::{Parts, Scheduler};
use runhook::task::{Activity as _, Next};
use tokio::sync::{Notify, Semaphore};
use url::Url;

use super::faults::Leases;
use super::world::{World, every, finished, inputs, part, rule};

/// How long a lease lasts.
const LEASE: u64 = 5;

fn in_project(name: &str, number: u128) -> Part {
    in_project_with(name, number, finished("a"))
}

fn in_project_with(name: &str, number: u128, fields: Fields) -> Part {
    Part { project: Some(ProjectRef::Name(name.to_owned())), ..part(number, PartKind::Post, fields) }
}

/// A rule on these projects.
fn rule_on(key: &str, projects: &str) -> Rule {
    Rule { project: projects.to_owned(), ..rule(key) }
}

#[tokio::test]
async fn what_another_scheduler_holds_is_left_to_it_and_looked_at_again_soon() {
    let world = World::new().await;
    world.apply(&[rule("r")]).await;
    world.post(1, finished("a")).await;
    let mut other = world.scheduler();
    world.faults.leases(Leases::Lost);
    world.pass(&mut other).await;
    world.faults.leases(Leases::Kept);
    world.post(2, finished("a")).await;
    let mut one = world.scheduler();
    let Next::At(again) = world.pass(&mut one).await else { panic!("it does not sleep past the lease") };
    assert!(again > world.now() && again <= world.now().after(Duration::from_secs(1)), "{again:?}");
    assert_eq!(world.told_runs("r").await, [vec![1]], "the project is the other's");
    world.pass(&mut other).await;
    assert_eq!(world.told_runs("r").await, [vec![1], vec![2]]);
    world.wait(1);
    world.post(3, finished("a")).await;
    assert_eq!(world.settle(&mut one).await, Next::Idle);
    assert_eq!(world.told_runs("r").await, [vec![1], vec![2], vec![3]], "it has been given back");
}

#[tokio::test]
async fn the_projects_of_a_scheduler_that_died_are_taken_over_when_its_leases_end() {
    let world = World::new().await;
    world.apply(&[Rule { cadence: every(1), ..rule("r") }]).await;
    world.post(1, finished("a")).await;
    world.faults.leases(Leases::Lost);
    let mut dies = world.scheduler();
    world.pass(&mut dies).await;
    drop(dies);
    world.faults.leases(Leases::Kept);
    world.post(2, finished("a")).await;
    let mut one = world.scheduler();
    for _ in 0..LEASE - 1 {
        world.settle(&mut one).await;
        assert_eq!(world.told_runs("r").await, [vec![1]]);
        world.wait(1);
    }
    world.wait(1);
    world.settle(&mut one).await;
    assert_eq!(world.told_runs("r").await, [vec![1], vec![2]]);
}

#[tokio::test]
async fn schedulers_that_come_together_evaluate_each_project_once() {
    let world = World::new().await;
    world.apply(&[rule_on("r", "p*")]).await;
    let (mut one, mut other) = (world.scheduler(), world.scheduler());
    let mut expected = Vec::new();
    for round in 0..10 {
        let numbers: Vec<u128> = (round * 12 + 1..=round * 12 + 12).collect();
        world.send(numbers.iter().map(|number| in_project(&format!("p{}", number % 12), *number)).collect()).await;
        expected.extend(numbers);
        world.faults.take_commits();
        let _both = tokio::join!(world.pass(&mut one), world.pass(&mut other));
        assert_eq!(world.faults.take_commits(), 12, "a window for each project, and none for nothing");
        world.wait(1);
    }
    let mut told = world.told_runs("r").await.concat();
    told.sort_unstable();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn schedulers_that_do_not_see_each_others_leases_tell_each_run_once() {
    let world = World::new().await;
    world.apply(&[rule_on("r", "p*")]).await;
    world.faults.leases(Leases::Blind);
    let (mut one, mut other) = (world.scheduler(), world.scheduler());
    for round in 0..10 {
        world.send((1..=6).map(|p| in_project(&format!("p{p}"), round * 6 + p)).collect()).await;
        let _both = tokio::join!(world.pass(&mut one), world.pass(&mut other));
        world.wait(1);
    }
    world.settle(&mut one).await;
    let mut told = world.told_runs("r").await.concat();
    told.sort_unstable();
    assert_eq!(told, (1..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_scheduler_that_stops_gives_its_projects_back() {
    let world = World::new().await;
    world.apply(&[rule("r")]).await;
    world.post(1, finished("a")).await;
    let mut stops = world.scheduler();
    world.faults.leases(Leases::Lost);
    world.pass(&mut stops).await;
    world.faults.leases(Leases::Kept);
    world.post(2, finished("a")).await;
    world.pass(&mut stops).await;
    stops.finish().await;
    world.post(3, finished("a")).await;
    world.settle(&mut world.scheduler()).await;
    assert_eq!(world.told_runs("r").await.concat(), [1, 2, 3]);
}

/// Blob storage that stands still until it is let go.
struct Slow {
    real: Arc<dyn BlobStore>,
    gate: Semaphore,
    asked: Notify,
}

#[async_trait]
impl BlobStore for Slow {
    async fn put(&self, key: &BlobKey, bytes: Bytes, mime_type: &str) -> Result<(), BlobError> {
        self.asked.notify_one();
        let _open = self.gate.acquire().await;
        self.real.put(key, bytes, mime_type).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Bytes>, BlobError> {
        self.real.get(key).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.real.delete(key).await
    }

    async fn delete_older(&self, key: &BlobKey, than: Timestamp) -> Result<bool, BlobError> {
        self.real.delete_older(key, than).await
    }

    fn pages(&self) -> Box<dyn BlobPages> {
        self.real.pages()
    }

    async fn link(&self, key: &BlobKey, now: Timestamp, lasts: Duration) -> Result<Url, BlobError> {
        self.real.link(key, now, lasts).await
    }

    async fn check(&self) -> Result<(), BlobError> {
        self.real.check().await
    }
}

#[tokio::test]
async fn a_project_whose_upload_is_slow_does_not_hold_up_the_others() {
    let world = World::new().await;
    let limits = BatchLimits { inline_bytes: 1_000, ..BatchLimits::default() };
    world.apply(&[Rule { batch: limits, ..rule_on("heavy", "heavy") }, rule_on("light", "light*")]).await;
    let real = Arc::clone(&world.blobs) as Arc<dyn BlobStore>;
    let slow = Arc::new(Slow { real, gate: Semaphore::new(0), asked: Notify::new() });
    let blobs = Arc::clone(&slow) as Arc<dyn BlobStore>;
    let parts = Parts { blobs, ..world.parts() };
    let poke = parts.poke.clone();
    let mut scheduler = Scheduler::new(parts);
    let heavy = Fields { inputs: Some(inputs(10_000)), ..finished("a") };
    world.send(vec![in_project_with("heavy", 1, heavy)]).await;

    let news = async {
        slow.asked.notified().await;
        world.send((1..=9_u128).map(|n| in_project(&format!("light{n}"), 10 + n)).collect()).await;
        poke.poke();
    };
    let (next, ()) = tokio::join!(world.pass(&mut scheduler), news);
    assert_eq!(next, Next::Now, "there is news");
    let mut told = Vec::new();
    while told.len() < 9 {
        // A pass would wait for the slow one, so it is told that there is news.
        poke.poke();
        world.pass(&mut scheduler).await;
        told = world.told_runs("light").await.concat();
    }
    told.sort_unstable();
    assert_eq!(told, (11..=19).collect::<Vec<_>>());
    assert!(world.told("heavy").await.is_empty());

    // What arrives in the slow project meanwhile is not forgotten, though its poke is spent on a pass that cannot look.
    world.send(vec![in_project("heavy", 2)]).await;
    poke.poke();
    assert_eq!(world.pass(&mut scheduler).await, Next::Now);
    slow.gate.add_permits(100);
    assert_eq!(world.settle(&mut scheduler).await, Next::Idle);
    assert_eq!(world.told_runs("heavy").await, [vec![1], vec![2]]);
}
