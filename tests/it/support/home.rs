//! Where an engine of a test lives: a directory, and the database of the backend that is tested.
//!
//! `TEST_STORE` says which backend that is, `sqlite` or `postgres`; a test does not know. On PostgreSQL a home is given
//! what replicas must be given (a database, a key file, a place for blobs), the latter two where an embedded server makes
//! them for itself. What only a file has is tested in `embedded/`, in homes that say so.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use runhook::config::Config;
use runhook::crypto::{Keyring, random};
use runhook::store::Store;
use runhook::store::postgres::{self, PgStore};
use runhook::store::sqlite::{self, SqliteStore};
use runhook::task::Supervisor;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::support::postgres::{Database, block_on, told};
use crate::support::server::runhook;

/// A place for one engine, or for several that share a database. What is in it goes with it.
pub struct Home {
    folder: TempDir,
    database: Option<Database>,
}

/// Bounds of a store that tests narrow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Room {
    /// Parts and feedback records that may wait to be written.
    pub(crate) queued_items: Option<u32>,
    /// Pages that a file may grow to; a server's disk is its own matter.
    pub(crate) max_pages: Option<u32>,
}

/// Whether the backend that is tested is a server's, not a file.
pub(crate) fn is_on_a_server() -> bool {
    match told("TEST_STORE").as_deref() {
        None | Some("sqlite") => false,
        Some("postgres") => true,
        Some(other) => panic!("TEST_STORE is `{other}`: it is `sqlite` or `postgres`"),
    }
}

impl Home {
    /// A home of the backend that is tested.
    pub fn new() -> Self {
        if is_on_a_server() { Self::shared() } else { Self::embedded() }
    }

    /// A directory and nothing else, which makes the database a file in it.
    pub fn embedded() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: None }
    }

    fn shared() -> Self {
        let database = block_on(Database::create());
        assert!(database.is_some(), "TEST_STORE=postgres needs a PostgreSQL: SKIP_PG=1 goes without it");
        let home = Self { folder: tempfile::tempdir().unwrap(), database };
        fs::DirBuilder::new().mode(0o700).create(home.data_dir()).unwrap();
        let mut options = fs::OpenOptions::new();
        let keys = options.write(true).create_new(true).mode(0o600).open(home.key_file());
        std::io::Write::write_all(&mut keys.unwrap(), Keyring::line(1, &random()).as_bytes()).unwrap();
        home
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where keys and blobs are, and the database when it is a file.
    pub fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The sealing keys.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.data_dir().join("keys")
    }

    fn file(&self) -> PathBuf {
        self.data_dir().join("runhook.db")
    }

    /// Whether its database outlives those who use it, and their leases them.
    pub(crate) fn is_shared(&self) -> bool {
        self.database.is_some()
    }

    /// The binary at home here.
    pub(crate) fn command(&self) -> Command {
        let mut command = runhook();
        command.current_dir(self.path()).envs(self.environment());
        command
    }

    /// What the binary is told by its environment to be at home here.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let Some(database) = &self.database else { return Vec::new() };
        vec![
            ("RUNHOOK_DATABASE_URL", database.url.to_string()),
            ("RUNHOOK_KEY_FILE", self.key_file().display().to_string()),
            ("RUNHOOK_BLOB_URL", self.blob_url()),
        ]
    }

    fn blob_url(&self) -> String {
        format!("dir:{}", self.data_dir().join("blobs").display())
    }

    /// The configuration of an engine in this process.
    pub(crate) fn config(&self) -> Config {
        let config = Config { data_dir: self.data_dir(), ..Config::default() };
        let Some(database) = &self.database else { return config };
        let database_url = Some(database.url.as_str().parse().unwrap());
        Config { database_url, key_file: Some(self.key_file()), blob_url: Some(self.blob_url()), ..config }
    }

    /// Opens its database in this process.
    pub(crate) async fn open(&self, supervisor: &Supervisor) -> Arc<dyn Store> {
        self.open_with(supervisor, Room::default()).await
    }

    /// Opens its database in this process, with less room than usual.
    pub(crate) async fn open_with(&self, supervisor: &Supervisor, room: Room) -> Arc<dyn Store> {
        if let Some(database) = &self.database {
            let default = postgres::Options { connections: 4, ..postgres::Options::default() };
            let queued_items = room.queued_items.unwrap_or(default.queued_items);
            let options = postgres::Options { queued_items, ..default };
            return Arc::new(PgStore::connect(database.url.as_str(), &options).await.unwrap());
        }
        fs::create_dir_all(self.data_dir()).unwrap();
        let default = sqlite::Options::default();
        let queued_items = room.queued_items.unwrap_or(default.queued_items);
        let options = sqlite::Options { queued_items, max_pages: room.max_pages, ..default };
        let (store, writer) = SqliteStore::open_with(&self.file(), &options).await.unwrap();
        supervisor.spawn("writer", writer.run(supervisor.soft()));
        Arc::new(store)
    }

    /// Does something behind the store's back.
    pub(crate) async fn sql(&self, statement: &str) {
        if let Some(database) = &self.database {
            return database.sql(statement).await;
        }
        let url = format!("sqlite://{}", self.file().display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect(statement);
        connection.close().await.unwrap();
    }

    /// Every row of a database that others share, as text in which what bytes spell can be read.
    pub(crate) async fn rows(&self) -> Vec<String> {
        let Some(database) = &self.database else { return Vec::new() };
        let mut connection = database.connect().await;
        sqlx::raw_sql("SET bytea_output = 'escape'").execute(&mut connection).await.unwrap();
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
        let mut rows = Vec::new();
        for table in tables {
            let all = AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
            let found: Vec<String> = sqlx::query_scalar(all).fetch_all(&mut connection).await.unwrap();
            rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
        }
        rows
    }
}
