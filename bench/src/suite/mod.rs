//! The fixed set of measurements, and the comparison of two binaries by it.
//!
//! Every figure of speed is the median of several repetitions, each on a fresh directory; after each, the checker
//! counts that nothing was lost, matched twice or made up, and a broken promise ends the whole measurement.

pub(crate) mod ingest;
pub(crate) mod notify;
pub(crate) mod stage;
pub(crate) mod standing;
pub(crate) mod table;
mod tick;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use crate::clock::{Clock, today};
use crate::process::machine;
use crate::say;
use crate::server;
use crate::suite::stage::Place;
use crate::suite::table::{Row, number, table};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Batches of 100 runs
    Batches,
    /// Batches through multipart
    Multipart,
    /// Batches through multipart, packed
    Packed,
    /// One run a request
    Singles,
    /// Sending messages
    Deliver,
    /// From a run to its notification
    Latency,
    /// A start on an empty directory
    StartEmpty,
    /// Memory of an idle server
    Memory,
    /// An idle server with very many rules
    Idle,
    /// An evaluation beside very many rules
    Tick,
    /// A start on many runs
    StartFull,
}

const ALL: [Kind; 11] = [
    Kind::Batches,
    Kind::Multipart,
    Kind::Packed,
    Kind::Singles,
    Kind::Deliver,
    Kind::Latency,
    Kind::StartEmpty,
    Kind::Memory,
    Kind::Idle,
    Kind::Tick,
    Kind::StartFull,
];

/// What two binaries are compared by.
const COMPARED: [Kind; 5] = [Kind::Batches, Kind::Singles, Kind::Deliver, Kind::Latency, Kind::StartEmpty];

/// How much is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// Repetitions of each
    #[arg(long, default_value_t = 5)]
    pub(crate) repeats: usize,
    /// Seconds of each repetition
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Runs in the database of a start on many runs
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) stored_runs: u64,
    /// Rules of the idle server
    #[arg(long, default_value_t = 100_000)]
    pub(crate) idle_rules: u32,
    /// A directory on the disk that is to be measured [default: beside the binary]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// `bench run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server's binary [default: the one built beside this]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// What to measure [default: everything]
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Where the result is written as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// `bench compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Comparison {
    /// One binary
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// The other [default: the one built beside this]
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// What to compare [default: what has to do with speed]
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    #[command(flatten)]
    settings: Settings,
}

/// What came of a measurement.
#[derive(Debug, Serialize)]
struct Report {
    when: String,
    machine: String,
    durability: &'static str,
    seconds: f64,
    rows: Vec<Row>,
}

const DURABILITY: &str = "SQLite, WAL, synchronous=FULL: a 202 follows the commit";

async fn measure(kind: Kind, place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let row = match kind {
        Kind::Batches => Box::pin(ingest::batches(place, settings)).await,
        Kind::Multipart => Box::pin(ingest::multipart(place, settings)).await,
        Kind::Packed => Box::pin(ingest::packed(place, settings)).await,
        Kind::Singles => Box::pin(ingest::singles(place, settings)).await,
        Kind::Deliver => Box::pin(notify::deliver(place, settings)).await,
        Kind::Latency => Box::pin(notify::latency(place, settings)).await,
        Kind::StartEmpty => Box::pin(standing::start_empty(place, settings)).await,
        Kind::Memory => Box::pin(standing::memory(place, settings)).await,
        Kind::Idle => Box::pin(standing::idle(place, settings)).await,
        Kind::Tick => Box::pin(tick::tick(place, settings)).await,
        Kind::StartFull => Box::pin(standing::start_full(place, settings)).await,
    };
    row.with_context(|| format!("{kind:?}"))
}

impl Settings {
    /// Where measurements with a binary happen.
    pub(crate) fn place(&self, binary: Option<&std::path::Path>, clock: Clock) -> anyhow::Result<Place> {
        let binary = server::binary(binary)?;
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => std::env::current_exe()?.with_file_name("bench-data"),
        };
        Ok(Place { binary, dir, clock })
    }
}

impl Arguments {
    /// Measures, and returns the table.
    pub(crate) async fn run(self, clock: Clock) -> anyhow::Result<String> {
        let place = self.settings.place(self.binary.as_deref(), clock)?;
        let kinds = if self.only.is_empty() { ALL.to_vec() } else { self.only.clone() };
        let begun = Instant::now();
        let mut rows = Vec::new();
        for kind in kinds {
            let row = measure(kind, &place, &self.settings).await?;
            say(&format!(
                "{:4.0} s  {}: {} {}",
                begun.elapsed().as_secs_f64(),
                row.name,
                number(row.median()),
                row.unit
            ))?;
            rows.push(row);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let report = Report { when: today(), machine: machine(), durability: DURABILITY, seconds, rows };
        if let Some(file) = &self.json {
            let name = || format!("cannot write {}", file.display());
            std::fs::write(file, serde_json::to_string_pretty(&report)?).with_context(name)?;
        }
        let Report { when, machine, durability, seconds, rows } = report;
        let head = format!("{when}; {machine}, shared with the load generator and the sink; {durability}.");
        let foot = format!("Medians of {} repetitions; {seconds:.0} s in all.", self.settings.repeats);
        Ok(format!("{head}\n\n{}\n{foot} After each, the checker found nothing lost or doubled.\n", table(&rows)))
    }
}

impl Comparison {
    /// Measures both alternately, and returns the table of ratios.
    pub(crate) async fn run(self, clock: Clock) -> anyhow::Result<String> {
        let base = self.settings.place(Some(&self.base), clock)?;
        let head = self.settings.place(self.head.as_deref(), clock)?;
        let kinds = if self.only.is_empty() { COMPARED.to_vec() } else { self.only.clone() };
        let once = Settings { repeats: 1, ..self.settings.clone() };
        let mut out = String::from("| work | base | head | head / base |\n|---|---|---|---|\n");
        for kind in kinds {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for _ in 0..self.settings.repeats {
                before.push(measure(kind, &base, &once).await?);
                after.push(measure(kind, &head, &once).await?);
            }
            for line in ratios(&before, &after) {
                say(&line)?;
                out.push_str(&line);
                out.push('\n');
            }
        }
        Ok(out)
    }
}

/// A line for the value and for everything beside it.
fn ratios(before: &[Row], after: &[Row]) -> Vec<String> {
    let Some(first) = before.first() else { return Vec::new() };
    let line = |name: &str, values: [Vec<f64>; 2]| {
        let [base, head] = values.map(|values| table::median(&values));
        format!("| {name} | {} | {} | {:.2} |", number(base), number(head), head / base)
    };
    let value = |rows: &[Row]| rows.iter().map(Row::median).collect::<Vec<_>>();
    let mut lines = vec![line(&format!("{}, {}", first.name, first.unit), [value(before), value(after)])];
    for (at, beside) in first.beside.iter().enumerate() {
        let value = |rows: &[Row]| rows.iter().filter_map(|row| Some(row.beside.get(at)?.value)).collect::<Vec<_>>();
        lines.push(line(beside.name, [value(before), value(after)]));
    }
    lines
}
