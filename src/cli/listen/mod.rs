//! `runhook listen`: a local receiver that checks what arrives, shows it, and answers what it is told to.
//!
//! It stands for the endpoint that is yet to be written: a rule is pointed at it and its notifications are read on the
//! terminal, or it plays an endpoint that fails and retries are watched. It keeps nothing. No secret is printed: values of
//! the query and of headers that may hold one are masked, and so is what was given to check against, wherever it stands.

mod answers;
mod check;
mod page;
mod shown;
mod told;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::app::{Answer, Arrival, Receiver};
use crate::cli::serve::Signals;
use crate::cli::{Context, Exit, Output};
use crate::delivery::masks::Masks;
use crate::model::amount;
use crate::model::endpoint::Target;
use crate::model::signing::Signing;
use crate::model::time::{Clock as _, SystemClock};
use crate::task::Supervisor;
use answers::Answers;
use check::{Checked, Checks};
use shown::Showing;

/// The port, unless another is named: next to the server's.
const PORT: u16 = 4711;

/// How long a stopping receiver lets answers wait.
const STOPPING: Duration = Duration::from_secs(1);

/// What to check, and what to answer.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The port, on this machine alone; 0 picks a free one
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// The secret that requests must carry: in the query as `secret`, unless --query or --header say where. One that begins
    /// with whsec_, whsk_ or whpk_ is taken as --signing-secret
    #[arg(long, env = "RUNHOOK_LISTEN_SECRET", value_name = "SECRET", hide_env_values = true)]
    secret: Option<SecretString>,
    /// The name of the query parameter with the secret
    #[arg(long, value_name = "NAME", requires = "secret")]
    query: Option<String>,
    /// The name of the header with the secret
    #[arg(long, value_name = "NAME", requires = "secret")]
    header: Option<String>,
    /// What signatures are checked with: the endpoint's secret, or the public key of its pair (whpk_…)
    #[arg(long, env = "RUNHOOK_LISTEN_SIGNING_SECRET", value_name = "SECRET", hide_env_values = true)]
    signing_secret: Option<SecretString>,
    /// The status to answer with
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// Statuses to answer with, one after the other: 500,500,200. The last one stays
    #[arg(long, value_name = "STATUS,…", value_delimiter = ',', conflicts_with = "status",
        value_parser = clap::value_parser!(u16).range(200..=599))]
    script: Vec<u16>,
    /// How long an answer waits, such as 500ms or 5s
    #[arg(long, value_parser = delay, default_value = "0s")]
    delay: Duration,
    /// The body of the answers
    #[arg(long, default_value = "")]
    body: String,
    /// The Retry-After of answers that are no success: seconds, or a date
    #[arg(long, value_name = "WHEN")]
    retry_after: Option<String>,
    /// Stop after so many notifications
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

fn delay(text: &str) -> Result<Duration, String> {
    amount::duration(text).ok_or_else(|| "write it as 500ms, 5s or 2m".to_owned())
}

/// Listens until a signal, or until enough has arrived. Ends with `Wrong` when something did not pass its checks.
pub(super) async fn run(arguments: Arguments, context: &mut Context) -> anyhow::Result<Exit> {
    let mut signals = Signals::listen()?;
    let (secret, signing_secret) = given(&arguments);
    let checks = Checks::new(secret, arguments.query, arguments.header, signing_secret.as_ref())?;
    let supervisor = Supervisor::default();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let receiver = Receiver::start(&supervisor, address).await;
    let receiver = receiver.with_context(|| format!("cannot listen on {address}; --port 0 picks a free port"))?;
    let url = format!("http://{}", receiver.address());
    let statuses = if arguments.script.is_empty() { vec![arguments.status] } else { arguments.script };
    let mut desk = Desk {
        page: page::Page::new(&url, &checks),
        showing: Showing::new(context.output, masks(&checks, signing_secret)),
        answers: Answers::new(statuses, arguments.delay, &arguments.body, arguments.retry_after),
        checks,
        left: arguments.count,
        failed: 0,
    };
    desk.open(&url, context)?;
    let result = desk.serve(receiver, &mut signals, context).await;
    supervisor.stop();
    // The last answer may still wait.
    let waits = if desk.left == Some(0) { arguments.delay } else { Duration::ZERO };
    supervisor.finished(tokio::time::sleep(waits.saturating_add(STOPPING))).await?;
    result?;
    Ok(if desk.failed > 0 { Exit::Wrong } else { Exit::Fine })
}

