//! A running server, as the real binary.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Usage, usage};

/// How a server is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// Where it runs, and its log goes.
    pub(crate) home: PathBuf,
    /// The name of its log.
    pub(crate) name: String,
    /// Where it listens; port 0: anywhere.
    pub(crate) listen: SocketAddr,
    /// Further arguments of `serve`.
    pub(crate) arguments: Vec<String>,
    /// Its environment, beside PATH.
    pub(crate) environment: Vec<(String, String)>,
}

/// A server that runs. Killed when dropped.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From its start to the line that says it takes traffic.
    pub(crate) ready_after: Duration,
    child: Child,
}

impl Launch {
    /// An embedded server in this directory.
    pub(crate) fn embedded(binary: &Path, home: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            home: home.to_owned(),
            name: "server".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            arguments: ["--data-dir", "data", "--allow-targets", "127.0.0.0/8"].map(str::to_owned).to_vec(),
            environment: Vec::new(),
        }
    }

    /// The same with further arguments.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The binary, with an environment that says nothing else of Runhook.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().current_dir(&self.home).stdin(Stdio::null());
        command.envs(self.environment.iter().cloned()).env("PATH", "/usr/bin:/bin");
        command
    }

    /// Starts it, and waits until it takes traffic.
    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        let log = self.home.join(format!("{}.log", self.name));
        let log_file = File::options().create(true).append(true).open(&log)?;
        let mut command = self.command();
        command.args(["serve", "--listen", &self.listen.to_string()]).args(&self.arguments);
        command.stdout(Stdio::piped()).stderr(log_file);
        let begun = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.binary.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let ready_after = begun.elapsed();
        let address = line.trim_end().strip_prefix("runhook listening on http://").and_then(|text| text.parse().ok());
        let Some(address) = address else {
            let ended = child.wait()?;
            bail!("the server did not start ({ended}): see {}", log.display());
        };
        Ok(Server { address, ready_after, child })
    }
}

impl Server {
    /// What it has used.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.child.id())
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.halt()
    }

    /// The same, for one that stays where it is.
    pub(crate) fn halt(&mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::TERM)?;
        let ended = self.child.wait()?;
        if ended.success() { Ok(()) } else { bail!("the server ended with {ended}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A free port on loopback. Nobody holds it, so it can be lost again; what listens on it says so.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// The binary that was built beside this one, unless another is named.
pub(crate) fn binary(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("runhook"),
    };
    path.canonicalize().with_context(|| format!("there is no server binary at {}: build it first", path.display()))
}
