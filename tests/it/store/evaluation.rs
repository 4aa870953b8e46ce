//! Committing windows.

use runhook::model::id::EndpointId;
use runhook::model::rule::Rule;
use runhook::model::window::Progress;
use runhook::store::windows::WindowCommit;
use runhook::store::{Store, StoreError};

use super::sample::{
    PROJECT, TENANT, accept, accept_at, apply, at, cursor, endpoint, found, group, post, project_id, rule, run_id,
    window,
};

const TO: EndpointId = EndpointId(uuid::Uuid::from_u128(3));

async fn with_rule(store: &dyn Store) -> Rule {
    let rule = rule("a", 60);
    apply(store, vec![rule.clone()], at(0)).await;
    accept(store, vec![post(1), post(2)]).await;
    rule
}

fn stale(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Stale(_)))
}

pub(crate) async fn a_window_is_committed_once(store: &dyn Store) {
    let rule = with_rule(store).await;
    let window = window(Progress::Group(group(&rule)), 0, 2, at(0), at(60));
    let commit = found(store, window, &[(rule.id, run_id(1))], TO).await;
    store.commit_window(commit.clone()).await.unwrap();
    let reached = cursor(store, &group(&rule)).await;
    assert_eq!((reached.seq, reached.at), (2, at(60)));
    assert!(stale(&store.commit_window(commit.clone()).await));
    let message = store.message(TENANT, commit.messages[0].id).await.unwrap();
    assert_eq!(message, Some(commit.messages[0].clone()));
    let matched = store.matched(TENANT, &[(rule.id, run_id(1)), (rule.id, run_id(2))]).await.unwrap();
    assert_eq!(matched.into_iter().collect::<Vec<_>>(), [(rule.id, run_id(1))]);
}

pub(crate) async fn a_window_that_begins_elsewhere_is_stale(store: &dyn Store) {
    let rule = with_rule(store).await;
    let ahead = window(Progress::Group(group(&rule)), 1, 2, at(0), at(60));
    assert!(stale(&store.commit_window(found(store, ahead, &[], TO).await).await), "no cursor is a cursor at 0");
    let first = window(Progress::Group(group(&rule)), 0, 1, at(0), at(60));
    store.commit_window(found(store, first, &[], TO).await).await.unwrap();
    let behind = window(Progress::Group(group(&rule)), 0, 2, at(0), at(70));
    assert!(stale(&store.commit_window(found(store, behind, &[(rule.id, run_id(1))], TO).await).await));
    assert_eq!(cursor(store, &group(&rule)).await.seq, 1);
    let span = window(Progress::Span(rule.id), 0, 1, at(0), at(70));
    assert!(stale(&store.commit_window(found(store, span, &[], TO).await).await), "there is no such span");
}

pub(crate) async fn a_run_is_matched_once_and_a_second_time_writes_nothing(store: &dyn Store) {
    let rule = with_rule(store).await;
    let first = window(Progress::Group(group(&rule)), 0, 1, at(0), at(60));
    store.commit_window(found(store, first, &[(rule.id, run_id(1))], TO).await).await.unwrap();
    let second = window(Progress::Group(group(&rule)), 1, 2, at(60), at(120));
    let again = found(store, second, &[(rule.id, run_id(2)), (rule.id, run_id(1))], TO).await;
    assert!(stale(&store.commit_window(again.clone()).await));
    assert_eq!(cursor(store, &group(&rule)).await.seq, 1);
    assert!(store.message(TENANT, again.messages[0].id).await.unwrap().is_none());
    assert!(store.delivery(TENANT, again.deliveries[0].id).await.unwrap().is_none());
    assert_eq!(store.matched(TENANT, &[(rule.id, run_id(2))]).await.unwrap().len(), 0);
}

pub(crate) async fn a_window_evaluated_under_other_rules_is_stale(store: &dyn Store) {
    let first = with_rule(store).await;
    let window = window(Progress::Group(group(&first)), 0, 2, at(0), at(60));
    let commit = found(store, window, &[(first.id, run_id(1))], TO).await;
    apply(store, vec![rule("b", 60)], at(50)).await;
    assert!(stale(&store.commit_window(commit.clone()).await));
    let rules_version = store.rules_version().await.unwrap();
    store.commit_window(WindowCommit { rules_version, ..commit }).await.unwrap();
}

pub(crate) async fn a_window_over_an_earlier_life_of_its_project_is_stale(store: &dyn Store) {
    let rule = with_rule(store).await;
    let window = window(Progress::Group(group(&rule)), 0, 2, at(0), at(60));
    let commit = found(store, window, &[(rule.id, run_id(1))], TO).await;
    store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap();
    accept(store, vec![post(1), post(2), post(3)]).await;
    assert!(stale(&store.commit_window(commit).await));
    assert_eq!(cursor(store, &group(&rule)).await.seq, 0);
}

pub(crate) async fn a_span_is_used_up_window_by_window(store: &dyn Store) {
    for number in 1..=4 {
        accept_at(store, vec![post(number)], at(i64::from(number))).await;
    }
    let rule = Rule { backfill_from: Some(at(2)), ..rule("a", 60) };
    apply(store, vec![rule.clone()], at(9)).await;
    let spans = async || {
        let standing = store.standing(TENANT, project_id(PROJECT)).await.unwrap();
        standing.spans.iter().map(|span| (span.after, span.through)).collect::<Vec<_>>()
    };
    assert_eq!(spans().await, [(1, 4)]);
    let version = store.rules_version().await.unwrap();
    store.settle_project(TENANT, project_id(PROJECT), 4, version).await.unwrap();
    assert_eq!(store.stirred_projects().await.unwrap().len(), 1, "a span is something to do");
    let first = window(Progress::Span(rule.id), 1, 3, at(0), at(60));
    store.commit_window(found(store, first.clone(), &[(rule.id, run_id(2))], TO).await).await.unwrap();
    assert_eq!(spans().await, [(3, 4)]);
    assert!(stale(&store.commit_window(found(store, first, &[], TO).await).await));
    let last = window(Progress::Span(rule.id), 3, 4, at(60), at(70));
    store.commit_window(found(store, last, &[], TO).await).await.unwrap();
    assert!(spans().await.is_empty());
    assert!(store.stirred_projects().await.unwrap().is_empty());
}

pub(crate) async fn windows_that_found_something_are_listed_newest_first(store: &dyn Store) {
    let a = with_rule(store).await;
    let b = rule("b", 60);
    apply(store, vec![b.clone()], at(0)).await;
    let first = window(Progress::Group(group(&a)), 0, 1, at(0), at(60));
    store.commit_window(found(store, first.clone(), &[(a.id, run_id(1))], TO).await).await.unwrap();
    let empty = window(Progress::Group(group(&a)), 1, 1, at(60), at(120));
    store.commit_window(found(store, empty, &[], TO).await).await.unwrap();
    let last = window(Progress::Group(group(&a)), 1, 2, at(120), at(180));
    let matches = [(a.id, run_id(2)), (a.id, run_id(3)), (b.id, run_id(2))];
    store.commit_window(found(store, last.clone(), &matches, endpoint(1, None).id).await).await.unwrap();
    assert_eq!(store.rule_windows(TENANT, a.id, 10).await.unwrap(), [(last.clone(), 2), (first, 1)]);
    assert_eq!(store.rule_windows(TENANT, b.id, 10).await.unwrap(), [(last.clone(), 1)]);
    assert_eq!(store.rule_windows(TENANT, a.id, 1).await.unwrap(), [(last, 2)]);
}
