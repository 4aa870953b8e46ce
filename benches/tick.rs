//! What many rules cost the scheduler: `cargo bench --bench tick`.
//!
//! A project gets 10,000 runs, of which ten rules match some. The same is done with many more rules beside these ten,
//! which match nothing: on the same project, on others, and by glob. Each row is a process of its own with a database of
//! its own; what is told is the time to store the rules, to load them into a process that has just started, to load them
//! again when one has changed, to evaluate the runs, and what a process with the rules loaded keeps in memory.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what goes wrong in a measurement is a panic with the place it happened"
)]

#[path = "pure/rules.rs"]
mod rules;
#[path = "pure/runs.rs"]
mod runs;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runhook::blob::directory::Directory;
use runhook::config::Limits;
use runhook::crypto::{Keyring, random};
use runhook::model::id::{RunId, TenantId};
use runhook::model::merge::digest;
use runhook::model::project::ProjectRef;
use runhook::model::rule::{Cadence, Rule};
use runhook::model::run::{Fields, Part, PartKind};
use runhook::model::time::{Clock, ManualClock, Timestamp};
use runhook::scheduler::{Parts, Scheduler};
use runhook::store::Store;
use runhook::store::rules::RuleChanges;
use runhook::store::runs::Batch;
use runhook::store::sqlite::SqliteStore;
use runhook::task::{Activity as _, Next, Poke, Supervisor};
use uuid::Uuid;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUNS: u64 = 10_000;
const MATCHING: u64 = 10;
const PROJECT: &str = "bot";

/// How many rules, and where those are that match nothing.
const ROWS: [(u64, &str); 5] =
    [(10, "same"), (100_000, "others"), (100_000, "same"), (100_000, "globs"), (100_000, "globs-fit")];

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let figures = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tick", rules, place, folder] => runtime.block_on(ticked(rules.parse().unwrap(), place, Path::new(folder))),
        ["load", folder] => runtime.block_on(loaded(Path::new(folder))),
        _ => return table(),
    };
    figures.iter().try_for_each(|figure| write!(io::stdout(), "{figure:.3} "))
}

/// Every row three times; the quickest tick counts.
fn table() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "| rules | beside | store | load | reload | tick | ratio | RSS loaded |")?;
    let mut few = None;
    for (rules, place) in ROWS {
        let best = (0..3).map(|_| row(rules, place)).min_by(|one, two| one[2].total_cmp(&two[2])).unwrap();
        let [store, reload, tick, load, rss] = best[..] else { panic!("{best:?}") };
        let ratio = tick / *few.get_or_insert(tick);
        writeln!(
            out,
            "| {rules} | {place} | {store:.2} s | {load:.2} s | {reload:.2} s | {tick:.3} s | {ratio:.2} | {rss:.0} MB |"
        )?;
    }
    Ok(())
}

fn row(rules: u64, place: &str) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let ticked = child(&["tick", &rules.to_string(), place, path]);
    ticked.into_iter().chain(child(&["load", path])).collect()
}

fn child(args: &[&str]) -> Vec<f64> {
    let output = Command::new(std::env::current_exe().unwrap()).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|figure| figure.parse().unwrap()).collect()
}

/// The rules that match, and the others.
fn rules_beside(count: u64, place: &str) -> Vec<Rule> {
    let matching = (0..MATCHING).map(|number| Rule {
        filter: Some(format!("eq(name, \"wanted-{number}\")")),
        cadence: Cadence::Immediate,
        ..rules::rule(number, PROJECT)
    });
    let others = (MATCHING..count).map(|number| {
        let project = match place {
            "same" => PROJECT.to_owned(),
            "globs" => format!("team-{}-*", number % 5_000),
            "globs-fit" => "b*".to_owned(),
            _ => rules::project(number % 5_000),
        };
        // Names and tags that no run has.
        let filter = rules::filter(number).replace("step-", "never-").replace("tag-", "never-");
        let filter = format!("and(eq(name, \"never-{}\"), {filter})", number % 500);
        Rule { filter: Some(filter), cadence: Cadence::Immediate, ..rules::rule(number, &project) }
    });
    matching.chain(others).collect()
}

