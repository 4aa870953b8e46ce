//! What the runs look like: traces of one chain with calls of a model, a tool and a retriever below it, with the fields
//! and the metadata that the Python SDK sends.

use serde_json::{Value, json};

use crate::body::template::{Hole, Template};
use crate::body::text;
use crate::draw::Draw;

/// Separates the parts of multipart bodies.
pub(crate) const BOUNDARY: &str = "5f1b0c7e9d2a4e6f8a3b1c5d7e9f0a2b";

/// How requests are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wire {
    /// `/runs/batch`, JSON.
    Batch,
    /// `/runs/multipart`, as it is.
    Multipart,
    /// `/runs/multipart`, packed with zstd.
    MultipartZstd,
}

/// One kind of run.
struct Kind {
    name: &'static str,
    run_type: &'static str,
    metadata: fn(&mut Draw) -> Value,
}

/// The root first.
const KINDS: [Kind; 4] = [
    Kind { name: "support-agent", run_type: "chain", metadata: |_| json!({}) },
    Kind {
        name: "ChatOpenAI",
        run_type: "llm",
        metadata: |draw| {
            let (input, output) = (200 + draw.below(3000), 20 + draw.below(900));
            let usage = json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output});
            json!({"ls_provider": "openai", "ls_model_name": "gpt-4o-mini", "ls_temperature": 0.2, "usage_metadata": usage})
        },
    },
    Kind { name: "search_docs", run_type: "tool", metadata: |_| json!({"index": "handbook"}) },
    Kind { name: "VectorStoreRetriever", run_type: "retriever", metadata: |_| json!({"k": 8}) },
];

/// Runs of a trace, at most.
pub(crate) const KIND_COUNT: usize = KINDS.len();

/// The template of a run of about `bytes` bytes, the `place`th of its trace.
pub(super) fn template(wire: Wire, place: usize, error: bool, bytes: usize, draw: &mut Draw) -> Template {
    let [chain, ..] = &KINDS;
    let kind = KINDS.get(place).unwrap_or(chain);
    let bare = Parts::new(kind, place == 0, error, 0, draw).written(wire);
    let room = bytes.saturating_sub(Template::of(&bare).length());
    Template::of(&Parts::new(kind, place == 0, error, room, draw).written(wire))
}

/// A run, taken apart as multipart does.
struct Parts {
    run: Value,
    heavy: [(&'static str, Value); 5],
}

impl Parts {
    fn new(kind: &Kind, is_root: bool, error: bool, room: usize, draw: &mut Draw) -> Self {
        let mut words = |share: usize| {
            let mut out = String::new();
            text::fill(draw, room * share / 10, &mut out);
            out
        };
        let (asked, context, answered) = (words(2), words(4), words(4));
        let inputs = json!({"messages": [
            {"role": "system", "content": context}, {"role": "user", "content": asked}]});
        let outputs = if error { json!({}) } else { json!({"messages": [{"role": "assistant", "content": answered}]}) };
        let failure =
            if error { json!(format!("TimeoutError('no answer')\n\nTraceback: {answered}")) } else { Value::Null };
        let mark = |hole: Hole| hole.mark().to_string();
        let own = format!("{}{}", mark(Hole::Begun), mark(Hole::Id));
        let path = if is_root { own } else { format!("{}{}.{own}", mark(Hole::TraceBegun), mark(Hole::Trace)) };
        let run = json!({
            "id": mark(Hole::Id), "trace_id": mark(Hole::Trace), "dotted_order": path,
            "parent_run_id": if is_root { Value::Null } else { json!(mark(Hole::Trace)) },
            "session_name": format!("bench-{}", mark(Hole::Project)),
            "name": kind.name, "run_type": kind.run_type, "tags": ["prod", "v2"],
            "start_time": mark(Hole::Start), "end_time": mark(Hole::End),
        });
        let heavy = [
            ("inputs", inputs),
            ("outputs", outputs),
            ("events", json!([])),
            ("extra", extra(kind, draw)),
            ("error", failure),
        ];
        Self { run, heavy }
    }

    fn written(mut self, wire: Wire) -> String {
        if wire == Wire::Batch {
            if let Some(run) = self.run.as_object_mut() {
                run.extend(self.heavy.into_iter().map(|(name, value)| (name.to_owned(), value)));
            }
            return self.run.to_string();
        }
        let mut out = String::new();
        part(&mut out, "", &self.run);
        for (name, value) in self.heavy.iter().filter(|(_, value)| !value.is_null()) {
            part(&mut out, &format!(".{name}"), value);
        }
        out
    }
}

fn part(out: &mut String, field: &str, value: &Value) {
    let text = value.to_string();
    let length = Template::of(&text).length();
    let id = Hole::Id.mark();
    out.extend([format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"post.{id}{field}\"\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{text}\r\n"
    )]);
}

fn extra(kind: &Kind, draw: &mut Draw) -> Value {
    let mut metadata = (kind.metadata)(draw);
    let shared = json!({
        "thread_id": format!("th-{}", draw.below(1_000_000)), "user_id": format!("user-{}", draw.below(5_000)),
        "tenant": format!("team-{}", draw.below(40)), "ls_method": "traceable", "revision_id": "3f2a91c",
    });
    if let (Some(metadata), Value::Object(shared)) = (metadata.as_object_mut(), shared) {
        metadata.extend(shared);
    }
    json!({
        "metadata": metadata,
        "runtime": {
            "sdk": "langsmith-py", "sdk_version": "0.15.0", "library": "langsmith", "runtime": "python",
            "platform": "Linux-6.18.44-x86_64-with-glibc2.36", "py_implementation": "CPython",
            "runtime_version": "3.11.7", "langchain_version": null, "langchain_core_version": "1.2.0",
        },
    })
}
