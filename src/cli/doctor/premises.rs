//! Checks of this machine: directory, disk, keys, database, blobs.

use std::path::Path;
use std::sync::Arc;

use super::{Check, endpoints, whole};
use crate::app::{DataDir, Engine, KeyFile, database_in};
use crate::config::Config;
use crate::model::time::SystemClock;
use crate::store::sqlite::inspect;

/// Below this much free space a check warns, or fails.
const LITTLE: u64 = 1 << 30;
const TOO_LITTLE: u64 = 64 << 20;

/// The data directory.
pub(super) fn data_dir(config: &Config) -> Check {
    let dir = &config.data_dir;
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(metadata) if !metadata.is_dir() => {
            Check::fail("data directory", format!("{shown} is not a directory"), "name another with --data-dir")
        }
        Ok(metadata) if metadata.permissions().readonly() => {
            Check::fail("data directory", format!("{shown} cannot be written"), "make it writable for this user")
        }
        Ok(metadata) if !is_private(&metadata) => {
            Check::warn("data directory", format!("{shown} can be read by other users"), format!("chmod 700 {shown}"))
        }
        Ok(_) => Check::ok("data directory", shown.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::ok("data directory", format!("{shown} is not there yet; the first start makes it"))
        }
        Err(error) => {
            Check::fail("data directory", format!("{shown}: {error}"), "let this user reach it, or name another")
        }
    }
}

#[cfg(unix)]
fn is_private(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode().trailing_zeros() >= 6
}

#[cfg(not(unix))]
fn is_private(_metadata: &std::fs::Metadata) -> bool {
    true
}

/// The disk under it, or under the nearest directory above that is there.
pub(super) fn disk(config: &Config) -> Check {
    let here = std::env::current_dir().unwrap_or_default().join(&config.data_dir);
    let there = here.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    match fs4::available_space(there) {
        Ok(free) => {
            let found = format!("{} MiB free", free >> 20);
            match free {
                0..TOO_LITTLE => Check::fail("disk", found, "free space: a full disk answers 503 to every run"),
                TOO_LITTLE..LITTLE => Check::warn("disk", found, "free space before it is full"),
                LITTLE.. => Check::ok("disk", found),
            }
        }
        Err(error) => Check::warn("disk", format!("free space is unknown: {error}"), "look yourself"),
    }
}

/// The key file, without the database it belongs to.
pub(super) fn keys_alone(config: &Config) -> Check {
    let file = KeyFile::at(config.key_file());
    if !file.exists() {
        let found = format!("{} is not there yet; the first start makes it", file.path().display());
        return Check::ok("keys", found);
    }
    keys(&file)
}

fn keys(file: &KeyFile) -> Check {
    let shown = file.path().display();
    match file.read() {
        Err(error) => Check::fail("keys", whole(error), "restore the key file; without it no secret can be read"),
        Ok(_) if file.is_private() == Some(false) => {
            Check::warn("keys", format!("{shown} can be read by other users"), format!("chmod 600 {shown}"))
        }
        Ok(ring) => Check::ok("keys", format!("{shown} holds {}", count(ring.ids().len(), "key"))),
    }
}

/// The database file: its schema and its pages.
pub(super) async fn database(config: &Config) -> Check {
    let file = database_in(&config.data_dir);
    if !file.exists() {
        return Check::ok("database", "not there yet; the first start makes it");
    }
    match inspect(&file).await {
        Err(error) => Check::fail("database", whole(error), "restore it from a backup, or name another data directory"),
        Ok(found) if !found.problems.is_empty() => Check::fail(
            "database",
            format!("{} is damaged: {}", file.display(), found.problems.join("; ")),
            "restore it from a backup",
        ),
        Ok(found) if !found.pending.is_empty() => Check::warn(
            "database",
            format!("{} to apply", count(found.pending.len(), "migration")),
            "the next start applies them; `runhook migrate` does it now",
        ),
        Ok(found) => {
            let version = found.applied.last().copied().unwrap_or(0);
            Check::ok("database", format!("sound, at schema version {version}"))
        }
    }
}

/// What only an open engine can tell: whether the keys are the right ones, blobs can be written, endpoints resolve.
pub(super) async fn engine(config: &Config) -> Vec<Check> {
    let file = KeyFile::at(config.key_file());
    let data_dir = match DataDir::take(&config.data_dir) {
        Ok(data_dir) => data_dir,
        Err(error) => return vec![Check::fail("lock", whole(error), "stop the other process, or ask it")],
    };
    let engine = match Engine::open(config, data_dir, None, Arc::new(SystemClock)).await {
        Ok(engine) => engine,
        Err(error) => return vec![Check::fail("start", whole(error), "put this right first")],
    };
    let mut checks = vec![keys(&file)];
    checks.push(match engine.check_store().await {
        Ok(()) => Check::ok("writing", "a write was made durable"),
        Err(error) => Check::fail("writing", whole(error), "look at the disk and its permissions"),
    });
    checks.push(match engine.check_blobs().await {
        Ok(()) => Check::ok("blobs", "can be written"),
        Err(error) => Check::fail("blobs", whole(error), "look at the directory's permissions or the bucket's"),
    });
    checks.push(endpoints::resolve(&engine).await);
    if let Err(error) = engine.close().await {
        checks.push(Check::fail("writing", whole(error), "look at the log"));
    }
    checks
}

/// `1 key`, `2 keys`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
