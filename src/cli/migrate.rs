//! `runhook migrate`: brings the database's schema up to date. `serve` does it too; this does nothing else. Several may
//! do it at once on one PostgreSQL.

use anyhow::Context as _;
use serde_json::json;

use crate::app::Storage;
use crate::cli::{Context, Exit, Output, connect};
use crate::config::Overrides;

/// Brings the schema up to date and says what was done.
pub(super) async fn run(context: &mut Context) -> anyhow::Result<Exit> {
    if context.connect.server()?.is_some() {
        anyhow::bail!("a server migrates its own database when it starts; run this on its machine, without --server");
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
