//! `runhook wipe`: removes everything but API keys.

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::{Context, Exit, Output};
use crate::model::id::TenantId;

/// Whether it is meant.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Yes, remove it all
    #[arg(long, required = true)]
    yes: bool,
    /// Remove what is this tenant's, by its id, and nothing else
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
}

/// Removes it all.
pub(super) async fn run(arguments: &Arguments, context: &mut Context) -> anyhow::Result<Exit> {
    if !arguments.yes {
        bail!("say --yes to mean it");
    }
    let client = context.client().await?;
    let body = match arguments.tenant {
        Some(tenant) => json!({"yes": true, "tenant": tenant}),
        None => json!({"yes": true}),
    };
    let answer = client.call("POST", "/v1/wipe", Some(&body)).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    if let Some(tenant) = arguments.tenant {
        writeln!(context.out, "removed all that was the tenant {tenant}'s; its API keys stay")?;
        return Ok(Exit::Fine);
    }
    writeln!(context.out, "removed all runs, rules, endpoints, messages and deliveries; API keys stay")?;
    if answer.get("blobs_removed").and_then(Value::as_bool) != Some(true) {
        writeln!(context.out, "blobs in the bucket were left alone; remove them with its own tools")?;
    }
    Ok(Exit::Fine)
}
