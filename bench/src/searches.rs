//! What it costs to ask for runs, in one large project: a page by each of several filters, and all pages one after another.
//! The questions are those of the SDK's `list_runs`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::body::{Recipe, Wire};
use crate::clock::{Clock, today};
use crate::fleet::Fleet;
use crate::load::Plan;
use crate::postgres::Database;
use crate::process::machine;
use crate::run_id::project_name;
use crate::server::{self, Launch};
use crate::sink::{Script, Sink};
use crate::suite::ingest::as_f64;
use crate::suite::stage::{REST, load_apart};
use crate::suite::table::number;
use crate::{api, say};

/// What `list_runs` selects unless it is told otherwise.
const SELECT: [&str; 28] = [
    "app_path",
    "completion_cost",
    "completion_tokens",
    "dotted_order",
    "end_time",
    "error",
    "events",
    "extra",
    "feedback_stats",
    "first_token_time",
    "id",
    "inputs",
    "name",
    "outputs",
    "parent_run_id",
    "parent_run_ids",
    "prompt_cost",
    "prompt_tokens",
    "reference_example_id",
    "run_type",
    "s3_urls",
    "session_id",
    "start_time",
    "status",
    "tags",
    "total_cost",
    "total_tokens",
    "trace_id",
];

/// Questions that a database can narrow, and last one that it cannot: every run is looked at until the page is full.
const QUESTIONS: [(&str, &str); 8] = [
    ("all runs", "{}"),
    ("roots", r#"{"is_root": true}"#),
    ("failed runs (1 %)", r#"{"error": true}"#),
    ("failed and slow (0.3 %)", r#"{"filter": "and(eq(status, \"error\"), gt(latency, \"3s\"))"}"#),
    ("of one name, failed", r#"{"filter": "and(eq(name, \"search_docs\"), eq(status, \"error\"))"}"#),
    ("with a low score (0.5 %)", r#"{"filter": "and(eq(feedback_key, \"user_score\"), lt(feedback_score, 0.5))"}"#),
    ("roots of traces in which something failed", r#"{"is_root": true, "tree_filter": "eq(status, \"error\")"}"#),
    ("with words that no run has: all are read", r#"{"filter": "search(\"nowhere to be found\")"}"#),
];

/// How long a question is asked again.
const ENOUGH: Duration = Duration::from_secs(8);

/// `bench searches`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A PostgreSQL server on which a database may be made. Without it: SQLite alone
    #[arg(long, value_name = "URL", env = "TEST_POSTGRES_URL")]
    postgres: Option<String>,
    /// The server's binary [default: the one built beside this]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Runs in the project
    #[arg(long, default_value_t = 200_000)]
    runs: u64,
    /// How often each question is asked
    #[arg(long, default_value_t = 15)]
    repeats: usize,
    /// Does not ask what no index can narrow
    #[arg(long)]
    indexed_only: bool,
}

/// What was measured on one database.
struct Measured {
    database: String,
    /// For each question: the middle and the slowest page in milliseconds, and how many runs it had.
    pages: Vec<(f64, f64, usize)>,
    /// Seconds for the first and for the second half of all pages.
    halves: (f64, f64),
    /// How many pages that were.
    turned: usize,
}

impl Arguments {
    /// Measures, and returns the table.
    pub(crate) async fn run(self, clock: Clock) -> anyhow::Result<String> {
        let binary = server::binary(self.binary.as_deref())?;
        let mut all = vec![self.on_a_file(&binary, clock).await?];
        if let Some(server) = &self.postgres {
            all.push(self.on_postgres(&binary, server, clock).await?);
        }
        self.table(&all)
    }

    async fn on_a_file(&self, binary: &Path, clock: Clock) -> anyhow::Result<Measured> {
        let home = tempfile::tempdir()?;
        let server = Launch::embedded(binary, home.path()).start()?;
        let session = self.fill(server.address, clock).await?;
        let measured = self.ask(server.address, session, "SQLite".to_owned()).await?;
        server.stop()?;
        Ok(measured)
    }

    async fn on_postgres(&self, binary: &Path, url: &str, clock: Clock) -> anyhow::Result<Measured> {
        let mut database = Database::create(url, "runhook_searches").await?;
        let name = database.durability().await?;
        let home = tempfile::tempdir()?;
        let sink = Sink::start(([127, 0, 0, 1], 0).into(), Script::default(), clock)?;
        let fleet = Fleet::start(binary, home.path(), &database.url, 1, &[], &sink.url())?;
        let address = *fleet.addresses().first().context("no replica")?;
        let session = self.fill(address, clock).await?;
        // A server does so by itself, but a minute after its first runs and not a second.
        database.analyze().await?;
        let measured = self.ask(address, session, name).await?;
        fleet.stop()?;
        sink.stop()?;
        database.remove().await?;
        Ok(measured)
    }

    /// Sends the runs. The project they are in.
    async fn fill(&self, server: SocketAddr, clock: Clock) -> anyhow::Result<Value> {
        let recipe = Recipe {
            wire: Wire::Multipart,
            batch: 100,
            run_bytes: 2_000,
            projects: 1,
            errors: 0.01,
            feedback: 0.01,
            load: 1,
            seed: 1,
        };
        let plan = Plan {
            servers: vec![server],
            recipe,
            connections: 8,
            rate: None,
            runs: Some(self.runs),
            time: None,
            attempts: Some(4),
        };
        let tally = load_apart(plan, clock).await?.tally;
        if !tally.is_whole() {
            bail!("the load had to give up: {:?}", tally.dropped);
        }
        api::rest(server, REST).await?;
        let sessions = api::get(server, &format!("/sessions?name={}", project_name(0))).await?;
        say(&format!("{} runs at {} runs/s", tally.runs, number(tally.runs_per_second)))?;
        sessions.pointer("/0/id").cloned().context("the project is not there")
    }

    async fn ask(&self, server: SocketAddr, session: Value, database: String) -> anyhow::Result<Measured> {
        say(&database)?;
        let mut pages = Vec::new();
        for (name, question) in self.questions() {
            let body = question_body(&session, question)?;
            let mut took = Vec::new();
            let mut found = 0;
            let enough = Instant::now() + ENOUGH;
            // One to warm up.
            page(server, &body).await?;
            while took.is_empty() || (took.len() < self.repeats && Instant::now() < enough) {
                let begun = Instant::now();
                found = runs(&page(server, &body).await?);
                took.push(begun.elapsed());
            }
            took.sort_unstable();
            let millis = |at: usize| took.get(at).copied().unwrap_or_default().as_secs_f64() * 1000.0;
            pages.push((millis(took.len() / 2), millis(took.len().saturating_sub(1)), found));
            say(&format!("{name}: {found} runs in {} ms", number(millis(took.len() / 2))))?;
        }
        let (turned, halves) = self.turn(server, question_body(&session, "{}")?).await?;
        Ok(Measured { database, pages, halves, turned })
    }

    fn questions(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        QUESTIONS.into_iter().take(QUESTIONS.len() - usize::from(self.indexed_only))
    }

    /// Turns all pages. The times of both halves.
    async fn turn(&self, server: SocketAddr, mut body: Map<String, Value>) -> anyhow::Result<(usize, (f64, f64))> {
        let (mut took, mut found): (Vec<Duration>, u64) = (Vec::new(), 0);
        loop {
            let begun = Instant::now();
            let answer = page(server, &body).await?;
            took.push(begun.elapsed());
            found += runs(&answer) as u64;
            match answer.pointer("/cursors/next") {
                Some(Value::String(next)) => body.extend([("cursor".to_owned(), json!(next))]),
                _ => break,
            }
        }
        if found != self.runs {
            bail!("{found} runs were found on all pages, of {}", self.runs);
        }
        let (first, second) = took.split_at(took.len() / 2);
        let sum = |part: &[Duration]| part.iter().sum::<Duration>().as_secs_f64();
        Ok((took.len(), (sum(first), sum(second))))
    }

    fn table(&self, all: &[Measured]) -> anyhow::Result<String> {
        let mut out = format!("{}; {}; {} runs in one project, pages of 100\n\n", today(), machine(), self.runs);
        let names = all.iter().map(|one| format!(" {}: p50, slowest ms | runs |", one.database));
        writeln!(out, "| page of |{}", names.collect::<String>())?;
        writeln!(out, "|---|{}", "---|---|".repeat(all.len()))?;
        for (at, (name, _)) in self.questions().enumerate() {
            write!(out, "| {name} |")?;
            for (middle, slowest, found) in all.iter().filter_map(|one| one.pages.get(at)) {
                write!(out, " {}, {} | {found} |", number(*middle), number(*slowest))?;
            }
            out.push('\n');
        }
        for Measured { database, halves: (first, second), turned, .. } in all {
            let millis = (first + second) * 1000.0 / as_f64(*turned as u64);
            let (first, second, millis) = (number(*first), number(*second), number(millis));
            writeln!(
                out,
                "\n{database}: all {turned} pages, {millis} ms each; the first half took {first} s, the second {second} s"
            )?;
        }
        Ok(out)
    }
}

fn question_body(session: &Value, question: &str) -> anyhow::Result<Map<String, Value>> {
    let mut body: Map<String, Value> = serde_json::from_str(question)?;
    let rest = [("session", json!([session])), ("select", json!(SELECT)), ("limit", json!(100))];
    body.extend(rest.map(|(key, value)| (key.to_owned(), value)));
    Ok(body)
}

async fn page(server: SocketAddr, body: &Map<String, Value>) -> anyhow::Result<Value> {
    match api::call(server, Method::POST, "/runs/query", serde_json::to_string(body)?).await? {
        (200, answer) => Ok(answer),
        (status, answer) => bail!("/runs/query was answered {status}: {answer}"),
    }
}

fn runs(answer: &Value) -> usize {
    answer.get("runs").and_then(Value::as_array).map_or(0, Vec::len)
}
