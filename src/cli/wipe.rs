//! `runhook wipe`: removes everything but API keys.

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::{Context, Exit, Output};

/// Whether it is meant.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Yes, remove it all
    #[arg(long, required = true)]
    yes: bool,
}

/// Removes it all.
pub(super) async fn run(arguments: &Arguments, context: &mut Context) -> anyhow::Result<Exit> {
    if !arguments.yes {
        bail!("say --yes to mean it");
    }
    let client = context.client().await?;
    let answer = client.call("POST", "/v1/wipe", Some(&json!({"yes": true}))).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    writeln!(context.out, "removed all runs, rules, endpoints, messages and deliveries; API keys stay")?;
    if answer.get("blobs_removed").and_then(Value::as_bool) != Some(true) {
        writeln!(context.out, "blobs in the bucket were left alone; remove them with its own tools")?;
    }
    Ok(Exit::Fine)
}
