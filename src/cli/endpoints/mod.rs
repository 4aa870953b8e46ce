//! `runhook endpoints`: where notifications go.

mod probe;
mod written;

use clap::{Subcommand, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::cli::table::Table;
use crate::cli::{CallError, Client, Context, Exit, Output};

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
    /// Make an endpoint that rules can name. `${VAR}` in a value comes from the environment
    Create(written::Create),
    /// Change an endpoint that was made through the API: what is given replaces what is stored
    Update(written::Update),
    /// Remove an endpoint that was made through the API, unless a rule sends to it
    Delete {
        /// The endpoint's key or id
        endpoint: String,
    },
    /// Send a real, signed request of a sample there, and say what came of it. Nothing is recorded
    Test {
        /// The endpoint's key or id
        endpoint: String,
    },
    /// Show what would be sent there, of a sample or of a stored run. Nothing is sent
    Preview(probe::Preview),
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
    let Asked { method, path, body } = asked(&command)?;
    let client = context.client().await?;
    let answer = match command {
        Command::List => all(&client).await,
        _ => client.call(method, &path, body.as_ref()).await,
    };
    client.close().await;
    let answer = answer?;
    let exit = match command {
        Command::Test { .. } | Command::Preview(_) if answer.get("ok") != Some(&Value::Bool(true)) => Exit::Wrong,
        _ => Exit::Fine,
    };
    if context.output == Output::Json {
        context.json(&answer)?;
        return Ok(exit);
    }
    match command {
        Command::List => list(&answer, context)?,
        Command::RotateSecret { .. } => {
            let secret = ["secret", "public_key"].iter().find_map(|name| answer.get(*name)?.as_str());
            writeln!(context.out, "{}", secret.unwrap_or_default())?;
            writeln!(context.err, "this is the only time it is shown; give it to the receiver")?;
        }
        Command::Delete { .. } => writeln!(context.out, "deleted {}", text(&answer, "endpoint"))?,
        Command::Test { .. } => probe::tell(&answer, &mut context.out)?,
        Command::Preview(_) => probe::show(&answer, context)?,
        Command::Show { .. }
        | Command::Create(_)
        | Command::Update(_)
        | Command::Disable { .. }
        | Command::Enable { .. } => show(&answer, context)?,
    }
    Ok(exit)
}

/// A request.
struct Asked {
    method: &'static str,
    path: String,
    body: Option<Value>,
}

fn asked(command: &Command) -> anyhow::Result<Asked> {
    let at =
        |endpoint: &str, act: &str| format!("/v1/endpoints/{}{act}", utf8_percent_encode(endpoint, NON_ALPHANUMERIC));
    let (method, path, body) = match command {
        Command::List => ("GET", "/v1/endpoints".to_owned(), None),
        Command::Show { endpoint } => ("GET", at(endpoint, ""), None),
        Command::Create(create) => ("POST", "/v1/endpoints".to_owned(), Some(create.body()?)),
        Command::Update(update) => ("PATCH", at(update.endpoint(), ""), Some(update.body()?)),
        Command::Delete { endpoint } => ("DELETE", at(endpoint, ""), None),
        Command::Test { endpoint } => ("POST", at(endpoint, "/test"), None),
        Command::Preview(preview) => ("POST", at(preview.endpoint(), "/preview"), Some(preview.body()?)),
        Command::Disable { endpoint, reason } => ("POST", at(endpoint, "/disable"), Some(json!({"reason": reason}))),
        Command::Enable { endpoint } => ("POST", at(endpoint, "/enable"), None),
        Command::RotateSecret { endpoint, kind, grace } => {
            let kind = kind.map(|kind| if kind == Kind::V1 { "v1" } else { "v1a" });
            ("POST", at(endpoint, "/rotate-secret"), Some(json!({"kind": kind, "grace": grace})))
        }
    };
    Ok(Asked { method, path, body })
}

/// All endpoints, page by page.
async fn all(client: &Client) -> Result<Value, CallError> {
    let mut endpoints = Vec::new();
    let mut path = "/v1/endpoints".to_owned();
    loop {
        let mut page = client.call("GET", &path, None).await?;
        if let Some(found) = page.get_mut("endpoints").and_then(Value::as_array_mut) {
            endpoints.append(found);
        }
        let Some(next) = page.get("next").and_then(Value::as_str) else { break };
        path = format!("/v1/endpoints?cursor={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
    }
    Ok(json!({ "endpoints": endpoints }))
}

fn list(answer: &Value, context: &mut Context) -> anyhow::Result<()> {
    let mut table = Table::new(&["endpoint", "url", "format", "policy", "signed", "from", "state"]);
    for endpoint in answer.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
        let cell = |name| text(endpoint, name).to_owned();
        let name = [text(endpoint, "endpoint"), text(endpoint, "endpoint_id")];
        let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned();
        let signed = if endpoint.get("signing").is_some_and(Value::is_object) { "yes" } else { "no" };
        let from = Some(cell("origin")).filter(|origin| !origin.is_empty()).unwrap_or_else(|| "the API".to_owned());
        table.row([name, cell("url"), cell("format"), cell("policy"), signed.to_owned(), from, state(endpoint)]);
    }
    if table.is_empty() {
        writeln!(context.out, "no endpoints: rule files bring them, and `runhook endpoints create`")?;
        return Ok(());
    }
    table.write(&mut context.out)?;
    Ok(())
}

fn show(endpoint: &Value, context: &mut Context) -> anyhow::Result<()> {
    for (name, value) in endpoint
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !["disabled", "circuit", "failing_since"].contains(&name.as_str()))
    {
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
        None => doing(endpoint),
    }
}

/// How an endpoint that is enabled is doing.
fn doing(endpoint: &Value) -> String {
    let at = |path: &str| endpoint.pointer(path).and_then(Value::as_str);
    match (at("/circuit/next_probe_at"), at("/failing_since")) {
        (Some(probe), Some(since)) => format!("circuit open: fails since {since}, next probe at {probe}"),
        (Some(probe), None) => format!("circuit open: next probe at {probe}"),
        (None, Some(since)) => format!("enabled, fails since {since}"),
        (None, None) => "enabled".to_owned(),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
