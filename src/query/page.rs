//! A page of runs.

use crate::model::id::TenantId;
use crate::model::run::StoredRun;
use crate::query::{Finder, Position, Question};
use crate::store::{Result, Store};

/// The fewest candidates that are looked at together when not all of them pass, and the most.
const BATCH: (u32, u32) = (128, 1024);

/// Candidates after which a page that has something is given as it is.
const PATIENCE: u32 = 5000;

/// A page of runs.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The runs, in the order asked for.
    pub runs: Vec<StoredRun>,
    /// Where the next page begins, unless this is the last one.
    pub next: Option<Position>,
}

/// The page behind a position, with so many runs at most.
pub async fn page(
    store: &dyn Store,
    tenant: TenantId,
    question: &Question,
    after: Option<Position>,
    limit: u32,
) -> Result<Page> {
    let mut finder = Finder::new(store, tenant, question, after);
    let room = limit as usize;
    let mut batch = if finder.is_certain() { limit.saturating_add(1) } else { limit.saturating_mul(2).max(BATCH.0) };
    let (mut runs, mut looked_at) = (Vec::new(), 0_u32);
    loop {
        let found = finder.next(batch).await?;
        looked_at = looked_at.saturating_add(batch);
        runs.extend(found);
        if runs.len() > room {
            runs.truncate(room);
            return Ok(Page { next: runs.last().map(place), runs });
        }
        if finder.has_ended() {
            return Ok(Page { runs, next: None });
        }
        if runs.len() == room || (looked_at >= PATIENCE && !runs.is_empty()) {
            return Ok(Page { runs, next: finder.position() });
        }
        batch = batch.saturating_mul(2).clamp(BATCH.0, BATCH.1.max(limit));
    }
}

fn place(stored: &StoredRun) -> Position {
    Position { start_time: stored.run.start_time, run_id: stored.run.id }
}
