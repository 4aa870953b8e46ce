//! `runhook endpoints`: where notifications go.

use clap::{Subcommand, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::cli::table::Table;
use crate::cli::{Context, Exit, Output};

/// What to do with endpoints. Each is named by its key, or by its id.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the endpoints
    List,
    /// Show one endpoint; secrets are masked
    Show {
        /// The endpoint's key or id
        endpoint: String,
    },
    /// Send nothing there any more: what waits fails, and can be replayed once it is enabled
    Disable {
        /// The endpoint's key or id
        endpoint: String,
        /// Why, for those who look later
        #[arg(long)]
        reason: Option<String>,
    },
    /// Send there again
    Enable {
        /// The endpoint's key or id
        endpoint: String,
    },
    /// Make a new signing secret and print it: it is shown this once. The one before signs beside it for a while
    RotateSecret {
        /// The endpoint's key or id
        endpoint: String,
        /// The kind of secret; as it was, or v1
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// How long the secret before it goes on signing, up to 7d
        #[arg(long, default_value = "24h")]
        grace: String,
    },
}

/// Kinds of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// A shared secret (HMAC-SHA-256)
    V1,
    /// A private key (Ed25519); the public one is printed
    V1a,
}

/// Does it.
pub(super) async fn run(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    let at =
        |endpoint: &str, act: &str| format!("/v1/endpoints/{}{act}", utf8_percent_encode(endpoint, NON_ALPHANUMERIC));
    let (method, path, body) = match &command {
        Command::List => ("GET", "/v1/endpoints".to_owned(), None),
        Command::Show { endpoint } => ("GET", at(endpoint, ""), None),
        Command::Disable { endpoint, reason } => ("POST", at(endpoint, "/disable"), Some(json!({"reason": reason}))),
        Command::Enable { endpoint } => ("POST", at(endpoint, "/enable"), None),
        Command::RotateSecret { endpoint, kind, grace } => {
            let kind = kind.map(|kind| if kind == Kind::V1 { "v1" } else { "v1a" });
            ("POST", at(endpoint, "/rotate-secret"), Some(json!({"kind": kind, "grace": grace})))
        }
    };
    let client = context.client().await?;
    let answer = client.call(method, &path, body.as_ref()).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(Exit::Fine);
    }
    match command {
        Command::List => list(&answer, context)?,
        Command::RotateSecret { .. } => {
            let secret = ["secret", "public_key"].iter().find_map(|name| answer.get(*name)?.as_str());
            writeln!(context.out, "{}", secret.unwrap_or_default())?;
            writeln!(context.err, "this is the only time it is shown; give it to the receiver")?;
        }
        Command::Show { .. } | Command::Disable { .. } | Command::Enable { .. } => show(&answer, context)?,
    }
    Ok(Exit::Fine)
}

fn list(answer: &Value, context: &mut Context) -> anyhow::Result<()> {
    let mut table = Table::new(&["endpoint", "url", "format", "policy", "signed", "state"]);
    for endpoint in answer.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
        let cell = |name| text(endpoint, name).to_owned();
        let name = [text(endpoint, "endpoint"), text(endpoint, "endpoint_id")];
        let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned();
        let signed = if endpoint.get("signing").is_some_and(Value::is_object) { "yes" } else { "no" };
        table.row([name, cell("url"), cell("format"), cell("policy"), signed.to_owned(), state(endpoint)]);
    }
    if table.is_empty() {
        writeln!(context.out, "no endpoints: rule files bring them")?;
        return Ok(());
    }
    table.write(&mut context.out)?;
    Ok(())
}

fn show(endpoint: &Value, context: &mut Context) -> anyhow::Result<()> {
    for (name, value) in endpoint.as_object().into_iter().flatten().filter(|(name, _)| *name != "disabled") {
        match value {
            Value::Null => {}
            Value::String(value) => writeln!(context.out, "{name:<14} {value}")?,
            Value::Object(members) if members.is_empty() => {}
            value => writeln!(context.out, "{name:<14} {value}")?,
        }
    }
    writeln!(context.out, "{:<14} {}", "state", state(endpoint))?;
    Ok(())
}

fn state(endpoint: &Value) -> String {
    match endpoint.pointer("/disabled/reason").and_then(Value::as_str) {
        Some(reason) => format!("disabled: {reason}"),
        None => "enabled".to_owned(),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