/// The seconds it takes to store the rules, to load them again when one has changed, and to evaluate the runs.
async fn ticked(count: u64, place: &str, folder: &Path) -> Vec<f64> {
    let world = World::open(folder).await;
    let mut scheduler = world.scheduler();
    let mut rules = rules_beside(count, place);
    let spare = rules.split_off(rules.len() - 1);
    // The project is there before the rules, so that each has a start in it.
    world.accept(&[part(0, "first")]).await;
    let stored = timed(world.apply(rules)).await;
    world.accept(&[part(RUNS + 1, "second")]).await;
    settle(&mut scheduler).await;
    world.apply(spare).await;
    let reloaded = timed(settle(&mut scheduler)).await;
    let name = |number| match number % 100 {
        0 => format!("wanted-{}", number / 100 % 10),
        _ => format!("step-{}", number % 50),
    };
    for batch in (1..=RUNS).collect::<Vec<_>>().chunks(500) {
        let parts: Vec<Part> = batch.iter().map(|number| part(*number, &name(*number))).collect();
        world.accept(&parts).await;
    }
    let ticked = timed(settle(&mut scheduler)).await;
    vec![stored, reloaded, ticked]
}

/// The seconds it takes a process that has just started to load the rules, and what it then keeps in memory.
async fn loaded(folder: &Path) -> Vec<f64> {
    let world = World::open(folder).await;
    // There is something to look at, else nothing is loaded.
    world.accept(&[part(RUNS + 2, "third")]).await;
    let mut scheduler = world.scheduler();
    let loaded = timed(settle(&mut scheduler)).await;
    vec![loaded, resident()]
}

struct World {
    folder: PathBuf,
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    _supervisor: Supervisor,
}

impl World {
    async fn open(folder: &Path) -> Self {
        let supervisor = Supervisor::default();
        let (store, writer) = SqliteStore::open(&folder.join("runhook.db")).await.unwrap();
        supervisor.spawn("writer", writer.run(supervisor.soft()));
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-22T08:00:00Z").unwrap()));
        Self { folder: folder.to_owned(), store: Arc::new(store), clock, _supervisor: supervisor }
    }

    fn scheduler(&self) -> Scheduler {
        let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &random::<32>())).unwrap());
        let base_url = "http://127.0.0.1:4710".parse().unwrap();
        Scheduler::new(Parts {
            store: Arc::clone(&self.store),
            blobs: Arc::new(Directory::new(self.folder.join("blobs"), base_url, keyring)),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            limits: Limits::default(),
            delivery: Poke::default(),
            poke: Poke::default(),
            instance: Uuid::from_u128(1),
        })
    }

    async fn apply(&self, rules: Vec<Rule>) {
        self.clock.advance(Duration::from_millis(1));
        let changes = RuleChanges { put_rules: rules, ..RuleChanges::default() };
        self.store.apply_rules(TenantId::DEFAULT, changes, self.clock.now()).await.unwrap();
    }

    async fn accept(&self, parts: &[Part]) {
        self.clock.advance(Duration::from_millis(1));
        let batch = Batch { parts: parts.to_vec(), feedback: Vec::new(), ..Batch::default() };
        let accepted = self.store.accept(TenantId::DEFAULT, batch, self.clock.now()).await.unwrap();
        assert!(accepted.refused.is_empty());
    }
}

async fn timed(work: impl Future<Output = ()>) -> f64 {
    let start = Instant::now();
    work.await;
    start.elapsed().as_secs_f64()
}

async fn settle(scheduler: &mut Scheduler) {
    while scheduler.pass().await.unwrap() == Next::Now {}
}

fn part(number: u64, name: &str) -> Part {
    let stored = runs::run(number);
    let fields = Fields {
        name: Some(name.to_owned()),
        run_type: Some(stored.run.run_type),
        start_time: Some(stored.run.start_time),
        end_time: stored.run.end_time,
        error: stored.run.error,
        tags: Some(stored.run.tags),
        inputs: stored.run.inputs,
        outputs: stored.run.outputs,
        extra: stored.run.extra,
        ..Fields::default()
    };
    let run_id = RunId(Uuid::from_u128(u128::from(number) + 1));
    let digest = digest(&fields, PartKind::Post, run_id);
    Part { run_id, kind: PartKind::Post, project: Some(ProjectRef::Name(PROJECT.to_owned())), fields, digest }
}

/// What the process keeps in memory, in MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1024.0
}
