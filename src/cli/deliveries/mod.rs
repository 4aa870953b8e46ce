//! `runhook deliveries`: list, show and replay deliveries.

mod failed;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::cli::count::counted;
use crate::cli::table::Table;
use crate::cli::{Client, Context, Exit, Output};
use crate::model::id::DeliveryId;

/// What to do with deliveries.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List deliveries, newest first
    List(List),
    /// Show one delivery with its attempts
    Show {
        /// The delivery's id
        id: String,
    },
    /// Show what failed for good, counted by endpoint and rule, each with its last reason
    Failed(failed::Failed),
    /// Send finished deliveries again: the same messages, with the same `webhook-id`
    Replay(Replay),
}

/// Which deliveries.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Selection {
    /// In this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Of this rule (key or id)
    #[arg(long)]
    rule: Option<String>,
    /// To this endpoint (key or id)
    #[arg(long)]
    endpoint: Option<String>,
    /// Whose last attempt was answered with this status: 503, or 4xx or 5xx
    #[arg(long)]
    status: Option<String>,
    /// Made since then: an instant such as 2026-11-22T08:30:00Z, or a time ago such as 90m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Made before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Failed since then, whenever they were made: what an endpoint missed while it was down
    #[arg(long, value_name = "TIME", conflicts_with_all = ["since", "until"])]
    failed_since: Option<String>,
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// It will be tried, or is being tried
    Pending,
    /// The endpoint answered 2xx
    Delivered,
    /// It will not be tried again
    Failed,
}

/// What to list.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    selection: Selection,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// The `next` of the page before
    #[arg(long)]
    cursor: Option<String>,
}

/// What to send again: named deliveries, or selected ones (failed ones, unless --state says otherwise).
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(
    ["ids", "state", "rule", "endpoint", "status", "since", "until", "failed_since"]
))]
pub(super) struct Replay {
    /// These deliveries
    #[arg(conflicts_with_all = ["state", "rule", "endpoint", "status", "since", "until", "failed_since"])]
    ids: Vec<DeliveryId>,
    #[command(flatten)]
    selection: Selection,
    /// Only say what would be sent again
    #[arg(long)]
    dry_run: bool,
}

/// Deliveries named in one request.
const BATCH: usize = 500;

/// Skipped deliveries that are named; the rest are counted.
const NAMED: usize = 20;

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl Selection {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = [
            ("state", self.state.map(State::word)),
            ("rule", self.rule.as_deref()),
            ("endpoint", self.endpoint.as_deref()),
            ("status", self.status.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
            ("failed_since", self.failed_since.as_deref()),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Does it.
pub(super) async fn run(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    match command {
        Command::List(list) => list_deliveries(&list, context).await,
        Command::Show { id } => show(&id, context).await,
        Command::Failed(failed) => failed::run(&failed, context).await,
        Command::Replay(replay) => replay_deliveries(&replay, context).await,
    }
}

async fn list_deliveries(list: &List, context: &mut Context) -> anyhow::Result<Exit> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &list.limit.to_string());
    query.extend_pairs(list.selection.pairs());
    query.extend_pairs(list.cursor.iter().map(|cursor| ("cursor", cursor)));
    let client = context.client().await?;
    let answer = client.call("GET", &format!("/v1/deliveries?{}", query.finish()), None).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(&["id", "created", "state", "rule", "endpoint", "attempts", "why"]);
    for delivery in members(&answer, "deliveries") {
        let why = match text(delivery, "/state") {
            "pending" => format!("due {}", text(delivery, "/due_at")),
            _ => text(delivery, "/reason").to_owned(),
        };
        table.row([
            text(delivery, "/id").to_owned(),
            text(delivery, "/created_at").to_owned(),
            text(delivery, "/state").to_owned(),
            rule(delivery).to_owned(),
            endpoint(delivery).to_owned(),
            number(delivery, "/attempt_count").to_string(),
            why,
        ]);
    }
    if table.is_empty() {
        writeln!(context.out, "no deliveries")?;
        return Ok(Exit::Fine);
    }
    table.write(&mut context.out)?;
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        writeln!(context.err, "more: --cursor {next}")?;
    }
    Ok(Exit::Fine)
}

async fn show(id: &str, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client().await?;
    let answer =
        client.call("GET", &format!("/v1/deliveries/{}", utf8_percent_encode(id, NON_ALPHANUMERIC)), None).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
    } else {
        write_delivery(&answer, &mut context.out)?;
    }
    Ok(Exit::Fine)
}

