//! `runhook filter`: check filters, and try one on stored or given runs.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cli::rules::style;
use crate::cli::table::Table;
use crate::cli::{Context, Exit, Output};
use crate::filter::report::{Style, render};
use crate::filter::{Filter, Mode};
use crate::model::problem::{Problem, Severity};

/// Refused runs that are named; the rest are counted.
const NAMED: usize = 20;

/// What to do with filters.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check filters without asking a server, and show what is wrong with them
    Check(Check),
    /// Try a filter on stored runs, or on runs in a file, as a rule with it would be
    Match(Match),
}

/// What to check.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Warn of what LangSmith's hosted service refuses
    #[arg(long)]
    strict: bool,
    /// The filters; `-` is a filter on standard input
    #[arg(required = true, value_name = "FILTER")]
    filters: Vec<String>,
}

/// What to try.
#[derive(Debug, Args)]
pub(super) struct Match {
    /// What the run must be; an empty filter passes every run
    filter: String,
    /// What the root of its trace must be
    #[arg(long, value_name = "FILTER")]
    trace_filter: Option<String>,
    /// What some run of its trace must be
    #[arg(long, value_name = "FILTER")]
    tree_filter: Option<String>,
    /// Only runs of this project (name or id)
    #[arg(long, conflicts_with = "runs")]
    project: Option<String>,
    /// Runs in a file, as JSON lines or one JSON array, instead of stored ones; `-` is standard input
    #[arg(long, value_name = "FILE")]
    runs: Option<PathBuf>,
    /// At most this many matches, newest start first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// Does it.
pub(super) async fn run(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    match command {
        Command::Check(check) => check_all(&check, context),
        Command::Match(wanted) => try_out(&wanted, context).await,
    }
}

/// What was found out about a filter.
#[derive(Serialize)]
struct Checked<'a> {
    filter: &'a str,
    ok: bool,
    /// The same filter in one spelling.
    canonical: Option<String>,
    problems: Vec<Problem>,
}

impl<'a> Checked<'a> {
    fn of(text: &'a str, mode: Mode) -> Self {
        match Filter::parse(text, mode) {
            Ok((filter, problems)) => Self { filter: text, ok: true, canonical: Some(filter.to_string()), problems },
            Err(problems) => Self { filter: text, ok: false, canonical: None, problems },
        }
    }
}

fn check_all(check: &Check, context: &mut Context) -> anyhow::Result<Exit> {
    let mode = if check.strict { Mode::Strict } else { Mode::Lenient };
    let mut texts = Vec::with_capacity(check.filters.len());
    for text in &check.filters {
        texts.push(if text == "-" { standard_input().context("standard input")? } else { text.clone() });
    }
    let checked: Vec<Checked<'_>> = texts.iter().map(|text| Checked::of(text, mode)).collect();
    let ok = checked.iter().all(|checked| checked.ok);
    if context.output == Output::Json {
        context.json(&json!({"ok": ok, "filters": checked}))?;
    } else {
        for checked in &checked {
            show_checked(checked, style(), context)?;
        }
    }
    Ok(if ok { Exit::Fine } else { Exit::Wrong })
}

fn show_checked(checked: &Checked<'_>, style: Style, context: &mut Context) -> anyhow::Result<()> {
    if !checked.problems.is_empty() {
        writeln!(context.out, "{}\n", render("filter", checked.filter, &checked.problems, style))?;
    }
    match checked.canonical.as_deref() {
        Some("") => writeln!(context.out, "ok  (empty: every run passes)")?,
        Some(canonical) => writeln!(context.out, "ok  {canonical}")?,
        None => {
            let errors = checked.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
            writeln!(context.out, "refused: {errors} {}", if errors == 1 { "error" } else { "errors" })?;
        }
    }
    Ok(())
}

async fn try_out(wanted: &Match, context: &mut Context) -> anyhow::Result<Exit> {
    if refused(wanted, context)? {
        return Ok(Exit::Wrong);
    }
    let body = request(wanted)?;
    let client = context.client().await?;
    let answer = client.send("POST", "/v1/filter/match", Some(body)).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
    } else {
        show_answer(&answer, wanted.limit, context)?;
    }
    let unread = answer.get("refused").and_then(Value::as_array).is_some_and(|refused| !refused.is_empty());
    Ok(if unread { Exit::Wrong } else { Exit::Fine })
}

