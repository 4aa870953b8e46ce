//! `runhook migrate`: brings the database's schema up to date. `serve` does it too; this does nothing else.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::app::DataDir;
use crate::cli::{Context, Exit, Output, connect};
use crate::config::Overrides;
use crate::store::KeyStore;
use crate::store::sqlite::{SqliteStore, inspect};

/// Brings the schema up to date and says what was done.
pub(super) async fn run(context: &mut Context) -> anyhow::Result<Exit> {
    if context.connect.server()?.is_some() {
        anyhow::bail!("a server migrates its own database when it starts; run this on its machine, without --server");
    }
    let config = context.connect.config(Overrides::default())?;
    let data_dir = DataDir::take(&config.data_dir).map_err(connect::advised)?;
    let file = data_dir.database();
    let before = if file.exists() { inspect(&file).await?.applied } else { Vec::new() };
    let (store, writer) = SqliteStore::open(&file).await?;
    let writing = writer.run(CancellationToken::new());
    tokio::join!(store.close(), writing);
    let after = inspect(&file).await?.applied;
    let done: Vec<i64> = after.iter().copied().filter(|version| !before.contains(version)).collect();
    let version = after.last().copied().unwrap_or(0);
    if context.output == Output::Json {
        context.json(&json!({"file": file.display().to_string(), "applied": done, "version": version}))?;
    } else if done.is_empty() {
        writeln!(context.out, "{} is up to date, at version {version}", file.display())?;
    } else {
        for version in done {
            writeln!(context.out, "applied migration {version:04}")?;
        }
        writeln!(context.out, "{} is now at version {version}", file.display())?;
    }
    Ok(Exit::Fine)
}
