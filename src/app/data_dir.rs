//! The data directory: `runhook.db`, `blobs/`, `keys`, and `lock`.
//!
//! One process owns it at a time. Ownership is the operating system's lock on the file `lock`, which ends with the
//! process however it ends; what the file says about its holder is only for the error that the next one gets. A database
//! file that was named apart has a lock beside it, and one that is another data directory's has that directory's lock: so
//! two processes never write one file, whichever way each was told of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process owns it.
    #[error("the {what} {} is in use by {holder}", .path.display())]
    InUse {
        /// What is in use.
        what: &'static str,
        /// Where that is.
        path: PathBuf,
        /// Who owns it.
        holder: Holder,
    },
    /// It cannot be made, read or written.
    #[error("cannot use the directory {}: {what}: {cause}", .dir.display())]
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
    database: PathBuf,
    locks: Vec<File>,
}

impl DataDir {
    /// Makes the directory if it is not there (readable by its owner alone), and takes it.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        Self::take_with(path, &database_in(path))
    }

    /// The same with a database file that may be elsewhere.
    pub fn take_with(path: &Path, database: &Path) -> Result<Self, DataDirError> {
        let failed = |what| move |cause| DataDirError::Unusable { dir: path.to_owned(), what, cause };
        make_private(path).map_err(failed("make it"))?;
        let lock = take_lock(path, &path.join("lock"), "data directory", path)?;
        let mut taken = Self { path: path.to_owned(), database: database.to_owned(), locks: vec![lock] };
        if let Some(beside) = lock_elsewhere(path, database) {
            let dir = beside.parent().unwrap_or(path);
            taken.locks.push(take_lock(dir, &beside, "database", database)?);
        }
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
        let holder = serde_json::to_string(&Holder { pid: Some(std::process::id()), url })?;
        for lock in &mut self.locks {
            lock.set_len(0)?;
            lock.seek(SeekFrom::Start(0))?;
            lock.write_all(holder.as_bytes())?;
        }
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
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
    dir.join(DATABASE)
}

const DATABASE: &str = "runhook.db";

/// The lock of a database file that is not the data directory's own.
fn lock_elsewhere(data_dir: &Path, database: &Path) -> Option<PathBuf> {
    let parent = database.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = database.file_name().unwrap_or_default();
    if name != DATABASE {
        let mut beside = name.to_owned();
        beside.push(".lock");
        return Some(parent.join(beside));
    }
    let is_own = matches!((parent.canonicalize(), data_dir.canonicalize()), (Ok(one), Ok(other)) if one == other);
    (!is_own).then(|| parent.join("lock"))
}

fn take_lock(dir: &Path, file: &Path, what: &'static str, shown: &Path) -> Result<File, DataDirError> {
    let failed = |what| move |cause| DataDirError::Unusable { dir: dir.to_owned(), what, cause };
    let lock = open_lock(file).map_err(failed("open its lock file"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            Err(DataDirError::InUse { what, path: shown.to_owned(), holder: read_holder(lock) })
        }
        Err(fs::TryLockError::Error(cause)) => Err(failed("lock it")(cause)),
    }
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

fn open_lock(file: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_lock_whichever_way_it_is_named() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = home.join("src/../src").join(DATABASE);
        assert_eq!(lock_elsewhere(&home.join("src"), &own), None);
        assert_eq!(lock_elsewhere(&home.join("tests"), &own), Some(home.join("src/../src/lock")));
        assert_eq!(lock_elsewhere(home, Path::new("runs.db")), Some("./runs.db.lock".into()));
    }
}
