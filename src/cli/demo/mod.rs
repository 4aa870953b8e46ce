//! `runhook demo`: the whole story on one terminal.
//!
//! An engine and a receiver on free loopback ports, a rule, and the recorded traffic of a real SDK. Everything shown
//! was done: the runs went through HTTP, the notification came through HTTP. Nothing stays behind, whatever happens.

mod ordered;
mod place;
mod shown;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, Received, Receiver, Running, Start};
use crate::cli::serve::Signals;
use crate::cli::{Client, Context, Exit};
use crate::config::Config;
use crate::crypto;
use crate::model::time::SystemClock;
use place::Place;

const RULE: &str = include_str!("rule.yaml");

/// How long a notification may take.
const BOUND: Duration = Duration::from_secs(20);

/// Runs the rule is about: the notification is complete when it holds this many.
const EXPECTED: usize = 2;

/// Plays the demo.
pub(super) async fn run(context: &mut Context) -> anyhow::Result<Exit> {
    let mut signals = Signals::listen()?;
    let place = Place::make()?;
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        data_dir: place.path().join("data"),
        allow_targets: vec![std::net::IpAddr::from([127, 0, 0, 1]).into()],
        ..Config::default()
    };
    let start = Start { config: &config, seed: None, variables: Arc::new(|_| None), clock: Arc::new(SystemClock) };
    let running = Running::start(start).await.context("the demo's engine did not start")?;
    let result = tokio::select! {
        result = play(&running, context) => result,
        () = signals.next() => Err(anyhow!("interrupted")),
        () = running.failed() => Err(anyhow!("the demo's engine stopped")),
    };
    let stopped = running.stop(tokio::time::sleep(Duration::from_secs(5))).await;
    drop(place);
    result?;
    stopped?;
    Ok(Exit::Fine)
}

/// What the rule's secrets are; each demo has its own.
struct Secrets {
    query: String,
    token: String,
}

impl Secrets {
    fn make() -> Self {
        let secret = || Uuid::from_bytes(crypto::random()).simple().to_string();
        Self { query: secret(), token: secret() }
    }
}

async fn play(running: &Running, context: &mut Context) -> anyhow::Result<()> {
    let mut receiver =
        Receiver::start(running.supervisor(), ([127, 0, 0, 1], 0).into()).await.context("the demo's receiver")?;
    let secrets = Secrets::make();
    let client = Client::far(running.url(), None)?;
    shown::opening(&mut context.out, running.url(), receiver.address())?;
    apply(&client, &receiver, &secrets).await?;
    shown::rule(&mut context.out, RULE)?;
    let requests = traffic::replay(running.url()).await?;
    shown::traffic(&mut context.out, &requests)?;
    let notifications = collect(&mut receiver).await?;
    shown::notifications(&mut context.out, &notifications, &secrets.query, &secrets.token)?;
    shown::delivery(&mut context.out, &delivered(&client).await?)?;
    shown::next_steps(&mut context.out)?;
    Ok(())
}

/// The project is there before the rule, as it is for people: so the rule's first window begins with the rule and all
/// the traffic is in it.
async fn apply(client: &Client, receiver: &Receiver, secrets: &Secrets) -> anyhow::Result<()> {
    let body = json!({
        "files": [{"name": "rule.yaml", "text": RULE}],
        "variables": {
            "DEMO_URL": format!("http://{}/langsmith_webhook", receiver.address()),
            "DEMO_SECRET": secrets.query,
            "DEMO_TOKEN": secrets.token,
        },
        "dry_run": false,
        "prune": false,
    });
    let project = json!({"name": traffic::PROJECT});
    client.call("POST", "/sessions", Some(&project)).await.context("the project was not made")?;
    client.call("POST", "/v1/rules/apply", Some(&body)).await.context("the rule was not accepted")?;
    Ok(())
}

/// Waits until the notifications hold all runs the rule is about. They come as one, or as two when a window ended
/// between the requests.
async fn collect(receiver: &mut Receiver) -> anyhow::Result<Vec<Received>> {
    let mut arrived = Vec::new();
    let mut runs = 0_usize;
    let deadline = tokio::time::Instant::now() + BOUND;
    while runs < EXPECTED {
        let next = tokio::time::timeout_at(deadline, receiver.next()).await;
        let Ok(Some(notification)) = next else {
            let log = "run it again with --log debug to see what the engine does";
            bail!("no notification came within {} s ({runs} of {EXPECTED} runs did); {log}", BOUND.as_secs());
        };
        let notification = notification.answer(Answer::status(200));
        let body = notification.body.as_deref().map_err(|unread| *unread).context("the notification")?;
        let body: Value = serde_json::from_slice(body).context("the notification is not JSON")?;
        runs = runs.saturating_add(body.get("runs").and_then(Value::as_array).map_or(0, Vec::len));
        arrived.push(notification);
    }
    Ok(arrived)
}

/// The newest delivery, once the engine has recorded that it arrived.
async fn delivered(client: &Client) -> anyhow::Result<Value> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let page = client.call("GET", "/v1/deliveries?limit=1", None).await.context("the deliveries")?;
        let newest = page.get("deliveries").and_then(|list| list.get(0)).cloned().unwrap_or_default();
        let done = newest.to_string().contains("\"delivered\"");
        if done || tokio::time::Instant::now() > deadline {
            return Ok(newest);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
