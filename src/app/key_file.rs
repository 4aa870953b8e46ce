//! The file with the sealing keys.
//!
//! Promises: it is replaced whole or not at all, so a crash during a rotation leaves the old file or the new one; it is
//! made readable by its owner alone. A missing or wrong file stops the start; there is no start without keys.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::crypto::{CryptoError, Keyring};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The data was sealed, and the file is not there.
    #[error("the key file {} is missing, and this data was sealed with its keys; restore it, or name it with --key-file", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot {what} the key file {}: {cause}", .file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// What it holds is not keys, or not the right ones.
    #[error("the key file {} cannot be used: {cause}", .file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: CryptoError,
    },
}

/// A key file.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The key file at this path, which need not exist.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Its text.
    pub fn text(&self) -> Result<Zeroizing<String>, KeyFileError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(KeyFileError::Missing(self.path.clone())),
            Err(cause) => Err(self.unusable("read", cause)),
        }
    }

    /// Its keys.
    pub fn read(&self) -> Result<Keyring, KeyFileError> {
        Keyring::parse(&self.text()?).map_err(|cause| self.wrong(cause))
    }

    /// Makes it with one key, given as its line. An existing file is an error.
    pub fn create(&self, line: &str) -> Result<Keyring, KeyFileError> {
        let text = Zeroizing::new(format!("{line}\n"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        private(&mut options);
        let write = |mut file: fs::File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        options.open(&self.path).and_then(write).map_err(|cause| self.unusable("make", cause))?;
        self.sync_dir()?;
        Keyring::parse(&text).map_err(|cause| self.wrong(cause))
    }

    /// Replaces its text, whole or not at all.
    pub fn replace(&self, text: &str) -> Result<(), KeyFileError> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = self.path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        private(&mut options);
        let write = |mut file: fs::File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        options
            .open(&fresh)
            .and_then(write)
            .and_then(|()| fs::rename(&fresh, &self.path))
            .map_err(|cause| self.unusable("replace", cause))?;
        self.sync_dir()
    }

    /// Whether others than its owner may read it. Unknown off Unix.
    #[must_use]
    pub fn is_private(&self) -> Option<bool> {
        mode(&self.path).map(|mode| mode.trailing_zeros() >= 6)
    }

    fn sync_dir(&self) -> Result<(), KeyFileError> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|cause| self.unusable("write", cause))
    }

    fn unusable(&self, what: &'static str, cause: io::Error) -> KeyFileError {
        KeyFileError::Unusable { file: self.path.clone(), what, cause }
    }

    /// That what it holds cannot be used.
    pub fn wrong(&self, cause: CryptoError) -> KeyFileError {
        KeyFileError::Wrong { file: self.path.clone(), cause }
    }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_options: &mut OpenOptions) {}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(fs::metadata(path).ok()?.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_path: &Path) -> Option<u32> {
    None
}
