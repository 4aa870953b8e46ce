//! Rows that do not decode: each fails alone.

use runhook::model::collection::CollectionKind;
use runhook::model::delivery::{Attempt, AttemptResult, DeliveryState, Outcome};
use runhook::model::run::{Fields, PartKind, Status};
use runhook::store::outbox::Finished;
use runhook::store::runs::{FeedbackQuery, RunQuery};
use runhook::store::{Store, StoreError};

use super::collections::{collection, example, of};
use super::outbox::two_claims;
use super::sample::{
    PROJECT, TENANT, accept, accept_feedback, at, begun, changes, endpoint, feedback, feedback_id, part, patch, post,
    project_id, run_id, uuid,
};

/// Bytes that say nothing, where every backend finds them.
async fn garbage(store: &dyn Store) -> &'static str {
    store.set_marker("garbage", &[0, 9]).await.unwrap();
    "(SELECT value FROM markers WHERE name = 'garbage')"
}

async fn break_run_1(store: &dyn Store, sql: impl AsyncFn(&str)) {
    // From now on it is read, and not told from memory.
    store.runs(TENANT, &[run_id(1)]).await.unwrap();
    let garbage = garbage(store).await;
    let run = "(SELECT run_id FROM runs WHERE name = 'run 1')";
    sql(&format!("UPDATE run_bodies SET body = {garbage} WHERE run_id = {run}")).await;
}

pub(crate) async fn parts_of_a_run_that_does_not_decode_are_refused_and_no_others(
    store: &dyn Store,
    sql: impl AsyncFn(&str),
) {
    accept(store, vec![post(1), post(2)]).await;
    break_run_1(store, sql).await;
    let below = Fields { parent_run_id: Some(run_id(1)), ..begun(3) };
    let child = part(PartKind::Post, run_id(3), Some(PROJECT), below);
    let accepted = accept(store, vec![patch(1), patch(2), child, post(1)]).await;
    assert_eq!(accepted.refused.iter().map(|refusal| refusal.run_id).collect::<Vec<_>>(), [run_id(1), run_id(1)]);
    assert!(accepted.refused[0].reason.contains("cannot be read"), "{accepted:?}");
    assert!(accepted.changed);
    assert_eq!(store.run(TENANT, run_id(2)).await.unwrap().unwrap().run.status, Status::Success);
    assert_eq!(store.run(TENANT, run_id(3)).await.unwrap().unwrap().run.parent_run_id, Some(run_id(1)));
    accept_feedback(store, vec![feedback(1, run_id(1), 0.5)]).await;
    let log: Vec<_> = changes(store, PROJECT).await.iter().map(|change| change.run_id).collect();
    assert_eq!(log, [run_id(1), run_id(2), run_id(2), run_id(3), run_id(1)]);
    assert!(store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap());
    assert!(accept(store, vec![post(1)]).await.refused.is_empty(), "it can come again");
}

pub(crate) async fn a_run_that_does_not_decode_is_missing_from_pages_alone(store: &dyn Store, sql: impl AsyncFn(&str)) {
    let below = Fields { parent_run_id: Some(run_id(1)), ..begun(2) };
    accept(store, vec![post(1), part(PartKind::Post, run_id(2), Some(PROJECT), below), post(3)]).await;
    break_run_1(store, sql).await;
    let page = store.list_runs(TENANT, &RunQuery { limit: 9, ..RunQuery::default() }).await.unwrap();
    assert_eq!(page.iter().map(|stored| stored.run.id).collect::<Vec<_>>(), [run_id(3), run_id(2)]);
    assert_eq!(store.runs(TENANT, &[run_id(1), run_id(2), run_id(3)]).await.unwrap().len(), 2);
    let trace = store.traces(TENANT, project_id(PROJECT), &[run_id(1).into()]).await.unwrap();
    assert_eq!(trace.iter().map(|stored| stored.run.id).collect::<Vec<_>>(), [run_id(2)]);
    let alone = store.run(TENANT, run_id(1)).await;
    assert!(matches!(alone, Err(StoreError::Corrupt { table: "run_bodies", .. })), "{alone:?}");
    assert!(store.run(TENANT, run_id(3)).await.unwrap().is_some());
}

