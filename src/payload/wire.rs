//! The documented shape: which key stands where, and how each value is written. Keys that the documentation does not
//! know come after those it does.

use crate::model::dotted_order::DottedOrder;
use crate::model::id::RunId;
use crate::model::rule::{GroupBy, Rule};
use crate::model::run::{Run, StoredRun};
use crate::model::thread;
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::payload::links::{Carried, Carrier, Room, write_link};
use crate::payload::piece::{Object, Piece};
use crate::payload::{PayloadError, Thread, Upload, stats};

type Result<T = ()> = std::result::Result<T, PayloadError>;

/// What a message says beside its runs.
#[derive(Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) rule: &'a Rule,
    pub(super) window: &'a Window,
    pub(super) project: &'a str,
    pub(super) part: u32,
    pub(super) parts: u32,
}

impl Envelope<'_> {
    /// The whole body.
    pub(super) fn write(&self, runs: &[Piece], stored: &[&StoredRun], threads: &[Piece]) -> Result<Piece> {
        Piece::object(|body| {
            body.member("rule_id", &self.rule.id)?;
            body.member("start_time", &self.window.start_time.with_offset())?;
            body.member("end_time", &self.window.end_time.with_offset())?;
            body.array("runs", runs)?;
            body.member("feedback_stats", &stats::of(stored.iter().flat_map(|stored| &stored.feedback)))?;
            if self.rule.group_by == Some(GroupBy::Thread) {
                body.array("threads", threads)?;
            }
            body.member("rule_name", &self.rule.name)?;
            body.member("project", self.project)?;
            body.member("part", &self.part)?;
            body.member("parts", &self.parts)
        })
    }
}

/// One element of `threads`, which tells of these turns.
pub(super) fn thread(thread: &Thread, turns: &[RunId]) -> Result<Piece> {
    Piece::object(|object| {
        object.member("thread_id", &thread.name)?;
        object.member("filter", &format!("eq(thread_id, {})", serde_json::to_string(&thread.name)?))?;
        object.member("count", &thread.count)?;
        object.member("min_start_time", &thread.first.with_offset())?;
        object.member("max_start_time", &thread.last.with_offset())?;
        object.member("run_ids", turns)
    })
}

/// How a run's values travel.
struct Values<'a> {
    inputs: Carried<'a>,
    outputs: Carried<'a>,
    extra: Carried<'a>,
    events: Carried<'a>,
    serialized: Carried<'a>,
}

/// One element of `runs`, and what must be uploaded for it.
pub(super) fn run(stored: &StoredRun, room: Room) -> Result<(Piece, Vec<Upload>)> {
    let run = &stored.run;
    let mut carrier = Carrier::new(run, room);
    let values = Values {
        inputs: carrier.payload("inputs", run.inputs.as_ref()),
        outputs: carrier.payload("outputs", run.outputs.as_ref()),
        extra: carrier.rest("extra", run.extra.as_ref()),
        events: carrier.rest("events", run.events.as_ref()),
        serialized: carrier.rest("serialized", run.serialized.as_ref()),
    };
    let piece = Piece::object(|object| {
        identity(object, run)?;
        counts(object, run)?;
        body(object, stored, &values)?;
        additions(object, run, &values)
    })?;
    Ok((piece, carrier.uploads()))
}

fn identity(object: &mut Object<'_>, run: &Run) -> Result {
    object.member("status", run.status.as_str())?;
    object.member("is_root", &run.is_root())?;
    object.member("trace_id", &run.trace_id)?;
    object.member("dotted_order", &run.dotted_order)?;
    object.member("run_type", &run.run_type)?;
    object.member("modified_at", &run.modified_at.naive())?;
    object.member("tenant_id", &run.tenant_id)?;
    object.member("end_time", &run.end_time.map(Timestamp::naive))?;
    object.member("name", &run.name)?;
    object.member("start_time", &run.start_time.naive())?;
    object.member("id", &run.id)?;
    object.member("session_id", &run.project_id)?;
    object.member("parent_run_ids", &ancestors(run))?;
    object.raw("child_run_ids", None)?;
    object.raw("direct_child_run_ids", None)
}

