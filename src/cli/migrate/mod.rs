//! `runhook migrate`: brings the database's schema up to date. `serve` does it too; this does nothing else. Several may
//! do it at once on one PostgreSQL. With `--from` it copies a data directory into a PostgreSQL.

mod progress;
mod transfer;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use secrecy::SecretString;
use serde_json::json;

use crate::app::Storage;
use crate::cli::{Context, Exit, Output, connect};
use crate::config::Overrides;

/// What to copy, if anything.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Copy this data directory, or `sqlite://PATH`, into the PostgreSQL of --to; run it again to go on after a failure
    #[arg(long, value_name = "DIR")]
    from: Option<String>,
    /// The PostgreSQL to copy into, empty so far; better given as `RUNHOOK_DATABASE_URL`: others can read arguments
    #[arg(long, value_name = "URL", requires = "from")]
    to: Option<SecretString>,
    /// Where the large values to copy are [default: blobs in the directory of --from]; --blob-url says where they go
    #[arg(long, value_name = "DIR", requires = "from")]
    from_blobs: Option<PathBuf>,
    /// Rows of one transaction, at most
    #[arg(long, value_name = "ROWS", requires = "from", default_value_t = 5000,
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch_rows: u64,
    /// Throw away the unfinished copy that the target holds, and begin anew
    #[arg(long, requires = "from")]
    start_over: bool,
}

/// Brings the schema up to date, or copies, and says what was done.
pub(super) async fn run(arguments: Arguments, context: &mut Context) -> anyhow::Result<Exit> {
    if context.connect.server()?.is_some() {
        anyhow::bail!("a server migrates its own database when it starts; run this on its machine, without --server");
    }
    if let Some(from) = arguments.from.clone() {
        return transfer::run(&from, &arguments, context).await;
    }
    let config = context.connect.config(Overrides::default())?;
    let place = Storage::take(&config).map_err(connect::advised)?;
    let shown = place.shown();
    let migrated = place.migrate().await;
    let (done, version) = migrated.with_context(|| format!("the database {shown} cannot be used"))?;
    if context.output == Output::Json {
        context.json(&json!({"database": shown, "applied": done, "version": version}))?;
    } else if done.is_empty() {
        writeln!(context.out, "{shown} is up to date, at version {version}")?;
    } else {
        for version in done {
            writeln!(context.out, "applied migration {version:04}")?;
        }
        writeln!(context.out, "{shown} is now at version {version}")?;
    }
    Ok(Exit::Fine)
}
