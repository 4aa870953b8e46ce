//! `runhook endpoints test` and `preview`, as people read them.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::count::counted;

/// What to preview.
#[derive(Debug, Args)]
pub(in crate::cli) struct Preview {
    /// The endpoint's key or id
    endpoint: String,
    /// Of this stored run, instead of a sample
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// With the template in this file, instead of what is stored
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

impl Preview {
    /// Which endpoint.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The body of the request.
    pub(super) fn body(&self) -> anyhow::Result<Value> {
        let template = self.template.as_ref().map(std::fs::read_to_string).transpose();
        let template = template.with_context(|| "the template cannot be read")?;
        Ok(json!({"run_id": self.run, "template": template}))
    }
}

/// Says what came of a probe.
pub(super) fn tell(answer: &Value, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let number = |path: &str| answer.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    if let Some(sent) = answer.get("request").filter(|sent| sent.is_object()) {
        let headers = sent.get("headers").and_then(Value::as_array).into_iter().flatten();
        let headers: Vec<&str> = headers.filter_map(Value::as_str).collect();
        let bytes = counted(number("/request/bytes"), "byte", "bytes");
        writeln!(out, "request  {} {}, {bytes}", text(sent, "method"), text(sent, "url"))?;
        writeln!(out, "headers  {}", headers.join(", "))?;
    }
    writeln!(out, "result   {} after {} ms", text(answer, "said"), number("/duration_ms"))?;
    let excerpt = answer.pointer("/result/excerpt").and_then(Value::as_str).unwrap_or_default();
    if !excerpt.is_empty() {
        writeln!(out, "answer   {excerpt}")?;
    }
    Ok(())
}

/// Shows a body; one that would not be sent with the numbers of its lines.
pub(super) fn show(answer: &Value, context: &mut Context) -> anyhow::Result<()> {
    let (body, error) = (text(answer, "body"), text(answer, "error"));
    if error.is_empty() {
        writeln!(context.out, "{body}")?;
    } else {
        for (number, line) in (1..).zip(body.lines()) {
            writeln!(context.out, "{number:>4} {line}")?;
        }
        writeln!(context.err, "error: {error}")?;
    }
    if answer.get("cut") == Some(&Value::Bool(true)) {
        writeln!(context.err, "the rest of it is not shown")?;
    }
    Ok(())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
