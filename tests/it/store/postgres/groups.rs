//! Batches that come together are committed together, and none pays for another.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};
use runhook::model::id::RunId;
use runhook::model::project::ProjectRef;
use runhook::model::run::{Part, PartKind};
use runhook::store::postgres::{Options, PgStore};
use runhook::store::runs::Batch;
use runhook::store::{KeyStore as _, RunStore as _, Store, StoreError};
use sqlx::PgConnection;
use tokio::sync::Semaphore;

use super::{Replica, options};
use crate::store::sample::{PROJECT, TENANT, accept, at, begun, changes, part, patch, post, project_id, run_id};

/// How many transactions wrote a project's changes.
async fn transactions(replica: &Replica) -> i64 {
    let mut connection = replica.database.connect().await;
    sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM changes").fetch_one(&mut connection).await.unwrap()
}

/// Waits until so many clients wait for locks.
async fn wait_for_waiters(watcher: &mut PgConnection, count: i64) {
    let waiters = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiters).fetch_one(&mut *watcher).await.unwrap() < count {}
}

/// Nobody takes numbers in the project until the connection is told so.
async fn block_project(blocker: &mut PgConnection) {
    sqlx::raw_sql("BEGIN").execute(&mut *blocker).await.unwrap();
    let lock = "SELECT 1 FROM projects WHERE project_id = $1 FOR UPDATE";
    sqlx::query(lock).bind(project_id(PROJECT).0).execute(blocker).await.unwrap();
}

async fn release(blocker: &mut PgConnection) {
    sqlx::raw_sql("ROLLBACK").execute(blocker).await.unwrap();
}

#[tokio::test]
async fn what_many_bring_at_once_takes_few_transactions_and_each_hears_of_its_own() {
    let Some(replica) = Replica::open().await else { return };
    let store = replica.store();
    accept(store, vec![post(1_000)]).await;
    let batches = (0..200_u32).map(|number| accept(store, vec![post(number), patch(number), post(1_000)]));
    let answers = join_all(batches).await;
    assert!(answers.iter().all(|accepted| accepted.changed && accepted.refused.is_empty()));
    let log = changes(store, PROJECT).await;
    assert_eq!(log.iter().map(|change| change.seq).collect::<Vec<_>>(), (1..=201).collect::<Vec<_>>());
    let runs: BTreeSet<RunId> = log.iter().map(|change| change.run_id).collect();
    assert_eq!(runs.len(), 201);
    let transactions = transactions(&replica).await;
    assert!(transactions <= 10, "200 batches took {transactions} transactions");
    assert!(!accept(store, vec![post(1_000)]).await.changed, "a repeat is no news, in a group as alone");
    replica.close().await;
}

#[tokio::test]
async fn one_bad_batch_of_a_group_fails_alone() {
    let Some(replica) = Replica::open().await else { return };
    accept(replica.store(), vec![post(1)]).await;
    // An index takes no name of this length.
    let name: String = (0..4_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string()).collect();
    let endless = Part { project: Some(ProjectRef::Name(name)), ..post(9) };
    let batches = [vec![post(2)], vec![endless], vec![post(3), patch(3)], vec![post(4)]];
    let answers = join_all(batches.map(|parts| {
        let batch = Batch { parts, feedback: vec![], ..Batch::default() };
        replica.store.accept(TENANT, batch, at(5))
    }))
    .await;
    assert!(matches!(answers[1], Err(StoreError::Internal(_))), "{answers:?}");
    assert!(answers[0].is_ok() && answers[2].is_ok() && answers[3].is_ok(), "{answers:?}");
    let numbers: Vec<i64> = changes(replica.store(), PROJECT).await.iter().map(|change| change.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    replica.close().await;
}

#[tokio::test]
async fn batches_whose_project_is_held_by_someone_do_not_hold_up_other_projects() {
    let Some(replica) = Replica::open().await else { return };
    let store: &dyn Store =
        &PgStore::connect(replica.database.url.as_str(), &Options { groups_at_once: 1, ..options() }).await.unwrap();
    accept(store, vec![post(1)]).await;
    let (mut blocker, mut watcher) = (replica.database.connect().await, replica.database.connect().await);
    block_project(&mut blocker).await;
    let stuck = async {
        let later = async {
            wait_for_waiters(&mut watcher, 1).await;
            accept(store, vec![post(3)]).await
        };
        join(accept(store, vec![post(2)]), later).await
    };
    let others = async {
        let mut watcher = replica.database.connect().await;
        wait_for_waiters(&mut watcher, 2).await;
        for number in 10..15 {
            accept(store, vec![part(PartKind::Post, run_id(number), Some("other"), begun(number))]).await;
        }
        release(&mut blocker).await;
    };
    join(stuck, others).await;
    assert_eq!(changes(store, PROJECT).await.len(), 3);
    assert_eq!(changes(store, "other").await.len(), 5);
    store.close().await;
    replica.close().await;
}

#[tokio::test]
async fn a_full_queue_answers_busy_at_once_and_goes_on_when_there_is_room() {
    let Some(replica) = Replica::open().await else { return };
    accept(replica.store(), vec![post(1)]).await;
    let narrow = Options { queued_items: 4, ..options() };
    let store = &PgStore::connect(replica.database.url.as_str(), &narrow).await.unwrap();
    let (mut blocker, mut watcher) = (replica.database.connect().await, replica.database.connect().await);
    block_project(&mut blocker).await;
    let entered = Semaphore::new(0);
    let first = async {
        let taken = accept(store, vec![post(2), post(3), post(4)]);
        entered.add_permits(1);
        taken.await
    };
    let then = async {
        let _permit = entered.acquire().await.unwrap();
        wait_for_waiters(&mut watcher, 1).await;
        let batch =
            |number| Batch { parts: vec![post(number), post(number + 1)], feedback: vec![], ..Batch::default() };
        let refused = store.accept(TENANT, batch(10), at(1)).await;
        assert!(matches!(refused, Err(StoreError::Busy { retry_after }) if !retry_after.is_zero()), "{refused:?}");
        release(&mut blocker).await;
    };
    join(first, then).await;
    accept(store, vec![post(10), post(11)]).await;
    let many = accept(store, (20..40).map(post).collect()).await;
    assert!(many.changed, "a batch larger than the queue is taken when the queue is empty");
    store.close().await;
    replica.close().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_no_other_batch_along() {
    let Some(replica) = Replica::open().await else { return };
    let store = &replica.store;
    accept(store, vec![post(1)]).await;
    let (mut blocker, mut watcher) = (replica.database.connect().await, replica.database.connect().await);
    block_project(&mut blocker).await;
    let mut left = Vec::new();
    for number in 2..6 {
        let batch = Batch { parts: vec![post(number)], feedback: vec![], ..Batch::default() };
        let mut caller = store.accept(TENANT, batch, at(1));
        assert!(futures_util::poll!(&mut caller).is_pending());
        left.push(caller);
    }
    let stays = accept(store, vec![post(6)]);
    let then = async {
        wait_for_waiters(&mut watcher, 1).await;
        drop(left);
        release(&mut blocker).await;
    };
    let (accepted, ()) = join(stays, then).await;
    assert!(accepted.changed);
    store.close().await;
    let other = replica.another().await;
    assert_eq!(changes(&other, PROJECT).await.len(), 6, "closing finishes what was brought");
    other.close().await;
}
