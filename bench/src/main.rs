//! `bench`: what measures Runhook and what judges it. See docs/performance.md and CONTRIBUTING.md.
//!
//! Nothing here links Runhook: it is driven through its command line and its wire, and its database is read as anyone
//! could read it.

mod api;
mod body;
mod chart;
mod check;
mod clock;
mod curves;
mod draw;
mod fleet;
mod isolation;
mod load;
mod postgres;
mod process;
mod record;
mod replicas;
mod rules;
mod run_id;
mod searches;
mod server;
mod sink;
mod soak;
mod suite;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use serde::Serialize;

use crate::body::{Recipe, Wire};
use crate::clock::Clock;

/// Measures and judges Runhook
#[derive(Debug, Parser)]
#[command(name = "bench")]
enum Command {
    /// Send runs, and feedback about them, to servers
    Load(LoadArguments),
    /// Receive notifications until interrupted
    Sink(SinkArguments),
    /// Judge a database at rest: exit code 1 with a list when a promise was broken
    Check(check::Arguments),
    /// Keep replicas on PostgreSQL under load, kill them at random, and judge what is left
    Soak(soak::Arguments),
    /// Measure the fixed set, and print it beside its targets
    Run(suite::Arguments),
    /// Measure two binaries alternately, and print the ratios
    Compare(suite::Comparison),
    /// Measure one, two and four replicas on PostgreSQL
    Replicas(replicas::Arguments),
    /// Measure how figures grow with rules, stored runs and endpoints, and draw it
    Curves(curves::Arguments),
    /// Measure what bad endpoints cost the others, and the server's memory
    Isolation(isolation::Arguments),
    /// Measure pages of runs of one large project, by several filters
    Searches(searches::Arguments),
}

/// `bench load`.
#[derive(Debug, clap::Args)]
struct LoadArguments {
    /// A server's address. Repeatable: connections are shared out, and move on from one that does not answer
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4710")]
    server: Vec<SocketAddr>,
    /// How requests are framed
    #[arg(long, value_enum, default_value = "batch")]
    wire: Wire,
    /// Runs in a request
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Bytes of JSON of a run
    #[arg(long, default_value_t = 2_270)]
    run_bytes: usize,
    /// Projects, named bench-00000 and so on
    #[arg(long, default_value_t = 10)]
    projects: u16,
    /// The share of runs that fail, and so match `bench-error` rules
    #[arg(long, default_value_t = 0.01)]
    errors: f64,
    /// The share of runs that get feedback; half of it is a low score, which matches `bench-score` rules
    #[arg(long, default_value_t = 0.0)]
    feedback: f64,
    /// Connections
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Runs a second. Without it: as many as the server takes
    #[arg(long)]
    rate: Option<f64>,
    /// Ends after so many runs
    #[arg(long)]
    runs: Option<u64>,
    /// Ends after so many seconds [default: 10, without --runs]
    #[arg(long)]
    seconds: Option<f64>,
    /// How often a request is sent at most; 0: until it is taken
    #[arg(long, default_value_t = load::SDK_ATTEMPTS)]
    attempts: u32,
    /// What draws follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which load this is, below 16384: loads on one database need different numbers
    #[arg(long, default_value_t = 1)]
    number: u16,
    /// Where acknowledged runs are written
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// `bench sink`.
#[derive(Debug, clap::Args)]
struct SinkArguments {
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4790")]
    listen: SocketAddr,
    #[command(flatten)]
    script: sink::Script,
    /// Where what arrived is written at the end
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(carry_out(command))
}

async fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    let clock = Clock::start();
    match command {
        Command::Load(arguments) => run_load(&arguments, clock).await,
        Command::Sink(arguments) => run_sink(arguments, clock).await,
        Command::Check(arguments) => {
            let verdict = arguments.run().await?;
            show(&verdict)?;
            say(&verdict.sentence())?;
            Ok(exit(verdict.is_clean()))
        }
        Command::Soak(arguments) => {
            let report = arguments.run(clock).await?;
            show(&report)?;
            say(&report.line())?;
            Ok(exit(report.is_clean()))
        }
        Command::Run(arguments) => print(&arguments.run(clock).await?),
        Command::Compare(arguments) => print(&arguments.run(clock).await?),
        Command::Replicas(arguments) => print(&arguments.run(clock).await?),
        Command::Curves(arguments) => print(&arguments.run(clock).await?),
        Command::Isolation(arguments) => print(&arguments.run(clock).await?),
        Command::Searches(arguments) => print(&arguments.run(clock).await?),
    }
}

async fn run_load(arguments: &LoadArguments, clock: Clock) -> anyhow::Result<ExitCode> {
    let seconds = arguments.seconds.or_else(|| arguments.runs.is_none().then_some(10.0));
    let plan = load::Plan {
        servers: arguments.server.clone(),
        recipe: Recipe {
            wire: arguments.wire,
            batch: arguments.batch,
            run_bytes: arguments.run_bytes,
            projects: arguments.projects,
            errors: arguments.errors,
            feedback: arguments.feedback,
            load: arguments.number,
            seed: arguments.seed,
        },
        connections: arguments.connections,
        rate: arguments.rate,
        runs: arguments.runs,
        time: seconds.map(Duration::from_secs_f64),
        attempts: (arguments.attempts > 0).then_some(arguments.attempts),
    };
    let outcome = load::run(&plan, clock).await?;
    if let Some(file) = &arguments.log {
        record::write_acks(file, &outcome.acks)?;
    }
    show(&outcome.tally)?;
    Ok(exit(outcome.tally.is_whole()))
}

async fn run_sink(arguments: SinkArguments, clock: Clock) -> anyhow::Result<ExitCode> {
    let sink = sink::Sink::start(arguments.listen, arguments.script, clock)?;
    say(&format!("sink listening on {}", sink.url()))?;
    interrupted().await?;
    let (notices, cpu) = sink.stop()?;
    if let Some(file) = &arguments.log {
        record::write_notices(file, &notices)?;
    }
    let runs: usize = notices.iter().map(|notice| notice.runs.len()).sum();
    let first = notices.first().map(|notice| notice.at);
    let last = notices.last().map(|notice| notice.at);
    show(&serde_json::json!({
        "messages": notices.len(), "runs": runs, "first_at_us": first, "last_at_us": last,
        "own_cpu_s": cpu.as_secs_f64(),
    }))?;
    Ok(ExitCode::SUCCESS)
}

async fn interrupted() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn exit(fine: bool) -> ExitCode {
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line for people: on stderr, so that stdout is JSON.
fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr().lock(), "{line}").context("stderr")
}

/// A table, on stdout.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout().lock(), "{text}").context("stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// The result, on stdout.
fn show(result: &impl Serialize) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string_pretty(result)?).context("stdout")
}
