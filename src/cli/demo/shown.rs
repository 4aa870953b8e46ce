//! What the demo prints.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde_json::Value;
use url::Url;

use super::ordered::Json;
use super::traffic::Request;
use crate::app::Received;
use crate::cli::count::counted;
use crate::model::endpoint::MASK;

type Out = dyn Write + Send;

fn heading(out: &mut Out, text: &str) -> io::Result<()> {
    writeln!(out, "\n── {text} {}", "─".repeat(76_usize.saturating_sub(text.chars().count())))
}

/// What runs where.
pub(super) fn opening(out: &mut Out, engine: &Url, receiver: SocketAddr) -> io::Result<()> {
    writeln!(out, "Runhook watches LLM and agent runs and tells you when one matters.")?;
    writeln!(out)?;
    writeln!(out, "  engine    {}", engine.as_str().trim_end_matches('/'))?;
    writeln!(out, "  receiver  http://{receiver}  (stands for your endpoint)")
}

/// The rule.
pub(super) fn rule(out: &mut Out, text: &str) -> io::Result<()> {
    heading(out, "1. A rule, in YAML")?;
    for line in text.lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// The requests.
pub(super) fn traffic(out: &mut Out, requests: &[(Request, u16)]) -> io::Result<()> {
    heading(out, "2. Runs go in, as the LangSmith SDK sends them")?;
    for (request, status) in requests {
        let path: String = request.path.chars().take(21).collect();
        let what = request.names().join(", ");
        writeln!(out, "  {:<5} {path:<21} {:>5} bytes -> {status}  {what}", request.method, request.body.len())?;
    }
    Ok(())
}

/// What arrived.
pub(super) fn notifications(out: &mut Out, arrived: &[Received], query: &str, token: &str) -> io::Result<()> {
    for (index, notification) in arrived.iter().enumerate() {
        let part = if arrived.len() > 1 {
            format!(", {} of {}", index.saturating_add(1), arrived.len())
        } else {
            String::new()
        };
        heading(out, &format!("3. The notification, as the receiver got it{part}"))?;
        let masked = |text: &str| text.replace(query, MASK).replace(token, MASK);
        writeln!(out, "  {} {}", notification.method, masked(&notification.target))?;
        for (name, value) in &notification.headers {
            writeln!(out, "  {name}: {}", masked(value))?;
        }
        writeln!(out)?;
        let body: Json = serde_json::from_slice(notification.body.as_deref().unwrap_or_default())?;
        for line in body.clone().shortened().lines() {
            writeln!(out, "  {line}")?;
        }
        window(out, &body)?;
    }
    Ok(())
}

fn window(out: &mut Out, body: &Json) -> io::Result<()> {
    let edge = |name: &str| body.get(name).and_then(Json::text).unwrap_or("?");
    let runs = body.get("runs").map_or(0, Json::len);
    writeln!(out)?;
    writeln!(out, "  The window  {} .. {}", edge("start_time"), edge("end_time"))?;
    writeln!(
        out,
        "  holds       {}; none of them will be in another window of this rule",
        counted(runs, "run that matches", "runs that match")
    )
}

/// What the engine kept of it.
pub(super) fn delivery(out: &mut Out, delivery: &Value) -> io::Result<()> {
    heading(out, "4. What the engine keeps of it (`runhook deliveries list`)")?;
    for name in ["id", "message_id", "state", "created_at", "finished_at"] {
        if let Some(text) = delivery.get(name).and_then(Value::as_str) {
            writeln!(out, "  {name:<12} {text}")?;
        }
    }
    Ok(())
}

/// What to do next.
pub(super) fn next_steps(out: &mut Out) -> io::Result<()> {
    heading(out, "Your turn")?;
    let steps = r#"  1. Put the rule above into my-rules/trouble.yaml, with your URL: runhook rules check my-rules
  2. Start the engine:            runhook serve --rules my-rules
     (a URL on this machine or in a private network needs --allow-targets, such as 127.0.0.0/8)
  3. Point your traced app at it: export LANGSMITH_TRACING=true LANGSMITH_ENDPOINT=http://127.0.0.1:4710
     or send a run by hand:       curl http://127.0.0.1:4710/runs -H 'content-type: application/json' \
                                    -d '{"id":"6c1e6d5e-9d0a-4a8e-8d7e-000000000001","name":"hello","run_type":"chain",
                                         "start_time":"2026-01-01T00:00:00Z","end_time":"2026-01-01T00:00:03Z"}'

Nothing of this demo stays behind."#;
    writeln!(out, "{steps}")
}
