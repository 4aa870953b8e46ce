//! `runhook rules`: checking, planning and applying rule files, and looking at what was applied.

mod apply;
mod check;
mod files;
mod stored;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::{Context, Exit};
use crate::filter::report::Style;

pub use files::environment;

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say all that is wrong with rule files, with line, column and a hint; needs no server
    Check {
        /// Which files
        #[command(flatten)]
        files: Files,
        /// Warn of filters that LangSmith's hosted service refuses, and let every warning fail the check
        #[arg(long)]
        strict: bool,
        /// How problems look
        #[arg(long, value_enum, default_value_t = Look::Human)]
        format: Look,
    },
    /// Show what applying rule files would change, and change nothing
    Plan {
        /// Which files
        #[command(flatten)]
        files: Files,
        /// Show which rules that came from files would be removed because these files do not have them
        #[arg(long)]
        prune: bool,
    },
    /// Bring the rules to what the files say: all of them, or none
    Apply {
        /// Which files
        #[command(flatten)]
        files: Files,
        /// Remove rules that came from files and are not in these
        #[arg(long)]
        prune: bool,
    },
    /// Print the rules as YAML that applies again, with a variable in the place of each secret
    Export,
    /// List the rules
    List,
    /// Show a rule
    Show {
        /// The rule's key or id
        key: String,
    },
    /// Stop evaluating a rule; what it matched and what waits for delivery stays
    Pause {
        /// The rules' keys or ids
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Evaluate a paused rule again, from the newest change on
    Resume {
        /// The rules' keys or ids
        #[arg(required = true)]
        keys: Vec<String>,
    },
}

/// Rule files.
#[derive(Debug, Args)]
pub struct Files {
    /// Rule files, or folders of them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
}

/// How problems look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Look {
    /// Source lines with carets
    Human,
    /// Annotations of GitHub Actions
    Github,
}

/// Does it.
pub async fn run(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    match command {
        Command::Check { files, strict, format } => check::run(&files, strict, format, context),
        Command::Plan { files, prune } => apply::run(&files, prune, apply::Purpose::Plan, context).await,
        Command::Apply { files, prune } => apply::run(&files, prune, apply::Purpose::Apply, context).await,
        Command::Export => stored::export(context).await,
        Command::List => stored::list(context).await,
        Command::Show { key } => stored::show(&key, context).await,
        Command::Pause { keys } => stored::set_state(&keys, "pause", context).await,
        Command::Resume { keys } => stored::set_state(&keys, "resume", context).await,
    }
}

/// Colours for a terminal whose owner has not declined them.
pub(in crate::cli) fn style() -> Style {
    let declined = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !declined { Style::Color } else { Style::Plain }
}
