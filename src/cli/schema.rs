//! `runhook schema`: the JSON Schemas that are committed under `schemas/`.

use clap::{Args, ValueEnum};

use crate::cli::{Context, Exit};
use crate::{config, rule_file};

/// Which schema.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file it describes
    of: Of,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
    /// The server's configuration
    Config,
    /// Rule files
    Rule,
}

/// Prints the schema.
pub(super) fn run(arguments: &Arguments, context: &mut Context) -> anyhow::Result<Exit> {
    match arguments.of {
        Of::Config => context.json(&config::Document::schema())?,
        Of::Rule => context.json(&rule_file::schema())?,
    }
    Ok(Exit::Fine)
}
