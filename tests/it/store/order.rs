//! The order of changes.

use futures_util::future::join_all;
use runhook::model::window::Progress;
use runhook::store::outbox::Claimant;
use runhook::store::windows::{ProjectKey, WindowCommit};
use runhook::store::{Store, StoreError};

use super::sample::{
    PROJECT, TENANT, accept, accept_at, apply, at, changes, cursor, endpoint, found, group, patch, post, project_id,
    rule, run_id, uuid, window,
};

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

pub(crate) async fn a_window_that_leaves_nothing_unseen_settles_its_project(store: &dyn Store) {
    let rule = rule("a", 60);
    apply(store, vec![rule.clone()], at(0)).await;
    accept(store, vec![post(1), post(2)]).await;
    let commit = async |after, through, settles| {
        let window = window(Progress::Group(group(&rule)), after, through, at(after), at(through));
        let commit = found(store, window, &[], endpoint(1, None).id).await;
        store.commit_window(WindowCommit { settles: Some(settles), ..commit }).await
    };
    commit(0, 1, 1).await.unwrap();
    assert_eq!(store.stirred_projects().await.unwrap()[0].last_seq, 2, "more has come");
    assert_eq!(cursor(store, &group(&rule)).await.seq, 1, "the window counts all the same");
    assert!(matches!(commit(0, 2, 2).await, Err(StoreError::Stale(_))));
    assert_eq!(store.stirred_projects().await.unwrap().len(), 1, "a window that is refused settles nothing");
    commit(1, 2, 2).await.unwrap();
    assert!(store.stirred_projects().await.unwrap().is_empty());
}

/// A lease of ten seconds from then on.
fn claimant(holder: u32, now: i64) -> Claimant {
    Claimant { holder: uuid(9, holder), now: at(now), until: at(now + 10) }
}

fn keys(names: &[&str]) -> Vec<ProjectKey> {
    names.iter().map(|name| (TENANT, project_id(name))).collect()
}

/// What was taken, in the order in which it was asked for.
async fn lease(store: &dyn Store, who: Claimant, names: &[&'static str], limit: u32) -> Vec<&'static str> {
    let taken = store.lease_projects(who, &keys(names), limit).await.unwrap();
    let found: Vec<_> = names.iter().copied().filter(|name| taken.contains(&(TENANT, project_id(name)))).collect();
    assert_eq!(found.len(), taken.len(), "only what was asked for is taken, and once");
    found
}

pub(crate) async fn a_project_is_leased_to_one_holder_at_a_time(store: &dyn Store) {
    assert_eq!(lease(store, claimant(1, 0), &["c", "a", "b"], 2).await, ["c", "a"], "no more than the limit");
    assert_eq!(lease(store, claimant(2, 1), &["a", "b", "c", "d"], 9).await, ["b", "d"], "what another holds is left");
    assert_eq!(lease(store, claimant(2, 1), &["c", "a"], 9).await, [] as [&str; 0]);
    assert_eq!(lease(store, claimant(1, 2), &["a", "b"], 9).await, ["a"], "a holder may take again what it holds");
    let both = [1, 2].map(|holder| lease(store, claimant(holder, 3), &["x", "y", "z"], 9));
    let taken = join_all(both).await.concat();
    assert_eq!(taken.len(), 3, "of two that come together each project goes to one: {taken:?}");
    assert!(lease(store, claimant(1, 3), &[], 9).await.is_empty());
}

pub(crate) async fn a_lease_ends_with_its_time_or_when_it_is_given_back(store: &dyn Store) {
    assert_eq!(lease(store, claimant(1, 0), &["a", "b", "c"], 9).await.len(), 3);
    assert_eq!(lease(store, claimant(1, 5), &["a"], 9).await, ["a"], "and is held longer");
    store.release_projects(uuid(9, 1), &keys(&["b"])).await.unwrap();
    store.release_projects(uuid(9, 2), &keys(&["a", "c"])).await.unwrap();
    assert_eq!(lease(store, claimant(2, 9), &["a", "b", "c"], 9).await, ["b"], "nobody gives back what is not his");
    assert_eq!(lease(store, claimant(2, 10), &["a", "b", "c"], 9).await, ["b", "c"]);
    store.release_projects(uuid(9, 1), &keys(&["c"])).await.unwrap();
    assert_eq!(lease(store, claimant(3, 14), &["a", "b", "c"], 9).await, [] as [&str; 0], "it was lost to another");
    assert_eq!(lease(store, claimant(3, 15), &["a", "b", "c"], 9).await, ["a"]);
}
