//! The embedded store: one SQLite file, one writer with group commit, a pool of readers.

use std::path::Path;

use crate::store::Result;

/// The embedded store.
#[derive(Debug, Clone)]
pub struct SqliteStore {}

impl SqliteStore {
    /// Opens (or creates) the database file and brings its schema up to date.
    pub async fn open(_file: &Path) -> Result<Self> {
        unimplemented!()
    }
}
