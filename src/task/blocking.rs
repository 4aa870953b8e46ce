//! Work that would keep a thread of the runtime from everyone else.

/// The work panicked, or the process is stopping. What a panic said is not part of it: that may hold data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("work on another thread did not end")]
pub struct Unfinished;

/// Does work on a thread where it may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unfinished> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Unfinished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_noticed_and_its_words_are_not_repeated() {
        let lost = blocking(|| panic!("at {}", "hunter2")).await;
        assert_eq!(lost, Err::<(), _>(Unfinished));
        assert!(!format!("{lost:?}").contains("hunter2"));
    }
}
