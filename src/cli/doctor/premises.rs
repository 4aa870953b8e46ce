//! Checks of this machine: directory, disk, keys, database, blobs.

use std::path::Path;
use std::sync::Arc;

use super::{Check, endpoints, whole};
use crate::app::storage::{self, Inspection, Storage};
use crate::app::{self, Engine, KeyFile};
use crate::config::{Config, DatabaseUrl};
use crate::model::time::SystemClock;

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

/// The key file that replicas are given.
pub(super) fn keys_given(config: &Config) -> Check {
    let file = KeyFile::at(config.key_file());
    if config.key_file.is_some() && file.exists() {
        return keys(&file);
    }
    let advice = "make one with `runhook keys generate --file FILE`, and give it to every replica with --key-file";
    Check::fail("keys", "replicas that share a database must be given a key file", advice)
}

/// The database file: its schema and its pages.
pub(super) async fn database_file(file: &Path) -> Check {
    if !file.exists() {
        return Check::ok("database", "not there yet; the first start makes it");
    }
    match storage::inspect_file(file).await {
        Err(error) => Check::fail("database", whole(error), "restore it from a backup, or name another data directory"),
        Ok(found) if !found.problems.is_empty() => Check::fail(
            "database",
            format!("{} cannot be used: {}", file.display(), found.problems.join("; ")),
            "restore it from a backup",
        ),
        Ok(found) => schema(&found),
    }
}

/// The database server: whether it is reached, and its schema. Whether that is up to date.
pub(super) async fn database_server(config: &Config) -> (Check, bool) {
    let Some(DatabaseUrl::Postgres(url)) = &config.database_url else {
        return (Check::fail("database", "no server is named", "name one with --database-url"), false);
    };
    match storage::inspect_server(url).await {
        Err(error) => {
            let advice = "look at the server, its pg_hba.conf, and the user and password of --database-url";
            (Check::fail("database", format!("{url}: {}", whole(error)), advice), false)
        }
        Ok(found) if !found.problems.is_empty() => {
            (Check::fail("database", format!("{url}: {}", found.problems.join("; ")), "see docs/operations.md"), false)
        }
        Ok(found) => (schema(&found), found.pending.is_empty()),
    }
}

fn schema(found: &Inspection) -> Check {
    if found.pending.is_empty() {
        let version = found.applied.last().copied().unwrap_or(0);
        return Check::ok("database", format!("sound, at schema version {version}"));
    }
    let advice = "the next start applies them; `runhook migrate` does it now";
    Check::warn("database", format!("{} to apply", count(found.pending.len(), "migration")), advice)
}

/// The bucket, when nothing else of an engine can be opened; nothing where blobs are not in one.
pub(super) async fn bucket(config: &Config) -> Option<Check> {
    Some(match app::check_bucket(config).await? {
        Ok(()) => Check::ok("blobs", "can be written"),
        Err(error) => blobs_failed(whole(error)),
    })
}

fn blobs_failed(found: String) -> Check {
    Check::fail("blobs", found, "look at the directory's permissions, or at the bucket: docs/operations.md, \"S3\"")
}

/// What only an open engine can tell: whether the keys are the right ones, blobs can be written, endpoints resolve.
pub(super) async fn engine(config: &Config) -> Vec<Check> {
    let file = KeyFile::at(config.key_file());
    let place = match Storage::take(config) {
        Ok(place) => place,
        Err(error) => return vec![Check::fail("lock", whole(error), "stop the other process, or ask it")],
    };
    let engine = match Engine::open(config, place, None, Arc::new(SystemClock)).await {
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
        Err(error) => blobs_failed(whole(error)),
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
