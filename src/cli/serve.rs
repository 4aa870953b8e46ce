//! `runhook serve`: the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use url::Url;

use crate::app::{Running, ServeError, Start};
use crate::cli::{Context, Exit, connect, systemd};
use crate::config::{self, Config, EgressProxy, Overrides, Role, Roles};
use crate::model::time::SystemClock;
use crate::telemetry::metrics;

/// How to serve.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The address to serve on; port 0 picks a free one [default: 127.0.0.1:4710]
    #[arg(long, env = "RUNHOOK_LISTEN", value_name = "ADDRESS", value_parser = config::address)]
    listen: Option<SocketAddr>,
    /// How receivers reach this server, for links to large values [default: the address it listens on]
    #[arg(long, env = "RUNHOOK_PUBLIC_URL", value_name = "URL", value_parser = config::public_url)]
    public_url: Option<Url>,
    /// A folder of rule files to apply at start and whenever one changes
    #[arg(long, env = "RUNHOOK_RULES", value_name = "DIR")]
    rules: Option<PathBuf>,
    /// What this replica does: some of ingest,scheduler,delivery,api [default: all]
    #[arg(long, env = "RUNHOOK_ROLES", value_name = "ROLE,…")]
    roles: Option<Roles>,
    /// Networks that rules may call although they are loopback or private: 127.0.0.0/8,10.1.0.0/16
    #[arg(long, env = "RUNHOOK_ALLOW_TARGETS", value_name = "CIDR,…", value_parser = networks)]
    allow_targets: Option<Networks>,
    /// The proxy through which all notifications leave [default: none, whatever the environment names]
    #[arg(long, env = "RUNHOOK_EGRESS_PROXY", value_name = "URL", hide_env_values = true)]
    egress_proxy: Option<EgressProxy>,
    /// Networks of proxies in front of this server, whose X-Forwarded-For the audit log believes: 10.0.0.0/8 [default: none]
    #[arg(long, env = "RUNHOOK_TRUSTED_PROXIES", value_name = "CIDR,…", value_parser = networks)]
    trusted_proxies: Option<Networks>,
}

/// A list of networks, which clap would otherwise take for many values.
#[derive(Debug, Clone)]
struct Networks(Vec<IpNet>);

fn networks(text: &str) -> Result<Networks, String> {
    config::networks(text).map(Networks).map_err(|error| error.to_string())
}

/// Serves until a signal, or until something breaks.
pub(super) async fn run(arguments: Arguments, context: &mut Context) -> anyhow::Result<Exit> {
    let config = context.connect.config(arguments.into())?;
    metrics::record();
    let mut signals = Signals::listen()?;
    let seed = context.connect.api_key();
    let environment = connect::environment();
    let variables = Arc::new(move |name: &str| environment.get(name).cloned());
    let start = Start { config: &config, seed: seed.as_ref(), variables, clock: Arc::new(SystemClock) };
    let started = Running::start(start).await;
    let running = started.map_err(|error| match error {
        ServeError::DataDir(error) => connect::advised(error),
        error => error.into(),
    })?;
    tell_of_keys(&running);
    warn_of_links(&config);
    warn_of_roles(&running, &config);
    announce(&running, context)?;
    systemd::tell(systemd::READY);
    until_stopped(running, &mut signals, config.stop_within).await?;
    Ok(Exit::Fine)
}

async fn until_stopped(running: Running, signals: &mut Signals, bound: Duration) -> Result<(), ServeError> {
    tokio::select! {
        () = signals.next() => {}
        () = running.failed() => {}
    }
    systemd::tell(systemd::STOPPING);
    note("stopping: finishing what has begun; another signal drops it");
    running.stop(give_up(bound, signals)).await?;
    note("stopped");
    Ok(())
}

fn note(what: &str) {
    tracing::info!("{what}");
}

impl From<Arguments> for Overrides {
    fn from(arguments: Arguments) -> Self {
        Self {
            listen: arguments.listen,
            public_url: arguments.public_url,
            rules: arguments.rules.filter(|dir| !dir.as_os_str().is_empty()),
            roles: arguments.roles,
            allow_targets: arguments.allow_targets.map(|networks| networks.0),
            egress_proxy: arguments.egress_proxy,
            trusted_proxies: arguments.trusted_proxies.map(|networks| networks.0),
            ..Self::default()
        }
    }
}

/// The one line on stdout. Without it nobody knows that the server takes traffic, so it must get out.
fn announce(running: &Running, context: &mut Context) -> anyhow::Result<()> {
    let url = running.url().as_str().trim_end_matches('/');
    let said = writeln!(context.out, "runhook listening on {url}").and_then(|()| context.out.flush());
    said.map_err(|error| anyhow::anyhow!("the listening line could not be written to stdout: {error}"))
}

fn tell_of_keys(running: &Running) {
    if let Some(file) = running.engine().created_key_file() {
        tracing::warn!(file = %file.display(), "made a sealing key; keep it apart from backups of the data");
    }
}

fn warn_of_links(config: &Config) {
    if config.listen.ip().is_unspecified() && config.public_url.is_none() {
        tracing::warn!("links to large values will not work for receivers elsewhere: set public_url");
    }
}

fn warn_of_roles(running: &Running, config: &Config) {
    let lacking: Vec<&str> = config.roles.lacking().map(Role::name).collect();
    if !lacking.is_empty() && running.engine().data_dir().is_some() {
        tracing::warn!(lacking = lacking.join(","), "this server alone has its database, and nobody does this for it");
    }
}

/// The end of patience: another signal, or the time limit.
async fn give_up(bound: Duration, signals: &mut Signals) {
    tokio::select! {
        () = signals.next() => {}
        () = tokio::time::sleep(bound) => {}
    }
    tracing::warn!("dropping what has not finished");
}

/// Asks to stop: Ctrl-C, and SIGTERM where there is one.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// From now on signals are noticed, not obeyed.
    #[cfg(unix)]
    pub(super) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// From now on signals are noticed, not obeyed.
    #[cfg(not(unix))]
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// The next one.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The next one.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
