//! Throughput with one, two and four replicas on one PostgreSQL, in one run, with what bounds it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::check::{self, Leniency};
use crate::clock::{Clock, today};
use crate::fleet::Fleet;
use crate::load::Plan;
use crate::postgres::Database;
use crate::process::{machine, machine_cpu};
use crate::sink::{Script, Sink};
use crate::suite::ingest::{self, BATCHES, as_f64};
use crate::suite::stage::{REST, load_apart};
use crate::suite::table::{median, number};
use crate::{api, say, server};

/// `bench replicas`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A PostgreSQL server on which databases may be made
    #[arg(long, value_name = "URL", env = "TEST_POSTGRES_URL")]
    postgres: String,
    /// The server's binary [default: the one built beside this]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// How many replicas
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    counts: Vec<usize>,
    /// Seconds of each repetition
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Repetitions of each
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Where the result is written as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What a repetition measured.
#[derive(Debug, Clone, Copy, Serialize)]
struct Taken {
    replicas: usize,
    runs_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// CPU microseconds of a run, matching and sending included.
    replicas_cpu_us: f64,
    database_cpu_us: f64,
    generator_cpu_us: f64,
    /// How much of the machine was busy while runs were sent, in percent.
    busy: f64,
    behind_s: f64,
}

impl Arguments {
    /// Measures, and returns the table.
    pub(crate) async fn run(self, clock: Clock) -> anyhow::Result<String> {
        let mut taken = Vec::new();
        let mut durability = String::new();
        // Alternately, so that what changes on the machine meanwhile meets all of them.
        for _ in 0..self.repeats {
            for replicas in self.counts.iter().copied() {
                let one = self.once(replicas, clock, &mut durability).await?;
                say(&format!("{replicas} replicas: {} runs/s", number(one.runs_per_second)))?;
                taken.push(one);
            }
        }
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(&taken)?)?;
        }
        self.table(&taken, &durability)
    }

    async fn once(&self, replicas: usize, clock: Clock, durability: &mut String) -> anyhow::Result<Taken> {
        let binary = server::binary(self.binary.as_deref())?;
        let mut database = Database::create(&self.postgres, "runhook_replicas").await?;
        *durability = database.durability().await?;
        let home = tempfile::tempdir()?;
        let sink = Sink::start(([127, 0, 0, 1], 0).into(), Script::default(), clock)?;
        let rules = ingest::rules(1000);
        let fleet = Fleet::start(&binary, home.path(), &database.url, replicas, &rules, &sink.url())?;
        let servers = fleet.addresses();
        let first = *servers.first().context("no replica")?;
        let plan = |load, seconds| Plan {
            servers: servers.clone(),
            ..ingest::plan(BATCHES, load, Some(Duration::from_secs_f64(seconds)), None)
        };
        let mut acks = load_apart(plan(1, 1.0), clock).await?.acks;
        api::rest(first, REST).await?;
        let (fleet_before, database_before) = (fleet.usage().0, database.cpu());
        let (busy_before, all_before) = machine_cpu()?;
        let outcome = load_apart(plan(2, self.seconds), clock).await?;
        let (busy, all) = machine_cpu()?;
        let behind = api::rest(first, REST).await?;
        let (fleet_after, database_after) = (fleet.usage().0, database.cpu());
        fleet.stop()?;
        let (notices, _) = sink.stop()?;
        let tally = outcome.tally;
        acks.extend(outcome.acks);
        let verdict = check::check(&database.url, acks, Some(notices), Leniency::default()).await?;
        database.remove().await?;
        if !verdict.is_clean() || !tally.is_whole() {
            bail!("{}; given up: {:?}\n{:?}", verdict.sentence(), tally.dropped, verdict.shown);
        }
        let micros = |used: Duration| used.as_secs_f64() * 1e6 / as_f64(tally.runs.max(1));
        let busy = busy.saturating_sub(busy_before).as_secs_f64() / all.saturating_sub(all_before).as_secs_f64();
        Ok(Taken {
            replicas,
            runs_per_second: tally.runs_per_second,
            p50_ms: tally.latency_ms.p50,
            p99_ms: tally.latency_ms.p99,
            replicas_cpu_us: micros(fleet_after.saturating_sub(fleet_before)),
            database_cpu_us: micros(database_after.saturating_sub(database_before)),
            generator_cpu_us: tally.own_cpu_s_per_1000 * 1000.0,
            busy: busy * 100.0,
            behind_s: behind.as_secs_f64(),
        })
    }

    fn table(&self, taken: &[Taken], durability: &str) -> anyhow::Result<String> {
        let mut out = format!("{}; {}; {durability}.\n\n", today(), machine());
        out.push_str("| replicas | runs/s | ack p50 / p99 ms | CPU us/run: replicas, database, generator | machine busy | at rest after |\n");
        out.push_str("|---|---|---|---|---|---|\n");
        for count in &self.counts {
            let of = |value: fn(&Taken) -> f64| {
                let values: Vec<f64> = taken.iter().filter(|one| one.replicas == *count).map(value).collect();
                number(median(&values))
            };
            writeln!(
                out,
                "| {count} | {} | {} / {} | {}, {}, {} | {} % | {} s |",
                of(|one| one.runs_per_second),
                of(|one| one.p50_ms),
                of(|one| one.p99_ms),
                of(|one| one.replicas_cpu_us),
                of(|one| one.database_cpu_us),
                of(|one| one.generator_cpu_us),
                of(|one| one.busy),
                of(|one| one.behind_s)
            )?;
        }
        writeln!(out, "\nMedians of {}; batches of 100 runs of 2 KB, 16 connections, 1,000 rules.", self.repeats)?;
        Ok(out)
    }
}
