//! Servers that are lost otherwise than by an error on every connection: standbys that do not answer, or are taken for
//! the primary; crashes; silence.

use std::time::Duration;

use runhook::store::postgres::{Options, PgStore};
use runhook::store::runs::Batch;
use runhook::store::{KeyStore as _, RunStore as _, StoreError, WindowStore as _};
use url::Url;

use super::races::wait_for_waiters;
use crate::store::sample::{PROJECT, TENANT, accept, at, post, project_id};
use crate::support::cluster::Cluster;
use crate::support::postgres::Database;
use crate::support::way::Way;

fn hasty() -> Options {
    let (statement_timeout, patience) = (Duration::from_millis(500), Duration::from_secs(2));
    Options { statement_timeout, patience, acquire_timeout: Duration::from_secs(1), ..Options::default() }
}

async fn opened(url: &Url, options: &Options) -> PgStore {
    PgStore::connect(url.as_str(), options).await.expect("opened")
}

async fn post_to(store: &PgStore, number: u32) -> Result<(), StoreError> {
    let batch = Batch { parts: vec![post(number)], feedback: vec![], ..Batch::default() };
    store.accept(TENANT, batch, at(1)).await.map(|_| ())
}

/// How many changes there are.
async fn seen(store: &PgStore) -> Result<usize, StoreError> {
    Ok(store.changes(TENANT, project_id(PROJECT), 0, at(1_000), 99).await?.len())
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn what_no_standby_has_is_not_acknowledged() {
    let Some(primary) = Cluster::create().await else { return };
    let standby = primary.standby().await;
    primary.wait_for_standby().await;
    let store = opened(&primary.url(), &hasty()).await;
    accept(&store, vec![post(1)]).await;
    standby.freeze(true);
    let result = post_to(&store, 2).await;
    assert!(is_unavailable(&result), "its commit waits for the standby: {result:?}");
    assert!(matches!(post_to(&store, 2).await, Err(StoreError::Busy { .. })), "it is still being committed");
    assert_eq!(seen(&store).await.unwrap(), 1, "nobody sees it");
    standby.freeze(false);
    while post_to(&store, 2).await.is_err() {}
    assert_eq!(seen(&store).await.unwrap(), 2, "it was committed once");
    store.close().await;
}

#[tokio::test]
async fn a_server_that_crashes_turns_read_only_or_becomes_a_standby_is_left_and_found_again() {
    let Some(mut primary) = Cluster::create().await else { return };
    let standby = primary.standby().await;
    primary.wait_for_standby().await;
    let way = Way::to(&primary.url()).await;
    let store = opened(&way.url(&primary.url()), &hasty()).await;
    accept(&store, vec![post(1)]).await;

    primary.crash().await;
    while post_to(&store, 2).await.is_err() {}

    primary.set("default_transaction_read_only", "on").await;
    assert!(is_unavailable(&post_to(&store, 3).await), "{}", primary.log());
    primary.set("default_transaction_read_only", "off").await;
    post_to(&store, 3).await.unwrap();

    // An address that still leads to a standby: nothing is read from it either.
    way.lead_to(&standby.url());
    primary.restart().await;
    assert!(is_unavailable(&post_to(&store, 4).await));
    let read = seen(&store).await;
    assert!(is_unavailable(&read), "{read:?}");
    primary.kill();
    standby.promote().await;
    post_to(&store, 4).await.unwrap();
    assert_eq!(seen(&store).await.unwrap(), 4);
    store.close().await;
}

#[tokio::test]
async fn a_server_that_falls_silent_holds_nothing_up_for_long() {
    let Some(database) = Database::create().await else { return };
    let way = Way::to(&database.url).await;
    let options = Options { patience: Duration::from_secs(4), ..Options::default() };
    let store = opened(&way.url(&database.url), &options).await;
    accept(&store, vec![post(1)]).await;
    way.silence();
    accept(&store, vec![post(2)]).await;
    assert_eq!(seen(&store).await.unwrap(), 2, "what idled is not used again");

    let (mut lock, mut watcher) = (database.connect().await, database.connect().await);
    sqlx::raw_sql("BEGIN; LOCK TABLE changes").execute(&mut lock).await.unwrap();
    let silence = async {
        wait_for_waiters(&mut watcher, 2).await;
        way.silence();
        sqlx::raw_sql("COMMIT").execute(&mut lock).await.unwrap();
    };
    let (read, written, ()) = tokio::join!(seen(&store), post_to(&store, 3), silence);
    assert!(is_unavailable(&read) && is_unavailable(&written), "{read:?} {written:?}");
    post_to(&store, 3).await.unwrap();
    assert_eq!(seen(&store).await.unwrap(), 3, "it was stored once");
    store.close().await;
}