pub(crate) async fn a_waiting_part_that_does_not_decode_holds_up_no_other(store: &dyn Store, sql: impl AsyncFn(&str)) {
    let tags = Fields { tags: Some(vec!["t".into()]), ..Fields::default() };
    accept(store, vec![patch(1)]).await;
    sql(&format!("UPDATE waiting_parts SET part = {}", garbage(store).await)).await;
    accept(store, vec![part(PartKind::Patch, run_id(1), None, tags)]).await;
    assert!(accept(store, vec![post(1), post(2)]).await.refused.is_empty());
    let run = store.run(TENANT, run_id(1)).await.unwrap().unwrap().run;
    assert_eq!((run.status, run.tags), (Status::Pending, vec!["t".to_owned()]));
    assert!(accept(store, vec![patch(1)]).await.changed, "it can come again");
}

pub(crate) async fn feedback_that_does_not_decode_is_passed_over_until_it_is_sent_again(
    store: &dyn Store,
    sql: impl AsyncFn(&str),
) {
    accept(store, vec![post(1)]).await;
    let (first, second) = (feedback(1, run_id(1), 0.5), feedback(2, run_id(1), 0.7));
    accept_feedback(store, vec![first.clone(), second.clone()]).await;
    sql(&format!("UPDATE feedback SET body = '{{}}' WHERE created_at = {}", first.created_at.0)).await;
    let listed = async || {
        let all = FeedbackQuery { limit: 9, ..FeedbackQuery::default() };
        (
            store.list_feedback(TENANT, &all).await.unwrap(),
            store.run(TENANT, run_id(1)).await.unwrap().unwrap().feedback,
        )
    };
    assert_eq!(listed().await, (vec![second.clone()], vec![second.clone()]));
    assert!(matches!(store.feedback(TENANT, feedback_id(1)).await, Err(StoreError::Corrupt { .. })));
    assert!(accept_feedback(store, vec![first.clone(), second.clone()]).await.changed);
    assert_eq!(listed().await, (vec![second.clone(), first.clone()], vec![first, second]));
}

pub(crate) async fn an_example_that_does_not_decode_can_be_replaced_and_deleted(
    store: &dyn Store,
    sql: impl AsyncFn(&str),
) {
    store.create_collection(collection(CollectionKind::Dataset, 1, "one")).await.unwrap();
    let examples = vec![example(1, uuid(9, 1)), example(2, uuid(9, 1))];
    store.put_examples(TENANT, examples.clone()).await.unwrap();
    sql("UPDATE examples SET body = '{}'").await;
    store.put_examples(TENANT, vec![examples[0].clone()]).await.unwrap();
    assert!(store.delete_example(TENANT, examples[1].id, None).await.unwrap());
    assert!(!store.delete_example(TENANT, examples[1].id, None).await.unwrap());
    assert_eq!(of(store, uuid(9, 1)).await, [examples[0].id]);
}

pub(crate) async fn an_attempt_that_cannot_be_stored_fails_alone(store: &dyn Store, sql: impl AsyncFn(&str)) {
    let claims = two_claims(store).await;
    let planted = "INSERT INTO attempts (tenant_id, delivery_id, number, started_at, duration_ms, result) \
                   SELECT tenant_id, delivery_id, 1, 0, 0, '{\"kind\": \"timed_out\"}' FROM deliveries \
                   WHERE endpoint_id = (SELECT endpoint_id FROM endpoints WHERE key = 'endpoint-1')";
    sql(planted).await;
    let finished: Vec<Finished> = claims
        .iter()
        .map(|claim| {
            let result = AttemptResult::answered(200);
            let attempt = Attempt { number: 1, started_at: at(100), duration_ms: 5, request: None, result };
            Finished::new(claim.lease.clone(), attempt, Outcome::Delivered)
        })
        .collect();
    let answers = store.finish_attempts(&finished).await.unwrap();
    for (claim, answer) in claims.iter().zip(answers) {
        let is_bad = claim.endpoint.id == endpoint(1, None).id;
        assert_eq!(answer.is_err(), is_bad, "{answer:?}");
        let (delivery, _) = store.delivery(TENANT, claim.delivery.id).await.unwrap().unwrap();
        assert_eq!(delivery.state == DeliveryState::Pending, is_bad, "nothing was recorded of it");
    }
    let alone: Vec<_> = finished.into_iter().filter(|one| one.lease.delivery_id == claims[0].delivery.id).collect();
    assert!(store.finish_attempts(&alone).await.unwrap()[0].is_err());
}
