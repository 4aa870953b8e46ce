//! Not here yet.

use crate::cli::{Context, Exit};

/// Nothing yet.
#[derive(Debug, clap::Subcommand)]
pub enum Command {}

/// Runs it.
pub async fn run(command: Command, _context: &mut Context) -> anyhow::Result<Exit> {
    match command {}
}
