//! `runhook doctor`: looks at everything a start needs, changes nothing, and says what to do about what is wrong.

mod endpoints;
mod premises;

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use crate::app::{DataDir, storage};
use crate::cli::count::counted;
use crate::cli::{self, Client, Context, Exit, Output};
use crate::config::{Config, Overrides};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing looked at.
#[derive(Debug, Clone, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

/// An error with its causes.
fn whole(error: impl Into<anyhow::Error>) -> String {
    cli::whole(&error.into())
}

/// Looks at everything.
pub(super) async fn run(context: &mut Context) -> anyhow::Result<Exit> {
    let checks = match context.connect.server()? {
        Some(server) => of_server(&server, &Client::far(&server, context.connect.api_key())?).await,
        None => of_machine(context).await?,
    };
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    if context.output == Output::Json {
        context.json(&json!({"verdict": worst, "checks": checks}))?;
    } else {
        print(&checks, context)?;
    }
    Ok(if worst == Verdict::Fail { Exit::Wrong } else { Exit::Fine })
}

fn print(checks: &[Check], context: &mut Context) -> anyhow::Result<()> {
    for check in checks {
        let word = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        writeln!(context.out, "{word:<5} {:<15} {}", check.name, check.found)?;
        if let Some(advice) = &check.advice {
            writeln!(context.out, "{:<21} -> {advice}", "")?;
        }
    }
    Ok(())
}

async fn of_machine(context: &Context) -> anyhow::Result<Vec<Check>> {
    let config = context.connect.config(Overrides::default())?;
    match storage::file_of(&config) {
        Some(file) => of_embedded(&config, &file, context).await,
        None => Ok(of_shared(&config).await),
    }
}

async fn of_embedded(config: &Config, file: &Path, context: &Context) -> anyhow::Result<Vec<Check>> {
    let mut checks = vec![premises::data_dir(config), premises::disk(config)];
    if let Some(holder) = DataDir::holder(&config.data_dir) {
        checks.push(Check::ok("lock", format!("held by {holder}")));
        checks.push(premises::keys_alone(config));
        match holder.url.as_deref().map(Url::parse) {
            Some(Ok(url)) => checks.extend(of_server(&url, &Client::far(&url, context.connect.api_key())?).await),
            _ => checks.push(Check::ok("database", "looked after by that process")),
        }
        return Ok(checks);
    }
    checks.push(Check::ok("lock", "free"));
    let database = premises::database_file(file).await;
    let sound = database.verdict != Verdict::Fail && file.exists();
    checks.push(database);
    if !sound {
        checks.push(premises::keys_alone(config));
        checks.extend(premises::bucket(config).await);
        return Ok(checks);
    }
    checks.extend(premises::engine(config).await);
    Ok(checks)
}

/// Replicas own nothing here, so there is no directory and no lock to look at. An engine is opened only over a schema
/// that is up to date, because opening would bring it up to date.
async fn of_shared(config: &Config) -> Vec<Check> {
    let (database, is_current) = premises::database_server(config).await;
    if is_current {
        [vec![database], premises::engine(config).await].concat()
    } else {
        let mut checks = vec![database, premises::keys_given(config)];
        checks.extend(premises::bucket(config).await);
        checks
    }
}

/// What a running server says of itself.
async fn of_server(url: &Url, client: &Client) -> Vec<Check> {
    let mut checks = Vec::new();
    let shown = url.origin().ascii_serialization();
    checks.push(match client.call("GET", "/readyz", None).await {
        Ok(_) => Check::ok("server", format!("{shown} takes traffic")),
        Err(error) => Check::fail("server", error.to_string(), "look at the server's log"),
    });
    match client.call("GET", "/v1/status", None).await {
        Ok(status) => checks.extend(["scheduler", "delivery"].map(|name| of_loop(name, status.get(name)))),
        Err(error) => {
            checks.push(Check::warn("status", error.to_string(), "give the server's key with --api-key"));
        }
    }
    checks
}

fn of_loop(name: &'static str, status: Option<&Value>) -> Check {
    let member = |member: &str| status.and_then(|status| status.get(member));
    let failures = member("failures_in_a_row").and_then(Value::as_u64).unwrap_or(0);
    let passes = member("passes").and_then(Value::as_u64).unwrap_or(0);
    match member("last_error").and_then(Value::as_str) {
        Some(error) if failures > 0 => Check::fail(
            name,
            format!("failed {} in a row: {error}", counted(failures, "time", "times")),
            "look at the server's log",
        ),
        _ => Check::ok(name, counted(passes, "pass", "passes")),
    }
}
