//! Which projects are this scheduler's for the moment.
//!
//! Schedulers on one store share projects by short leases: who takes one evaluates it, the others leave it alone until
//! it is given back or its lease runs out. That only spares work. Two may hold a project at once (a clock is wrong, a
//! scheduler stood still), or none when one should: what counts is which window is committed first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::model::time::Clock;
use crate::store::outbox::Claimant;
use crate::store::windows::ProjectKey;
use crate::store::{Store, StoreError};

/// How long a lease lasts: what the projects of a scheduler that died wait for another.
const LASTS: Duration = Duration::from_secs(5);

/// How often leases are renewed while their projects are being evaluated.
pub(super) const RENEWED: Duration = Duration::from_millis(1_500);

/// The projects that are held.
pub(super) struct Shares {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    holder: Uuid,
    held: HashSet<ProjectKey>,
}

impl Shares {
    /// Nothing yet, for this holder.
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, holder: Uuid) -> Self {
        Self { store, clock, holder, held: HashSet::new() }
    }

    fn claimant(&self) -> Claimant {
        let now = self.clock.now();
        Claimant { holder: self.holder, now, until: now.after(LASTS) }
    }

    /// Takes up to so many of these projects.
    pub(super) async fn take(
        &mut self,
        wanted: &[ProjectKey],
        limit: usize,
    ) -> Result<HashSet<ProjectKey>, StoreError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let taken = self.store.lease_projects(self.claimant(), wanted, limit).await?;
        self.held.extend(&taken);
        Ok(taken.into_iter().collect())
    }

    /// Holds what is held for longer.
    pub(super) async fn renew(&mut self) {
        let held: Vec<ProjectKey> = self.held.iter().copied().collect();
        if let Err(error) = self.store.lease_projects(self.claimant(), &held, u32::MAX).await {
            tracing::debug!(%error, "leases were not renewed");
        }
    }

    /// Gives back what is not at work any more.
    pub(super) async fn give_back(&mut self, at_work: impl Fn(&ProjectKey) -> bool) {
        let done: Vec<ProjectKey> = self.held.iter().filter(|key| !at_work(key)).copied().collect();
        if done.is_empty() {
            return;
        }
        if let Err(error) = self.store.release_projects(self.holder, &done).await {
            tracing::debug!(%error, "leases were not given back; they will run out");
        }
        self.held.retain(at_work);
    }
}
