//! PgBouncer in transaction mode between replicas and PostgreSQL: the real one, with its defaults.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use url::Url;

use crate::replicas::{BOUND, Shared, batch, until, within};
use crate::support::cluster::{free_port, home, program};
use crate::support::server::{Server, keep};
use crate::survival::run_id;

const RUNS_PER_BATCH: usize = 6;

/// A running PgBouncer. It ends when it is dropped.
struct Bouncer {
    home: TempDir,
    port: u16,
    process: Child,
}

impl Bouncer {
    /// One in front of the server of this URL, with these settings beside what it needs.
    async fn start(server: &Url, settings: &str) -> Self {
        let (home, port) = (home(), free_port());
        let config = format!(
            "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n{settings}\n",
            server.host_str().unwrap(),
            server.port().unwrap(),
        );
        std::fs::write(home.path().join("pgbouncer.ini"), config).unwrap();
        let process = Self::spawn(home.path()).await;
        Self { home, port, process }
    }

    async fn spawn(home: &Path) -> Child {
        let mut command = program(Path::new("pgbouncer"));
        command.env("PATH", "/usr/sbin:/usr/bin:/bin").arg("pgbouncer.ini").current_dir(home);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = watch::Sender::new(String::new());
        let _reader = keep(process.stderr.take().unwrap(), log.clone());
        let mut said = log.subscribe();
        drop(log);
        let up = said.wait_for(|log| log.contains("process up")).await.map(|_| ());
        assert!(up.is_ok(), "{}: is it installed? `make test` does that", said.borrow().as_str());
        process
    }

    async fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = Self::spawn(self.home.path()).await;
    }

    /// The same URL, by way of it.
    fn url(&self, url: &Url, query: Option<&str>) -> Url {
        let mut url = url.clone();
        url.set_port(Some(self.port)).unwrap();
        url.set_query(query);
        url
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// Sends runs until they are acknowledged, as clients do.
async fn send(server: &Server, numbers: &[usize]) {
    loop {
        match server.call("POST", "/runs/batch", Some(&batch(numbers))).await {
            (202, _) => return,
            (503, _) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_pgbouncer_nothing_is_lost_and_nothing_is_notified_twice() {
    let Some(shared) = Shared::begin().await else { return };
    let mut bouncer = Bouncer::start(&shared.database.url, "").await;
    let url = bouncer.url(&shared.database.url, Some("pgbouncer=true"));
    let replica = || shared.start(shared.settings(&url, &["--rules", &shared.at("rules")]));
    let mut replicas = [replica(), replica()];
    let (mut last, mut sent) = (0, BTreeSet::new());
    for round in 0..5 {
        for server in &replicas {
            let numbers: Vec<usize> = (last + 1..=last + RUNS_PER_BATCH).collect();
            last += RUNS_PER_BATCH;
            send(server, &numbers).await;
            sent.extend(numbers);
        }
        if round == 2 {
            bouncer.restart().await;
        } else if round == 1 || round == 3 {
            replicas.rotate_left(1);
            let [victim, other] = replicas;
            victim.kill9();
            replicas = [other, replica()];
        }
    }
    within(BOUND, "notifications", shared.all_notified(&sent)).await;
    until(&replicas[0], "/v1/status", |_, status| status["projects_behind"] == 0).await;
    for number in &sent {
        let (status, run) = replicas[1].call("GET", &format!("/runs/{}", run_id(*number)), None).await;
        assert_eq!((status, &run["inputs"]["number"]), (200, &json!(number)), "run {number} was acknowledged");
    }
    shared.check_once(&sent);
    for server in replicas {
        let (status, log) = server.stop();
        assert!(status.success() && !log.contains("prepared statement"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_forgets_to_name_pgbouncer_is_told() {
    let Some(shared) = Shared::begin().await else { return };
    for settings in ["", "ignore_startup_parameters = extra_float_digits, options"] {
        let bouncer = Bouncer::start(&shared.database.url, settings).await;
        for command in [&["doctor"][..], &["migrate"], &["serve", "--listen", "127.0.0.1:0"]] {
            let (code, said) = shared.command_at(&bouncer.url(&shared.database.url, None), command);
            assert!(code != 0 && said.contains("pgbouncer=true"), "{settings:?} {command:?} {code}: {said}");
        }
        let (code, said) = shared.command_at(&bouncer.url(&shared.database.url, Some("pgbouncer=true")), &["doctor"]);
        assert_eq!(code, 0, "{said}");
    }
}
