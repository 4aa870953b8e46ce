//! The command line: one file for each command.
//!
//! Commands that read or change state speak HTTP to a server (`--server`), or to the same routes in process on the
//! database: one code path for both. Exit codes: 0 fine, 1 what was asked about is wrong, 2 usage, 3 could not run.

mod api_keys;
mod audit;
pub mod client;
mod completions;
mod connect;
mod count;
mod deliveries;
mod demo;
mod doctor;
mod endpoints;
mod event_types;
mod filter;
mod keys;
mod listen;
mod migrate;
pub mod rules;
mod runs;
mod schema;
mod serve;
mod systemd;
pub mod table;
mod wipe;

use std::ffi::OsString;
use std::io::Write;

use clap::builder::FalseyValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::app::rules_folder::FolderError;
use crate::telemetry::{self, LogFormat};
pub use client::{CallError, Client};
pub use connect::Connect;

/// Rules over LLM and agent runs, answered by batched, retried webhooks.
#[derive(Debug, Parser)]
#[command(name = "runhook", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 fine, 1 what was asked about is wrong, 2 usage, 3 could not run.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
struct Global {
    /// Print one JSON document instead of text for people
    #[arg(long, global = true, env = "RUNHOOK_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
    #[command(flatten)]
    connect: Connect,
    /// What is logged to stderr: a level, or directives such as `info,runhook::delivery=debug`
    #[arg(long, global = true, env = "RUNHOOK_LOG", value_name = "FILTER", hide_env_values = true)]
    log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, env = "RUNHOOK_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    log_format: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Look {
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: accept runs, evaluate rules, send notifications
    Serve(serve::Arguments),
    /// Show the whole story on one terminal, with nothing to configure
    Demo,
    /// Check, plan, apply, list, show, export, pause and resume rules
    #[command(subcommand)]
    Rules(rules::Command),
    /// Check a filter, or try it on stored or given runs
    #[command(subcommand)]
    Filter(filter::Command),
    /// Import, list and show runs
    #[command(subcommand)]
    Runs(runs::Command),
    /// List, show and replay deliveries
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    /// Make, change, test, preview, disable and enable endpoints, and replace their signing secrets
    #[command(subcommand)]
    Endpoints(endpoints::Command),
    /// Receive notifications on this machine: check, show and answer them as asked
    Listen(listen::Arguments),
    /// Generate, list and rotate the keys that seal secrets
    #[command(subcommand)]
    Keys(keys::Command),
    /// Create, list and revoke the keys that callers of the API present
    #[command(subcommand)]
    ApiKeys(api_keys::Command),
    /// List the kinds of events that endpoints can subscribe to
    #[command(subcommand)]
    EventTypes(event_types::Command),
    /// Show who did what with rules, endpoints, keys and data, newest first
    Audit(audit::Arguments),
    /// Bring the database's schema up to date, or copy a data directory into PostgreSQL
    Migrate(migrate::Arguments),
    /// Check the data directory, the keys, the database, the disk and the rules' endpoints
    Doctor,
    /// Remove all runs, rules, endpoints, events, messages and deliveries, or those of one tenant; API keys stay
    Wipe(wipe::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Print the JSON Schema of a file that people write
    #[command(hide = true)]
    Schema(schema::Arguments),
}

/// What a command prints: for people, or as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Text for people.
    Human,
    /// One JSON document.
    Json,
}

/// What a command ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Fine (0).
    Fine,
    /// The thing asked about is wrong (1).
    Wrong,
    /// It was called wrongly (2). Most of that is found by clap.
    Usage,
    /// It could not run (3).
    CouldNotRun,
}

/// A value on the command line that the command itself has to judge. The text repeats no secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongValue(String);

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Wrong => 1,
            Self::Usage => 2,
            Self::CouldNotRun => 3,
        }
    }
}

/// What a command works with.
pub struct Context {
    /// What it prints.
    pub output: Output,
    /// How it reaches the engine.
    pub connect: Connect,
    /// Standard output.
    pub out: Box<dyn Write + Send>,
    /// Standard error.
    pub err: Box<dyn Write + Send>,
}

impl Context {
    /// The engine: the server that was named, or one over the database.
    pub async fn client(&mut self) -> anyhow::Result<Client> {
        self.connect.client(&mut self.err).await
    }

    /// Writes a JSON document, indented.
    pub fn json<T: serde::Serialize + ?Sized>(&mut self, document: &T) -> anyhow::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, document)?;
        writeln!(self.out)?;
        Ok(())
    }
}

