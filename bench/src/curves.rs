//! Growth: how rates and costs change with the number of rules, of stored runs and of endpoints. Made once in a while;
//! the pictures are committed.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::chart::{Chart, Line};
use crate::clock::Clock;
use crate::load::Plan;
use crate::rules::Wanted;
use crate::run_id::project_name;
use crate::say;
use crate::suite::ingest::{self, BATCHES, Way, as_f64};
use crate::suite::notify::Waiting;
use crate::suite::stage::{Place, Stage};
use crate::suite::table::number;
use crate::suite::{Settings, standing};

/// Messages of each point of the curve of endpoints.
const MESSAGES: u64 = 5_000;
/// Runs of a burst on a filled database.
const BURST: u64 = 20_000;

/// `bench curves`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server's binary [default: the one built beside this]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the pictures go
    #[arg(long, value_name = "DIR", default_value = "docs/performance")]
    out: PathBuf,
    /// Rules
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000,100000")]
    rules: Vec<u32>,
    /// Stored runs
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,500000,1000000,2000000")]
    runs: Vec<u64>,
    /// Endpoints
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    endpoints: Vec<u32>,
    #[command(flatten)]
    settings: Settings,
}

/// The points of a curve: how much there was, and what was measured.
#[derive(Debug, Serialize)]
struct Curve {
    name: &'static str,
    measured: [&'static str; 2],
    points: Vec<(f64, [f64; 2])>,
}

impl Arguments {
    /// Measures, writes the pictures and the figures, and returns them as tables.
    pub(crate) async fn run(self, clock: Clock) -> anyhow::Result<String> {
        let place = self.settings.place(self.binary.as_deref(), clock)?;
        std::fs::create_dir_all(&self.out)?;
        let mut out = String::new();
        let curves = [
            Box::pin(self.by_rules(&place)).await?,
            Box::pin(self.by_runs(&place)).await?,
            self.by_endpoints(&place).await?,
        ];
        for curve in &curves {
            let across = curve.name;
            writeln!(out, "| {across} | {} | {} |\n|---|---|---|", curve.measured[0], curve.measured[1])?;
            for (x, [first, second]) in &curve.points {
                writeln!(out, "| {} | {} | {} |", number(*x), number(*first), number(*second))?;
            }
            out.push('\n');
            self.draw(curve)?;
        }
        std::fs::write(self.out.join("curves.json"), serde_json::to_string_pretty(&curves)?)?;
        Ok(out)
    }

    fn draw(&self, curve: &Curve) -> anyhow::Result<()> {
        for (at, measured) in curve.measured.into_iter().enumerate() {
            let points = curve.points.iter().map(|(x, values)| (*x, if at == 0 { values[0] } else { values[1] }));
            let line = Line { name: measured, points: points.collect() };
            let chart = Chart { title: measured, across: curve.name, up: "", lines: vec![line] };
            let file = format!("{}-{}.svg", slug(curve.name), slug(measured));
            std::fs::write(self.out.join(file), chart.svg()?)?;
        }
        Ok(())
    }

    async fn by_rules(&self, place: &Place) -> anyhow::Result<Curve> {
        let mut points = Vec::new();
        for rules in self.rules.iter().copied() {
            let taken = ingest::once(place, Way { rules, ..BATCHES }, self.settings.seconds).await?;
            let rest = standing::at_rest(place, rules).await?;
            say(&format!("{rules} rules: {} runs/s", number(taken.runs_per_second)))?;
            points.push((f64::from(rules), [taken.cpu_us, rest.rss_mb]));
        }
        Ok(Curve { name: "rules", measured: ["CPU us of a run, matching included", "RSS idle, MB"], points })
    }

    async fn by_runs(&self, place: &Place) -> anyhow::Result<Curve> {
        let mut stage = Stage::set(place, &ingest::rules(100), &[]).await?;
        let (mut stored, mut points) = (0, Vec::new());
        for (number_of, wanted) in (1_u16..).zip(self.runs.iter().copied()) {
            let servers = vec![stage.server.address];
            let fill = wanted.saturating_sub(stored).saturating_sub(BURST);
            let plan = |load, runs| Plan { servers: servers.clone(), ..ingest::plan(BATCHES, load, None, Some(runs)) };
            if fill > 0 {
                stage.load(plan(2 * number_of, fill)).await?;
                stage.rest().await?;
                stored += fill;
            }
            let before = stage.usage()?.cpu;
            let tally = stage.load(plan(2 * number_of + 1, BURST)).await?;
            stage.rest().await?;
            stored += BURST;
            let used = stage.usage()?.cpu.saturating_sub(before).as_secs_f64() * 1e6 / as_f64(BURST);
            say(&format!("{stored} stored runs: {} runs/s", number(tally.runs_per_second)))?;
            points.push((as_f64(stored), [tally.runs_per_second, used]));
        }
        stage.strike().await?;
        Ok(Curve { name: "stored runs", measured: ["runs taken a second", "CPU us of a further run"], points })
    }

    async fn by_endpoints(&self, place: &Place) -> anyhow::Result<Curve> {
        let mut points = Vec::new();
        for endpoints in self.endpoints.iter().copied() {
            let own = |number| {
                let project = u16::try_from(number).unwrap_or_default();
                Wanted::own_endpoint(number, &project_name(project))
            };
            let rules: Vec<Wanted<'_>> = (0..endpoints).map(own).collect();
            let projects = u16::try_from(endpoints)?;
            let sent = Waiting::make(place, MESSAGES, &rules, projects).await?.send().await?;
            say(&format!("{endpoints} endpoints: {} messages/s", number(sent.per_second)))?;
            points.push((f64::from(endpoints), [sent.per_second, sent.cpu_ms]));
        }
        Ok(Curve { name: "endpoints", measured: ["messages sent a second", "CPU ms of a message"], points })
    }
}

fn slug(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}
