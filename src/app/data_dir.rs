//! The data directory: `runhook.db`, `blobs/`, `keys`, and `lock`.
//!
//! One process owns it at a time. Ownership is the operating system's lock on the file `lock`, which ends with the
//! process however it ends; what the file says about its holder is only for the error that the next one gets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process owns it.
    #[error("the data directory {} is in use by {holder}", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who owns it.
        holder: Holder,
    },
    /// It cannot be made, read or written.
    #[error("cannot use the data directory {}: {what}: {cause}", .dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
}

/// Who owns a data directory, as far as it said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// The process.
    pub pid: Option<u32>,
    /// Where it serves, once it does.
    pub url: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.url) {
            (Some(pid), Some(url)) => write!(f, "the server at {url} (process {pid})"),
            (Some(pid), None) => write!(f, "process {pid}"),
            (None, _) => f.write_str("another process"),
        }
    }
}

/// A data directory that this process owns until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there (readable by its owner alone), and takes it.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let failed = |what| move |cause| DataDirError::Unusable { dir: path.to_owned(), what, cause };
        make_private(path).map_err(failed("make it"))?;
        let lock = open_lock(path).map_err(failed("open its lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse { dir: path.to_owned(), holder: read_holder(lock) });
            }
            Err(fs::TryLockError::Error(cause)) => return Err(failed("lock it")(cause)),
        }
        let mut taken = Self { path: path.to_owned(), lock };
        taken.announce(None).map_err(failed("write its lock file"))?;
        Ok(taken)
    }

    /// Who owns a directory, if someone does. Takes nothing.
    pub fn holder(path: &Path) -> Option<Holder> {
        let lock = OpenOptions::new().read(true).write(true).open(path.join("lock")).ok()?;
        match lock.try_lock() {
            Ok(()) | Err(fs::TryLockError::Error(_)) => None,
            Err(fs::TryLockError::WouldBlock) => Some(read_holder(lock)),
        }
    }

    /// Says where this process serves.
    pub fn announce(&mut self, url: Option<String>) -> io::Result<()> {
        let holder = Holder { pid: Some(std::process::id()), url };
        self.lock.set_len(0)?;
        self.lock.seek(SeekFrom::Start(0))?;
        self.lock.write_all(serde_json::to_string(&holder)?.as_bytes())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        database_in(&self.path)
    }

    /// Where blobs live unless the configuration says another place.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }
}

/// The database file of a data directory.
#[must_use]
pub fn database_in(dir: &Path) -> PathBuf {
    dir.join("runhook.db")
}

fn read_holder(mut lock: File) -> Holder {
    let mut text = String::new();
    let read = lock.read_to_string(&mut text);
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => return Ok(()),
        Ok(_) => return Err(io::Error::new(io::ErrorKind::NotADirectory, "there is a file in its place")),
        Err(_) => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join("lock"))
}
