//! The suite on PostgreSQL, and what only a server with many clients can show.

mod groups;
mod loss;
mod races;
mod rings;
mod schema;
mod settling;
mod standbys;

use futures_util::future::join_all;
use runhook::store::postgres::{Options, PgStore, Topic};
use runhook::store::runs::Batch;
use runhook::store::{KeyStore as _, RunStore as _, Store, StoreError};
use tokio::sync::mpsc;

use super::sample::{PROJECT, TENANT, accept, at, begun, changes, part, post, run_id};
use crate::support::postgres::Database;

super::store_suite!(crate::store::postgres::Replica::open);

mod pooled {
    //! As behind PgBouncer in transaction mode: nothing prepared, everything in transactions.
    crate::store::store_suite!(crate::store::postgres::Replica::open_pooled);
}

/// A store in a database of its own.
pub(crate) struct Replica {
    pub(crate) store: PgStore,
    pub(crate) database: Database,
}

fn options() -> Options {
    Options { connections: 8, ..Options::default() }
}

impl Replica {
    pub(crate) async fn open() -> Option<Self> {
        Self::open_with(&options()).await
    }

    pub(crate) async fn open_pooled() -> Option<Self> {
        Self::open_with(&Options { behind_pgbouncer: true, ..options() }).await
    }

    async fn open_with(options: &Options) -> Option<Self> {
        let database = Database::create().await?;
        let store = PgStore::connect(database.url.as_str(), options).await.expect("opened");
        Some(Self { store, database })
    }

    /// Another replica on the same database.
    async fn another(&self) -> PgStore {
        PgStore::connect(self.database.url.as_str(), &options()).await.expect("opened")
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &self.store
    }

    /// Does something behind the store's back.
    pub(crate) async fn sql(&self, statement: &str) {
        self.database.sql(statement).await;
    }

    pub(crate) async fn close(self) {
        self.store().close().await;
    }
}

#[tokio::test]
async fn replicas_that_start_together_make_one_schema_and_one_default_project() {
    let Some(database) = Database::create().await else { return };
    let options = Options { connections: 2, ..Options::default() };
    let stores = join_all((0..6).map(|_| PgStore::connect(database.url.as_str(), &options))).await;
    for store in stores {
        store.expect("opened").close().await;
    }
    let replica = Replica { store: PgStore::connect(database.url.as_str(), &options).await.unwrap(), database };
    accept(replica.store(), vec![post(1)]).await;
    replica.close().await;
}

async fn refusal(database: &Database) -> String {
    match PgStore::connect(database.url.as_str(), &options()).await {
        Err(StoreError::Unusable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_newer_schema_is_used_until_it_asks_for_a_newer_version_and_then_left_as_it_is() {
    let Some(replica) = Replica::open().await else { return };
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', true, '', 0)";
    replica.database.sql(newer).await;
    replica.store().check_schema().await.expect("what was added is nothing to this version");
    replica.another().await.close().await;
    replica.database.sql("UPDATE counters SET value = 9998 WHERE name = 'least_version'").await;
    let too_old = replica.store().check_schema().await;
    assert!(matches!(&too_old, Err(StoreError::Unusable(why)) if why.contains("9998")), "{too_old:?}");
    let why = refusal(&replica.database).await;
    assert!(why.contains("newer version of runhook") && why.contains("9999") && why.contains("9998"), "{why}");
    replica.close().await;
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let Some(database) = Database::create().await else { return };
    database.sql("CREATE TABLE bookmarks (url TEXT)").await;
    let why = refusal(&database).await;
    assert!(why.contains("another program"), "{why}");
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_refused_without_its_password() {
    let error = PgStore::connect("postgres://me:hunter2@host:notaport/x", &options()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unusable(why) if !why.contains("hunter2")), "{error:?}");
}

#[tokio::test]
async fn words_with_a_character_that_postgresql_cannot_hold_are_accepted() {
    let Some(replica) = Replica::open().await else { return };
    let mut odd = begun(1);
    odd.name = Some("a\0b".into());
    let batch = vec![part(runhook::model::run::PartKind::Post, run_id(1), Some("p\0q"), odd), post(2)];
    accept(replica.store(), batch.clone()).await;
    assert!(!accept(replica.store(), batch).await.changed);
    let run = replica.store.run(TENANT, run_id(1)).await.unwrap().unwrap().run;
    assert_eq!(run.name, "a\0b");
    assert_eq!(changes(replica.store(), PROJECT).await.len(), 1);
    replica.close().await;
}

#[tokio::test]
async fn a_replica_hears_what_another_did() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let on_poke = |topic| sender.send(topic).unwrap();
    let session = async {
        // A listener that has just connected looks at everything.
        for topic in Topic::ALL {
            assert_eq!(heard.recv().await, Some(topic));
        }
        let batch = Batch { parts: vec![post(1)], feedback: vec![], ..Batch::default() };
        other.accept(TENANT, batch, at(1)).await.unwrap();
        assert_eq!(heard.recv().await, Some(Topic::Changes));
    };
    tokio::select! {
        () = replica.store.listen(on_poke) => panic!("it listens for ever"),
        () = other.listen(|_| ()) => panic!("it listens for ever"),
        () = session => {}
    }
    replica.close().await;
}
