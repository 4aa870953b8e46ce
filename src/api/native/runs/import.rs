//! `/v1/runs/import`: runs from a file, as JSON lines or as one JSON array, in the shape LangSmith's API gives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::api::request;
use crate::config::Limits;
use crate::ingest::{Incoming, IngestError, Intake};

/// Where the runs go.
#[derive(Deserialize)]
pub(super) struct Asked {
    /// The project of all of them, whatever they say themselves.
    project: Option<String>,
}

/// Takes runs in. Answers how many were accepted, and which were refused and why.
pub(super) async fn import(
    State(api): State<Api>,
    principal: Principal,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(asked) =
        asked.map_err(|error| Problem::malformed(error.body_text()).hint("known here: project, once"))?;
    let body = request::body(&api, request).await?;
    let runs = read(&body)?;
    let batch = batch(&runs, asked.project.as_deref())?;
    // What was sent has passed its limit; the batch made of it has only the decompressed one to keep.
    let limits = Arc::new(Limits { request_bytes: u64::MAX, ..(*api.limits).clone() });
    let intake = Intake { limits, ..api.intake() };
    let (accepted, refused) = match intake.batch(principal.tenant_id, whole(batch)).await {
        Ok(receipt) => (receipt.parts, receipt.refused),
        Err(IngestError::Nothing(refused)) => (0, refused),
        Err(error) => return Err(error.into()),
    };
    let status = if accepted == 0 && !refused.is_empty() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let detail = (status != StatusCode::OK).then_some("no run could be read");
    Ok((status, Json(json!({"accepted": accepted, "refused": refused, "detail": detail}))).into_response())
}

fn whole(body: Bytes) -> Incoming {
    let length = u64::try_from(body.len()).ok();
    let body = stream::iter([Ok(body)]);
    Incoming { content_type: None, encoding: None, length, body: Box::pin(body) }
}

/// The runs' texts. A line that is not JSON is named.
fn read(body: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return serde_json::from_slice(body)
            .map_err(|error| Problem::malformed(format!("the body is not a JSON array of runs: {error}")));
    }
    let mut runs = Vec::new();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let run = serde_json::from_slice(line).map_err(|error| {
            Problem::malformed(format!("line {} is not a JSON object: {error}", index.saturating_add(1)))
                .hint("send one run a line, or one JSON array of runs")
        })?;
        runs.push(run);
    }
    Ok(runs)
}

fn batch(runs: &[&RawValue], project: Option<&str>) -> Result<Bytes, Problem> {
    let mut batch = Vec::from(&b"{\"post\":["[..]);
    for (index, run) in runs.iter().enumerate() {
        if index > 0 {
            batch.push(b',');
        }
        match project {
            None => batch.extend_from_slice(run.get().as_bytes()),
            Some(project) => batch.extend_from_slice(&moved(run, project)?),
        }
    }
    batch.extend_from_slice(b"]}");
    Ok(batch.into())
}

/// The run, in another project.
fn moved(run: &RawValue, project: &str) -> Result<Vec<u8>, Problem> {
    // What is no object is refused further on, where it is named.
    let Ok(mut keys) = serde_json::from_str::<BTreeMap<&str, &RawValue>>(run.get()) else {
        return Ok(run.get().as_bytes().to_vec());
    };
    let name = serde_json::value::to_raw_value(project).map_err(|error| Problem::internal(&error))?;
    keys.remove("session_id");
    keys.insert("session_name", &name);
    serde_json::to_vec(&keys).map_err(|error| Problem::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(body: &str, project: Option<&str>) -> String {
        let runs = read(body.as_bytes()).unwrap();
        String::from_utf8(batch(&runs, project).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn lines_and_an_array_are_the_same_runs_byte_for_byte() {
        let expected = r#"{"post":[{"id":1, "n":1.0},{"id":2}]}"#;
        assert_eq!(imported("{\"id\":1, \"n\":1.0}\n\n{\"id\":2}\n", None), expected);
        assert_eq!(imported(r#" [{"id":1, "n":1.0}, {"id":2}]"#, None), expected);
    }

    #[test]
    fn a_named_project_replaces_the_one_a_run_says() {
        let line = r#"{"session_id":"x","session_name":"old","inputs":{"b":1, "a":2}}"#;
        assert_eq!(imported(line, Some("new")), r#"{"post":[{"inputs":{"b":1, "a":2},"session_name":"new"}]}"#);
    }

    #[test]
    fn a_broken_line_is_named() {
        let problem = read(b"{}\n{\n").unwrap_err();
        assert!(problem.detail.starts_with("line 2 is not a JSON object"), "{}", problem.detail);
    }
}
