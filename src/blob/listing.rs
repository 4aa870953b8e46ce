//! Going through all blobs, page by page, in no order: what is put or deleted meanwhile may be listed or not.

use std::fs::{self, ReadDir};
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::blob::{BlobError, directory, key};
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;

/// A blob as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: BlobKey,
    /// When it was last put, by the storage's clock.
    pub stored_at: Timestamp,
}

/// The blobs of a storage, page by page.
#[async_trait]
pub trait BlobPages: Send + Sync {
    /// The next page; none when there is no more. A page may be empty.
    async fn next(&mut self) -> Result<Option<Vec<Listed>>, BlobError>;
}

/// Blobs in a page, at most.
pub(super) const PAGE: usize = 1000;

/// The files of a directory. What is hidden, or has a name that no key has, is no blob.
pub(super) struct Walk {
    root: PathBuf,
    /// Folders that have been begun, the innermost last; none before the first page.
    begun: Option<Vec<ReadDir>>,
}

impl Walk {
    pub(super) fn of(root: PathBuf) -> Self {
        Self { root, begun: None }
    }
}

#[async_trait]
impl BlobPages for Walk {
    async fn next(&mut self) -> Result<Option<Vec<Listed>>, BlobError> {
        let (root, begun) = (self.root.clone(), self.begun.take());
        let (begun, page) = directory::blocking(move || {
            let mut folders = match begun {
                Some(folders) => folders,
                None => directory::present(fs::read_dir(&root))?.into_iter().collect(),
            };
            let page = read_page(&root, &mut folders)?;
            Ok((folders, page))
        })
        .await?;
        let is_end = begun.is_empty() && page.is_empty();
        self.begun = Some(begun);
        Ok((!is_end).then_some(page))
    }
}

fn read_page(root: &std::path::Path, folders: &mut Vec<ReadDir>) -> io::Result<Vec<Listed>> {
    let mut page = Vec::new();
    while page.len() < PAGE {
        let Some(folder) = folders.last_mut() else { return Ok(page) };
        let Some(entry) = folder.next() else {
            folders.pop();
            continue;
        };
        // What was removed meanwhile is not there.
        let Some(entry) = directory::present(entry)? else { continue };
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let Some(about) = directory::present(entry.metadata())? else { continue };
        if about.is_dir() {
            folders.extend(directory::present(fs::read_dir(entry.path()))?);
        } else if let Some(key) = key_of(root, &entry) {
            page.push(Listed { key, stored_at: Timestamp::from_chrono(about.modified()?.into()) });
        }
    }
    Ok(page)
}

fn key_of(root: &std::path::Path, entry: &fs::DirEntry) -> Option<BlobKey> {
    let path = entry.path();
    let names = path.strip_prefix(root).ok()?.iter().map(|name| name.to_str()).collect::<Option<Vec<_>>>()?;
    Some(BlobKey(names.join("/"))).filter(key::is_valid)
}
