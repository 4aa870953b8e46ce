//! `runhook rules list`, `show`, `export`, `pause` and `resume`.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::count::counted;
use crate::cli::table::Table;
use crate::cli::{Context, Exit, Output};

/// Lists rules.
pub(super) async fn list(context: &mut Context) -> anyhow::Result<Exit> {
    let answer = get("/v1/rules", context).await?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(&["key", "project", "when", "state", "webhooks", "origin"]);
    for rule in answer.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let cell = |name| text(rule, name).to_owned();
        let urls: Vec<&str> = webhooks(rule).map(|webhook| text(webhook, "url")).collect();
        table.row([cell("key"), cell("project"), when(rule), cell("state"), urls.join(" "), cell("origin")]);
    }
    if table.is_empty() {
        writeln!(context.out, "no rules: `runhook rules apply FILE` adds some, and rules/ holds examples")?;
    } else {
        table.write(&mut context.out)?;
    }
    Ok(Exit::Fine)
}

/// Shows a rule.
pub(super) async fn show(key: &str, context: &mut Context) -> anyhow::Result<Exit> {
    let rule = get(&format!("/v1/rules/{}", path(key)), context).await?;
    if context.output == Output::Json {
        context.json(&rule)?;
        return Ok(Exit::Fine);
    }
    let names = ["key", "id", "name", "project", "filter", "trace_filter", "tree_filter", "sampling_rate", "settle"];
    for name in names.into_iter().chain(["group_by", "idle", "backfill_from", "state", "origin"]) {
        match rule.get(name) {
            Some(Value::String(value)) => writeln!(context.out, "{name:<14} {value}")?,
            Some(Value::Null) | None => {}
            Some(value) => writeln!(context.out, "{name:<14} {value}")?,
        }
    }
    writeln!(context.out, "{:<14} {}", "when", when(&rule))?;
    for webhook in webhooks(&rule) {
        writeln!(context.out, "{:<14} {} {}", "webhook", text(webhook, "url"), text(webhook, "endpoint"))?;
        for pairs in ["query", "headers"] {
            for (name, value) in webhook.get(pairs).and_then(Value::as_object).into_iter().flatten() {
                writeln!(context.out, "{:<14}   {pairs} {name}: {}", "", value.as_str().unwrap_or_default())?;
            }
        }
    }
    show_windows(&rule, &mut context.out)?;
    Ok(Exit::Fine)
}

/// The newest windows in which a rule found runs.
fn show_windows(rule: &Value, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    for window in rule.get("windows").and_then(Value::as_array).into_iter().flatten() {
        let runs = window.get("runs").and_then(Value::as_u64).unwrap_or_default();
        let found = counted(runs, "run", "runs");
        writeln!(out, "{:<14} {} to {}: {found}", "window", text(window, "start_time"), text(window, "end_time"))?;
    }
    Ok(())
}

/// Prints rules as YAML.
pub(super) async fn export(context: &mut Context) -> anyhow::Result<Exit> {
    let answer = get("/v1/rules/export", context).await?;
    if context.output == Output::Json {
        context.json(&answer)?;
    } else {
        write!(context.out, "{}", text(&answer, "yaml"))?;
    }
    Ok(Exit::Fine)
}

/// Pauses or resumes rules.
pub(super) async fn set_state(keys: &[String], verb: &str, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client().await?;
    let mut answers = Vec::new();
    let mut failed = None;
    for key in keys {
        match client.call("POST", &format!("/v1/rules/{}/{verb}", path(key)), None).await {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                failed = Some(anyhow::Error::from(error).context(format!("{verb} {key}")));
                break;
            }
        }
    }
    client.close().await;
    if context.output == Output::Json {
        context.json(&json!({"rules": answers}))?;
    } else {
        for answer in &answers {
            let state = text(answer, "state");
            let already = if answer.get("changed").and_then(Value::as_bool) == Some(false) { "already " } else { "" };
            writeln!(context.out, "{} is {already}{state}", text(answer, "key"))?;
        }
    }
    failed.map_or(Ok(Exit::Fine), Err)
}

async fn get(path: &str, context: &mut Context) -> anyhow::Result<Value> {
    let client = context.client().await?;
    let answer = client.call("GET", path, None).await;
    client.close().await;
    Ok(answer?)
}

fn path(key: &str) -> String {
    percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn webhooks(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.get("webhooks").and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn when(rule: &Value) -> String {
    match (text(rule, "every"), text(rule, "cron")) {
        ("", cron) => format!("{cron} ({})", text(rule, "timezone")),
        ("immediate", _) => "immediately".to_owned(),
        (every, _) => format!("every {every}"),
    }
}
