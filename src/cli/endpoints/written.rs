//! `runhook endpoints create` and `update`: an endpoint as flags say it, for the API.
//!
//! A value on a command line is in the shell's history and in the list of processes, so secrets are named: `${VAR}` comes
//! from the environment, as in rule files.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::cli::rules::environment;
use crate::rule_file::resolve;

/// An endpoint to be made.
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// Its key, which rules name
    key: String,
    #[command(flatten)]
    written: Written,
}

/// What changes of an endpoint.
#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    /// The endpoint's key or id
    endpoint: String,
    #[command(flatten)]
    written: Written,
    /// Take this away: `timeout`, `retries`, `rate`, `burst`, `concurrency`, `signing_secret`, `headers.NAME`, `query.NAME`, `secrets.NAME`
    #[arg(long, value_name = "FIELD")]
    unset: Vec<String>,
}

/// What an endpoint is.
#[derive(Debug, Args)]
struct Written {
    /// Where notifications go
    #[arg(long)]
    url: Option<SecretString>,
    /// A query parameter to set
    #[arg(long, value_name = "NAME=VALUE")]
    query: Vec<SecretString>,
    /// A header to send
    #[arg(long, value_name = "NAME=VALUE")]
    header: Vec<SecretString>,
    /// What goes into the body and is secret
    #[arg(long, value_name = "NAME=VALUE")]
    secret: Vec<SecretString>,
    /// The shape of what is sent [default: langsmith, or template beside --template]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// A file with the body, for the format template
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// How a delivery is tried [default: as the format's own service does]
    #[arg(long, value_enum)]
    policy: Option<Policy>,
    /// How long it may take to answer, up to 15s
    #[arg(long)]
    timeout: Option<String>,
    /// A wait before a retry; give one for each
    #[arg(long, value_name = "WAIT")]
    retry: Vec<String>,
    /// How often it is sent to: 10/s, 300/m or 1000/h
    #[arg(long)]
    rate: Option<String>,
    /// How many follow one another at once after a rest [default: a second's worth of --rate]
    #[arg(long, value_name = "COUNT")]
    burst: Option<u32>,
    /// How many attempts are under way at a time
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<u32>,
    /// What attempts are signed with: base64, whsec_… or whsk_…
    #[arg(long)]
    signing_secret: Option<SecretString>,
    /// Which header carries the signature
    #[arg(long, value_enum)]
    signature: Option<Signature>,
}

/// Formats, as in rule files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The documented payload of LangSmith's rule webhooks
    Langsmith,
    /// {"type", "timestamp", "data"}
    Standard,
    /// An event of Argilla's webhooks
    Argilla,
    /// What the `WebhooksServer` of `huggingface_hub` reads
    Huggingface,
    /// Blocks for an incoming webhook of Slack
    Slack,
    /// An event of PagerDuty's Events API v2
    Pagerduty,
    /// The body that --template says
    Template,
}

/// Policies, as in rule files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// LangSmith's: 5 s, and two retries
    Langsmith,
    /// Standard Webhooks: 15 s, and three days of retries
    Standard,
}

/// Signatures, as in rule files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signature {
    /// webhook-signature
    Standard,
    /// X-LangSmith-Signature
    Langsmith,
    /// Both
    Both,
}

impl Create {
    /// The body of the request.
    pub(super) fn body(&self) -> anyhow::Result<Value> {
        let mut members = self.written.members()?;
        members.insert("key".to_owned(), self.key.clone().into());
        Ok(Value::Object(members))
    }
}

impl Update {
    /// Which endpoint.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The body of the request.
    pub(super) fn body(&self) -> anyhow::Result<Value> {
        let mut members = self.written.members()?;
        for field in &self.unset {
            match field.split_once('.') {
                None => drop(members.insert(field.clone(), Value::Null)),
                Some((kind, name)) => {
                    let pairs = members.entry(kind).or_insert_with(|| Value::Object(Map::new()));
                    let pairs = pairs.as_object_mut().ok_or_else(|| anyhow!("{kind} has no names"))?;
                    pairs.insert(name.to_owned(), Value::Null);
                }
            }
        }
        if members.is_empty() {
            return Err(anyhow!("nothing says what changes: give --url, --header and the like, or --unset"));
        }
        Ok(Value::Object(members))
    }
}

impl Written {
    fn members(&self) -> anyhow::Result<Map<String, Value>> {
        let template = self.template.as_ref().map(std::fs::read_to_string).transpose();
        let template = template.with_context(|| "the template cannot be read")?;
        let format = self.format.or(template.as_ref().map(|_| Format::Template));
        let secret = |text: &Option<SecretString>| text.as_ref().map(|text| resolved(text.expose_secret())).transpose();
        let members = [
            ("url", secret(&self.url)?),
            ("query", pairs(&self.query, "--query")?),
            ("headers", pairs(&self.header, "--header")?),
            ("secrets", pairs(&self.secret, "--secret")?),
            ("format", format.as_ref().and_then(word)),
            ("template", template.map(Value::from)),
            ("policy", self.policy.as_ref().and_then(word)),
            ("timeout", self.timeout.clone().map(Value::from)),
            ("retries", (!self.retry.is_empty()).then(|| self.retry.clone().into())),
            ("rate", self.rate.clone().map(Value::from)),
            ("burst", self.burst.map(Value::from)),
            ("concurrency", self.concurrency.map(Value::from)),
            ("signing_secret", secret(&self.signing_secret)?),
            ("signature", self.signature.as_ref().and_then(word)),
        ];
        Ok(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}

fn word<T: ValueEnum>(choice: &T) -> Option<Value> {
    choice.to_possible_value().map(|value| value.get_name().into())
}

/// The text is not repeated in an error: it may hold a secret.
fn resolved(text: &str) -> anyhow::Result<Value> {
    resolve(text, &environment).map(Value::from).map_err(|why| anyhow!(why))
}

fn pairs(given: &[SecretString], flag: &str) -> anyhow::Result<Option<Value>> {
    let mut members = Map::new();
    for pair in given {
        let (name, value) = pair.expose_secret().split_once('=').ok_or_else(|| anyhow!("{flag} takes NAME=VALUE"))?;
        members.insert(name.to_owned(), resolved(value)?);
    }
    Ok((!members.is_empty()).then_some(Value::Object(members)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn update(arguments: &[&str]) -> Update {
        Line::try_parse_from(std::iter::once("update").chain(arguments.iter().copied())).unwrap().update
    }

    #[test]
    fn flags_become_a_patch() {
        let given = ["oncall", "--header", "X-A=a=b", "--retry", "1s", "--retry", "5m", "--unset", "headers.X-B"];
        let body =
            update(&[given.as_slice(), &["--unset", "timeout", "--policy", "standard"]].concat()).body().unwrap();
        let expected = json!({
            "headers": {"X-A": "a=b", "X-B": null}, "retries": ["1s", "5m"], "timeout": null, "policy": "standard",
        });
        assert_eq!(body, expected);
        assert!(update(&["oncall"]).body().is_err());
    }

    #[test]
    fn a_mistake_repeats_no_value() {
        for given in ["hush", "X=hush ${RUNHOOK_NO_SUCH_VARIABLE}"] {
            let error = update(&["oncall", "--header", given]).body().unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        assert!(!format!("{:?}", update(&["oncall", "--header", "X=hush"])).contains("hush"));
    }
}
