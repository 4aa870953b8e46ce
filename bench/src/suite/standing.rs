//! What a server costs when nothing happens, and how soon it is there.

use std::time::Duration;

use tokio::time::sleep;

use crate::api;
use crate::load::Plan;
use crate::rules::Wanted;
use crate::run_id::project_name;
use crate::server::Launch;
use crate::suite::Settings;
use crate::suite::ingest::{self, BATCHES, Way, as_f64};
use crate::suite::notify::{WITHOUT_SENDING, failing};
use crate::suite::stage::{Place, REST, Stage, judged};
use crate::suite::table::{Row, Target};

/// Until a server that has started has nothing more to do.
const CALM: Duration = Duration::from_secs(3);
/// How long an idle server is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// A server at rest.
pub(crate) struct AtRest {
    pub(crate) cpu_share: f64,
    pub(crate) rss_mb: f64,
    pub(crate) ready_ms: f64,
    pub(crate) applied_s: f64,
}

/// A server with so many rules over a hundredth as many projects, started anew, with nothing to do.
pub(crate) async fn at_rest(place: &Place, rules: u32) -> anyhow::Result<AtRest> {
    let mut stage = Stage::set(place, &[], &[]).await?;
    let projects = u16::try_from((rules / 20).clamp(1, 1_000))?;
    let wanted: Vec<Wanted<'_>> = (0..rules)
        .map(|number| {
            let project = u16::try_from(number / 20).unwrap_or(u16::MAX);
            Wanted::idle(number, &project_name(project))
        })
        .collect();
    let applied = stage.apply(&wanted).await?;
    let servers = vec![stage.server.address];
    let runs = u64::from(projects) * 4;
    let mut plan = Plan { servers, ..ingest::plan(Way { batch: 4, ..BATCHES }, 1, None, Some(runs)) };
    (plan.recipe.projects, plan.recipe.errors) = (projects, 0.0);
    stage.load(plan).await?;
    stage.rest().await?;
    stage.server.halt()?;
    let server = stage.launch.start()?;
    sleep(CALM).await;
    let before = server.usage()?;
    sleep(WATCHED).await;
    let after = server.usage()?;
    Ok(AtRest {
        cpu_share: after.cpu.saturating_sub(before.cpu).as_secs_f64() / WATCHED.as_secs_f64() * 100.0,
        rss_mb: as_f64(after.rss_kb) / 1024.0,
        ready_ms: server.ready_after.as_secs_f64() * 1000.0,
        applied_s: applied.as_secs_f64(),
    })
}

/// The row of a hundred thousand rules.
pub(super) async fn idle(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let rest = at_rest(place, settings.idle_rules).await?;
    let name = format!("idle, {} rules loaded", crate::suite::table::number(f64::from(settings.idle_rules)));
    Ok(Row::new(name, "% of a core", Some(Target::Below(1.0)), vec![rest.cpu_share])
        .beside("RSS MB", Some(Target::Below(200.0)), &[rest.rss_mb])
        .beside("start to ready ms", None, &[rest.ready_ms])
        .beside("applying them took s", None, &[rest.applied_s]))
}

/// The row of memory.
pub(super) async fn memory(place: &Place, _settings: &Settings) -> anyhow::Result<Row> {
    let rest = at_rest(place, 5).await?;
    Ok(Row::new("RSS idle, 5 rules", "MB", Some(Target::Below(40.0)), vec![rest.rss_mb]).beside(
        "% of a core",
        None,
        &[rest.cpu_share],
    ))
}

/// The row of an empty start.
pub(super) async fn start_empty(place: &Place, _settings: &Settings) -> anyhow::Result<Row> {
    std::fs::create_dir_all(&place.dir)?;
    let mut ready = Vec::new();
    for _ in 0..7 {
        let home = tempfile::tempdir_in(&place.dir)?;
        let server = Launch::embedded(&place.binary, home.path()).start()?;
        ready.push(server.ready_after.as_secs_f64() * 1000.0);
        server.stop()?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(Row::new("fresh start to ready, empty", "ms", Some(Target::Below(100.0)), ready))
}

/// The row of a start on much data: after a kill, so that what it has to mend is in the figure.
pub(super) async fn start_full(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let mut stage = Stage::set(place, &[], &WITHOUT_SENDING).await?;
    let servers = vec![stage.server.address];
    // None of them fails: the rule that is applied afterwards does not look at them.
    let mut fill = Plan { servers: servers.clone(), ..ingest::plan(BATCHES, 1, None, Some(settings.stored_runs)) };
    fill.recipe.errors = 0.0;
    let filled = stage.load(fill).await?;
    stage.apply(&[Wanted { max_runs: Some(1), ..Wanted::errors("each", "immediate") }]).await?;
    stage.load(Plan { servers, ..failing(10_000, 2_000, 2) }).await?;
    api::matched(stage.server.address, REST).await?;
    let Stage { home, launch, server, sink, acks, .. } = stage;
    server.kill()?;
    // Nobody hears what is sent, so that everything stays pending from start to start.
    sink.stop()?;
    let mut ready = Vec::new();
    for _ in 0..settings.repeats {
        let server = launch.start()?;
        ready.push(server.ready_after.as_secs_f64() * 1000.0);
        server.kill()?;
    }
    judged(home.path(), &acks, None).await?;
    let runs = crate::suite::table::number(as_f64(settings.stored_runs));
    let name = format!("start to ready after a kill, {runs} runs, 10,000 pending deliveries");
    Ok(Row::new(name, "ms", Some(Target::Below(300.0)), ready).beside(
        "filled at runs/s",
        None,
        &[filled.runs_per_second],
    ))
}
