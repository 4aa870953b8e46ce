//! Failures of the one writer, as its callers see them.

use crate::store::StoreError;

/// The writer is not there to answer.
pub(super) fn no_writer() -> StoreError {
    StoreError::Internal("the writer has stopped".into())
}
