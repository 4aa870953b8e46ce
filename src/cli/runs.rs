//! `runhook runs`: import, list and show runs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cli::count::counted;
use crate::cli::table::Table;
use crate::cli::{CallError, Client, Context, Exit, Output};

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Import runs from a file of JSON lines, or of one JSON array, as LangSmith's API gives them
    Import(Import),
    /// List runs, newest start first
    List(List),
    /// Show one run with its feedback
    Show {
        /// The run's id
        id: String,
    },
}

/// What to import.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file; `-` is standard input
    file: PathBuf,
    /// Put all of them into this project, whatever they say themselves
    #[arg(long)]
    project: Option<String>,
}

/// What to list.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Of this project (name or id)
    #[arg(long)]
    project: Option<String>,
    /// Of this trace
    #[arg(long)]
    trace: Option<String>,
    /// Roots only
    #[arg(long)]
    roots: bool,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// The `next` of the page before
    #[arg(long)]
    before: Option<String>,
}

/// Runs sent in one request.
const BATCH_RUNS: usize = 500;

/// Bytes sent in one request, unless a single run is larger.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Refused runs that are named; the rest are counted.
const NAMED: usize = 20;

/// Does it.
pub(super) async fn run(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    match command {
        Command::Import(import) => import_file(&import, context).await,
        Command::List(list) => list_runs(&list, context).await,
        Command::Show { id } => {
            let client = context.client().await?;
            let answer = client.call("GET", &format!("/v1/runs/{}", escaped(&id)), None).await;
            client.close().await;
            // Nothing but its JSON says all there is of a run.
            context.json(&answer?)?;
            Ok(Exit::Fine)
        }
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

async fn list_runs(list: &List, context: &mut Context) -> anyhow::Result<Exit> {
    let mut path = format!("/v1/runs?limit={}", list.limit);
    for (name, value) in [("project", &list.project), ("trace", &list.trace), ("before", &list.before)] {
        if let Some(value) = value {
            path.extend(["&", name, "=", &escaped(value)]);
        }
    }
    if list.roots {
        path.push_str("&roots=true");
    }
    let client = context.client().await?;
    let answer = client.call("GET", &path, None).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(&["id", "name", "type", "status", "start", "feedback"]);
    for run in answer.get("runs").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| run.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let feedback = run.get("feedback").and_then(Value::as_u64).unwrap_or(0).to_string();
        table.row([text("id"), text("name"), text("run_type"), text("status"), text("start_time"), feedback]);
    }
    if table.is_empty() {
        writeln!(context.out, "no runs")?;
        return Ok(Exit::Fine);
    }
    table.write(&mut context.out)?;
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        writeln!(context.err, "more: --before {next}")?;
    }
    Ok(Exit::Fine)
}

/// What an import has come to.
#[derive(Default)]
struct Tally {
    accepted: u64,
    refused: Vec<Value>,
}

async fn import_file(import: &Import, context: &mut Context) -> anyhow::Result<Exit> {
    let (reader, bytes) = open(import)?;
    let client = context.client().await?;
    let progress = progress(bytes);
    let tally = send_all(import, reader, &client, &progress).await;
    progress.finish_and_clear();
    client.close().await;
    let tally = tally?;
    if context.output == Output::Json {
        context.json(&json!({"accepted": tally.accepted, "refused": tally.refused}))?;
    } else {
        writeln!(context.out, "imported {}, refused {}", counted(tally.accepted, "run", "runs"), tally.refused.len())?;
        for refused in tally.refused.iter().take(NAMED) {
            let text = |name: &str| refused.get(name).and_then(Value::as_str).unwrap_or_default();
            writeln!(context.err, "  {}: {}", text("part"), text("error"))?;
        }
    }
    Ok(if tally.refused.is_empty() { Exit::Fine } else { Exit::Wrong })
}

fn open(import: &Import) -> anyhow::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    if import.file.as_os_str() == "-" {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(&import.file).with_context(|| format!("cannot open {}", import.file.display()))?;
    let bytes = file.metadata().map(|metadata| metadata.len()).ok();
    Ok((Box::new(BufReader::new(file)), bytes))
}

