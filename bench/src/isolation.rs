//! Isolation: what a slow and a dead endpoint cost the other eight of ten, and what two hundred that fail at once cost the
//! server's memory. With and without the bad ones in one run, each on a fresh directory.
//!
//! Each run is an event for all ten: a rule tells it to ten endpoints. So 150 runs a second are 1,500 messages, and what is
//! measured is sending and not how many requests a second the server takes beside it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;
use uuid::Uuid;

use crate::api;
use crate::check::{self, Leniency};
use crate::clock::Clock;
use crate::load::{Latencies, Plan, Spread};
use crate::record::{Ack, Notice};
use crate::rules::Wanted;
use crate::run_id::project_name;
use crate::say;
use crate::sink::{Script, Sink};
use crate::suite::Settings;
use crate::suite::ingest::as_f64;
use crate::suite::notify::{WITHOUT_SENDING, failing};
use crate::suite::stage::{Place, REST, Stage};
use crate::suite::table::number;

/// Endpoints, and those of them that are never bad.
const ALL: u16 = 10;
const GOOD: u16 = 8;
/// Runs a second, each for every endpoint.
const EACH: f64 = 150.0;
/// What the slow one waits before it answers.
const SLOW_MS: u64 = 5_000;
/// Endpoints that fail at once, and messages for each.
const CROWD: u16 = 200;
const FOR_EACH: u64 = 50;

/// `bench isolation`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The server's binary [default: the one built beside this]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Runs, each for every endpoint, where they come as fast as they are taken
    #[arg(long, default_value_t = 1_500)]
    unpaced: u64,
    #[command(flatten)]
    settings: Settings,
}

/// What the eight had of it.
struct Seen {
    per_second: f64,
    spread: Spread,
    rss_mb: f64,
    peak_mb: f64,
}

impl Arguments {
    /// Measures, and returns the tables.
    pub(crate) async fn run(self, clock: Clock) -> anyhow::Result<String> {
        let place = self.settings.place(self.binary.as_deref(), clock)?;
        let mut out = String::from(
            "| ten endpoints | messages/s of the eight | p50 ms | p99 ms | max ms | RSS at the end, peak MB |\n\
             |---|---|---|---|---|---|\n",
        );
        for (name, each) in [("150 messages/s to each", Some(EACH)), ("as fast as it goes", None)] {
            for (with, bad) in [("all well", false), ("one answers after 5 s, one is dead", true)] {
                let seen = self.ten(&place, each, bad).await?;
                let Seen { per_second, spread: Spread { p50, p99, max, .. }, rss_mb, peak_mb } = seen;
                let [per_second, p50, p99, max, rss, peak] = [per_second, p50, p99, max, rss_mb, peak_mb].map(number);
                say(&format!("{name}, {with}: {per_second}/s, p99 {p99} ms"))?;
                writeln!(out, "| {name}, {with} | {per_second} | {p50} | {p99} | {max} | {rss}, {peak} |")?;
            }
        }
        out.push_str("\n| 10,000 messages of 5 KB to 200 endpoints | RSS before, at the end, peak MB |\n|---|---|\n");
        for (name, way) in WAYS {
            let [before, after, peak] = crowd(&place, way).await?.map(number);
            say(&format!("200 endpoints, {name}: {before}, {after}, {peak} MB"))?;
            writeln!(out, "| {name} | {before}, {after}, {peak} |")?;
        }
        Ok(out)
    }

    /// Ten endpoints of one rule.
    async fn ten(&self, place: &Place, each: Option<f64>, bad: bool) -> anyhow::Result<Seen> {
        let mut stage = Stage::set(place, &[], &[]).await?;
        let slow =
            Sink::start(([127, 0, 0, 1], 0).into(), Script { delay: SLOW_MS, ..Script::default() }, place.clock)?;
        let dead = format!("http://{}/hook", nobody()?);
        let url = |number: u16| match number {
            GOOD if bad => slow.url(),
            number if bad && number > GOOD => dead.clone(),
            number => format!("{}/{number}", stage.sink.url()),
        };
        let urls = (0..ALL).map(url).collect();
        stage.apply(&[Wanted { max_runs: Some(1), urls, ..Wanted::errors("ten", "immediate") }]).await?;
        let mut plan = Plan { servers: vec![stage.server.address], ..failing(0, 2_000, 1) };
        (plan.recipe.projects, plan.recipe.batch, plan.connections) = (1, 1, 32);
        plan.rate = each;
        (plan.runs, plan.time) = match each {
            Some(_) => (None, Some(Duration::from_secs_f64(self.settings.seconds * 2.0))),
            None => (Some(self.unpaced), None),
        };
        stage.load(plan).await?;
        arrived(&stage.sink, &stage.acks).await?;
        let usage = stage.usage()?;
        let Stage { home, server, sink, acks, .. } = stage;
        server.stop()?;
        let (notices, _) = sink.stop()?;
        judged(home.path(), &acks).await?;
        let (per_second, spread) = pace_of(&acks, &notices);
        Ok(Seen { per_second, spread, rss_mb: as_f64(usage.rss_kb) / 1024.0, peak_mb: as_f64(usage.peak_kb) / 1024.0 })
    }
}

