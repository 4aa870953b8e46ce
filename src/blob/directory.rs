//! Blobs as files of a directory, served by this server through signed, expiring links.
//!
//! Promises: a file is there whole or not at all (it is written aside, synced, renamed, and the directories above it are
//! synced); a key never leads outside of the root; a link opens the one blob it was signed for, until the second it
//! names. Assumes one server for each root, and that receivers reach it under the base URL.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

use crate::blob::listing::Walk;
use crate::blob::{BlobError, BlobPages, BlobStore, key};
use crate::crypto::{Keyring, hex, random};
use crate::model::run::BlobKey;
use crate::model::time::{Clock as _, SystemClock, Timestamp};

const PURPOSE: &str = "blob link";
const ASIDE: &str = ".aside";
const JSON: &str = "application/json";
const UNKNOWN: &str = "application/octet-stream";

/// A directory of blobs.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    base_url: Url,
    keyring: Arc<Keyring>,
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    /// It was not made here, or was changed.
    #[error("the link's signature is wrong")]
    Forged,
    /// It was good once.
    #[error("the link has expired")]
    Expired,
}

/// A blob in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its media type.
    pub mime_type: String,
}

/// A blob that is being served. It is read as it is sent, however large it is.
#[derive(Debug)]
pub struct Opened {
    /// Its bytes.
    pub file: tokio::fs::File,
    /// How many they are.
    pub length: u64,
    /// Its media type.
    pub mime_type: String,
}

impl Directory {
    /// Blobs under `root`, with links to `{base_url}/blobs/…` signed by the keyring.
    #[must_use]
    pub fn new(root: PathBuf, base_url: Url, keyring: Arc<Keyring>) -> Self {
        Self { root, base_url, keyring }
    }

    /// Makes the root, and removes what a killed process left half-written. To be called before anything is stored.
    pub async fn prepare(&self) -> Result<(), BlobError> {
        let root = self.root.clone();
        blocking(move || {
            let aside = root.join(ASIDE);
            match fs::remove_dir_all(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::create_dir_all(&aside)?;
            sync_up(&aside, &root)?;
            let above = fs::canonicalize(&root)?;
            fs::File::open(above.parent().unwrap_or(&above))?.sync_all()
        })
        .await
    }

    /// Whether a link's parts were signed here and still hold: `expires` in seconds since the epoch, `sig` as in the link.
    pub fn verify(&self, key: &BlobKey, expires: i64, sig: &str, now: Timestamp) -> Result<(), BadLink> {
        if !self.keyring.verify_tag(PURPOSE, &signed_text(key, expires), sig) {
            return Err(BadLink::Forged);
        }
        if now.0 >= expires.saturating_mul(1_000_000) {
            return Err(BadLink::Expired);
        }
        Ok(())
    }

    /// A blob with its media type.
    pub async fn download(&self, key: &BlobKey) -> Result<Option<Download>, BlobError> {
        let path = self.path(key)?;
        blocking(move || {
            let Some(bytes) = present(fs::read(&path))? else { return Ok(None) };
            Ok(Some(Download { bytes: bytes.into(), mime_type: mime_type(&path)? }))
        })
        .await
    }

    /// Opens a blob.
    pub async fn open(&self, key: &BlobKey) -> Result<Option<Opened>, BlobError> {
        let path = self.path(key)?;
        blocking(move || {
            let Some(file) = present(fs::File::open(&path))? else { return Ok(None) };
            let about = file.metadata()?;
            // A key can be the folder of other keys.
            if !about.is_file() {
                return Ok(None);
            }
            Ok(Some(Opened { file: file.into(), length: about.len(), mime_type: mime_type(&path)? }))
        })
        .await
    }

    fn path(&self, key: &BlobKey) -> Result<PathBuf, BlobError> {
        if key::is_valid(key) {
            Ok(self.root.join(&key.0))
        } else {
            Err(BlobError::Refused("the key is not one".into()))
        }
    }
}

/// The media type of the blob that is in this file.
fn mime_type(path: &Path) -> io::Result<String> {
    Ok(present(fs::read_to_string(beside(path)))?.unwrap_or_else(|| JSON.to_owned()))
}

#[async_trait]
impl BlobStore for Directory {
    async fn put(&self, key: &BlobKey, bytes: Bytes, mime_type: &str) -> Result<(), BlobError> {
        let path = self.path(key)?;
        let root = self.root.clone();
        let mime_type = if is_media_type(mime_type) { mime_type.to_owned() } else { UNKNOWN.to_owned() };
        blocking(move || {
            let put = || {
                let parent = path.parent().unwrap_or(&root);
                fs::create_dir_all(parent)?;
                // The type comes first: a blob that is there has its type.
                if mime_type != JSON {
                    write_once(&root, &beside(&path), mime_type.as_bytes())?;
                }
                write_once(&root, &path, &bytes)?;
                sync_up(parent, &root)
            };
            // A folder may be removed with its last blob before this one is in it.
            match put() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => put(),
                done => done,
            }
        })
        .await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Bytes>, BlobError> {
        let path = self.path(key)?;
        blocking(move || Ok(present(fs::read(path))?.map(Bytes::from))).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let path = self.path(key)?;
        let root = self.root.clone();
        blocking(move || remove(&root, &path)).await
    }

