//! The audit log.
//!
//! An entry is written by the operation that does what it tells (`told`), in the same transaction and only if something
//! was done: neither is ever there without the other. What happens outside of the database is noted before it does. A wipe
//! leaves the log.

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::audit::{Action, Actor, Entry, Object};
use crate::model::id::{ApiKeyId, AuditId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::retention::Dropped;
use crate::store::row::{Cells, Columns, corrupt};

/// Which entries are asked for, newest first. All of it must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Made at or after.
    pub since: Option<Timestamp>,
    /// Made before.
    pub until: Option<Timestamp>,
    /// By an actor of this kind, or who presented a key of this name or id.
    pub actor: Option<String>,
    /// One of these; any when empty.
    pub actions: Vec<Action>,
    /// About what has this key or id.
    pub object: Option<String>,
    /// Only those behind this place.
    pub before: Option<(Timestamp, AuditId)>,
    /// How many.
    pub limit: u32,
}

/// The audit log.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Notes what is about to be done outside of the database. An entry that is there stays as it is.
    async fn note(&self, entry: Entry) -> Result<()>;

    /// A page of entries.
    async fn audit_log(&self, tenant: TenantId, query: &AuditQuery) -> Result<Vec<Entry>>;

    /// Drops up to `limit` entries made before an instant.
    async fn drop_audit(&self, before: Timestamp, limit: u32) -> Result<Dropped>;
}

const TABLE: &str = "audit_log";

/// What a row stands for. Actions of a newer version are not known here.
pub(super) fn entry(row: &impl Columns) -> Result<Entry> {
    let mut cells = Cells::of(TABLE, row);
    let (tenant_id, id, at) = (TenantId(cells.take()?), AuditId(cells.take()?), cells.instant()?);
    let kind: String = cells.take()?;
    let key = cells.take_or_none()?.map(ApiKeyId);
    let name: Option<String> = cells.take_or_none()?;
    let actor = Actor::of(&kind, key.zip(name)).ok_or_else(|| corrupt(TABLE, &"its actor is unknown"))?;
    let address = cells.take_or_none::<String>()?.and_then(|address| address.parse().ok());
    let word: &str = cells.take()?;
    let action = Action::ALL.iter().copied().find(|action| action.word() == word);
    let action = action.ok_or_else(|| corrupt(TABLE, &"its action is unknown"))?;
    let object = Object { key: cells.take()?, id: cells.take_or_none()? };
    let (request_id, detail) = (cells.take_or_none()?, cells.json_or_none()?);
    Ok(Entry { tenant_id, id, at, actor, address, request_id, action, object, detail })
}

/// The id that a word is, where it is one.
pub(super) fn as_id(word: &str) -> Option<Uuid> {
    Uuid::try_parse(word).ok()
}

/// The detail as it is stored.
pub(super) fn detail(entry: &Entry) -> Option<String> {
    entry.detail.as_ref().map(ToString::to_string)
}
