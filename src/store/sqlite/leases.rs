//! Which scheduler holds which project. One process has the file, so its memory is the place for what is void without
//! it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::model::time::Timestamp;
use crate::store::outbox::Claimant;
use crate::store::windows::ProjectKey;

/// The leases; clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases(Arc<Mutex<HashMap<ProjectKey, (Uuid, Timestamp)>>>);

impl Leases {
    fn held(&self) -> MutexGuard<'_, HashMap<ProjectKey, (Uuid, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes those of these projects that are to be had.
    pub(super) fn take(&self, claimant: Claimant, projects: &[ProjectKey], limit: usize) -> Vec<ProjectKey> {
        let Claimant { holder, now, until } = claimant;
        let mut held = self.held();
        held.retain(|_, (_, until)| *until > now);
        let free = |key: &&ProjectKey| held.get(*key).is_none_or(|(other, _)| *other == holder);
        let taken: Vec<ProjectKey> = projects.iter().filter(free).take(limit).copied().collect();
        held.extend(taken.iter().map(|key| (*key, (holder, until))));
        taken
    }

    /// Gives back those that are the holder's.
    pub(super) fn give_back(&self, holder: Uuid, projects: &[ProjectKey]) {
        let mut held = self.held();
        for key in projects {
            if held.get(key).is_some_and(|(other, _)| *other == holder) {
                held.remove(key);
            }
        }
    }
}
