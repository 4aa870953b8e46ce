//! Which binaries may use a schema.
//!
//! A schema is at the version of its newest migration, and says the least version that a binary must know in order to use
//! it. A binary meets three kinds: a schema that is older or its own, which it brings up to date; a newer one whose least
//! version it knows, which it uses as it is, because what was added since is nothing to it; and a newer one that asks for
//! more, which it leaves alone, at its start and while it serves. Assumes that a migration which is not additive raises
//! the least version in its own transaction.

use sqlx::migrate::Migrator;

/// The versions of a schema, oldest first.
pub(super) const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";

/// The least version that a schema asks for. None before there was one to ask.
pub(super) const LEAST: &str = "SELECT value FROM counters WHERE name = 'least_version'";

/// What a schema says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Versions {
    /// Migrations that were applied, oldest first.
    pub(super) applied: Vec<i64>,
    /// The least version that a binary must know.
    pub(super) least: Option<i64>,
}

impl Versions {
    /// Why a binary with these migrations must leave the database alone, to be read after the database's name.
    pub(super) fn refusal(&self, known: &Migrator) -> Option<String> {
        let (newest, at) = (newest(known), self.applied.last().copied().unwrap_or_default());
        if let Some(least) = self.least.filter(|least| *least > newest) {
            return Some(format!(
                "was written by a newer version of runhook: its schema is {at} and is not for versions that know less than \
                 {least}; this one knows {newest}. Start the newer version, or restore the backup from before the upgrade"
            ));
        }
        let strange = self.applied.iter().find(|version| **version < newest && !known.version_exists(**version))?;
        Some(format!("has a schema {strange} that this version of runhook did not make: restore it from a backup"))
    }

    /// Migrations that a binary with these has still to apply.
    pub(super) fn pending(&self, known: &Migrator) -> Vec<i64> {
        known.iter().map(|migration| migration.version).filter(|version| !self.applied.contains(version)).collect()
    }
}

/// The newest version that a binary with these migrations knows.
pub(super) fn newest(known: &Migrator) -> i64 {
    known.iter().map(|migration| migration.version).max().unwrap_or_default()
}
