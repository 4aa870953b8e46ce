//! A running engine, as the real binary: started on a free port and in a home of its own, killed and started again.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::support::home::Home;

/// The binary, with an environment that says nothing of Runhook.
pub fn runhook() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runhook"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RUNHOOK_") {
            command.env_remove(name);
        }
    }
    command
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
}

impl Settings {
    /// Settings with these arguments.
    pub fn with<const N: usize>(arguments: [&str; N]) -> Self {
        Self { arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), ..Self::default() }
    }

    /// The same with a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running server. Killed when dropped.
pub struct Server {
    /// Where it serves, without a slash at the end.
    pub url: String,
    home: Arc<Home>,
    settings: Settings,
    child: Child,
    log: watch::Sender<String>,
    readers: Vec<JoinHandle<()>>,
}

/// A start that failed.
#[derive(Debug)]
pub struct NotStarted {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on stderr.
    pub log: String,
}

impl Server {
    /// Starts a server in a fresh home.
    pub fn start(settings: Settings) -> Self {
        Self::start_in(Arc::new(Home::new()), settings)
            .unwrap_or_else(|error| panic!("the server did not start: {error:?}"))
    }

    /// Starts a server on a home that was used before.
    pub fn start_in(home: Arc<Home>, settings: Settings) -> Result<Self, NotStarted> {
        let mut command = runhook();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.data_dir());
        command.args(&settings.arguments).envs(home.environment()).envs(settings.environment.iter().cloned());
        Self::watch(command, home, settings)
    }

    /// Starts a server by a command that says all there is to say.
    pub fn by(command: Command, home: Arc<Home>) -> Result<Self, NotStarted> {
        Self::watch(command, home, Settings::default())
    }

    fn watch(mut command: Command, home: Arc<Home>, settings: Settings) -> Result<Self, NotStarted> {
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let log = watch::Sender::new(String::new());
        let stderr = keep(child.stderr.take().unwrap(), log.clone());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some(url) = line.trim_end().strip_prefix("runhook listening on ") else {
            let status = child.wait().unwrap();
            stderr.join().unwrap();
            let log = log.borrow().clone();
            return Err(NotStarted { status, log });
        };
        let rest = keep(stdout, log.clone());
        Ok(Self { url: url.to_owned(), home, settings, child, log, readers: vec![stderr, rest] })
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.data_dir()
    }

    /// What it has said on stderr (and on stdout after the first line) so far.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// A command that asks this server.
    pub fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = runhook();
        command.args(arguments).args(["--server", &self.url]).stdin(Stdio::null());
        command
    }

    /// Runs a command against this server.
    pub fn run<const N: usize>(&self, arguments: [&str; N]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Calls its API.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let mut request = http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// The text of one of its pages.
    pub async fn text(&self, path: &str) -> String {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        http.get(format!("{}{path}", self.url)).send().await.unwrap().text().await.unwrap()
    }

    /// Waits for a word in its log.
    pub async fn until_it_says(&self, word: &str) {
        let mut grown = self.log.subscribe();
        grown.wait_for(|log| log.contains(word)).await.unwrap();
    }

    /// Waits for its end, which must be a good one, and returns its home.
    pub fn wait(mut self) -> Arc<Home> {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        Arc::clone(&self.home)
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Kills it as a crash would, and returns its home for another start.
    pub fn kill9(mut self) -> Arc<Home> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Arc::clone(&self.home)
    }

    /// Kills it and starts it again on the same directory.
    pub fn restart(self) -> Self {
        let settings = self.settings.clone();
        let home = self.kill9();
        Self::start_in(home, settings).unwrap_or_else(|error| panic!("the server did not start again: {error:?}"))
    }

    /// Asks it to stop, and returns how it ended with all it said.
    pub fn stop(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for it to end by itself, and returns how it did with all it said.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        for reader in std::mem::take(&mut self.readers) {
            reader.join().unwrap();
        }
        (status, self.log())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Keeps what a process says.
pub(crate) fn keep(source: impl Read + Send + 'static, into: watch::Sender<String>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = String::new();
        while source.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            into.send_modify(|log| log.push_str(&line));
            line.clear();
        }
    })
}
