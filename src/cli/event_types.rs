//! `runhook event-types`: which kinds of events there are.

use clap::Subcommand;
use serde_json::Value;

use crate::cli::table::Table;
use crate::cli::{Context, Exit, Output};

/// What to do with event types.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the catalogue: what every tenant has, and what was added
    List,
}

/// Does it.
pub(super) async fn run(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    let Command::List = command;
    let client = context.client().await?;
    let answer = client.call("GET", "/v1/event-types", None).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(&["name", "from", "versions", "description"]);
    for event_type in answer.get("event_types").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| event_type.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let versions = event_type.get("versions").and_then(Value::as_array).into_iter().flatten();
        let versions: Vec<&str> = versions.filter_map(Value::as_str).collect();
        let is_archived = event_type.get("archived").and_then(Value::as_bool).unwrap_or(false);
        let name = if is_archived { format!("{} (archived)", text("name")) } else { text("name") };
        table.row([name, text("origin"), versions.join(", "), text("description")]);
    }
    table.write(&mut context.out)?;
    Ok(Exit::Fine)
}
