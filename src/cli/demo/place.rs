//! A directory that is gone when the demo is.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::crypto;

/// A fresh directory for temporary files, removed when dropped.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    /// Makes one.
    pub(super) fn make() -> io::Result<Self> {
        let name = Uuid::from_bytes(crypto::random());
        let path = std::env::temp_dir().join(format!("runhook-demo-{name}"));
        std::fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(dir = %self.path.display(), error = %error, "the demo's directory was not removed");
        }
    }
}
