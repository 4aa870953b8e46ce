//! The keys of a run, each with what is shown under it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

use crate::api::langsmith::wire::bodies::{Link, Root};
use crate::api::langsmith::wire::{Stats, View, shown_stats};
use crate::model::id::{ProjectId, RunId, TraceId};
use crate::model::json::RawJson;
use crate::model::thread;
use crate::model::time::Timestamp;
use crate::model::usage::{Amounts, Counts};
use crate::payload;
use crate::query::feedback::Summaries;

/// How long a preview is, in characters.
const PREVIEW: usize = 250;

/// A key, and how what is shown under it is read.
pub(crate) type Key = (&'static str, for<'v> fn(&'v View<'v>) -> Shown<'v>);

/// What is shown under a key.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Shown<'v> {
    Nothing(()),
    Text(&'v str),
    Written(String),
    Count(i64),
    Real(f64),
    Flag(bool),
    Run(RunId),
    Trace(TraceId),
    Project(ProjectId),
    Example(Uuid),
    Json(&'v RawJson),
    Part(RawJson),
    Cost(Decimal),
    Counts(&'v Counts),
    Costs(&'v Amounts),
    Reals(BTreeMap<&'v str, f64>),
    Words(&'v [String]),
    Runs(Vec<RunId>),
    Family(&'v [RunId]),
    Stats(BTreeMap<String, Stats>),
    Link(&'v Root),
    Links(BTreeMap<String, &'v Link>),
    Urls(BTreeMap<&'v str, &'v str>),
}

impl Shown<'_> {
    pub(crate) const NOTHING: Self = Self::Nothing(());
}

/// What may be missing, as something shown.
pub(crate) fn or_nothing<'v, T>(value: Option<T>, show: impl FnOnce(T) -> Shown<'v>) -> Shown<'v> {
    value.map_or(Shown::NOTHING, show)
}

pub(crate) fn time<'v>(at: Option<Timestamp>) -> Shown<'v> {
    or_nothing(at, |at| Shown::Written(at.with_offset()))
}

pub(crate) fn preview(json: Option<&RawJson>) -> Shown<'_> {
    or_nothing(json, |json| Shown::Written(json.text().chars().take(PREVIEW).collect()))
}

pub(crate) fn counts(counts: &Counts) -> Shown<'_> {
    if counts.is_empty() { Shown::NOTHING } else { Shown::Counts(counts) }
}

fn costs(costs: &Amounts) -> Shown<'_> {
    if costs.is_empty() { Shown::NOTHING } else { Shown::Costs(costs) }
}

pub(crate) fn feedback_stats<'v>(view: &View<'v>) -> Shown<'v> {
    let feedback = &view.stored.feedback;
    if feedback.is_empty() { Shown::NOTHING } else { Shown::Stats(shown_stats(&Summaries::of(feedback))) }
}

pub(crate) fn thread_id<'v>(view: &View<'v>) -> Shown<'v> {
    or_nothing(view.stored.run.extra.as_ref().and_then(thread::named), Shown::Written)
}

pub(crate) fn in_dataset<'v>(view: &View<'v>) -> Shown<'v> {
    Shown::Flag(view.shelved.is_some_and(|shelved| shelved.in_dataset))
}

pub(crate) fn last_queued_at<'v>(view: &View<'v>) -> Shown<'v> {
    time(view.shelved.and_then(|shelved| shelved.queued_at))
}

/// The keys that every answer has.
pub(super) const ALWAYS: [&str; 9] =
    ["id", "name", "run_type", "status", "start_time", "trace_id", "dotted_order", "session_id", "app_path"];

/// What a run is.
pub(super) const IDENTITY: &[Key] = &[
    ("id", |view| Shown::Run(view.run().id)),
    ("name", |view| Shown::Text(&view.stored.run.name)),
    ("run_type", |view| Shown::Text(&view.stored.run.run_type)),
    ("status", |view| Shown::Text(view.stored.run.status.as_str())),
    ("start_time", |view| time(Some(view.run().start_time))),
    ("end_time", |view| time(view.run().end_time)),
    ("error", |view| or_nothing(view.stored.run.error.as_deref(), Shown::Text)),
    ("tags", |view| Shown::Words(&view.stored.run.tags)),
    ("parent_run_id", |view| or_nothing(view.run().parent_run_id, Shown::Run)),
    ("parent_run_ids", |view| Shown::Runs(payload::ancestors(view.run()))),
    ("child_run_ids", |view| or_nothing(view.family, |family| Shown::Family(&family.descendants))),
    ("direct_child_run_ids", |view| or_nothing(view.family, |family| Shown::Family(&family.children))),
    ("trace_id", |view| Shown::Trace(view.run().trace_id)),
    ("dotted_order", |view| Shown::Text(&view.stored.run.dotted_order)),
    ("session_id", |view| Shown::Project(view.run().project_id)),
    ("app_path", |view| Shown::Written(payload::app_path(view.run()))),
    ("reference_example_id", |view| or_nothing(view.run().reference_example_id, Shown::Example)),
    ("thread_id", thread_id),
    ("execution_order", |_| Shown::Count(1)),
];

