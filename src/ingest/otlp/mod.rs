//! OTLP: what OpenTelemetry exporters send, as runs.
//!
//! A request is decoded span by span (`protobuf`, `json`), so that one that cannot be read fails alone; each span becomes
//! one post of a run (`run`), by the attributes that are in use: LangSmith's own, the GenAI conventions, OpenInference,
//! traceloop, Logfire (`bodies`, `messages`, `metadata`, `usage`). From there on a span's run is a run like any other.
//!
//! Everything follows from the span alone. A root is named by its trace; its children, who come before it as a rule, know
//! only its span, so the root's run goes by that id, too, and the store brings them together (`Fields::alias`).
//! A span that is sent again is the same post again.

mod answer;
mod bodies;
mod json;
mod messages;
mod metadata;
mod protobuf;
mod run;
mod span;
mod usage;
mod weight;

use bytes::Bytes;

use crate::config::Limits;
use crate::ingest::error::{IngestError, Invalid};
use crate::ingest::intake::Gathered;
use crate::ingest::receipt::Refused;

use span::{Sheet, Span};

pub use answer::{done, failed};

/// How a request, and the answer to it, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Binary protobuf.
    Protobuf,
    /// JSON.
    Json,
}

/// What became of a request's spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traced {
    /// How many spans were not taken.
    pub rejected: usize,
    /// Which, and which files of others, and why.
    pub refused: Vec<Refused>,
}

/// What a request brought.
pub(crate) struct Spans {
    /// How many spans.
    pub(crate) received: usize,
    /// Their runs, and what could not be read.
    pub(crate) gathered: Gathered,
}

impl Encoding {
    /// The encoding that a `Content-Type` names.
    pub fn named(content_type: Option<&str>) -> Result<Self, IngestError> {
        let name = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        match name.to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            other if other.ends_with("+proto") => Ok(Self::Protobuf),
            other if other.ends_with("+json") => Ok(Self::Json),
            _ => Err(IngestError::Unsupported(
                "Content-Type must be application/x-protobuf or application/json".to_owned(),
            )),
        }
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Reads a request. `project` wins over what spans say.
pub(crate) fn read(
    body: &Bytes,
    encoding: Encoding,
    project: Option<String>,
    limits: &Limits,
) -> Result<Spans, IngestError> {
    let mut reading = Reading { project, limits, received: 0, gathered: Gathered::default() };
    let mut take = |sheet: &Sheet, span| reading.take(sheet, span);
    match encoding {
        Encoding::Protobuf => protobuf::read(body, limits.runs_per_request, &mut take)?,
        Encoding::Json => json::read(body, limits.runs_per_request, &mut take)?,
    }
    Ok(Spans { received: reading.received, gathered: reading.gathered })
}

struct Reading<'a> {
    project: Option<String>,
    limits: &'a Limits,
    received: usize,
    gathered: Gathered,
}

impl Reading<'_> {
    fn take(&mut self, sheet: &Sheet, span: Result<Span, Invalid>) {
        let label = format!("span {}", self.received);
        self.received = self.received.saturating_add(1);
        let read = span.and_then(|span| {
            let refuse = |reason: String| self.gathered.refused.push(Refused::new(&label, &reason));
            run::of(span, sheet, self.project.as_deref(), self.limits, refuse)
        });
        match read {
            Ok(loose) => self.gathered.parts.push(loose),
            Err(invalid) => self.gathered.refused.push(Refused::new(&label, &invalid)),
        }
    }
}

/// Refuses more spans than a request may hold.
fn check_count(spans: usize, limit: u32) -> Result<(), IngestError> {
    if spans > limit as usize { Err(IngestError::TooMany { what: "spans", limit }) } else { Ok(()) }
}