/// A rule with a project and an endpoint of its own, at this URL. It may take long to answer.
fn own(number: u16, url: String) -> Wanted<'static> {
    let rule = Wanted::own_endpoint(number.into(), &project_name(number));
    Wanted { urls: vec![url], ..rule }
}

/// An address where nobody listens.
fn nobody() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// What the eight were told: which endpoint, and of which run.
fn told_to_good(notices: &[Notice]) -> impl Iterator<Item = ((u16, Uuid), u64)> {
    let good = notices.iter().filter_map(|notice| Some((notice, notice.endpoint.filter(|number| *number < GOOD)?)));
    good.flat_map(|(notice, endpoint)| notice.runs.iter().map(move |run| ((endpoint, *run), notice.at)))
}

/// Waits until each of the eight was told of each of these runs.
async fn arrived(sink: &Sink, acks: &[Ack]) -> anyhow::Result<()> {
    let (begun, wanted) = (Instant::now(), acks.len() * usize::from(GOOD));
    loop {
        // Cheap first: each message tells one run.
        if sink.messages() >= wanted as u64 {
            let told: HashSet<(u16, Uuid)> = told_to_good(&sink.notices()).map(|(what, _)| what).collect();
            if told.len() >= wanted {
                return Ok(());
            }
        }
        if begun.elapsed() > REST {
            bail!("{} of {wanted} messages came", sink.messages());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Nothing may be lost or doubled, whatever waits for endpoints that do not take it.
async fn judged(home: &std::path::Path, acks: &[Ack]) -> anyhow::Result<()> {
    let database = format!("sqlite://{}", home.join("data/runhook.db").display());
    let leniency = Leniency { pending_deliveries: true, failed_deliveries: true };
    let verdict = check::check(&database, acks.to_vec(), None, leniency).await?;
    if verdict.is_clean() { Ok(()) } else { bail!("{}", verdict.sentence()) }
}

/// Messages of the eight a second, from the first run that was to be sent to the last message; and how long each took.
fn pace_of(acks: &[Ack], notices: &[Notice]) -> (f64, Spread) {
    let intended: std::collections::HashMap<Uuid, u64> = acks.iter().map(|ack| (ack.run, ack.intended)).collect();
    let (mut latencies, mut seen) = (Latencies::new(), HashSet::new());
    let (mut first, mut last) = (u64::MAX, 0);
    for (what, at) in told_to_good(notices) {
        let Some(sent) = intended.get(&what.1) else { continue };
        if seen.insert(what) {
            latencies.add(Duration::from_micros(at.saturating_sub(*sent)));
            (first, last) = (first.min(*sent), last.max(at));
        }
    }
    let seconds = Duration::from_micros(last.saturating_sub(first)).as_secs_f64();
    (as_f64(seen.len() as u64) / seconds, latencies.spread())
}

/// How two hundred endpoints behave.
#[derive(Debug, Clone, Copy)]
enum Way {
    Well,
    Dead,
    /// 503 with a million bytes.
    Long,
    /// 200 with a body that comes a byte at a time.
    Drip,
    /// A redirect to where clouds keep their metadata.
    Redirect,
}

const WAYS: [(&str, Way); 5] = [
    ("all well", Way::Well),
    ("nobody listens", Way::Dead),
    ("503 with a million bytes", Way::Long),
    ("a body that drips", Way::Drip),
    ("a redirect to a metadata address", Way::Redirect),
];

impl Way {
    fn script(self) -> Script {
        let plain = Script::default();
        match self {
            Self::Well | Self::Dead => plain,
            Self::Long => Script { failing: 1.0, bytes: 1_000_000, ..plain },
            Self::Drip => Script { drip: 1_000, ..plain },
            Self::Redirect => Script { redirect: Some("http://169.254.169.254/latest".to_owned()), ..plain },
        }
    }
}

/// Sends what waits for two hundred endpoints that all behave the same. Memory before, at the end, and at its most.
async fn crowd(place: &Place, way: Way) -> anyhow::Result<[f64; 3]> {
    let mut stage = Stage::set(place, &[], &WITHOUT_SENDING).await?;
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), way.script(), place.clock)?;
    let url = if matches!(way, Way::Dead) { format!("http://{}/hook", nobody()?) } else { sink.url() };
    let rules: Vec<_> = (0..CROWD).map(|number| own(number, format!("{url}/{number}"))).collect();
    stage.apply(&rules).await?;
    let mut plan = Plan { servers: vec![stage.server.address], ..failing(u64::from(CROWD) * FOR_EACH, 3_300, 1) };
    (plan.recipe.projects, plan.recipe.batch) = (CROWD, 4);
    stage.load(plan).await?;
    api::matched(stage.server.address, REST).await?;
    stage.server.halt()?;
    let server = stage.launch.clone().with(&["--roles", "all"]).start()?;
    let before = server.usage()?.rss_kb;
    // All of them are tried at least once, or left alone by then.
    sleep(Duration::from_secs(10)).await;
    let usage = server.usage()?;
    server.stop()?;
    judged(stage.home.path(), &stage.acks).await?;
    Ok([before, usage.rss_kb, usage.peak_kb].map(|kb| as_f64(kb) / 1024.0))
}
