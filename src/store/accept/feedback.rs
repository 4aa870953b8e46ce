//! Feedback in a batch: upserted by id, with a change for each run that is known.

use std::collections::HashMap;

use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, ProjectId, RunId, TenantId, TraceId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::accept::{FeedbackRow, Ready, Rows, Stirred};
use crate::store::row::json_text;
use crate::store::runs::Accepted;

/// Stores the batches' feedback; the runs it is about are noted in `stirred`, and returned if they are not known.
pub(super) async fn store(
    rows: &mut dyn Rows,
    tenant: TenantId,
    batches: &[(&Ready, Timestamp)],
    stirred: &mut Stirred,
    accepted: &mut [Accepted],
) -> Result<Vec<RunId>> {
    if batches.iter().all(|(ready, _)| ready.batch.feedback.is_empty()) {
        return Ok(Vec::new());
    }
    let mut known = load(rows, tenant, batches).await?;
    let mut written: Vec<FeedbackId> = Vec::new();
    for ((ready, _), accepted) in batches.iter().zip(accepted) {
        for feedback in &ready.batch.feedback {
            let Some(feedback) = news(known.get(&feedback.id), feedback) else { continue };
            accepted.changed = true;
            written.push(feedback.id);
            known.insert(feedback.id, feedback);
        }
    }
    written.sort_unstable();
    written.dedup();
    let written: Vec<&Feedback> = written.iter().filter_map(|id| known.get(id)).collect();
    let places = places(rows, tenant, &written, stirred).await?;
    let mut unknown = Vec::new();
    for run in written.iter().filter_map(|feedback| feedback.run_id) {
        match places.get(&run) {
            Some((project, trace)) => stirred.feedback_on(*project, run, *trace),
            None => unknown.push(run),
        }
    }
    write(rows, tenant, &written, &places).await?;
    Ok(unknown)
}

type Places = HashMap<RunId, (ProjectId, TraceId)>;

async fn load(
    rows: &mut dyn Rows,
    tenant: TenantId,
    batches: &[(&Ready, Timestamp)],
) -> Result<HashMap<FeedbackId, Feedback>> {
    let ids: Vec<FeedbackId> =
        batches.iter().flat_map(|(ready, _)| &ready.batch.feedback).map(|feedback| feedback.id).collect();
    Ok(rows.feedback(tenant, &ids).await?.into_iter().map(|feedback| (feedback.id, feedback)).collect())
}

/// What is to be stored, if it says anything new. Clients send feedback again when an answer is late, and the server
/// stamps what they did not: instants alone are no news, and a record keeps the instant it was made.
fn news(known: Option<&Feedback>, sent: &Feedback) -> Option<Feedback> {
    let Some(known) = known else { return Some(sent.clone()) };
    let same_age = Feedback { created_at: known.created_at, modified_at: known.modified_at, ..sent.clone() };
    (same_age != *known).then_some(Feedback { modified_at: sent.modified_at, ..same_age })
}

async fn places(rows: &mut dyn Rows, tenant: TenantId, written: &[&Feedback], stirred: &Stirred) -> Result<Places> {
    let (mut places, mut elsewhere) = (Places::new(), Vec::new());
    for run in written.iter().filter_map(|feedback| feedback.run_id) {
        match stirred.place_of(run) {
            Some(place) => _ = places.insert(run, place),
            None => elsewhere.push(run),
        }
    }
    if !elsewhere.is_empty() {
        let found = rows.places(tenant, &elsewhere).await?;
        places.extend(found.into_iter().map(|(run, project, trace)| (run, (project, trace))));
    }
    Ok(places)
}

async fn write(rows: &mut dyn Rows, tenant: TenantId, written: &[&Feedback], places: &Places) -> Result<()> {
    let written = written
        .iter()
        .map(|feedback| {
            let place = feedback.run_id.and_then(|run| places.get(&run)).map(|(project, _)| *project);
            let (project_id, source) = (place.or(feedback.session_id), source_type(feedback));
            Ok(FeedbackRow { feedback, project_id, source, body: json_text(feedback)? })
        })
        .collect::<Result<Vec<_>>>()?;
    if written.is_empty() { Ok(()) } else { rows.put_feedback(tenant, &written).await }
}

/// The `type` of a feedback's source.
fn source_type(feedback: &Feedback) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Source {
        r#type: Option<String>,
    }
    feedback.source.as_ref()?.read::<Source>().ok()?.r#type
}
