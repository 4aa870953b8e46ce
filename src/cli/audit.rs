//! `runhook audit`: the audit log.

use clap::Args;
use serde_json::Value;
use url::form_urlencoded;

use crate::cli::table::Table;
use crate::cli::{Context, Exit, Output};

/// Which entries, newest first.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Made since then: an instant such as 2026-11-22T08:30:00Z, or a time ago such as 90m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Made before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// By this API key (name or id), or by one of command-line, anyone and server
    #[arg(long)]
    actor: Option<String>,
    /// An action such as rule.update, or what it is about, such as endpoint
    #[arg(long)]
    action: Option<String>,
    /// About this rule, endpoint, key, … (key, name or id)
    #[arg(long)]
    object: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// The `next` of the page before
    #[arg(long)]
    cursor: Option<String>,
}

impl Arguments {
    fn query(&self) -> String {
        let pairs = [
            ("since", &self.since),
            ("until", &self.until),
            ("actor", &self.actor),
            ("action", &self.action),
            ("object", &self.object),
            ("cursor", &self.cursor),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        query.extend_pairs(pairs.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        query.finish()
    }
}

/// Does it.
pub(super) async fn run(arguments: &Arguments, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client().await?;
    let answer = client.call("GET", &format!("/v1/audit?{}", arguments.query()), None).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(&["at", "who", "from", "action", "object", "detail"]);
    for entry in answer.get("entries").and_then(Value::as_array).into_iter().flatten() {
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let who = match (text("/actor/kind"), text("/actor/name")) {
            (kind, name) if name.is_empty() => kind,
            (_, name) => name,
        };
        let detail = entry.get("detail").filter(|detail| !detail.is_null()).map(ToString::to_string);
        let (action, object) = (text("/action"), text("/object/key"));
        table.row([text("/at"), who, text("/address"), action, object, detail.unwrap_or_default()]);
    }
    if table.is_empty() {
        writeln!(context.out, "no entries")?;
        return Ok(Exit::Fine);
    }
    table.write(&mut context.out)?;
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        writeln!(context.err, "more: --cursor {next}")?;
    }
    Ok(Exit::Fine)
}
