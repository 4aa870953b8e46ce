//! PostgreSQL clusters of a test's own, which it may kill, promote and break.
//!
//! They keep to the disk no more than tests need: killing the processes loses nothing that was written, only a machine
//! without power would. PostgreSQL refuses to run as root, so then `postgres` runs it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::sync::watch;
use url::Url;

use crate::support::postgres::is_left_out;
use crate::support::server::keep;

/// What a running postmaster says when it takes connections.
const READY: &str = "ready to accept";

/// A cluster. Its processes end when it is dropped.
pub(crate) struct Cluster {
    home: TempDir,
    port: u16,
    settings: Vec<String>,
    running: Option<Running>,
}

struct Running {
    postmaster: Child,
    log: watch::Sender<String>,
}

impl Cluster {
    /// A new one, running; none when PostgreSQL is to be left out.
    pub(crate) async fn create() -> Option<Self> {
        Self::create_with(|_| Vec::new()).await
    }

    /// A new one, running with the settings that are prepared in its home.
    pub(crate) async fn create_with(prepare: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        if is_left_out() {
            return None;
        }
        let mut cluster = Self::place(Vec::new());
        let data = cluster.data();
        run(server_program("initdb").arg("-D").arg(data).args(["-N", "-A", "trust", "-U", "postgres", "-E", "UTF8"]));
        cluster.settings = prepare(cluster.home.path());
        cluster.start().await;
        Some(cluster)
    }

    /// A standby of this one, which it follows from now on.
    pub(crate) async fn standby(&self) -> Self {
        let mut standby = Self::place(self.settings.clone());
        let data = standby.data();
        let from = ["-R", "-N", "-c", "fast", "-X", "stream", "-d", self.url().as_str()].map(str::to_owned);
        run(server_program("pg_basebackup").arg("-D").arg(data).args(from));
        standby.start().await;
        standby
    }

    fn place(settings: Vec<String>) -> Self {
        Self { home: home(), port: free_port(), settings, running: None }
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A file that was prepared for it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A superuser's URL of the database `postgres`.
    pub(crate) fn url(&self) -> Url {
        Url::parse(&format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)).unwrap()
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) async fn start(&mut self) {
        let mut command = server_program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.home.path()).args(["-h", "127.0.0.1"]);
        command.args(["-p", &self.port.to_string(), "-c", "fsync=off", "-c", "full_page_writes=off"]);
        // A standby that has lost its primary looks for it again at once.
        command.args(["-c", "wal_retrieve_retry_interval=100ms"]);
        command.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        let mut postmaster = command.current_dir("/").stderr(Stdio::piped()).spawn().unwrap();
        let log = watch::Sender::new(String::new());
        let _reader = keep(postmaster.stderr.take().unwrap(), log.clone());
        let mut said = log.subscribe();
        drop(log.clone());
        self.running = Some(Running { postmaster, log });
        said.wait_for(|log| log.contains(READY) || log.contains("FATAL")).await.unwrap();
        assert!(said.borrow().contains(READY), "{}", said.borrow().as_str());
    }

    /// Kills all of its processes at once, as the loss of the machine would.
    pub(crate) fn kill(&mut self) {
        if let Some(Running { mut postmaster, .. }) = self.running.take() {
            let id = postmaster.id();
            // It starts no more processes while they are counted.
            signal("STOP", &[id.to_string()]);
            let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            let all: Vec<String> = children.split_whitespace().map(str::to_owned).chain([id.to_string()]).collect();
            signal("KILL", &all);
            postmaster.wait().unwrap();
        }
    }

    /// Kills one of its connections' processes, after which it ends all others and starts anew by itself.
    pub(crate) async fn crash(&self) {
        let mut connection = self.connect().await;
        let process: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        signal("KILL", &[process.to_string()]);
        // The end of the connection is the beginning of the crash.
        assert!(sqlx::raw_sql("SELECT pg_sleep(60)").execute(&mut connection).await.is_err());
    }

    /// Stops it, ending all connections, and starts it again.
    pub(crate) async fn restart(&mut self) {
        if let Some(Running { mut postmaster, .. }) = self.running.take() {
            signal("INT", &[postmaster.id().to_string()]);
            postmaster.wait().unwrap();
        }
        self.start().await;
    }

    /// Lets everything in it stand still, or go on.
    pub(crate) fn freeze(&self, still: bool) {
        let id = self.running.as_ref().unwrap().postmaster.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let all: Vec<String> = children.split_whitespace().map(str::to_owned).chain([id.to_string()]).collect();
        signal(if still { "STOP" } else { "CONT" }, &all);
    }

    /// What the server has said.
    pub(crate) fn log(&self) -> String {
        self.running.as_ref().map(|running| running.log.borrow().clone()).unwrap_or_default()
    }

    /// Makes a standby the primary.
    pub(crate) async fn promote(&self) {
        self.sql("SELECT pg_promote()").await;
    }

    /// From here on nothing is committed that a standby does not have. Waits for one.
    pub(crate) async fn wait_for_standby(&self) {
        self.set("synchronous_standby_names", "*").await;
        // A commit ends when a standby has it.
        self.sql("COMMENT ON DATABASE postgres IS 'has a standby'").await;
    }

    /// Changes a setting, and waits until it is in force.
    pub(crate) async fn set(&self, name: &str, value: &str) {
        let mut connection = self.connect().await;
        for statement in [&format!("ALTER SYSTEM SET {name} = '{value}'"), "SELECT pg_reload_conf()"] {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect(statement);
        }
        let ask = format!("SELECT current_setting('{name}')");
        loop {
            let said: String = sqlx::query_scalar(AssertSqlSafe(ask.clone())).fetch_one(&mut connection).await.unwrap();
            if said == value {
                return;
            }
        }
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.url().as_str()).await.expect("the cluster answers")
    }

    /// Does something in the database `postgres`.
    pub(crate) async fn sql(&self, statement: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect(statement);
        connection.close().await.expect("closed");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory that the owner of the server's processes can use.
pub(crate) fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    if is_root() {
        run(Command::new("chown").arg("postgres").arg(home.path()));
    }
    home
}

/// A port nobody listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that must not be root's and that ends with this process.
pub(crate) fn program(path: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    }
    command.arg("--").arg(path).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn server_program(name: &str) -> Command {
    let mut command = program(&server_programs().join(name));
    command.env("LC_ALL", "C").current_dir("/");
    command
}

/// Where Debian puts the newest server's programs, or else the folder of the first in `PATH`.
fn server_programs() -> PathBuf {
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    if let Some(newest) = found.filter(|path| path.join("bin/initdb").exists()).max_by_key(version) {
        return newest.join("bin");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|folder| folder.join("initdb").exists()).expect(
        "the programs of a PostgreSQL server are installed: run `make test`, or leave these tests out with SKIP_PG=1",
    )
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn signal(name: &str, processes: &[String]) {
    // One of them may have ended by itself.
    let _sent = Command::new("kill").arg(format!("-{name}")).args(processes).stderr(Stdio::null()).status().unwrap();
}