/// Shows what is wrong with the filters, before anybody is asked. Whether they cannot be used.
fn refused(wanted: &Match, context: &mut Context) -> anyhow::Result<bool> {
    let texts = [
        ("filter", Some(&wanted.filter)),
        ("trace_filter", wanted.trace_filter.as_ref()),
        ("tree_filter", wanted.tree_filter.as_ref()),
    ];
    let checked: Vec<(&str, Checked<'_>)> =
        texts.into_iter().filter_map(|(of, text)| Some((of, Checked::of(text?, Mode::Lenient)))).collect();
    let wrong = checked.iter().any(|(_, checked)| !checked.ok);
    if context.output == Output::Json {
        if wrong {
            let filters: Vec<&Checked<'_>> = checked.iter().map(|(_, checked)| checked).collect();
            context.json(&json!({"ok": false, "filters": filters}))?;
        }
        return Ok(wrong);
    }
    for (of, checked) in checked.iter().filter(|(_, checked)| !checked.problems.is_empty()) {
        writeln!(context.err, "{}\n", render(of, checked.filter, &checked.problems, Style::Plain))?;
    }
    Ok(wrong)
}

#[derive(Serialize)]
struct Asked<'a> {
    filter: &'a str,
    trace_filter: Option<&'a str>,
    tree_filter: Option<&'a str>,
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<Vec<Box<RawValue>>>,
    limit: u32,
}

fn request(wanted: &Match) -> anyhow::Result<Bytes> {
    let asked = Asked {
        filter: &wanted.filter,
        trace_filter: wanted.trace_filter.as_deref(),
        tree_filter: wanted.tree_filter.as_deref(),
        project: wanted.project.as_deref(),
        runs: wanted.runs.as_deref().map(read_runs).transpose()?,
        limit: wanted.limit,
    };
    Ok(serde_json::to_vec(&asked)?.into())
}

fn read_runs(file: &Path) -> anyhow::Result<Vec<Box<RawValue>>> {
    let named = || file.display().to_string();
    let text = if file == Path::new("-") { standard_input() } else { fs::read_to_string(file) }.with_context(named)?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).with_context(|| format!("{} is not a JSON array of runs", file.display()));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{}: line {} is not JSON", file.display(), index.saturating_add(1)))
        })
        .collect()
}

fn standard_input() -> std::io::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn show_answer(answer: &Value, limit: u32, context: &mut Context) -> anyhow::Result<()> {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut table = Table::new(&["id", "name", "type", "status", "start"]);
    for run in list("matched") {
        let text = |name: &str| run.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        table.row([text("id"), text("name"), text("run_type"), text("status"), text("start_time")]);
    }
    if !table.is_empty() {
        table.write(&mut context.out)?;
    }
    let (matched, scanned) = (list("matched").len(), answer.get("scanned").and_then(Value::as_u64).unwrap_or(0));
    let complete = answer.get("complete").and_then(Value::as_bool).unwrap_or(true);
    writeln!(context.out, "{matched} of {scanned} runs {}", if matched == 1 { "matches" } else { "match" })?;
    if matched >= limit as usize {
        writeln!(context.err, "there may be more: --limit {}", limit.saturating_mul(10).min(1000))?;
    } else if !complete {
        writeln!(context.err, "older runs were not looked at; --project narrows the search")?;
    }
    for told in list("warnings").iter().filter(|told| told.get("code").and_then(Value::as_str) == Some("no-feedback")) {
        writeln!(context.err, "{}", told.get("message").and_then(Value::as_str).unwrap_or_default())?;
    }
    for refused in list("refused").iter().take(NAMED) {
        let text = |name: &str| refused.get(name).and_then(Value::as_str).unwrap_or_default();
        writeln!(context.err, "  {}: {}", text("part"), text("error"))?;
    }
    Ok(())
}
