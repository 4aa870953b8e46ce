//! Rows of attempts, and of what failed.

use serde::{Deserialize, Serialize};

use crate::model::delivery::{Attempt, AttemptResult, Sent};
use crate::model::id::EndpointId;
use crate::store::Result;
use crate::store::failed::FailedCount;
use crate::store::records::outbox::source;
use crate::store::row::{Cells, Columns, json_text};

/// What the text of an attempt holds: what came of it, with what was sent beside.
#[derive(Serialize, Deserialize)]
struct Told<R, S> {
    #[serde(flatten)]
    result: R,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    request: Option<S>,
}

pub(in crate::store) fn attempt(row: &impl Columns) -> Result<Attempt> {
    let mut cells = Cells::of("attempts", row);
    let (number, started_at) = (cells.count()?, cells.instant()?);
    let duration_ms = cells.take::<i64>()?.cast_unsigned();
    let Told { result, request } = cells.json::<Told<AttemptResult, Sent>>()?;
    Ok(Attempt { number, started_at, duration_ms, request, result })
}

/// The text of an attempt.
pub(in crate::store) fn attempt_text(attempt: &Attempt) -> Result<String> {
    json_text(&Told { result: &attempt.result, request: attempt.request.as_ref() })
}

/// What failed of a rule at an endpoint.
pub(in crate::store) fn failed_count(row: &impl Columns) -> Result<FailedCount> {
    let mut cells = Cells::of("deliveries", row);
    Ok(FailedCount {
        endpoint_id: EndpointId(cells.take()?),
        source: source(&mut cells)?,
        count: cells.take::<i64>()?.cast_unsigned(),
        last_at: cells.instant()?,
        last_reason: cells.take_or_none()?.unwrap_or_default(),
    })
}
