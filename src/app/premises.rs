//! What the process owns beside its store, for the API: the key file and the directory of blobs.

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::api::native::premises::{FolderState, Premises, PremisesError};
use crate::app::KeyFile;
use crate::model::time::Timestamp;

/// This process's premises.
#[derive(Debug)]
pub(super) struct House {
    /// The key file.
    pub(super) key_file: KeyFile,
    /// Where blobs live, when that is a directory.
    pub(super) blob_directory: Option<PathBuf>,
    /// The data directory, where there is one.
    pub(super) data_dir: Option<PathBuf>,
    /// What may be shown of where the database is.
    pub(super) database: String,
    /// What this process does.
    pub(super) roles: String,
    /// When the process started.
    pub(super) started_at: Timestamp,
    /// What the folder of rules tells of itself.
    pub(super) rules_folder: watch::Receiver<Option<FolderState>>,
}

impl Premises for House {
    fn key_text(&self) -> Result<Zeroizing<String>, PremisesError> {
        self.key_file.text().map_err(|error| PremisesError(error.to_string()))
    }

    fn replace_keys(&self, text: &str) -> Result<(), PremisesError> {
        self.key_file.replace(text).map_err(|error| PremisesError(error.to_string()))
    }

    fn clear_blobs(&self) -> Result<bool, PremisesError> {
        let Some(dir) = &self.blob_directory else { return Ok(false) };
        empty(dir).map(|()| true).map_err(|error| PremisesError(format!("the directory of blobs: {error}")))
    }

    fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    fn database(&self) -> &str {
        &self.database
    }

    fn roles(&self) -> &str {
        &self.roles
    }

    fn started_at(&self) -> Timestamp {
        self.started_at
    }

    fn rules_folder(&self) -> Option<FolderState> {
        self.rules_folder.borrow().clone()
    }
}

fn empty(dir: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let removed = if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
        // Another writer may have removed it first.
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}
