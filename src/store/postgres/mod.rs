//! The store of many replicas: PostgreSQL orders and leases, any replica may die at any time.
//!
//! What is answered is committed. Transactions are short, READ COMMITTED, and lock the rows they decide on: runs by
//! their ids, then projects by theirs, so numbers of changes are committed in their order and a reader that has seen one
//! has seen all before it. The rules' version is locked shared by commits of windows and alone by revisions. Everything a
//! transaction does can be done again after it failed, and [`runner`] does so.
//!
//! Nothing lives in a session: with PgBouncer in transaction mode each statement stands in a transaction of its own or of
//! its operation. Statements are constants, so that tests can prepare them all.

mod accept;
mod alerts;
mod audit;
mod catalog;
mod clock;
mod collections;
mod connections;
#[expect(clippy::duplicate_mod, reason = "it is this backend's here, and the other's there")]
#[path = "../either/mod.rs"]
mod either;
mod endpoints;
mod events;
mod failed;
mod feedback;
mod feedback_tokens;
mod groups;
mod health;
mod inspect;
mod keys;
mod names;
mod outbox;
#[cfg(test)]
mod plans;
mod pokes;
mod projects;
mod removal;
mod retention;
mod revision;
mod rule_log;
mod rules;
mod runner;
mod runs;
pub(in crate::store) mod schema;
mod search;
mod session;
mod standing;
mod threads;
mod windows;

use std::borrow::Cow;
use std::fs::File;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;
use uuid::Uuid;

use crate::model::delivery::Delivery;
use crate::model::id::TenantId;
use crate::model::message::Message;
use crate::store::{Result, StoreError};

pub use clock::SharedClock;
pub use inspect::{Inspection, inspect};
pub use pokes::Topic;

use outbox::fail_endpoints;

/// What statements are run on.
type Connection = session::Session;

/// The store of many replicas.
#[derive(Debug, Clone)]
pub struct PgStore {
    connections: Arc<connections::Connections>,
    patience: Duration,
    pokes: Arc<pokes::Pokes>,
    begin: Arc<runner::Beginnings>,
    groups: Arc<groups::Groups>,
    listens: bool,
}

/// How a store connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Connections of this process.
    pub connections: u32,
    /// How long an operation waits for one of them.
    pub acquire_timeout: Duration,
    /// How long a statement that reads may take, and one that writes may wait for a lock. Deleting projects, wiping and
    /// migrating take as long as they need.
    pub statement_timeout: Duration,
    /// How long an operation waits for the server before it counts as lost: longer than a statement may take.
    pub patience: Duration,
    /// How long a transaction may idle: a replica that stands still gives its locks back.
    pub idle_timeout: Duration,
    /// Groups of batches that are committed at a time; see `groups.rs`.
    pub groups_at_once: usize,
    /// Parts and feedback records that may wait or be written; beyond that batches are refused as busy.
    pub queued_items: u32,
    /// Bytes of batches, roughly, that may wait or be written; beyond that they are refused as busy.
    pub queued_bytes: u64,
    /// What the server calls these connections.
    pub application_name: String,
    /// The URL leads to PgBouncer in transaction mode: no prepared statements, no parameters of a session, and nobody
    /// to listen to.
    pub behind_pgbouncer: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            patience: Duration::from_secs(35),
            idle_timeout: Duration::from_secs(30),
            groups_at_once: 2,
            queued_items: 32 * 1024,
            queued_bytes: 128 * 1024 * 1024,
            application_name: "runhook".to_owned(),
            behind_pgbouncer: false,
        }
    }
}

/// Kinds of statement, with room.
const STATEMENTS: usize = 256;

impl PgStore {
    /// Connects and brings the schema up to date. Leases of other replicas stay as they are.
    pub async fn connect(url: &str, options: &Options) -> Result<Self> {
        let connect = connect_options(url, options)?;
        let store = Self {
            connections: connections::Connections::new(connect, options),
            patience: options.patience,
            pokes: Arc::default(),
            begin: Arc::new(runner::Beginnings::of(options)),
            groups: Arc::new(groups::Groups::of(options)),
            listens: !options.behind_pgbouncer,
        };
        store.migrate().await?;
        store.ensure_default(TenantId::DEFAULT).await?;
        Ok(store)
    }
}

/// Stores messages and their deliveries.
async fn store_told(
    connection: &mut Connection,
    tenant: TenantId,
    messages: &[Message],
    deliveries: &[Delivery],
) -> Result<()> {
    outbox::store_messages(&mut *connection, tenant, messages).await?;
    outbox::store_deliveries(connection, tenant, deliveries).await
}

/// The parameters of a URL that name files.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// Whoever connects only says that a file is missing, not which.
fn find_files(url: &str) -> Result<()> {
    let Ok(url) = Url::parse(url) else { return Ok(()) };
    for (name, file) in url.query_pairs().filter(|(name, _)| FILES.contains(&&**name)) {
        if !file.starts_with("-----BEGIN") {
            let missing =
                |error| StoreError::Unusable(format!("the file of `{name}`, {file}, cannot be read: {error}"));
            File::open(&*file).map_err(missing)?;
        }
    }
    Ok(())
}

/// The text of an invalid URL may hold a password, so it is not repeated.
pub(in crate::store) fn connect_options(url: &str, options: &Options) -> Result<PgConnectOptions> {
    let connect = PgConnectOptions::from_str(url).map_err(|_| {
        StoreError::Unusable(
            "the database URL cannot be read: write postgres://user:password@host:5432/name".to_owned(),
        )
    })?;
    find_files(url)?;
    let connect = connect.application_name(&options.application_name).disable_statement_logging();
    if options.behind_pgbouncer {
        return Ok(connect.statement_cache_capacity(0).extra_float_digits(None));
    }
    let millis = |duration: Duration| duration.as_millis().to_string();
    Ok(connect.statement_cache_capacity(STATEMENTS).options([
        ("statement_timeout", millis(options.statement_timeout)),
        ("lock_timeout", millis(options.statement_timeout)),
        ("idle_in_transaction_session_timeout", millis(options.idle_timeout)),
    ]))
}

/// A word for a text column, which cannot hold the character with the number 0.
pub(in crate::store) fn text(word: &str) -> Cow<'_, str> {
    if word.contains('\0') { Cow::Owned(word.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(word) }
}

/// Ids as an array.
fn ids<T: Copy>(ids: &[T], id: impl Fn(T) -> Uuid) -> Vec<Uuid> {
    ids.iter().map(|one| id(*one)).collect()
}