fn write_delivery(delivery: &Value, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let state = match (text(delivery, "/state"), text(delivery, "/reason"), text(delivery, "/due_at")) {
        ("failed", reason, _) => format!("failed: {reason}"),
        ("pending", _, due) => format!("pending, due {due}"),
        (state, ..) => state.to_owned(),
    };
    let message = format!(
        "{}, part {} of {}, {}, {}",
        text(delivery, "/message_id"),
        number(delivery, "/message/part"),
        number(delivery, "/message/parts"),
        counted(number(delivery, "/message/runs"), "run", "runs"),
        counted(number(delivery, "/message/bytes"), "byte", "bytes"),
    );
    let lines = [
        ("delivery", text(delivery, "/id").to_owned()),
        ("state", state),
        ("rule", rule(delivery).to_owned()),
        ("endpoint", endpoint(delivery).to_owned()),
        ("query", names(delivery, "/target/query")),
        ("headers", names(delivery, "/target/headers")),
        ("policy", text(delivery, "/target/policy").to_owned()),
        ("message", message),
        ("created", text(delivery, "/created_at").to_owned()),
        ("finished", text(delivery, "/finished_at").to_owned()),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:<9} {value}")?;
    }
    writeln!(out)?;
    let mut table = Table::new(&["attempt", "started", "took", "result", "sent"]);
    for attempt in members(delivery, "attempts") {
        table.row([
            number(attempt, "/number").to_string(),
            text(attempt, "/started_at").to_owned(),
            format!("{} ms", number(attempt, "/duration_ms")),
            text(attempt, "/said").to_owned(),
            sent(attempt),
        ]);
    }
    if table.is_empty() {
        return writeln!(out, "no attempts yet");
    }
    table.write(out)
}

/// What was sent in an attempt, if it is known.
fn sent(attempt: &Value) -> String {
    if attempt.get("request").is_none_or(Value::is_null) {
        return String::new();
    }
    let bytes = counted(number(attempt, "/request/bytes"), "byte", "bytes");
    format!("{} {}, {bytes}", text(attempt, "/request/method"), text(attempt, "/request/url"))
}

/// What a replay has come to.
#[derive(Default)]
struct Tally {
    replayed: u64,
    ids: Vec<Value>,
    skipped: Vec<Value>,
}

async fn replay_deliveries(replay: &Replay, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client().await?;
    let progress = progress();
    let tally = replay_all(replay, &client, &progress).await;
    progress.finish_and_clear();
    client.close().await;
    let tally = tally?;
    // What was selected may have been skipped; what was named should not have been.
    let exit = if replay.ids.is_empty() || tally.skipped.is_empty() { Exit::Fine } else { Exit::Wrong };
    if context.output == Output::Json {
        let Tally { replayed, ids, skipped } = tally;
        context.json(&json!({"dry_run": replay.dry_run, "replayed": replayed, "ids": ids, "skipped": skipped}))?;
        return Ok(exit);
    }
    if replay.dry_run {
        for id in tally.ids.iter().filter_map(Value::as_str) {
            writeln!(context.out, "{id}")?;
        }
        let would = counted(tally.replayed, "delivery", "deliveries");
        writeln!(context.out, "{would} would be sent again (dry run)")?;
    } else {
        let are = counted(tally.replayed, "delivery is", "deliveries are");
        writeln!(context.out, "{are} pending again")?;
        if tally.replayed > 0 && context.connect.server()?.is_none() {
            writeln!(context.err, "they will be sent when `runhook serve` runs on this data directory")?;
        }
    }
    for skipped in tally.skipped.iter().take(NAMED) {
        writeln!(context.err, "skipped {}: {}", text(skipped, "/id"), text(skipped, "/reason"))?;
    }
    if let Some(more) = tally.skipped.len().checked_sub(NAMED).filter(|more| *more > 0) {
        writeln!(context.err, "skipped {more} more")?;
    }
    Ok(exit)
}

/// A count on a terminal, nothing elsewhere; and nothing when it is over at once.
fn progress() -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template("{spinner} {pos} deliveries, {elapsed}");
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

