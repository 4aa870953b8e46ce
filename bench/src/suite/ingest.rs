//! What the write path takes: runs in, durable before the answer, with rules on.

use std::time::Duration;

use crate::body::{Recipe, Wire};
use crate::load::Plan;
use crate::rules::Wanted;
use crate::suite::Settings;
use crate::suite::stage::{Place, Stage};
use crate::suite::table::{Row, Target};

/// The projects a load goes round in.
const PROJECTS: u16 = 10;

/// What a repetition measured.
pub(crate) struct Taken {
    pub(crate) runs_per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) peak_mb: f64,
    pub(crate) disk_bytes: f64,
    pub(crate) load_cpu_us: f64,
    pub(crate) behind_s: f64,
}

/// How runs are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) wire: Wire,
    pub(crate) batch: usize,
    pub(crate) connections: usize,
    pub(crate) rules: u32,
}

/// Batches of a hundred.
pub(crate) const BATCHES: Way = Way { wire: Wire::Batch, batch: 100, connections: 16, rules: 1000 };
/// One run in a request.
pub(crate) const SINGLES: Way = Way { wire: Wire::Batch, batch: 1, connections: 64, rules: 1000 };

/// So many rules: one finds what fails, the others look and find nothing, spread evenly over the projects.
pub(crate) fn rules(count: u32) -> Vec<Wanted<'static>> {
    let idle = (1..count).map(|number| {
        let project = u16::try_from(number % u32::from(PROJECTS)).unwrap_or_default();
        Wanted::idle(number, &crate::run_id::project_name(project))
    });
    std::iter::once(Wanted::errors("all", "immediate")).chain(idle).collect()
}

/// A load for this way.
pub(crate) fn plan(way: Way, load: u16, time: Option<Duration>, runs: Option<u64>) -> Plan {
    let recipe = Recipe {
        wire: way.wire,
        batch: way.batch,
        run_bytes: 2_000,
        projects: PROJECTS,
        errors: 0.01,
        feedback: 0.0,
        load,
        seed: u64::from(load),
    };
    Plan { servers: Vec::new(), recipe, connections: way.connections, rate: None, runs, time, attempts: Some(4) }
}

/// One repetition: a second to warm up, then the measured time.
pub(crate) async fn once(place: &Place, way: Way, seconds: f64) -> anyhow::Result<Taken> {
    let mut stage = Stage::set(place, &rules(way.rules), &[]).await?;
    let to = vec![stage.server.address];
    let warm =
        Plan { servers: to.clone(), ..plan(Way { wire: Wire::Batch, ..way }, 1, Some(Duration::from_secs(1)), None) };
    stage.load(warm).await?;
    stage.rest().await?;
    let warmed = stage.usage()?.cpu;
    let time = Some(Duration::from_secs_f64(seconds));
    let tally = stage.load(Plan { servers: to, ..plan(way, 2, time, most_runs(way.wire, seconds)) }).await?;
    let behind = stage.rest().await?;
    let usage = stage.usage()?;
    let all = stage.acks.len();
    let struck = stage.strike().await?;
    let micros = |time: Duration, count: u64| time.as_secs_f64() * 1e6 / as_f64(count.max(1));
    Ok(Taken {
        runs_per_second: tally.runs_per_second,
        cpu_us: micros(usage.cpu.saturating_sub(warmed), tally.runs),
        p50_ms: tally.latency_ms.p50,
        p99_ms: tally.latency_ms.p99,
        peak_mb: as_f64(usage.peak_kb) / 1024.0,
        disk_bytes: as_f64(struck.disk_bytes) / as_f64(all as u64),
        load_cpu_us: tally.own_cpu_s_per_1000 * 1000.0,
        behind_s: behind.as_secs_f64(),
    })
}

/// Packed bodies are made beforehand, so their number must be known: more than a server can take.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some seconds")]
fn most_runs(wire: Wire, seconds: f64) -> Option<u64> {
    (wire == Wire::MultipartZstd).then_some((seconds * 40_000.0) as u64)
}

/// The row of batches.
pub(super) async fn batches(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let name = "ingest, batches of 100 runs of 2 KB, 1,000 rules, 16 connections";
    row(place, settings, BATCHES, name, Some(Target::AtLeast(20_000.0))).await
}

/// The row of single runs.
pub(super) async fn singles(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let name = "ingest, one run a request, 1,000 rules, 64 connections";
    row(place, settings, SINGLES, name, Some(Target::AtLeast(5_000.0))).await
}

/// The row of plain multipart requests.
pub(super) async fn multipart(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let way = Way { wire: Wire::Multipart, ..BATCHES };
    row(place, settings, way, "the same through /runs/multipart", None).await
}

/// The row of packed multipart requests.
pub(super) async fn packed(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let way = Way { wire: Wire::MultipartZstd, ..BATCHES };
    row(place, settings, way, "the same through /runs/multipart, zstd", None).await
}

async fn row(place: &Place, settings: &Settings, way: Way, name: &str, target: Option<Target>) -> anyhow::Result<Row> {
    let mut taken = Vec::new();
    for _ in 0..settings.repeats {
        taken.push(once(place, way, settings.seconds).await?);
    }
    let of = |value: fn(&Taken) -> f64| taken.iter().map(value).collect::<Vec<_>>();
    let batched = way.batch > 1 && target.is_some();
    let bound = |bound: f64| batched.then_some(Target::Below(bound));
    Ok(Row::new(name, "runs/s", target, of(|taken| taken.runs_per_second))
        .beside("CPU us/run", bound(80.0), &of(|taken| taken.cpu_us))
        .beside("p50 ms", None, &of(|taken| taken.p50_ms))
        .beside("p99 ms", None, &of(|taken| taken.p99_ms))
        .beside("peak RSS MB", bound(200.0), &of(|taken| taken.peak_mb))
        .beside("disk bytes/run", bound(1_500.0), &of(|taken| taken.disk_bytes))
        .beside("at rest after s", None, &of(|taken| taken.behind_s))
        .beside("generator CPU us/run", None, &of(|taken| taken.load_cpu_us)))
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}
