//! `runhook api-keys`: the keys that callers of the API present.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::cli::table::Table;
use crate::cli::{Context, Exit, Output};
use crate::model::id::ApiKeyId;
use crate::model::scope::Scope;

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and print it: it is shown this once. From the first one on, the server asks everyone for a key
    Create {
        /// What to call it
        #[arg(default_value = "default")]
        name: String,
        /// What it is for; everything when this is not given. May be repeated, or be a list with commas
        #[arg(long = "scope", value_enum, value_delimiter = ',', value_name = "SCOPE")]
        scopes: Vec<Wanted>,
    },
    /// List the keys, by their first characters
    List,
    /// Make a key worthless
    Revoke {
        /// The key's id
        id: ApiKeyId,
    },
}

/// A scope, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// Add and amend runs, feedback, projects, datasets and queues
    Ingest,
    /// Look at them, and at rules, endpoints and deliveries
    Read,
    /// Rules, endpoints, replays, keys, and whatever removes
    Manage,
}

impl From<Wanted> for Scope {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Ingest => Self::Ingest,
            Wanted::Read => Self::Read,
            Wanted::Manage => Self::Manage,
        }
    }
}

fn request(name: &str, scopes: &[Wanted]) -> Value {
    let scopes: Vec<Scope> = scopes.iter().copied().map(Into::into).collect();
    if scopes.is_empty() { json!({"name": name}) } else { json!({"name": name, "scopes": scopes}) }
}

/// Does it.
pub(super) async fn run(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    let (method, path, body) = match &command {
        Command::Create { name, scopes } => ("POST", "/v1/api-keys".to_owned(), Some(request(name, scopes))),
        Command::List => ("GET", "/v1/api-keys".to_owned(), None),
        Command::Revoke { id } => ("DELETE", format!("/v1/api-keys/{id}"), None),
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
        Command::Create { .. } => created(&answer, context)?,
        Command::List => list(&answer, context)?,
        Command::Revoke { id } => {
            let revoked = answer.get("revoked").and_then(Value::as_bool).unwrap_or(false);
            writeln!(context.out, "{} {id}", if revoked { "revoked" } else { "was revoked already:" })?;
        }
    }
    Ok(Exit::Fine)
}

fn text<'a>(key: &'a Value, name: &str) -> &'a str {
    key.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn scopes(key: &Value) -> String {
    let scopes = key.get("scopes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    scopes.collect::<Vec<_>>().join(",")
}

fn created(answer: &Value, context: &mut Context) -> anyhow::Result<()> {
    writeln!(context.out, "{}", text(answer, "key"))?;
    writeln!(context.err, "this is the only time the key is shown; its id is {}", text(answer, "id"))?;
    Ok(())
}

fn list(answer: &Value, context: &mut Context) -> anyhow::Result<()> {
    let mut table = Table::new(&["id", "name", "begins with", "scopes", "created", "revoked"]);
    for key in answer.get("api_keys").and_then(Value::as_array).into_iter().flatten() {
        let cell = |name| text(key, name).to_owned();
        table.row([cell("id"), cell("name"), cell("prefix"), scopes(key), cell("created_at"), cell("revoked_at")]);
    }
    if table.is_empty() {
        writeln!(context.out, "no API keys: the server lets everyone in who reaches its loopback address")?;
        return Ok(());
    }
    table.write(&mut context.out)?;
    Ok(())
}
