//! Runs as this API shows them. Inputs, outputs and the other bodies are the client's own bytes.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;
use uuid::Uuid;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::model::feedback::{Feedback, Score};
use crate::model::id::{FeedbackId, ProjectId, RunId, TraceId};
use crate::model::json::RawJson;
use crate::model::run::{BlobKey, Payload, StoredRun};
use crate::model::usage::Usage;

/// A run on a page.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    id: RunId,
    name: &'a str,
    run_type: &'a str,
    status: &'a str,
    start_time: String,
    end_time: Option<String>,
    project_id: ProjectId,
    trace_id: TraceId,
    parent_run_id: Option<RunId>,
    error: Option<&'a str>,
    tags: &'a [String],
    usage: &'a Usage,
    feedback: usize,
}

impl<'a> Line<'a> {
    /// The run, and what its subtree used.
    pub(super) fn of(stored: &'a StoredRun, usage: &'a Usage) -> Self {
        let run = &stored.run;
        Self {
            id: run.id,
            name: &run.name,
            run_type: &run.run_type,
            status: run.status.as_str(),
            start_time: run.start_time.to_string(),
            end_time: run.end_time.map(|at| at.to_string()),
            project_id: run.project_id,
            trace_id: run.trace_id,
            parent_run_id: run.parent_run_id,
            error: run.error.as_deref(),
            tags: &run.tags,
            usage,
            feedback: stored.feedback.len(),
        }
    }
}

/// A whole run.
#[derive(Serialize)]
pub(super) struct Full<'a> {
    id: RunId,
    name: &'a str,
    run_type: &'a str,
    status: &'a str,
    start_time: String,
    end_time: Option<String>,
    first_token_time: Option<String>,
    modified_at: String,
    project_id: ProjectId,
    project: Option<String>,
    trace_id: TraceId,
    parent_run_id: Option<RunId>,
    dotted_order: &'a str,
    reference_example_id: Option<Uuid>,
    tags: &'a [String],
    usage: &'a Usage,
    error: Option<&'a str>,
    inputs: Option<&'a RawJson>,
    outputs: Option<&'a RawJson>,
    extra: Option<&'a RawJson>,
    events: Option<&'a RawJson>,
    serialized: Option<&'a RawJson>,
    /// Where what is not inline can be downloaded: inputs, outputs, attachments.
    links: BTreeMap<String, Linked>,
    feedback: Vec<Said<'a>>,
    /// The number of its newest change in its project.
    change: i64,
}

/// A large value that lives elsewhere.
#[derive(Serialize)]
struct Linked {
    /// None when the blob is gone.
    url: Option<Url>,
    bytes: u64,
}

/// Feedback on the run.
#[derive(Serialize)]
struct Said<'a> {
    id: FeedbackId,
    key: &'a str,
    score: Option<Score>,
    value: Option<&'a RawJson>,
    comment: Option<&'a str>,
    created_at: String,
}

impl<'a> Full<'a> {
    /// The run with its project's name, what its subtree used, and links that work for a while.
    pub(super) async fn of(api: &Api, stored: &'a StoredRun, usage: &'a Usage) -> Result<Self, Problem> {
        let run = &stored.run;
        let project = api.store.project(run.tenant_id, run.project_id).await?.map(|project| project.name);
        Ok(Self {
            id: run.id,
            name: &run.name,
            run_type: &run.run_type,
            status: run.status.as_str(),
            start_time: run.start_time.to_string(),
            end_time: run.end_time.map(|at| at.to_string()),
            first_token_time: run.first_token_time.map(|at| at.to_string()),
            modified_at: run.modified_at.to_string(),
            project_id: run.project_id,
            project,
            trace_id: run.trace_id,
            parent_run_id: run.parent_run_id,
            dotted_order: &run.dotted_order,
            reference_example_id: run.reference_example_id,
            tags: &run.tags,
            usage,
            error: run.error.as_deref(),
            inputs: inline(run.inputs.as_ref()),
            outputs: inline(run.outputs.as_ref()),
            extra: run.extra.as_ref(),
            events: run.events.as_ref(),
            serialized: run.serialized.as_ref(),
            links: links(api, stored).await?,
            feedback: stored.feedback.iter().map(Said::from).collect(),
            change: stored.changed_seq,
        })
    }
}

impl<'a> From<&'a Feedback> for Said<'a> {
    fn from(feedback: &'a Feedback) -> Self {
        Self {
            id: feedback.id,
            key: &feedback.key,
            score: feedback.score,
            value: feedback.value.as_ref(),
            comment: feedback.comment.as_deref(),
            created_at: feedback.created_at.to_string(),
        }
    }
}

fn inline(payload: Option<&Payload>) -> Option<&RawJson> {
    match payload {
        Some(Payload::Inline(json)) => Some(json),
        Some(Payload::Blob(_)) | None => None,
    }
}

async fn links(api: &Api, stored: &StoredRun) -> Result<BTreeMap<String, Linked>, Problem> {
    let run = &stored.run;
    let large = [("inputs", &run.inputs), ("outputs", &run.outputs)].into_iter().filter_map(|(name, payload)| {
        let Some(Payload::Blob(blob)) = payload else { return None };
        Some((name.to_owned(), &blob.key, blob.bytes))
    });
    let files = run.attachments.iter().map(|file| (format!("attachments/{}", file.name), &file.key, file.bytes));
    let wanted: Vec<(String, &BlobKey, u64)> = large.chain(files).collect();
    let mut links = BTreeMap::new();
    for (name, key, bytes) in wanted {
        let url = api.link(key).await?;
        links.insert(name, Linked { url, bytes });
    }
    Ok(links)
}
