//! Random histories of operations, each asked of every backend and of a reference in memory: all answer the same, and at
//! the end all hold the same.
//!
//! The histories are the same ones each time. `RUNHOOK_MODEL_CASES=5000` takes more of them, `RUNHOOK_MODEL_SEED=7` others.
//! What fails is made as short as can be and printed as steps; what their numbers stand for is in [`samples`].
//!
//! Operations follow one another; what happens when they overlap is for the tests of each backend. So is what depends on
//! the order in which a client's contradictions arrive: runs here have one parent and one start.

mod answer;
mod reference;
mod samples;
mod step;
mod world;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use runhook::store::Store;
use runhook::store::projects::ProjectQuery;
use runhook::store::transfer::TABLES;

use super::postgres::Replica;
use super::sample::TENANT;
use super::sqlite::Embedded;
use step::{Step, steps};
use world::World;

/// Histories that every run of the tests takes.
const CASES: u32 = 64;

/// The backends, which are opened once and emptied for each history.
struct Backends {
    sqlite: Embedded,
    postgres: Option<Replica>,
}

impl Backends {
    async fn open() -> Self {
        Self { sqlite: Embedded::open().await, postgres: Replica::open().await }
    }

    async fn close(self) {
        self.sqlite.close().await;
        if let Some(replica) = self.postgres {
            replica.close().await;
        }
    }

    async fn empty(&self) {
        let deletions: Vec<String> =
            TABLES.iter().filter(|table| **table != "counters").map(|table| format!("DELETE FROM {table}")).collect();
        let statements = format!("{}; UPDATE counters SET value = 0", deletions.join("; "));
        let replica = self.postgres.as_ref();
        self.sqlite.sql(&statements).await;
        if let Some(replica) = replica {
            replica.sql(&statements).await;
        }
        for store in [self.sqlite.store()].into_iter().chain(replica.map(Replica::store)) {
            // Looking makes the project that an empty store has.
            store.list_projects(TENANT, &ProjectQuery { limit: 1, ..ProjectQuery::default() }).await.expect("readable");
        }
    }

    async fn live(&self, steps: &[Step]) -> Result<(), String> {
        self.empty().await;
        let mut backends: Vec<(&'static str, &dyn Store)> = vec![("SQLite", self.sqlite.store())];
        backends.extend(self.postgres.as_ref().map(|replica| ("PostgreSQL", replica.store())));
        let mut world = World::of(&backends);
        for (number, step) in steps.iter().enumerate() {
            world.take(step).await.map_err(|why| format!("step {number}: {why}"))?;
        }
        world.compare().await
    }
}

#[expect(clippy::disallowed_methods, reason = "how long to search is told by the environment")]
fn told(name: &str) -> Option<u32> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// The same numbers each time.
fn dice() -> TestRng {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&told("RUNHOOK_MODEL_SEED").unwrap_or_default().to_be_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &seed)
}

#[test]
fn every_backend_answers_as_the_reference_does_whatever_happens() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let backends = runtime.block_on(Backends::open());
    let config = Config {
        cases: told("RUNHOOK_MODEL_CASES").unwrap_or(CASES),
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..Config::default()
    };
    let found = TestRunner::new_with_rng(config, dice())
        .run(&steps(), |steps| runtime.block_on(backends.live(&steps)).map_err(TestCaseError::fail));
    runtime.block_on(backends.close());
    if let Err(TestError::Fail(why, steps)) = found {
        panic!("{why}\nafter {steps:#?}");
    }
    found.expect("histories can be made");
}