    async fn delete_older(&self, key: &BlobKey, than: Timestamp) -> Result<bool, BlobError> {
        let path = self.path(key)?;
        let root = self.root.clone();
        blocking(move || {
            let Some(about) = present(fs::metadata(&path))? else { return Ok(false) };
            let is_older = Timestamp::from_chrono(about.modified()?.into()) < than;
            if is_older {
                remove(&root, &path)?;
            }
            Ok(is_older)
        })
        .await
    }

    fn pages(&self) -> Box<dyn BlobPages> {
        Box::new(Walk::of(self.root.clone()))
    }

    async fn link(&self, key: &BlobKey, now: Timestamp, lasts: Duration) -> Result<Url, BlobError> {
        let path = self.path(key)?;
        if blocking(move || present(fs::metadata(path))).await?.is_none() {
            return Err(BlobError::Refused("the blob is gone".into()));
        }
        let expires = now.after(lasts).0.div_euclid(1_000_000);
        let mut url = self.base_url.clone();
        url.path_segments_mut()
            .map_err(|()| BlobError::Refused("the base URL cannot carry a path".into()))?
            .pop_if_empty()
            .push("blobs")
            .extend(key.0.split('/'));
        let sig = self.keyring.tag(PURPOSE, &signed_text(key, expires));
        url.query_pairs_mut().clear().append_pair("expires", &expires.to_string()).append_pair("sig", &sig);
        Ok(url)
    }

    async fn check(&self) -> Result<(), BlobError> {
        let root = self.root.clone();
        blocking(move || fs::remove_file(write_aside(&root, b"check")?)).await
    }

    fn as_directory(&self) -> Option<&Directory> {
        Some(self)
    }
}

fn signed_text(key: &BlobKey, expires: i64) -> String {
    format!("{}\n{expires}", key.0)
}

/// Whether a text is safe as the value of a header.
fn is_media_type(text: &str) -> bool {
    text.len() <= 255 && text.contains('/') && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Where the media type of a blob that is not JSON is kept: a name no key can have.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.type"))
}

/// Writes a file that is whole or not there. One that is there already has the same content, as its name says, and is as
/// good as new.
fn write_once(root: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|there| there.len() == bytes.len() as u64) {
        return renew(path);
    }
    let aside = write_aside(root, bytes)?;
    fs::rename(&aside, path).inspect_err(|_| drop(fs::remove_file(&aside)))
}

/// Makes a file count as written now, by the machine's clock, as a new one does.
fn renew(path: &Path) -> io::Result<()> {
    fs::File::options().append(true).open(path)?.set_modified(SystemClock.now().to_chrono().into())
}

fn remove(root: &Path, path: &Path) -> io::Result<()> {
    present(fs::remove_file(path))?;
    present(fs::remove_file(beside(path)))?;
    remove_empty(path.parent(), root);
    Ok(())
}

fn write_aside(root: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = root.join(ASIDE);
    fs::create_dir_all(&folder)?;
    let path = folder.join(hex(&random::<16>()));
    let write = || {
        let mut file = fs::File::create_new(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    // A full disk must not also keep the half that fitted.
    write().inspect_err(|_| drop(fs::remove_file(&path)))?;
    Ok(path)
}

/// Makes names durable: those in this folder, and the folder itself, up to the root. Also when nothing was written: who
/// did write it may not have got here yet.
fn sync_up(folder: &Path, root: &Path) -> io::Result<()> {
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Removes the folders of a run and of a tenant that hold nothing any more.
fn remove_empty(folder: Option<&Path>, root: &Path) {
    let Some(folder) = folder else { return };
    for folder in folder.ancestors().take_while(|folder| *folder != root && folder.starts_with(root)) {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

pub(super) fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| reason(&error)),
        Err(_) => Err(BlobError::Unavailable("the process is stopping".into())),
    }
}

/// Whatever a file system says can be put right by its operator, so everything may be tried again.
fn reason(error: &io::Error) -> BlobError {
    BlobError::Unavailable(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".into(),
        io::ErrorKind::PermissionDenied => "the directory may not be written".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the directory is mounted read-only".into(),
        kind => kind.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_unavailable_and_says_so() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let error = reason(&kind.into());
            assert!(matches!(&error, BlobError::Unavailable(why) if why == "the disk is full"), "{error}");
        }
    }

    #[test]
    fn only_what_may_stand_in_a_header_is_a_media_type() {
        assert!(is_media_type("text/plain; charset=utf-8"));
        for text in ["", "png", "a/b\r\nSet-Cookie: x", "a/b\0", "é/é"] {
            assert!(!is_media_type(text), "{text}");
        }
    }
}