async fn replay_all(replay: &Replay, client: &Client, progress: &ProgressBar) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for ids in replay.ids.chunks(BATCH) {
        let body = json!({"ids": ids, "dry_run": replay.dry_run});
        ask(client, &body, &mut tally, progress).await?;
    }
    if !replay.ids.is_empty() {
        return Ok(tally);
    }
    let mut cursor = Value::Null;
    loop {
        let mut body = json!({"dry_run": replay.dry_run, "limit": BATCH, "cursor": cursor});
        if let Some(members) = body.as_object_mut() {
            members.extend(replay.selection.pairs().map(|(name, value)| (name.to_owned(), value.into())));
        }
        cursor = ask(client, &body, &mut tally, progress).await?;
        if cursor.is_null() {
            return Ok(tally);
        }
    }
}

/// Asks for one page. Returns where the next begins.
async fn ask(client: &Client, body: &Value, tally: &mut Tally, progress: &ProgressBar) -> anyhow::Result<Value> {
    let answer = client.call("POST", "/v1/deliveries/replay", Some(body)).await?;
    let replayed = number(&answer, "/replayed");
    tally.replayed = tally.replayed.saturating_add(replayed);
    tally.ids.extend(members(&answer, "ids").cloned());
    tally.skipped.extend(members(&answer, "skipped").cloned());
    progress.inc(replayed);
    Ok(answer.get("next").cloned().unwrap_or_default())
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

/// The names of secrets; their values are not known here.
fn names(value: &Value, path: &str) -> String {
    let members = value.pointer(path).and_then(Value::as_object);
    members.map(|members| members.keys().map(String::as_str).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

/// The rule's key, or its id when it was removed.
fn rule(delivery: &Value) -> &str {
    first(delivery, &["/rule/key", "/rule/id", "/alert/name", "/alert/id"])
}

/// The endpoint's key, or what may be shown of its URL, or its id when it was removed.
fn endpoint(delivery: &Value) -> &str {
    first(delivery, &["/endpoint/key", "/endpoint/url", "/endpoint/id"])
}

fn first<'a>(value: &'a Value, paths: &[&str]) -> &'a str {
    paths.iter().map(|path| text(value, path)).find(|text| !text.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn parses(line: &str) -> bool {
        Line::try_parse_from(std::iter::once("deliveries").chain(line.split(' '))).is_ok()
    }

    #[test]
    fn a_replay_says_which_deliveries_by_name_or_by_selection() {
        let id = DeliveryId(uuid::Uuid::nil());
        assert!(parses(&format!("replay {id} {id} --dry-run")));
        assert!(parses("replay --state failed --since 2h --until 1h --status 5xx"));
        assert!(parses("replay --endpoint oncall --failed-since 2h"));
        assert!(!parses("replay --failed-since 2h --since 1h"));
        assert!(!parses("replay"));
        assert!(!parses("replay --dry-run"));
        assert!(!parses(&format!("replay {id} --rule low-score")));
        assert!(!parses("replay --state gone"));
        // An id that is none is refused where it is looked up, as in the other commands that show one thing.
        assert!(parses("show 12"));
    }

    #[test]
    fn a_delivery_is_shown_with_its_attempts_and_without_values() {
        let delivery = json!({
            "id": "d1", "state": "failed", "reason": "answered 404", "message_id": "m1", "due_at": null,
            "rule": {"id": "r1", "key": null}, "endpoint": {"id": "e1", "key": null, "url": "https://a.test/…"},
            "target": {"query": {"secret": "********"}, "headers": {}, "policy": "langsmith"},
            "message": {"part": 1, "parts": 2, "runs": 3, "bytes": 400},
            "created_at": "then", "finished_at": "later",
            "attempts": [{"number": 1, "started_at": "then", "duration_ms": 12, "said": "answered 404",
                "request": {"method": "POST", "url": "https://a.test/…", "headers": [], "bytes": 400}}],
        });
        let mut out: Vec<u8> = Vec::new();
        write_delivery(&delivery, &mut out).unwrap();
        let expected = "delivery  d1\nstate     failed: answered 404\nrule      r1\nendpoint  https://a.test/…\n\
            query     secret\npolicy    langsmith\nmessage   m1, part 1 of 2, 3 runs, 400 bytes\ncreated   then\n\
            finished  later\n\nATTEMPT  STARTED  TOOK   RESULT        SENT\n\
            1        then     12 ms  answered 404  POST https://a.test/…, 400 bytes\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
