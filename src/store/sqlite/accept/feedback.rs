//! Feedback in a batch: upserted by id, with a change for each run that is known.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;

use crate::model::feedback::Feedback;
use crate::model::id::{FeedbackId, ProjectId, RunId, TenantId, TraceId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::runs::{Accepted, Batch};
use crate::store::sqlite::accept::Stirred;
use crate::store::sqlite::row::{Cells, Insert, id_list, insert, json_text};

pub(super) const LOAD: &str = "SELECT body FROM feedback \
     WHERE tenant_id = $1 AND feedback_id IN (SELECT unhex(value) FROM json_each($2))";

/// Where runs are that are complete.
pub(in crate::store::sqlite) const PLACES: &str = "SELECT r.run_id, r.project_id, r.trace_id FROM run_bodies b \
     JOIN runs r ON r.tenant_id = b.tenant_id AND r.project_id = b.project_id AND r.run_id = b.run_id \
     WHERE b.tenant_id = $1 AND b.run_id IN (SELECT unhex(value) FROM json_each($2))";

const UPSERT: Insert = Insert {
    head: "INSERT INTO feedback (tenant_id, feedback_id, run_id, project_id, key, source, created_at, body) VALUES",
    columns: 8,
    tail: "ON CONFLICT (tenant_id, feedback_id) DO UPDATE SET run_id = excluded.run_id, \
           project_id = excluded.project_id, key = excluded.key, source = excluded.source, \
           created_at = excluded.created_at, body = excluded.body",
};

/// Stores the batches' feedback; the runs it is about are noted in `stirred`.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    batches: &[(&Batch, Timestamp)],
    stirred: &mut Stirred,
    accepted: &mut [Accepted],
) -> Result<()> {
    if batches.iter().all(|(batch, _)| batch.feedback.is_empty()) {
        return Ok(());
    }
    let mut known = load(connection, tenant, batches).await?;
    let mut written: Vec<FeedbackId> = Vec::new();
    for ((batch, _), accepted) in batches.iter().zip(accepted) {
        for feedback in &batch.feedback {
            let Some(feedback) = news(known.get(&feedback.id), feedback) else { continue };
            accepted.changed = true;
            written.push(feedback.id);
            known.insert(feedback.id, feedback);
        }
    }
    written.sort_unstable();
    written.dedup();
    let written: Vec<&Feedback> = written.iter().filter_map(|id| known.get(id)).collect();
    let places = places(connection, tenant, &written, stirred).await?;
    for run in written.iter().filter_map(|feedback| feedback.run_id) {
        if let Some((project, trace)) = places.get(&run) {
            stirred.feedback_on(*project, run, *trace);
        }
    }
    write(connection, tenant, &written, &places).await
}

type Places = HashMap<RunId, (ProjectId, TraceId)>;

async fn load(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    batches: &[(&Batch, Timestamp)],
) -> Result<HashMap<FeedbackId, Feedback>> {
    let ids = id_list(batches.iter().flat_map(|(batch, _)| &batch.feedback).map(|feedback| feedback.id.0));
    let rows = sqlx::query(LOAD).bind(tenant.0).bind(ids).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let feedback: Feedback = Cells::of("feedback", row).json()?;
            Ok((feedback.id, feedback))
        })
        .collect()
}

/// What is to be stored, if it says anything new. Clients send feedback again when an answer is late, and the server
/// stamps what they did not: instants alone are no news, and a record keeps the instant it was made.
fn news(known: Option<&Feedback>, sent: &Feedback) -> Option<Feedback> {
    let Some(known) = known else { return Some(sent.clone()) };
    let same_age = Feedback { created_at: known.created_at, modified_at: known.modified_at, ..sent.clone() };
    (same_age != *known).then_some(Feedback { modified_at: sent.modified_at, ..same_age })
}

async fn places(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    written: &[&Feedback],
    stirred: &Stirred,
) -> Result<Places> {
    let (mut places, mut elsewhere) = (Places::new(), Vec::new());
    for run in written.iter().filter_map(|feedback| feedback.run_id) {
        match stirred.place_of(run) {
            Some(place) => _ = places.insert(run, place),
            None => elsewhere.push(run.0),
        }
    }
    if !elsewhere.is_empty() {
        let rows = sqlx::query(PLACES).bind(tenant.0).bind(id_list(elsewhere)).fetch_all(connection).await?;
        for row in &rows {
            let mut cells = Cells::of("runs", row);
            let run = RunId(cells.take()?);
            places.insert(run, (ProjectId(cells.take()?), TraceId(cells.take()?)));
        }
    }
    Ok(places)
}

async fn write(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    written: &[&Feedback],
    places: &Places,
) -> Result<()> {
    let rows: Vec<(&Feedback, Option<ProjectId>, String)> = written
        .iter()
        .map(|feedback| {
            let place = feedback.run_id.and_then(|run| places.get(&run)).map(|(project, _)| *project);
            Ok((*feedback, place.or(feedback.session_id), json_text(feedback)?))
        })
        .collect::<Result<_>>()?;
    insert(connection, &UPSERT, &rows, |values, (feedback, project, body)| {
        values.push(tenant.0).push(feedback.id.0);
        values.push(feedback.run_id.map(|run| run.0)).push(project.map(|project| project.0));
        values.push(feedback.key.as_str()).push(source_type(feedback));
        values.push(feedback.created_at.0).push(body.as_str());
    })
    .await?;
    Ok(())
}

/// The `type` of a feedback's source.
fn source_type(feedback: &Feedback) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Source {
        r#type: Option<String>,
    }
    feedback.source.as_ref()?.read::<Source>().ok()?.r#type
}
