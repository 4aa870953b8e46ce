//! Failures of the one writer, as its callers see them.

use crate::store::StoreError;

/// The same failure for one more caller of a group that failed together.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        StoreError::Busy { retry_after } => StoreError::Busy { retry_after: *retry_after },
        other => StoreError::Internal(with_sources(other).into()),
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// The writer is not there to answer.
pub(super) fn no_writer() -> StoreError {
    StoreError::Internal("the writer has stopped".into())
}