/// A bar on a terminal, nothing elsewhere.
fn progress(bytes: Option<u64>) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(bytes, target);
    let style = ProgressStyle::with_template("importing {bar:30} {bytes}/{total_bytes}  {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

async fn send_all(
    import: &Import,
    mut reader: Box<dyn BufRead + Send>,
    client: &Client,
    progress: &ProgressBar,
) -> anyhow::Result<Tally> {
    let path = match &import.project {
        Some(project) => format!("/v1/runs/import?project={}", escaped(project)),
        None => "/v1/runs/import".to_owned(),
    };
    let mut tally = Tally::default();
    let mut first = 1;
    if starts_with_bracket(&mut reader)? {
        let mut text = String::new();
        reader.read_to_string(&mut text).context("the file cannot be read as UTF-8")?;
        let runs: Vec<Box<RawValue>> = serde_json::from_str(&text).context("the file is not a JSON array of runs")?;
        drop(text);
        let mut batch = Batch::default();
        for run in runs {
            if batch.is_full(run.get().len()) {
                first = send(client, &path, std::mem::take(&mut batch), first, &mut tally, progress).await?;
            }
            batch.add(run);
        }
        send(client, &path, batch, first, &mut tally, progress).await?;
        return Ok(tally);
    }
    let mut batch = Batch::default();
    let mut line = String::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number = number.saturating_add(1);
        if reader.read_line(&mut line).with_context(|| format!("line {number} cannot be read as UTF-8"))? == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let run: Box<RawValue> = serde_json::from_str(&line).map_err(|error| {
            let before = counted(tally.accepted, "run before it is", "runs before it are");
            anyhow!("line {number} is not JSON: {error}; {before} imported")
        })?;
        if batch.is_full(run.get().len()) {
            first = send(client, &path, std::mem::take(&mut batch), first, &mut tally, progress).await?;
        }
        batch.add(run);
    }
    send(client, &path, batch, first, &mut tally, progress).await?;
    Ok(tally)
}

fn starts_with_bracket(reader: &mut dyn BufRead) -> anyhow::Result<bool> {
    loop {
        let buffer = reader.fill_buf().context("the file cannot be read")?;
        let Some(byte) = buffer.first().copied() else { return Ok(false) };
        if byte.is_ascii_whitespace() {
            reader.consume(1);
        } else {
            return Ok(byte == b'[');
        }
    }
}

#[derive(Default)]
struct Batch {
    runs: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self, more: usize) -> bool {
        !self.runs.is_empty() && (self.runs.len() >= BATCH_RUNS || self.bytes.saturating_add(more) > BATCH_BYTES)
    }

    fn add(&mut self, run: Box<RawValue>) {
        self.bytes = self.bytes.saturating_add(run.get().len());
        self.runs.push(run);
    }
}

/// Sends a batch whose first run has this number in the file. Returns the number of the next.
async fn send(
    client: &Client,
    path: &str,
    batch: Batch,
    first: u64,
    tally: &mut Tally,
    progress: &ProgressBar,
) -> anyhow::Result<u64> {
    if batch.runs.is_empty() {
        return Ok(first);
    }
    let body = Bytes::from(serde_json::to_vec(&batch.runs)?);
    let answer = match client.send("POST", path, Some(body)).await {
        Err(CallError::Problem { problem, .. }) if problem.get("refused").is_some() => problem,
        other => other?,
    };
    tally.accepted = tally.accepted.saturating_add(answer.get("accepted").and_then(Value::as_u64).unwrap_or(0));
    for mut refused in answer.get("refused").and_then(Value::as_array).cloned().unwrap_or_default() {
        renumber(&mut refused, first);
        tally.refused.push(refused);
    }
    progress.inc(u64::try_from(batch.bytes).unwrap_or(0));
    Ok(first.saturating_add(u64::try_from(batch.runs.len()).unwrap_or(0)))
}

/// The server counts within a batch from 0; the reader of a file counts its runs from 1.
fn renumber(refused: &mut Value, first: u64) {
    let part = refused.get("part").and_then(Value::as_str).unwrap_or_default();
    let index = part.strip_prefix("post[").and_then(|rest| rest.strip_suffix(']'));
    if let Some(index) = index.and_then(|index| index.parse::<u64>().ok()) {
        let number = format!("run {} of the file", first.saturating_add(index));
        if let Some(members) = refused.as_object_mut() {
            members.insert("part".to_owned(), number.into());
        }
    }
}
