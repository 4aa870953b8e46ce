//! `runhook rules plan` and `runhook rules apply`.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::rules::Files;
use crate::cli::rules::check::show;
use crate::cli::rules::files::{Read, read, understand};
use crate::cli::{CallError, Context, Exit, Output};
use crate::rule_file::bounded;

pub(super) use crate::api::native::rules::Purpose;

/// Sends files with the variables they name, and says what that changed, or would change.
pub(super) async fn run(files: &Files, prune: bool, purpose: Purpose, context: &mut Context) -> anyhow::Result<Exit> {
    let sources = read(&files.paths)?;
    let Read { loaded, variables } = understand(&sources);
    if loaded.has_errors() {
        let reports = bounded(loaded.reports);
        if context.output == Output::Json {
            context.json(&json!({"applied": false, "reports": reports}))?;
        } else {
            show(&reports, &mut context.out)?;
            writeln!(context.err, "error: the rule files are wrong; nothing changed")?;
        }
        return Ok(Exit::Wrong);
    }
    let body = json!({
        "files": sources, "variables": variables, "dry_run": purpose == Purpose::Plan, "prune": prune,
    });
    let client = context.client().await?;
    let answer = client.call("POST", "/v1/rules/apply", Some(&body)).await;
    client.close().await;
    match answer {
        Ok(answer) if context.output == Output::Json => context.json(&answer)?,
        Ok(answer) => {
            show(&loaded.reports, &mut context.out)?;
            told(&answer, purpose, &mut context.out)?;
        }
        Err(CallError::Problem { problem, .. }) if problem.get("reports").is_some() => {
            if context.output == Output::Json {
                context.json(&json!({"applied": false, "reports": problem.get("reports")}))?;
            } else {
                writeln!(context.out, "{}\n", text(&problem, "rendered"))?;
                writeln!(context.err, "error: {}", text(&problem, "detail"))?;
            }
            return Ok(Exit::Wrong);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Fine)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn told(answer: &Value, purpose: Purpose, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let items: Vec<&Value> = answer.get("items").and_then(Value::as_array).into_iter().flatten().collect();
    for item in &items {
        let mark = match text(item, "action") {
            "create" => '+',
            "update" => '~',
            "remove" => '-',
            _ => continue,
        };
        writeln!(out, "{mark} {} {}", text(item, "subject"), text(item, "key"))?;
        for change in item.get("changes").and_then(Value::as_array).into_iter().flatten() {
            writeln!(out, "    {}", difference(change))?;
        }
    }
    let count = |action| items.iter().filter(|item| text(item, "action") == action).count();
    let (created, updated, removed) = (count("create"), count("update"), count("remove"));
    let unchanged = count("unchanged");
    match purpose {
        Purpose::Plan => writeln!(
            out,
            "{created} to create, {updated} to update, {removed} to remove, {unchanged} unchanged; nothing was changed"
        ),
        Purpose::Apply => {
            writeln!(out, "{created} created, {updated} updated, {removed} removed, {unchanged} unchanged")
        }
    }
}

fn difference(change: &Value) -> String {
    let side = |name| change.get(name).and_then(Value::as_str);
    let field = text(change, "field");
    match (side("before"), side("after")) {
        (Some(before), Some(after)) if before == after => format!("{field}: {after} (changed)"),
        (before, after) => format!("{field}: {} -> {}", before.unwrap_or("(none)"), after.unwrap_or("(none)")),
    }
}
