//! A stage for one measurement: an embedded server on a fresh directory, a sink beside it, and the checker at the end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use tempfile::TempDir;

use crate::api;
use crate::check::{self, Leniency};
use crate::clock::Clock;
use crate::load::{self, Outcome, Plan};
use crate::process::{Usage, disk_bytes};
use crate::record::{Ack, Notice};
use crate::rules::{self, Wanted};
use crate::server::{Launch, Server};
use crate::sink::{Script, Sink};

/// How long everything may take to come to rest.
pub(crate) const REST: Duration = Duration::from_mins(5);

/// Limits that let a hundred thousand rules in.
const CONFIG: &str = "limits:\n  rules_per_tenant: 200000\n  request_bytes: 256MiB\n  decompressed_bytes: 256MiB\n";

/// Where measurements happen.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The server's binary.
    pub(crate) binary: PathBuf,
    /// A directory on the disk that is measured.
    pub(crate) dir: PathBuf,
    pub(crate) clock: Clock,
}

/// A stage that is set.
pub(crate) struct Stage {
    pub(crate) home: TempDir,
    pub(crate) launch: Launch,
    pub(crate) server: Server,
    pub(crate) sink: Sink,
    pub(crate) clock: Clock,
    /// What loads had acknowledged so far.
    pub(crate) acks: Vec<Ack>,
}

/// What was left of a stage.
pub(crate) struct Struck {
    pub(crate) notices: Vec<Notice>,
    pub(crate) disk_bytes: u64,
    pub(crate) acks: Vec<Ack>,
}

impl Stage {
    /// Starts a server and a sink, and applies rules.
    pub(crate) async fn set(place: &Place, rules: &[Wanted<'_>], arguments: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&place.dir)?;
        let home = tempfile::Builder::new().prefix("stage-").tempdir_in(&place.dir)?;
        std::fs::write(home.path().join("config.yaml"), CONFIG)?;
        let launch = Launch::embedded(&place.binary, home.path()).with(&["--config", "config.yaml"]);
        let server = launch.clone().with(arguments).start()?;
        let sink = Sink::start(([127, 0, 0, 1], 0).into(), Script::default(), place.clock)?;
        let stage = Self { home, launch, server, sink, clock: place.clock, acks: Vec::new() };
        stage.apply(rules).await?;
        Ok(stage)
    }

    /// Applies rules that send to the sink.
    pub(crate) async fn apply(&self, rules: &[Wanted<'_>]) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        if !rules.is_empty() {
            api::apply(self.server.address, &rules::files(rules, &self.sink.url())?).await?;
        }
        Ok(begun.elapsed())
    }

    /// Carries a load out on a thread of its own, and remembers what was acknowledged.
    pub(crate) async fn load(&mut self, plan: Plan) -> anyhow::Result<load::Tally> {
        let Outcome { tally, acks } = load_apart(plan, self.clock).await?;
        if !tally.is_whole() {
            bail!("the load had to give up: {:?}", tally.dropped);
        }
        self.acks.extend(acks);
        Ok(tally)
    }

    /// Waits until nothing is left to do.
    pub(crate) async fn rest(&self) -> anyhow::Result<Duration> {
        api::rest(self.server.address, REST).await
    }

    /// What the server has used.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.server.usage()
    }

    /// Stops everything, and judges what is left.
    pub(crate) async fn strike(self) -> anyhow::Result<Struck> {
        let Self { home, server, sink, acks, .. } = self;
        server.stop()?;
        let (notices, _) = sink.stop()?;
        let disk_bytes = disk_bytes(&home.path().join("data"));
        judged(home.path(), &acks, Some(&notices)).await?;
        Ok(Struck { notices, disk_bytes, acks })
    }
}

/// Judges an embedded server's data, of which nothing was sent yet if there are no notices: an error when a promise was
/// broken.
pub(crate) async fn judged(home: &Path, acks: &[Ack], notices: Option<&[Notice]>) -> anyhow::Result<()> {
    let database = format!("sqlite://{}", home.join("data/runhook.db").display());
    let leniency = Leniency { pending_deliveries: notices.is_none(), ..Leniency::default() };
    let verdict = check::check(&database, acks.to_vec(), notices.map(<[Notice]>::to_vec), leniency).await?;
    if !verdict.is_clean() {
        bail!("{}\n{}", verdict.sentence(), serde_json::to_string_pretty(&verdict.shown)?);
    }
    Ok(())
}

/// Carries a load out on a thread of its own, so that its CPU can be told from everyone else's.
pub(crate) async fn load_apart(plan: Plan, clock: Clock) -> anyhow::Result<Outcome> {
    let thread = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(load::run(&plan, clock))
    });
    while !thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    thread.join().map_err(|_| anyhow!("the load panicked"))?.context("the load")
}
