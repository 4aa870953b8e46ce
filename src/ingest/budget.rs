//! How many bytes of request bodies are in memory at a time, over all requests.
//!
//! A request may be as large as its own limits allow, and as many are read at a time as there are places; the product is
//! more memory than a machine has. So they share one budget: a body takes its bytes from it before they are read or
//! decoded, and gives them back when nothing needs them any more. What does not fit is refused at once with the time to
//! come back, never made to wait: those that wait would hold what they have. Reading a body makes copies of its parts,
//! so the memory in use is a small multiple of the budget.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::ingest::error::IngestError;

/// What is counted: permits are numbered in 32 bits, bytes are not.
const UNIT: u64 = 1024;

/// The bytes all requests share. Clones are the same budget.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

/// What one body has taken. It is given back when the share is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Semaphore>,
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Budget {
    /// The budget of these limits; never less than two of the largest requests, or they would be turned away for ever.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let largest = limits.request_bytes.max(limits.decompressed_bytes);
        let bytes = limits.inflight_bytes.max(largest.saturating_mul(2));
        let units = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(units)))
    }

    /// A share that has taken nothing yet.
    pub(crate) fn share(&self) -> Arc<Share> {
        Arc::new(Share { budget: Arc::clone(&self.0), taken: Mutex::default() })
    }
}

impl Share {
    /// Takes what is missing to cover so many bytes.
    pub(crate) fn cover(&self, bytes: u64) -> Result<(), IngestError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let covered = taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
        let missing = bytes.div_ceil(UNIT).saturating_sub(covered);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| IngestError::Crowded)?;
        let more = Arc::clone(&self.budget).try_acquire_many_owned(missing).map_err(|_| IngestError::Crowded)?;
        match taken.as_mut() {
            Some(taken) => taken.merge(more),
            None => *taken = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(kib: u64) -> Budget {
        let limits =
            Limits { inflight_bytes: kib * 1024, request_bytes: 1, decompressed_bytes: 1, ..Limits::default() };
        Budget::new(&limits)
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = budget(10);
        let (one, other) = (budget.share(), budget.share());
        one.cover(4 * 1024).unwrap();
        one.cover(4 * 1024).unwrap();
        one.cover(6 * 1024 - 1).unwrap();
        other.cover(4 * 1024).unwrap();
        assert!(matches!(other.cover(4 * 1024 + 1), Err(IngestError::Crowded)));
        drop(one);
        other.cover(10 * 1024).unwrap();
    }

    #[test]
    fn two_of_the_largest_requests_always_fit() {
        let limits = Limits { inflight_bytes: 0, ..Limits::default() };
        let budget = Budget::new(&limits);
        let (one, other) = (budget.share(), budget.share());
        one.cover(limits.decompressed_bytes).unwrap();
        other.cover(limits.decompressed_bytes).unwrap();
        assert!(budget.share().cover(1).is_err());
    }
}
