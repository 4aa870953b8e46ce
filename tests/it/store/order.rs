//! The order of changes.

use futures_util::future::join_all;
use runhook::store::Store;

use super::sample::{PROJECT, TENANT, accept, accept_at, at, changes, patch, post, project_id, run_id};

pub(crate) async fn change_numbers_have_no_gaps_even_with_concurrent_batches(store: &dyn Store) {
    let batches = (0..40).map(|number| accept_at(store, vec![post(2 * number), post(2 * number + 1)], at(7)));
    join_all(batches).await;
    let log = changes(store, PROJECT).await;
    let numbers: Vec<i64> = log.iter().map(|change| change.seq).collect();
    assert_eq!(numbers, (1..=80).collect::<Vec<i64>>());
    let mut runs: Vec<_> = log.iter().map(|change| change.run_id).collect();
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs.len(), 80);
}

pub(crate) async fn changes_never_go_back_in_time(store: &dyn Store) {
    accept_at(store, vec![post(1)], at(20)).await;
    accept_at(store, vec![post(2)], at(10)).await;
    accept_at(store, vec![post(3)], at(30)).await;
    let instants: Vec<_> = changes(store, PROJECT).await.into_iter().map(|change| change.at).collect();
    assert_eq!(instants, [at(20), at(20), at(30)]);
}

pub(crate) async fn changes_are_read_in_pages_up_to_an_instant(store: &dyn Store) {
    for number in 1..=5 {
        accept_at(store, vec![post(number)], at(i64::from(number))).await;
    }
    let read = async |after, until, limit| {
        let found = store.changes(TENANT, project_id(PROJECT), after, at(until), limit).await.unwrap();
        found.into_iter().map(|change| change.run_id).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 3, 10).await, [run_id(1), run_id(2), run_id(3)]);
    assert_eq!(read(1, 9, 2).await, [run_id(2), run_id(3)]);
    assert!(read(5, 9, 2).await.is_empty());
}

pub(crate) async fn a_project_is_stirred_until_it_is_settled(store: &dyn Store) {
    assert!(store.stirred_projects().await.unwrap().is_empty());
    accept(store, vec![post(1)]).await;
    let stirred = store.stirred_projects().await.unwrap();
    assert_eq!((stirred.len(), stirred[0].name.as_str(), stirred[0].last_seq), (1, PROJECT, 1));
    accept(store, vec![patch(1)]).await;
    let version = store.rules_version().await.unwrap();
    store.settle_project(TENANT, project_id(PROJECT), 1, version).await.unwrap();
    assert_eq!(store.stirred_projects().await.unwrap()[0].last_seq, 2, "more has come");
    store.settle_project(TENANT, project_id(PROJECT), 2, version - 1).await.unwrap();
    assert_eq!(store.stirred_projects().await.unwrap().len(), 1, "a rule may have come that has not seen it");
    store.settle_project(TENANT, project_id(PROJECT), 2, version).await.unwrap();
    assert!(store.stirred_projects().await.unwrap().is_empty());
}
