//! Requests that are read and not stored: the part of the way in that needs no database.

use std::sync::Arc;

use crate::config::Limits;
use crate::ingest::body::Incoming;
use crate::ingest::budget::Budget;
use crate::ingest::error::IngestError;
use crate::ingest::intake::{Gathered, finished};
use crate::ingest::{batch, multipart};
use crate::model::time::Timestamp;

/// What a request would have brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rehearsed {
    /// Parts of runs.
    pub parts: usize,
    /// Feedback records.
    pub feedback: usize,
    /// What would have been refused.
    pub refused: usize,
}

impl Rehearsed {
    fn of(gathered: Gathered) -> Self {
        let parts = gathered.parts.into_iter().map(finished).count();
        Self { parts, feedback: gathered.feedback.len(), refused: gathered.refused.len() }
    }
}

/// Reads `{"post": [...], "patch": [...]}`.
pub async fn batch(incoming: Incoming, limits: &Limits) -> Result<Rehearsed, IngestError> {
    let json = incoming.collect(limits, &Budget::new(limits)).await?;
    batch::read(&json, limits).map(Rehearsed::of)
}

/// Reads a multipart request that arrives at this instant.
pub async fn multipart(incoming: Incoming, limits: &Limits, now: Timestamp) -> Result<Rehearsed, IngestError> {
    let boundary = multipart::boundary(incoming.content_type.as_deref())?;
    let budget = Budget::new(limits);
    let share = budget.share();
    let body = incoming.decoded(limits, Arc::clone(&share))?;
    multipart::read(body, boundary, limits, now).await.map(Rehearsed::of)
}
