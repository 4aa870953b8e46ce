//! The recorded traffic: what the LangSmith SDK for Python (0.15.0) sent for a small traced program, its feedback tied
//! to the run that failed.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use url::Url;

const RECORDED: &str = include_str!("traffic.jsonl");

/// The project its runs are in.
pub(super) const PROJECT: &str = "demo proj";

/// A recorded request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Request {
    /// The method.
    pub(super) method: String,
    /// The path.
    pub(super) path: String,
    /// `Content-Type`.
    content_type: String,
    /// The body.
    pub(super) body: String,
}

impl Request {
    /// The names of the runs it says something of, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for object in self.body.lines().filter(|line| line.starts_with("{\"id\"")) {
            let name = serde_json::from_str::<serde_json::Value>(object)
                .ok()
                .and_then(|run| run.get("name").or_else(|| run.get("key"))?.as_str().map(str::to_owned));
            names.extend(name);
        }
        names
    }
}

/// Sends it all to the engine. Returns what was sent and the status of each answer.
pub(super) async fn replay(engine: &Url) -> anyhow::Result<Vec<(Request, u16)>> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let mut answered = Vec::new();
    for line in RECORDED.lines() {
        let request: Request = serde_json::from_str(line).context("the recorded traffic")?;
        let url = engine.join(&request.path)?;
        let sent = http.request(request.method.parse()?, url).header("content-type", &request.content_type);
        let response = sent.body(request.body.clone()).send().await.context("the engine did not take the runs")?;
        let status = response.status();
        if !status.is_success() {
            bail!("the engine answered {status} to {} {}", request.method, request.path);
        }
        answered.push((request, status.as_u16()));
    }
    Ok(answered)
}
