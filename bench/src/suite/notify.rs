//! What leaves: messages sent to a fast sink, and how long a run takes from its sender to the sink.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;
use uuid::Uuid;

use crate::api;
use crate::body::{Recipe, Wire};
use crate::load::{Latencies, Plan};
use crate::record::{Ack, Notice};
use crate::rules::Wanted;
use crate::suite::Settings;
use crate::suite::ingest::as_f64;
use crate::suite::stage::{Place, REST, Stage, judged};
use crate::suite::table::{Row, Target};

/// Everything but sending.
pub(crate) const WITHOUT_SENDING: [&str; 2] = ["--roles", "ingest,scheduler,api"];
/// A run whose message has 5 KB.
const RUN_BYTES: usize = 3_300;

/// A load of runs that all fail.
pub(crate) fn failing(runs: u64, run_bytes: usize, load: u16) -> Plan {
    let recipe = Recipe {
        wire: Wire::Batch,
        batch: 100,
        run_bytes,
        projects: 4,
        errors: 1.0,
        feedback: 0.0,
        load,
        seed: u64::from(load),
    };
    Plan { servers: Vec::new(), recipe, connections: 8, rate: None, runs: Some(runs), time: None, attempts: Some(4) }
}

/// What a repetition measured.
pub(crate) struct Sent {
    pub(crate) per_second: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) peak_mb: f64,
}

/// Messages that wait, and what is needed to send them as often as is wanted.
pub(crate) struct Waiting {
    stage: Stage,
    messages: u64,
}

impl Waiting {
    /// Has runs matched one by one by a server that does not send, and stops it.
    pub(crate) async fn make(
        place: &Place,
        messages: u64,
        rules: &[Wanted<'_>],
        projects: u16,
    ) -> anyhow::Result<Self> {
        let mut stage = Stage::set(place, rules, &WITHOUT_SENDING).await?;
        let servers = vec![stage.server.address];
        let mut plan = Plan { servers, ..failing(messages, RUN_BYTES, 1) };
        plan.recipe.projects = projects;
        if projects > 10 {
            // All runs of a request are in one project.
            plan.recipe.batch = 4;
        }
        stage.load(plan).await?;
        api::matched(stage.server.address, REST).await?;
        stage.server.halt()?;
        Ok(Self { stage, messages })
    }

    /// Sends all of them from a copy of the data.
    pub(crate) async fn send(&self) -> anyhow::Result<Sent> {
        let (home, sink) = (self.stage.home.path(), &self.stage.sink);
        let copy = tempfile::Builder::new().prefix("copy-").tempdir_in(home)?;
        copy_all(&home.join("data"), &copy.path().join("data"))?;
        fs::copy(home.join("config.yaml"), copy.path().join("config.yaml"))?;
        let heard = sink.messages();
        let mut launch = self.stage.launch.clone();
        copy.path().clone_into(&mut launch.home);
        let server = launch.start()?;
        let begun = Instant::now();
        while sink.messages() < heard + self.messages {
            if begun.elapsed() > REST {
                bail!("{} of {} messages came", sink.messages() - heard, self.messages);
            }
            sleep(Duration::from_millis(2)).await;
        }
        api::rest(server.address, REST).await?;
        let elapsed = begun.elapsed();
        let usage = server.usage()?;
        server.stop()?;
        let notices: Vec<Notice> = sink.notices().split_off(usize::try_from(heard)?);
        judged(copy.path(), &self.stage.acks, Some(&notices)).await?;
        Ok(Sent {
            per_second: as_f64(self.messages) / elapsed.as_secs_f64(),
            cpu_ms: usage.cpu.as_secs_f64() * 1000.0 / as_f64(self.messages),
            peak_mb: as_f64(usage.peak_kb) / 1024.0,
        })
    }
}

/// The row of sending.
pub(super) async fn deliver(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let rule = Wanted { max_runs: Some(1), ..Wanted::errors("each", "immediate") };
    let waiting = Waiting::make(place, 20_000, &[rule], 4).await?;
    let mut sent = Vec::new();
    for _ in 0..settings.repeats {
        sent.push(waiting.send().await?);
    }
    let of = |value: fn(&Sent) -> f64| sent.iter().map(value).collect::<Vec<_>>();
    let name = "deliver 20,000 signed messages of 5 KB to a fast sink, every attempt recorded";
    Ok(Row::new(name, "messages/s", Some(Target::AtLeast(5_000.0)), of(|sent| sent.per_second))
        .beside("CPU ms/message", Some(Target::Below(0.3)), &of(|sent| sent.cpu_ms))
        .beside("peak RSS MB", None, &of(|sent| sent.peak_mb)))
}

/// The row of latency.
pub(super) async fn latency(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let (mut medians, mut tails, mut answers, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.repeats.min(3) {
        let mut stage = Stage::set(place, &[Wanted::errors("all", "immediate")], &[]).await?;
        let servers = vec![stage.server.address];
        let mut plan = Plan { servers, ..failing(0, 2_000, 1) };
        plan.recipe.batch = 1;
        plan.recipe.errors = 0.1;
        (plan.connections, plan.rate, plan.runs) = (64, Some(1_000.0), None);
        plan.time = Some(Duration::from_secs_f64(settings.seconds * 2.0));
        let tally = stage.load(plan).await?;
        stage.rest().await?;
        let used = stage.usage()?.cpu;
        let struck = stage.strike().await?;
        let spread = arrivals(&struck.acks, &struck.notices).spread();
        medians.push(spread.p50);
        tails.push(spread.p99);
        answers.push(tally.latency_ms.p50);
        cpu.push(used.as_secs_f64() * 1e6 / as_f64(tally.runs.max(1)));
    }
    let name = "sent run to received notification, `every: immediate`, 1,000 runs/s in as many requests";
    Ok(Row::new(name, "ms p50", Some(Target::Below(20.0)), medians)
        .beside("p99 ms", Some(Target::Below(100.0)), &tails)
        .beside("sent to 202, p50 ms", None, &answers)
        .beside("CPU us/run", None, &cpu)
        .note("from when the request should have been sent; one run in ten matches"))
}

/// From when runs should have been sent to when the sink first heard of them.
fn arrivals(acks: &[Ack], notices: &[Notice]) -> Latencies {
    let intended: HashMap<Uuid, u64> = acks.iter().map(|ack| (ack.run, ack.intended)).collect();
    let mut latencies = Latencies::new();
    for notice in notices {
        for run in notice.runs.iter().filter_map(|run| intended.get(run)) {
            latencies.add(Duration::from_micros(notice.at.saturating_sub(*run)));
        }
    }
    latencies
}

fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
