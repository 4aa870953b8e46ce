//! `runhook completions`: completion scripts.

use clap::Args;
use clap_complete::Shell;

use crate::cli::{Context, Exit};

/// Which shell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(arguments: &Arguments, context: &mut Context, command: &mut clap::Command) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "runhook", &mut script);
    context.out.write_all(&script)?;
    Ok(Exit::Fine)
}
