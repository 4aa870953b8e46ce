//! Replicas that share a PostgreSQL database, a key file, a folder of blobs and a folder of rules.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;

use crate::process::Usage;
use crate::rules::{self, Wanted};
use crate::server::{Launch, Server, free_address};

/// The replicas. One that was killed leaves its place.
pub(crate) struct Fleet {
    launches: Vec<Launch>,
    places: Vec<Option<Server>>,
    /// What those used that were killed.
    spent: Duration,
    peak_kb: u64,
}

impl Fleet {
    /// Starts so many replicas in this directory.
    pub(crate) fn start(
        binary: &Path,
        home: &Path,
        database: &str,
        count: usize,
        rules: &[Wanted<'_>],
        sink: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(home.join("rules"))?;
        std::fs::write(home.join("rules/bench.yaml"), rules::file(rules, sink)?)?;
        let base = Launch::embedded(binary, home);
        let made = base.command().args(["keys", "generate", "--file", "keys"]).output()?;
        if !made.status.success() {
            bail!("no key file: {}", String::from_utf8_lossy(&made.stderr));
        }
        let launches =
            (0..count).map(|number| launch(binary, home, database, number)).collect::<Result<Vec<_>, _>>()?;
        let places = launches.iter().map(|launch| launch.start().map(Some)).collect::<Result<_, _>>()?;
        Ok(Self { launches, places, spent: Duration::ZERO, peak_kb: 0 })
    }

    /// Where they listen, whether they run or not.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.launches.iter().map(|launch| launch.listen).collect()
    }

    /// Kills one, as a crash would.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        let Some(server) = self.places.get_mut(number).and_then(Option::take) else { return Ok(()) };
        let usage = server.usage().unwrap_or_default();
        self.count(usage);
        server.kill()
    }

    /// Starts one again.
    pub(crate) fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        if let (Some(launch), Some(place)) = (self.launches.get(number), self.places.get_mut(number)) {
            *place = Some(launch.start()?);
        }
        Ok(())
    }

    /// The numbers of those that ended although nobody killed them.
    pub(crate) fn dead(&mut self) -> Vec<usize> {
        let places = self.places.iter_mut().enumerate();
        places
            .filter_map(|(number, place)| place.as_mut().is_some_and(|server| !server.runs()).then_some(number))
            .collect()
    }

    /// CPU of all of them so far, and the most memory one had.
    pub(crate) fn usage(&self) -> (Duration, u64) {
        let now = self.places.iter().flatten().filter_map(|server| server.usage().ok());
        now.fold((self.spent, self.peak_kb), |(cpu, peak), usage| (cpu + usage.cpu, peak.max(usage.peak_kb)))
    }

    /// Stops all of them in an orderly way.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.places.iter_mut().filter_map(Option::take).try_for_each(Server::stop)
    }

    fn count(&mut self, usage: Usage) {
        self.spent += usage.cpu;
        self.peak_kb = self.peak_kb.max(usage.peak_kb);
    }
}

fn launch(binary: &Path, home: &Path, database: &str, number: usize) -> anyhow::Result<Launch> {
    let mut launch = Launch::embedded(binary, home);
    launch.name = format!("replica-{number}");
    launch.listen = free_address()?;
    let at = |name: &str| home.join(name).display().to_string();
    let blobs = format!("dir:{}", at("blobs"));
    let (keys, rules) = (at("keys"), at("rules"));
    launch.arguments = ["--key-file", &keys, "--blob-url", &blobs, "--rules", &rules, "--allow-targets", "127.0.0.0/8"]
        .map(str::to_owned)
        .to_vec();
    launch.environment.push(("RUNHOOK_DATABASE_URL".to_owned(), database.to_owned()));
    Ok(launch)
}

/// Where logs of replicas that failed are kept.
pub(crate) fn keep_logs(home: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(home)?.flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "log") {
            std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    Ok(folder.to_owned())
}
