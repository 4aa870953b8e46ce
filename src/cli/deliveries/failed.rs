//! `runhook deliveries failed`: what failed for good and waits for somebody.

use clap::Args;
use serde_json::Value;
use url::form_urlencoded;

use super::{endpoint, members, number, rule, text};
use crate::cli::count::counted;
use crate::cli::table::Table;
use crate::cli::{Context, Exit, Output};

/// What to look at.
#[derive(Debug, Args)]
pub(in crate::cli) struct Failed {
    /// Of this rule (key or id)
    #[arg(long)]
    rule: Option<String>,
    /// To this endpoint (key or id)
    #[arg(long)]
    endpoint: Option<String>,
    /// Whose last attempt was answered with this status: 503, or 4xx or 5xx
    #[arg(long)]
    status: Option<String>,
    /// Failed since then: an instant such as 2026-11-22T08:30:00Z, or a time ago such as 90m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Failed before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Shows it.
pub(super) async fn run(failed: &Failed, context: &mut Context) -> anyhow::Result<Exit> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let pairs = [
        ("rule", &failed.rule),
        ("endpoint", &failed.endpoint),
        ("status", &failed.status),
        ("since", &failed.since),
        ("until", &failed.until),
    ];
    query.extend_pairs(pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
    let client = context.client().await?;
    let answer = client.call("GET", &format!("/v1/deliveries/failed?{}", query.finish()), None).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(&["endpoint", "rule", "failed", "last", "why"]);
    for group in answer.pointer("/counts/groups").and_then(Value::as_array).into_iter().flatten() {
        table.row([
            endpoint(group).to_owned(),
            rule(group).to_owned(),
            number(group, "/count").to_string(),
            text(group, "/last_failed_at").to_owned(),
            text(group, "/last_reason").to_owned(),
        ]);
    }
    if table.is_empty() {
        writeln!(context.out, "nothing has failed")?;
        return Ok(Exit::Fine);
    }
    table.write(&mut context.out)?;
    let more = answer.pointer("/counts/more").and_then(Value::as_bool).unwrap_or(false);
    let failed = counted(number(&answer, "/counts/total"), "delivery", "deliveries");
    writeln!(
        context.out,
        "{failed} failed{}",
        if more { ", or more: those that failed last are counted" } else { "" }
    )?;
    if members(&answer, "deliveries").next().is_some() {
        writeln!(context.err, "send them again with `runhook deliveries replay --endpoint … --failed-since …`")?;
    }
    Ok(Exit::Fine)
}
