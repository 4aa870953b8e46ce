//! The soak: replicas on one PostgreSQL under a steady load, one of them killed every few seconds and started again;
//! then, once everything is at rest, the checker.
//!
//! The load sends every body until some replica has taken it, and moves on to another when one does not answer: what a
//! sender does that must not lose anything. So bodies arrive more than once, and the checker expects each run once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use tokio::time::sleep;

use crate::body::{Recipe, Wire};
use crate::check::{self, Leniency, Verdict};
use crate::clock::Clock;
use crate::draw::Draw;
use crate::fleet::{Fleet, keep_logs};
use crate::load::{self, Plan, Tally};
use crate::postgres::Database;
use crate::record;
use crate::rules::Wanted;
use crate::sink::{Script, Sink};
use crate::{api, server};

/// How long it may take until everything is at rest: leases run 20 seconds, retries ten more.
const REST: Duration = Duration::from_mins(5);

/// `bench soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A PostgreSQL server on which a database may be made
    #[arg(long, value_name = "URL", env = "TEST_POSTGRES_URL")]
    postgres: String,
    /// The server's binary [default: the one built beside this]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// How many replicas
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// Runs a minute
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// How long the load lasts
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Runs in a request
    #[arg(long, default_value_t = 20)]
    batch: usize,
    /// Projects
    #[arg(long, default_value_t = 8)]
    projects: u16,
    /// Seconds between kills: at least, and at most twice that; 0: none
    #[arg(long, default_value_t = 2.0)]
    kill_after: f64,
    /// What the load, and who is killed when, follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    script: Script,
    /// A folder for the logs of the replicas, the load and the sink
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What came of a soak.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    replicas: usize,
    runs_a_minute: f64,
    minutes: f64,
    seed: u64,
    database: String,
    kills: usize,
    /// Replicas that ended although nobody killed them.
    died: usize,
    /// From the end of the load until nothing was left to do.
    rest_after_s: f64,
    server_cpu_s: f64,
    database_cpu_s: f64,
    peak_rss_mb: u64,
    load: Tally,
    verdict: Verdict,
}

impl Report {
    /// Whether nothing was lost and nothing was wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.load.is_whole() && self.died == 0
    }

    /// In a line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} replicas, {:.0} runs/min wanted and {:.0} held for {:.1} min, {} kills, {} died: {}",
            self.replicas,
            self.runs_a_minute,
            self.load.runs_per_second * 60.0,
            self.load.seconds / 60.0,
            self.kills,
            self.died,
            self.verdict.sentence()
        )
    }
}

/// What the killer did.
#[derive(Debug, Default)]
struct Killed {
    kills: usize,
    died: usize,
}

fn rules() -> Vec<Wanted<'static>> {
    let mut rules = vec![
        Wanted::errors("at-once", "immediate"),
        Wanted::errors("two-seconds", "2s"),
        Wanted::traces("settled", "immediate", "1s"),
        Wanted::scores("at-once", "immediate"),
    ];
    rules.extend((0..40).map(|number| Wanted::idle(number, "bench-*")));
    rules
}

impl Arguments {
    fn plan(&self, servers: Vec<std::net::SocketAddr>) -> Plan {
        let recipe = Recipe {
            wire: Wire::Batch,
            batch: self.batch,
            run_bytes: 2_270,
            projects: self.projects,
            errors: 0.1,
            feedback: 0.02,
            load: 1,
            seed: self.seed,
        };
        let rate = self.rate / 60.0;
        let time = Some(Duration::from_secs_f64(self.minutes * 60.0));
        Plan { servers, recipe, connections: 24, rate: Some(rate), runs: None, time, attempts: None }
    }

    /// Runs it.
    pub(crate) async fn run(self, clock: Clock) -> anyhow::Result<Report> {
        let binary = server::binary(self.binary.as_deref())?;
        let mut database = Database::create(&self.postgres, "runhook_soak").await?;
        let home = tempfile::tempdir()?;
        let sink = Sink::start(([127, 0, 0, 1], 0).into(), self.script.clone(), clock)?;
        let mut fleet = Fleet::start(&binary, home.path(), &database.url, self.replicas, &rules(), &sink.url())?;
        let before = database.cpu();
        let plan = self.plan(fleet.addresses());
        let loading = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(load::run(&plan, clock))
        });
        let killed = self.kill(&mut fleet, || loading.is_finished()).await;
        let outcome = loading.join().map_err(|_| anyhow!("the load panicked"))??;
        let killed = killed?;
        let first = fleet.addresses().first().copied().context("no replica")?;
        let rest = api::rest(first, REST).await;
        let (cpu, peak_kb) = fleet.usage();
        let database_cpu = database.cpu().saturating_sub(before);
        let stopped = fleet.stop();
        let (notices, _) = sink.stop()?;
        if let Some(folder) = &self.keep {
            keep_logs(home.path(), folder)?;
            record::write_acks(&folder.join("acks"), &outcome.acks)?;
            record::write_notices(&folder.join("notices"), &notices)?;
        }
        let leniency = Leniency { failed_deliveries: self.script.failing > 0.0, ..Leniency::default() };
        let verdict = check::check(&database.url, outcome.acks, Some(notices), leniency).await?;
        let report = Report {
            replicas: self.replicas,
            runs_a_minute: self.rate,
            minutes: self.minutes,
            seed: self.seed,
            database: database.durability().await?,
            kills: killed.kills,
            died: killed.died,
            rest_after_s: rest?.as_secs_f64(),
            server_cpu_s: cpu.as_secs_f64(),
            database_cpu_s: database_cpu.as_secs_f64(),
            peak_rss_mb: peak_kb / 1024,
            load: outcome.tally,
            verdict,
        };
        stopped?;
        if report.is_clean() || self.keep.is_none() {
            database.remove().await?;
        }
        Ok(report)
    }

    /// Kills one replica after another until the load has ended. At the end all of them run.
    async fn kill(&self, fleet: &mut Fleet, ended: impl Fn() -> bool) -> anyhow::Result<Killed> {
        let mut draw = Draw::seeded(self.seed ^ 0x6b69_6c6c);
        let mut killed = Killed::default();
        while !ended() {
            let pause = if self.kill_after > 0.0 { self.kill_after * (1.0 + draw.share()) } else { 0.2 };
            let next = Instant::now() + Duration::from_secs_f64(pause);
            while Instant::now() < next && !ended() {
                sleep(Duration::from_millis(20)).await;
            }
            for dead in fleet.dead() {
                killed.died += 1;
                fleet.kill(dead)?;
                fleet.restart(dead)?;
            }
            if self.kill_after > 0.0 && !ended() {
                let victim = usize::try_from(draw.below(self.replicas as u64))?;
                fleet.kill(victim)?;
                killed.kills += 1;
                sleep(Duration::from_secs_f64(2.0 * draw.share())).await;
                fleet.restart(victim)?;
            }
        }
        Ok(killed)
    }
}
