//! Looking through all blobs for those that nothing names.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::blob::{self, BlobError, BlobStore, Listed};
use crate::model::id::{RunId, TenantId};
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;
use crate::store::{Store, StoreError};

/// Blobs that are asked about together. What their runs said is read for it.
pub(super) const AT_A_TIME: usize = 200;

/// Blobs deleted at a time.
const DELETIONS: usize = 8;

/// Why blobs were not looked through.
#[derive(Debug, thiserror::Error)]
pub(super) enum SweepError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Blob storage.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Those of a page that are old enough to be asked about.
pub(super) fn old(page: Vec<Listed>, before: Timestamp) -> Vec<BlobKey> {
    page.into_iter().filter(|listed| listed.stored_at < before).map(|listed| listed.key).collect()
}

/// Deletes those of these blobs that nothing names, and that were last put before an instant. How many.
pub(super) async fn delete_unnamed(
    store: &dyn Store,
    blobs: &dyn BlobStore,
    keys: Vec<BlobKey>,
    before: Timestamp,
) -> Result<u64, SweepError> {
    let mut owned: BTreeMap<TenantId, Vec<(RunId, BlobKey)>> = BTreeMap::new();
    for key in keys {
        // What is nobody's is left alone: it is not ours.
        if let Some((tenant, run)) = blob::owner_of(&key) {
            owned.entry(tenant).or_default().push((run, key));
        }
    }
    let mut deleted = 0_u64;
    for (tenant, owned) in owned {
        let unnamed = store.unnamed_blobs(tenant, &owned, before).await?;
        let delete = |key: BlobKey| async move { blobs.delete_older(&key, before).await };
        let deletions = unnamed.into_iter().map(delete);
        let done: Vec<bool> = stream::iter(deletions).buffer_unordered(DELETIONS).try_collect().await?;
        deleted = deleted.saturating_add(done.into_iter().filter(|done| *done).count() as u64);
    }
    Ok(deleted)
}