/// Runs the command that the arguments name. Returns the process's exit code.
pub async fn main(
    arguments: impl IntoIterator<Item = OsString>,
    mut out: Box<dyn Write + Send>,
    mut err: Box<dyn Write + Send>,
) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let to = if error.use_stderr() { &mut err } else { &mut out };
            // A closed pipe is the reader's choice, and there is nobody left to tell.
            let _nobody_reads = write!(to, "{}", error.render());
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let Cli { global, command } = cli;
    let output = if global.json { Output::Json } else { Output::Human };
    let mut context = Context { output, connect: global.connect, out, err };
    let format = if global.log_format == Look::Json { LogFormat::Json } else { LogFormat::Human };
    let filter = global.log.as_deref().filter(|filter| !filter.is_empty()).unwrap_or(match command {
        Command::Serve(_) => telemetry::DEFAULT_FILTER,
        // A command's own words say what it did; the engine inside it speaks up only when something is wrong.
        _ => "warn",
    });
    let result = match telemetry::log_to_stderr(filter, format) {
        Ok(()) => dispatch(command, &mut context).await,
        Err(error) => Err(error.into()),
    };
    let exit = result.unwrap_or_else(|error| report(&error, &mut context));
    let _nobody_reads = context.out.flush();
    exit.code()
}

#[expect(clippy::cognitive_complexity, reason = "an arm for each command, and nothing else")]
async fn dispatch(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    match command {
        Command::Serve(arguments) => Box::pin(serve::run(arguments, context)).await,
        Command::Demo => Box::pin(demo::run(context)).await,
        Command::Rules(command) => Box::pin(rules::run(command, context)).await,
        Command::Filter(command) => Box::pin(filter::run(command, context)).await,
        Command::Runs(command) => Box::pin(runs::run(command, context)).await,
        Command::Deliveries(command) => Box::pin(deliveries::run(command, context)).await,
        Command::Endpoints(command) => Box::pin(endpoints::run(command, context)).await,
        Command::Listen(arguments) => Box::pin(listen::run(arguments, context)).await,
        Command::Keys(command) => Box::pin(keys::run(command, context)).await,
        Command::ApiKeys(command) => Box::pin(api_keys::run(command, context)).await,
        Command::EventTypes(command) => Box::pin(event_types::run(command, context)).await,
        Command::Audit(arguments) => Box::pin(audit::run(&arguments, context)).await,
        Command::Migrate(arguments) => Box::pin(migrate::run(arguments, context)).await,
        Command::Doctor => Box::pin(doctor::run(context)).await,
        Command::Wipe(arguments) => Box::pin(wipe::run(&arguments, context)).await,
        Command::Completions(arguments) => completions::run(&arguments, context, &mut Cli::command()),
        Command::Schema(arguments) => schema::run(&arguments, context),
    }
}

/// Says why a command failed, and what to do.
fn report(error: &anyhow::Error, context: &mut Context) -> Exit {
    if is_closed_pipe(error) {
        return Exit::Fine;
    }
    let call = error.downcast_ref::<CallError>();
    let exit = match error.downcast_ref::<FolderError>() {
        Some(FolderError::NotText { .. }) => Exit::Wrong,
        _ if error.is::<WrongValue>() => Exit::Usage,
        _ => call.map_or(Exit::CouldNotRun, CallError::exit),
    };
    let said = match (context.output, call) {
        (Output::Json, Some(CallError::Problem { problem, .. })) => writeln!(context.err, "{problem}"),
        (Output::Json, _) => writeln!(context.err, "{}", serde_json::json!({"detail": whole(error)})),
        (Output::Human, _) => writeln!(context.err, "error: {}", whole(error)),
    };
    if let (Ok(()), Output::Human, Some(hint)) = (said, context.output, call.and_then(CallError::hint)) {
        let _nobody_reads = writeln!(context.err, "  hint: {hint}");
    }
    exit
}

/// An error with its causes, without those that it has told already.
fn whole(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_that_configures_has_an_environment_twin_that_shows_no_secret() {
        let cli = Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        let flags = cli.get_arguments().chain(serve.get_arguments());
        for flag in flags.filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version")) {
            let name = flag.get_long().unwrap();
            let twin = format!("RUNHOOK_{}", name.to_uppercase().replace('-', "_"));
            assert_eq!(flag.get_env().unwrap().to_str(), Some(twin.as_str()), "--{name}");
            let secret = matches!(name, "api-key" | "server" | "blob-url" | "database-url" | "egress-proxy");
            assert!(!secret || flag.is_hide_env_values_set(), "--{name}");
        }
    }
}
