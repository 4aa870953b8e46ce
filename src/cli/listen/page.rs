//! The page that says how to point a rule at the receiver.

use std::time::Duration;

use crate::app::{Answer, Received};

use super::answers::refusal;
use super::check::Checks;

/// What the server must be told to be allowed to call the receiver.
pub(super) const ALLOWED: &str = "127.0.0.1/32";

/// The page, as text and as HTML.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    html: String,
}

impl Page {
    pub(super) fn new(url: &str, checks: &Checks) -> Self {
        let text = text(url, checks);
        let html = html(&text);
        Self { text, html }
    }

    /// What a browser gets is HTML, all others get a rule file that works.
    pub(super) fn answer(&self, received: &Received) -> Answer {
        let path = received.target.split('?').next().unwrap_or_default();
        if path != "/" {
            return refusal(404, "the page that says how to point a rule here is at /");
        }
        let wants_html = received.header("accept").is_some_and(|accept| accept.contains("text/html"));
        let (kind, body) = if wants_html {
            ("text/html; charset=utf-8", &self.html)
        } else {
            ("text/plain; charset=utf-8", &self.text)
        };
        let headers = vec![("content-type", kind.to_owned())];
        Answer { status: 200, headers, body: body.clone().into(), delay: Duration::ZERO }
    }
}

/// A rule file whose comments say what to do.
fn text(url: &str, checks: &Checks) -> String {
    let query = checks.query().map(|name| format!("        query: {{ {}: \"${{LISTEN_SECRET}}\" }}\n", quoted(name)));
    let header =
        checks.header().map(|name| format!("        headers: {{ {}: \"${{LISTEN_SECRET}}\" }}\n", quoted(name)));
    let signing = checks.signs().then(|| "        signing_secret: \"${LISTEN_SIGNING_SECRET}\"\n".to_owned());
    let mut variables = Vec::new();
    if query.is_some() || header.is_some() {
        variables.push("LISTEN_SECRET (what --secret was)");
    }
    if checks.signs() {
        variables.push("LISTEN_SIGNING_SECRET (what --signing-secret was; of a whpk_ key, its private half)");
    }
    let environment = if variables.is_empty() {
        String::new()
    } else {
        format!("# 2. Put into its environment: {}\n", variables.join(", "))
    };
    let more: String = [query, header, signing].into_iter().flatten().collect();
    format!(
        "# A rule that notifies the receiver at {url}\n\
         # 1. Save this as my-rules/listen.yaml, with your filter and the name of your project.\n\
         {environment}\
         # {}. Start the server, which calls no address of this machine unless it is allowed to:\n\
         #      runhook serve --rules my-rules --allow-targets {ALLOWED}\n\
         #    or, where one is running that allows it: runhook rules apply my-rules --server URL\n\
         #    It must run on this machine: the receiver listens here alone.\n\
         version: 1\n\
         rules:\n\
         \x20 - key: listen\n\
         \x20   name: To the local receiver\n\
         \x20   project: \"*\"\n\
         \x20   filter: eq(is_root, true)\n\
         \x20   every: immediate\n\
         \x20   webhooks:\n\
         \x20     - url: {url}/\n{more}",
        if variables.is_empty() { 2 } else { 3 },
    )
}

/// A name, for YAML: JSON's spelling is one of its own.
fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

fn html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>runhook listen</title>\
         <body style=\"font-family: sans-serif; max-width: 60rem; margin: 2rem auto\">\
         <h1>runhook listen</h1><p>Notifications that are sent here are checked, and shown on the terminal. \
         This rule sends some:</p><pre style=\"background: #f4f4f4; padding: 1rem; overflow: auto\">{escaped}</pre>"
    )
}
