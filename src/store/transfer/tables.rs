//! The tables that are copied, and what the two schemas say of them.

use crate::store::StoreError;
use crate::store::transfer::{Result, TransferError};

/// Every table of the schema. A test compares this with the schema itself.
pub const TABLES: [&str; 36] = [
    "projects",
    "removed_projects",
    "run_bodies",
    "runs",
    "waiting_parts",
    "incomplete_runs",
    "feedback",
    "feedback_tokens",
    "changes",
    "rules",
    "rule_starts",
    "rule_spans",
    "group_cursors",
    "matches",
    "windows",
    "window_finds",
    "messages",
    "message_links",
    "endpoints",
    "deliveries",
    "attempts",
    "alerts",
    "collections",
    "examples",
    "example_links",
    "queued_runs",
    "event_types",
    "applications",
    "subscriptions",
    "subscribed_types",
    "events",
    "errands",
    "api_keys",
    "audit_log",
    "markers",
    "counters",
];

/// What a column holds. The schemas use no other types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Uuid,
    Bytes,
    Number,
    Flag,
    Text,
}

impl Kind {
    /// The kind of a type of PostgreSQL, by its internal name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "uuid" => Some(Self::Uuid),
            "bytea" => Some(Self::Bytes),
            "int8" => Some(Self::Number),
            "bool" => Some(Self::Flag),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// PostgreSQL numbers its rows.
    pub(super) is_counted: bool,
}

/// A table as both sides have it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: Vec<Column>,
    /// The columns of the file's primary key, by their places among all of them.
    pub(super) key: Vec<usize>,
}

impl Table {
    pub(super) fn new(name: &'static str, columns: Vec<Column>, key: &[String]) -> Result<Self> {
        let wrong = |reason: String| TransferError::Store(StoreError::Corrupt { table: name, reason });
        let place = |wanted: &String| columns.iter().position(|column| column.name == *wanted);
        let key: Option<Vec<usize>> = key.iter().map(place).collect();
        match key {
            Some(key) if !key.is_empty() => Ok(Self { name, columns, key }),
            _ => Err(wrong("the two schemas disagree on its key".to_owned())),
        }
    }

    /// The columns, for a statement.
    pub(super) fn list(&self) -> String {
        joined(self.columns.iter())
    }

    /// The columns of the key, for a statement.
    pub(super) fn key_list(&self) -> String {
        joined(self.key_columns())
    }

    /// The columns of the key.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|place| self.columns.get(*place))
    }

    /// Which rows of the target belong to the copy: its own marks do not.
    pub(super) fn condition(&self) -> &'static str {
        if self.name == "markers" { " WHERE name NOT LIKE 'transfer%'" } else { "" }
    }
}

fn joined<'c>(columns: impl Iterator<Item = &'c Column>) -> String {
    columns.map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ")
}
