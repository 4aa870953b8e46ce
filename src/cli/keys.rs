//! `runhook keys`: the keys that seal secrets at rest.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::app::KeyFile;
use crate::cli::count::counted;
use crate::cli::table::Table;
use crate::cli::{Context, Exit, Output};
use crate::crypto::{self, Keyring};

/// What to do with sealing keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and print its line for a key file; the line is the secret itself
    Generate {
        /// The key's number, unique in its file
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        id: u32,
        /// Write it to a new file, readable by its owner alone, instead of printing it
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the keys: which one seals, and how many values each has sealed
    List,
    /// Make a new key, seal with it from now on, and seal everything anew that older keys sealed
    Rotate {
        /// Make no key: read the key file anew, and seal everything anew with its first key
        #[arg(long)]
        reseal: bool,
        /// Make no key: remove the keys that seal nothing any more; links made with them stop working
        #[arg(long, conflicts_with = "reseal")]
        drop_old: bool,
    },
}

/// Does it.
pub(super) async fn run(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    match command {
        Command::Generate { id, file } => generate(id, file, context),
        Command::List => {
            let client = context.client().await?;
            let answer = client.call("GET", "/v1/keys", None).await;
            client.close().await;
            let answer = answer?;
            print(&answer, context)?;
            Ok(Exit::Fine)
        }
        Command::Rotate { reseal, drop_old } => rotate(reseal, drop_old, context).await,
    }
}

fn generate(id: u32, file: Option<PathBuf>, context: &mut Context) -> anyhow::Result<Exit> {
    let line = Keyring::line(id, &crypto::random());
    let Some(path) = file else {
        match context.output {
            Output::Human => writeln!(context.out, "{}", line.as_str())?,
            Output::Json => context.json(&json!({"id": id, "line": line.as_str()}))?,
        }
        return Ok(Exit::Fine);
    };
    KeyFile::at(path.clone()).create(&line)?;
    match context.output {
        Output::Human => writeln!(context.out, "made key {id} in {}", path.display())?,
        Output::Json => context.json(&json!({"id": id, "file": path.display().to_string()}))?,
    }
    Ok(Exit::Fine)
}

async fn rotate(reseal: bool, drop_old: bool, context: &mut Context) -> anyhow::Result<Exit> {
    let step = match (reseal, drop_old) {
        (true, _) => "reseal",
        (false, true) => "drop",
        (false, false) => "add",
    };
    let client = context.client().await?;
    let answer = client.call("POST", "/v1/keys/rotate", Some(&json!({"step": step}))).await;
    client.close().await;
    let answer = answer?;
    if context.output == Output::Human {
        let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
        match step {
            "drop" => {
                writeln!(context.out, "removed {} that sealed nothing", counted(count("dropped"), "key", "keys"))?;
            }
            _ => writeln!(context.out, "sealed {} anew", counted(count("resealed"), "value", "values"))?,
        }
    }
    print(&answer, context)?;
    if step == "add" && context.output == Output::Human {
        let advice = "older keys stay in the key file, for links that are still out; \
                      `runhook keys rotate --drop-old` removes those that seal nothing";
        writeln!(context.out, "{advice}")?;
    }
    Ok(Exit::Fine)
}

fn print(answer: &Value, context: &mut Context) -> anyhow::Result<()> {
    if context.output == Output::Json {
        return context.json(answer);
    }
    let keys = answer.get("keys").and_then(Value::as_array).context("the answer lists no keys")?;
    let mut table = Table::new(&["key", "fingerprint", "values", ""]);
    for key in keys {
        let text = |name: &str| match key.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        let seals = key.get("seals").and_then(Value::as_bool).unwrap_or(false);
        table.row([text("id"), text("fingerprint"), text("values"), if seals { "seals" } else { "" }.to_owned()]);
    }
    table.write(&mut context.out)?;
    Ok(())
}