fn counts(object: &mut Object<'_>, run: &Run) -> Result {
    let usage = &run.usage;
    object.member("total_tokens", &usage.total_tokens)?;
    object.member("completion_tokens", &usage.completion_tokens)?;
    object.member("prompt_tokens", &usage.prompt_tokens)?;
    object.member("total_cost", &usage.total_cost.map(|cost| cost.to_string()))?;
    object.member("completion_cost", &usage.completion_cost.map(|cost| cost.to_string()))?;
    object.member("prompt_cost", &usage.prompt_cost.map(|cost| cost.to_string()))?;
    object.member("first_token_time", &run.first_token_time.map(Timestamp::naive))
}

fn body(object: &mut Object<'_>, stored: &StoredRun, values: &Values<'_>) -> Result {
    object.member("app_path", &app_path(&stored.run))?;
    object.member("in_dataset", &false)?;
    object.raw("last_queued_at", None)?;
    values.inputs.write(object, "inputs")?;
    values.inputs.write_urls(object, "inputs_s3_urls")?;
    values.outputs.write(object, "outputs")?;
    values.outputs.write_urls(object, "outputs_s3_urls")?;
    values.extra.write(object, "extra")?;
    values.events.write(object, "events")?;
    let stats = (!stored.feedback.is_empty()).then(|| stats::of(&stored.feedback));
    object.member("feedback_stats", &stats)?;
    values.serialized.write(object, "serialized")?;
    object.raw("share_token", None)
}

/// The keys that the documented payload lacks and receivers want.
fn additions(object: &mut Object<'_>, run: &Run, values: &Values<'_>) -> Result {
    object.member("tags", &run.tags)?;
    object.member("error", &run.error)?;
    object.member("parent_run_id", &run.parent_run_id)?;
    object.member("reference_example_id", &run.reference_example_id)?;
    object.member("thread_id", &run.extra.as_ref().and_then(thread::named))?;
    let rest = [("extra", &values.extra), ("events", &values.events), ("serialized", &values.serialized)];
    if run.attachments.is_empty() && !rest.iter().any(|(_, value)| matches!(value, Carried::Linked(_))) {
        return object.raw("s3_urls", None);
    }
    object.object("s3_urls", |urls| {
        for attachment in &run.attachments {
            urls.object(&format!("attachment.{}", attachment.name), |url| {
                write_link(url, &attachment.key)?;
                url.member("mime_type", &attachment.mime_type)
            })?;
        }
        for (name, value) in rest {
            if let Carried::Linked(key) = value {
                urls.object(name, |url| write_link(url, key))?;
            }
        }
        Ok(())
    })
}

/// The run's ancestors, root first; when its path does not tell, what its parent and its trace do.
#[must_use]
pub fn ancestors(run: &Run) -> Vec<RunId> {
    let Some(parent) = run.parent_run_id else { return Vec::new() };
    let path = DottedOrder::parse(&run.dotted_order).ok();
    match path.as_ref().map(DottedOrder::ancestors) {
        Some(path) if !path.is_empty() => path.iter().map(|segment| segment.run_id).collect(),
        _ if parent == RunId::from(run.trace_id) => vec![parent],
        _ => vec![run.trace_id.into(), parent],
    }
}

/// Where LangSmith would show the run. The start is the trace's: it is read from the path, not from the run.
#[must_use]
pub fn app_path(run: &Run) -> String {
    let path = DottedOrder::parse(&run.dotted_order).ok();
    let start = path.as_ref().and_then(DottedOrder::first).map_or(run.start_time, |root| root.start_time);
    format!(
        "/o/{}/projects/p/{}/r/{}?trace_id={}&start_time={}",
        run.tenant_id,
        run.project_id,
        run.id,
        run.trace_id,
        start.naive()
    )
}