/// The secret of query or header, and that of signatures.
fn given(arguments: &Arguments) -> (Option<SecretString>, Option<SecretString>) {
    let filled = |secret: &Option<SecretString>| secret.clone().filter(|secret| !secret.expose_secret().is_empty());
    let (secret, signing) = (filled(&arguments.secret), filled(&arguments.signing_secret));
    let signs = |secret: &SecretString| {
        ["whsec_", "whsk_", "whpk_"].iter().any(|prefix| secret.expose_secret().starts_with(prefix))
    };
    let is_plain = arguments.query.is_none() && arguments.header.is_none();
    match (secret, signing) {
        (Some(secret), None) if is_plain && signs(&secret) => (None, Some(secret)),
        both => both,
    }
}

/// Everything that must not be printed.
fn masks(checks: &Checks, signing_secret: Option<SecretString>) -> Masks {
    let secrets = checks.secret().into_iter().chain(signing_secret);
    Masks::of(&Target {
        url: SecretString::default(),
        query: Vec::new(),
        headers: Vec::new(),
        secrets: secrets.map(|secret| ("secret".to_owned(), secret)).collect(),
        signing: Signing::default(),
    })
}

/// Where requests are dealt with, one after the other.
struct Desk {
    page: page::Page,
    checks: Checks,
    answers: Answers,
    showing: Showing,
    /// Notifications to come.
    left: Option<u64>,
    failed: u64,
}

impl Desk {
    /// Says where it listens, and how to get something there.
    fn open(&self, url: &str, context: &mut Context) -> anyhow::Result<()> {
        if context.output == Output::Json {
            writeln!(context.out, "{}", json!({"listening": url}))?;
        } else {
            writeln!(context.out, "listening on {url} (what is checked: {})", self.checks.told())?;
            writeln!(context.out, "  how to point a rule at it: open {url}/ or  curl {url}/")?;
            writeln!(context.out, "  the server must be allowed to: runhook serve --allow-targets {}", page::ALLOWED)?;
        }
        context.out.flush()?;
        Ok(())
    }

    async fn serve(
        &mut self,
        mut receiver: Receiver,
        signals: &mut Signals,
        context: &mut Context,
    ) -> anyhow::Result<()> {
        while self.left != Some(0) {
            let arrival = tokio::select! {
                arrival = receiver.next() => arrival,
                () = signals.next() => return Ok(()),
            };
            let Some(arrival) = arrival else { return Ok(()) };
            self.take(arrival, context)?;
            context.out.flush()?;
        }
        Ok(())
    }

    fn take(&mut self, arrival: Arrival, context: &mut Context) -> anyhow::Result<()> {
        let asks_for_page = matches!(arrival.received.method.as_str(), "GET" | "HEAD");
        if asks_for_page {
            let answer = self.page.answer(&arrival.received);
            arrival.answer(answer);
            return Ok(());
        }
        let now = SystemClock.now();
        let checked = self.checks.check(&arrival.received, now);
        let answer = self.answer(&checked);
        let (status, passed) = (answer.status, checked.passed());
        let received = arrival.answer(answer);
        self.failed = self.failed.saturating_add(u64::from(!passed));
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.showing.show(&received, &checked, status, now, &mut context.out)?;
        Ok(())
    }

    /// What is wrong is answered as such, and the script goes on with the next that is right.
    fn answer(&mut self, checked: &Checked) -> Answer {
        match checked.failure() {
            None => self.answers.next(),
            Some((status, why)) => answers::refusal(status, &why),
        }
    }
}
