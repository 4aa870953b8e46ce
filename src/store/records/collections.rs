//! What the rows stand for that actions leave behind: matches with what became of them, datasets, and queues.

use crate::model::collection::{Collection, Example};
use crate::model::id::{ProjectId, RunId};
use crate::model::time::Timestamp;
use crate::model::window::Progress;
use crate::store::Result;
use crate::store::body::unpack_json;
use crate::store::row::{Cells, Columns};
use crate::store::rule_log::LogEntry;

/// A match with its run and its window, as far as they are there.
pub(in crate::store) fn log_entry(row: &impl Columns) -> Result<LogEntry> {
    let mut cells = Cells::of("matches", row);
    let entry = LogEntry {
        run_id: RunId(cells.take()?),
        project_id: ProjectId(cells.take()?),
        applied_at: cells.instant()?,
        outcome: cells.raw_or_none()?,
        run_name: cells.take_or_none()?,
        run_type: cells.take_or_none()?,
        window: None,
        is_span: false,
    };
    let is_span = matches!(cells.json_or_none::<Progress>()?, Some(Progress::Span(_)));
    let window = cells.instant_or_none()?.zip(cells.instant_or_none()?);
    Ok(LogEntry { window, is_span, ..entry })
}

/// A dataset or a queue, with how much it holds.
pub(in crate::store) fn collection(row: &impl Columns) -> Result<(Collection, u64)> {
    let mut cells = Cells::of("collections", row);
    Ok((cells.json()?, cells.take::<i64>()?.cast_unsigned()))
}

pub(in crate::store) fn example(row: &impl Columns) -> Result<Example> {
    unpack_json("examples", Cells::of("examples", row).take()?)
}

pub(in crate::store) fn source_run(row: &impl Columns) -> Result<RunId> {
    Cells::of("examples", row).take().map(RunId)
}

pub(in crate::store) fn queued_run(row: &impl Columns) -> Result<(RunId, Timestamp)> {
    let mut cells = Cells::of("queued_runs", row);
    Ok((RunId(cells.take()?), cells.instant()?))
}