/// What it took in, gave and cost.
pub(super) const CONTENT: &[Key] = &[
    ("inputs", |view| or_nothing(view.bodies.inputs.json(), Shown::Json)),
    ("inputs_or_signed_url", |view| or_nothing(view.bodies.inputs.json(), Shown::Json)),
    ("inputs_preview", |view| preview(view.bodies.inputs.json())),
    ("inputs_s3_urls", |view| or_nothing(view.bodies.inputs.link(), Shown::Link)),
    ("outputs", |view| or_nothing(view.bodies.outputs.json(), Shown::Json)),
    ("outputs_or_signed_url", |view| or_nothing(view.bodies.outputs.json(), Shown::Json)),
    ("outputs_preview", |view| preview(view.bodies.outputs.json())),
    ("outputs_s3_urls", |view| or_nothing(view.bodies.outputs.link(), Shown::Link)),
    ("extra", |view| or_nothing(view.stored.run.extra.as_ref(), Shown::Json)),
    ("extra_or_signed_url", |view| or_nothing(view.stored.run.extra.as_ref(), Shown::Json)),
    ("error_or_signed_url", |view| or_nothing(view.stored.run.error.as_deref(), Shown::Text)),
    ("events", |view| or_nothing(view.stored.run.events.as_ref(), Shown::Json)),
    ("events_or_signed_url", |view| or_nothing(view.stored.run.events.as_ref(), Shown::Json)),
    ("serialized", |view| or_nothing(view.stored.run.serialized.as_ref(), Shown::Json)),
    ("serialized_or_signed_url", |view| or_nothing(view.stored.run.serialized.as_ref(), Shown::Json)),
    ("manifest", |view| or_nothing(view.stored.run.serialized.as_ref(), Shown::Json)),
    ("s3_urls", links),
    ("total_tokens", |view| Shown::Count(view.usage().total_tokens)),
    ("prompt_tokens", |view| Shown::Count(view.usage().prompt_tokens)),
    ("completion_tokens", |view| Shown::Count(view.usage().completion_tokens)),
    ("total_cost", |view| or_nothing(view.usage().total_cost, Shown::Cost)),
    ("prompt_cost", |view| or_nothing(view.usage().prompt_cost, Shown::Cost)),
    ("completion_cost", |view| or_nothing(view.usage().completion_cost, Shown::Cost)),
    ("prompt_token_details", |view| counts(&view.usage().prompt_token_details)),
    ("completion_token_details", |view| counts(&view.usage().completion_token_details)),
    ("prompt_cost_details", |view| costs(&view.usage().prompt_cost_details)),
    ("completion_cost_details", |view| costs(&view.usage().completion_cost_details)),
    ("first_token_time", |view| time(view.run().first_token_time)),
    ("feedback_stats", feedback_stats),
    ("in_dataset", in_dataset),
    ("last_queued_at", last_queued_at),
];

/// What LangSmith knows of a run and this server does not keep.
pub(super) const UNKNOWN: &[Key] = &[
    ("reference_dataset_id", |_| Shown::NOTHING),
    ("share_token", |_| Shown::NOTHING),
    ("manifest_id", |_| Shown::NOTHING),
    ("manifest_s3_id", |_| Shown::NOTHING),
    ("price_model_id", |_| Shown::NOTHING),
    ("trace_tier", |_| Shown::NOTHING),
    ("trace_upgrade", |_| Shown::Flag(false)),
    ("ttl_seconds", |_| Shown::NOTHING),
    ("trace_first_received_at", |_| Shown::NOTHING),
    ("trace_min_max_start_time", |_| Shown::NOTHING),
    ("messages", |_| Shown::NOTHING),
    ("inserted_at", |view| time(Some(view.run().modified_at))),
];

fn links<'v>(view: &'v View<'v>) -> Shown<'v> {
    let files = &view.bodies.attachments;
    if files.is_empty() {
        return Shown::NOTHING;
    }
    Shown::Links(files.iter().map(|(name, link)| (format!("attachment.{name}"), link)).collect())
}
