//! What many rules cost the evaluation of many changed runs.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::api;
use crate::load::Plan;
use crate::rules::Wanted;
use crate::run_id::project_name;
use crate::suite::Settings;
use crate::suite::ingest::{self, BATCHES, Way, as_f64};
use crate::suite::stage::{Place, REST, Stage};
use crate::suite::table::{Row, Target, median};

const RUNS: u64 = 10_000;
/// How often rules are evaluated: long enough for the runs to arrive between two ticks.
const EVERY: Duration = Duration::from_secs(10);
/// How long before a tick its runs have long arrived.
const BEFORE: Duration = Duration::from_secs(2);
const FEW: u32 = 10;

/// The CPU, in milliseconds, of one tick over runs of one project: with rules of which one finds what fails, and the others,
/// twenty in each project, find nothing.
async fn once(place: &Place, rules: u32) -> anyhow::Result<f64> {
    let mut stage = Stage::set(place, &[], &[]).await?;
    let idle = (1..rules).map(|number| {
        let project = u16::try_from(number / 20).unwrap_or(u16::MAX);
        Wanted { every: "10s", ..Wanted::idle(number, &project_name(project)) }
    });
    let wanted: Vec<Wanted<'_>> = std::iter::once(Wanted::errors("all", "10s")).chain(idle).collect();
    stage.apply(&wanted).await?;
    let servers = vec![stage.server.address];
    let load = |load, runs, batch| {
        let way = Way { batch, ..BATCHES };
        let mut plan = Plan { servers: servers.clone(), ..ingest::plan(way, load, None, Some(runs)) };
        plan.recipe.projects = 1;
        plan
    };
    // What comes after a quiet spell is looked at at once, and the rest when the time has come again.
    stage.load(load(1, 4, 4)).await?;
    let looked = Instant::now();
    stage.rest().await?;
    stage.load(load(2, RUNS, 100)).await?;
    sleep_until(looked + EVERY - BEFORE).await;
    let before = stage.usage()?.cpu;
    // A list of deliveries names their rules, and would cost more than the tick.
    api::matched(stage.server.address, REST).await?;
    let ticked = stage.usage()?.cpu.saturating_sub(before);
    stage.rest().await?;
    stage.strike().await?;
    Ok(ticked.as_secs_f64() * 1000.0)
}

/// The row of the tick.
pub(super) async fn tick(place: &Place, settings: &Settings) -> anyhow::Result<Row> {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..settings.repeats.min(3) {
        few.push(once(place, FEW).await?);
        many.push(once(place, settings.idle_rules).await?);
    }
    let least = median(&few);
    let ratios = many.iter().map(|cpu| cpu / least).collect();
    let rules = crate::suite::table::number(f64::from(settings.idle_rules));
    let name = format!("tick over {} changed runs, {rules} rules to {FEW}", crate::suite::table::number(as_f64(RUNS)));
    Ok(Row::new(name, "times the CPU", Some(Target::Below(1.5)), ratios)
        .beside("CPU ms, few rules", None, &few)
        .beside("CPU ms, many rules", None, &many)
        .note("from two seconds before the tick until nothing is left to match"))
}
