//! A run as LangSmith's clients read it.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use rust_decimal::Decimal;
use serde::Serialize;
use url::Url;
use uuid::Uuid;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::blob::BlobError;
use crate::model::id::{ProjectId, RunId, TraceId};
use crate::model::json::RawJson;
use crate::model::run::{Payload, Run, Status, StoredRun};
use crate::model::time::Timestamp;
use crate::model::usage::{self, Usage};
use crate::payload::{self, stats};

/// The parts of a run that may live in blob storage: inputs and outputs fetched, attachments as links.
pub(crate) struct Bodies {
    inputs: Option<RawJson>,
    outputs: Option<RawJson>,
    links: BTreeMap<String, Link>,
}

#[derive(Serialize)]
struct Link {
    presigned_url: Url,
    mime_type: String,
}

/// What surrounds a run in its trace.
struct Surroundings {
    children: Vec<RunId>,
    descendants: Vec<RunId>,
    usage: Usage,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: RunId,
    name: &'a str,
    run_type: &'a str,
    status: &'a Status,
    start_time: String,
    end_time: Option<String>,
    error: Option<&'a str>,
    tags: &'a [String],
    inputs: Option<&'a RawJson>,
    outputs: Option<&'a RawJson>,
    extra: Option<&'a RawJson>,
    events: Option<&'a RawJson>,
    serialized: Option<&'a RawJson>,
    inputs_s3_urls: Option<&'a str>,
    outputs_s3_urls: Option<&'a str>,
    s3_urls: Option<&'a BTreeMap<String, Link>>,
    parent_run_id: Option<RunId>,
    parent_run_ids: Vec<RunId>,
    child_run_ids: Vec<RunId>,
    direct_child_run_ids: Vec<RunId>,
    trace_id: TraceId,
    dotted_order: &'a str,
    session_id: ProjectId,
    app_path: String,
    reference_example_id: Option<Uuid>,
    reference_dataset_id: Option<Uuid>,
    total_tokens: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    total_cost: Option<Decimal>,
    prompt_cost: Option<Decimal>,
    completion_cost: Option<Decimal>,
    first_token_time: Option<String>,
    feedback_stats: Option<BTreeMap<String, stats::KeyStats>>,
    thread_id: Option<String>,
    execution_order: u32,
    in_dataset: bool,
    last_queued_at: Option<&'a str>,
    share_token: Option<&'a str>,
    manifest_id: Option<&'a str>,
}

/// The run's JSON. `trace` is every run of its trace.
pub(crate) fn document(
    stored: &StoredRun,
    trace: Vec<StoredRun>,
    bodies: &Bodies,
) -> Result<Vec<u8>, serde_json::Error> {
    let run = &stored.run;
    let around = surroundings(run, trace);
    serde_json::to_vec(&Shown {
        id: run.id,
        name: &run.name,
        run_type: &run.run_type,
        status: &run.status,
        start_time: run.start_time.with_offset(),
        end_time: run.end_time.map(Timestamp::with_offset),
        error: run.error.as_deref(),
        tags: &run.tags,
        inputs: bodies.inputs.as_ref(),
        outputs: bodies.outputs.as_ref(),
        extra: run.extra.as_ref(),
        events: run.events.as_ref(),
        serialized: run.serialized.as_ref(),
        inputs_s3_urls: None,
        outputs_s3_urls: None,
        s3_urls: (!bodies.links.is_empty()).then_some(&bodies.links),
        parent_run_id: run.parent_run_id,
        parent_run_ids: payload::ancestors(run),
        child_run_ids: around.descendants,
        direct_child_run_ids: around.children,
        trace_id: run.trace_id,
        dotted_order: &run.dotted_order,
        session_id: run.project_id,
        app_path: payload::app_path(run),
        reference_example_id: run.reference_example_id,
        reference_dataset_id: None,
        total_tokens: around.usage.total_tokens,
        prompt_tokens: around.usage.prompt_tokens,
        completion_tokens: around.usage.completion_tokens,
        total_cost: around.usage.total_cost,
        prompt_cost: around.usage.prompt_cost,
        completion_cost: around.usage.completion_cost,
        first_token_time: run.first_token_time.map(Timestamp::with_offset),
        feedback_stats: (!stored.feedback.is_empty()).then(|| stats::of(&stored.feedback)),
        thread_id: run.extra.as_ref().and_then(payload::thread_id),
        execution_order: 1,
        in_dataset: false,
        last_queued_at: None,
        share_token: None,
        manifest_id: None,
    })
}

fn surroundings(run: &Run, trace: Vec<StoredRun>) -> Surroundings {
    let mut runs: Vec<Run> = trace.into_iter().map(|stored| stored.run).collect();
    usage::roll_up(&mut runs);
    runs.sort_by(|one, other| one.dotted_order.cmp(&other.dotted_order));
    let usage = runs.iter().find(|other| other.id == run.id).map_or_else(|| run.usage.clone(), |own| own.usage.clone());
    let of_parent =
        |parent: RunId| runs.iter().filter(move |other| other.parent_run_id == Some(parent)).map(|run| run.id);
    let children: Vec<RunId> = of_parent(run.id).collect();
    let mut below: HashSet<RunId> = children.iter().copied().collect();
    let mut waiting = children.clone();
    while let Some(next) = waiting.pop() {
        waiting.extend(of_parent(next).filter(|id| *id != run.id && below.insert(*id)));
    }
    let descendants = runs.iter().map(|run| run.id).filter(|id| below.contains(id)).collect();
    Surroundings { children, descendants, usage }
}

impl Bodies {
    /// Fetches what the run keeps in blob storage, and signs links to its attachments.
    pub(crate) async fn load(api: &Api, run: &Run) -> Result<Self, Problem> {
        let mut links = BTreeMap::new();
        for file in &run.attachments {
            let Some(presigned_url) = api.link(&file.key).await? else { continue };
            let link = Link { presigned_url, mime_type: file.mime_type.clone() };
            links.insert(format!("attachment.{}", file.name), link);
        }
        let inputs = fetch(api, run.inputs.as_ref()).await?;
        let outputs = fetch(api, run.outputs.as_ref()).await?;
        Ok(Self { inputs, outputs, links })
    }
}

/// Inputs or outputs, wherever they are kept.
pub(crate) async fn fetch(api: &Api, payload: Option<&Payload>) -> Result<Option<RawJson>, Problem> {
    match payload {
        None => Ok(None),
        Some(Payload::Inline(json)) => Ok(Some(json.clone())),
        Some(Payload::Blob(blob)) => {
            let bytes = api.blobs.get(&blob.key).await?;
            let json = bytes.as_ref().and_then(json);
            // Not an empty answer: the client would take it for a run without inputs.
            json.map(Some).ok_or_else(|| {
                tracing::error!(key = blob.key.0, "a blob that a run refers to is missing or damaged");
                BlobError::Unavailable("a blob is missing".to_owned()).into()
            })
        }
    }
}

fn json(bytes: &Bytes) -> Option<RawJson> {
    RawJson::parse(String::from_utf8(bytes.to_vec()).ok()?).ok()
}
