//! A project that was removed, and a process that ended before what it held was gone.

use runhook::model::feedback::Feedback;
use runhook::model::project::Project;
use runhook::model::run::{Fields, Part, PartKind};
use runhook::store::runs::Batch;
use runhook::store::{Store, StoreError};

use super::projects::project;
use super::sample::{
    PROJECT, TENANT, accept, accept_feedback, at, begun, changes, feedback, feedback_id, part, patch, post, project_id,
    run_id,
};

/// A process that ends between the first step of a removal and the others.
const REMOVED_AND_KILLED: &str = "INSERT INTO removed_projects (tenant_id, project_id) \
     SELECT tenant_id, project_id FROM projects WHERE name = 'support'; DELETE FROM projects WHERE name = 'support'";

pub(crate) async fn what_a_project_held_that_was_removed_goes_step_by_step_and_nothing_else(
    store: &dyn Store,
    sql: impl AsyncFn(&str),
) {
    let nameless = part(PartKind::Post, run_id(9), Some(PROJECT), Fields { name: None, ..begun(9) });
    let elsewhere = part(PartKind::Post, run_id(20), Some("other"), begun(20));
    let runs: Vec<Part> = (1..=5).map(post).chain([nameless, elsewhere]).collect();
    accept(store, runs).await;
    let said_there = Feedback { session_id: Some(project_id(PROJECT)), ..feedback(4, run_id(77), 0.5) };
    accept_feedback(store, vec![feedback(1, run_id(1), 0.5), feedback(2, run_id(20), 0.5), said_there]).await;
    sql(REMOVED_AND_KILLED).await;

    let again = Project { id: project_id(PROJECT), ..project(1, "again") };
    assert!(matches!(store.create_project(again.clone()).await, Err(StoreError::Busy { .. })));
    for parts in [vec![patch(1)], vec![post(2)], vec![post(9), post(30)]] {
        let refused = store.accept(TENANT, Batch { parts, feedback: vec![], ..Batch::default() }, at(100)).await;
        assert!(matches!(refused, Err(StoreError::Busy { .. })), "{refused:?}");
    }
    accept(store, vec![post(31)]).await;
    let next = store.run(TENANT, run_id(31)).await.unwrap().unwrap().run.project_id;
    assert_ne!(next, project_id(PROJECT), "another life has another id for as long as the first is not gone");

    let (mut steps, mut last) = (0, 5);
    while store.drop_removed(2).await.unwrap().more {
        steps += 1;
        let left = store.runs(TENANT, &(1..=9).map(run_id).collect::<Vec<_>>()).await.unwrap().len();
        assert!(left <= last && last - left <= 2, "{left} of {last} runs are left");
        last = left;
    }
    assert!(last == 0 && steps > 4, "{last} are left after {steps} steps");
    assert!(changes(store, PROJECT).await.is_empty());
    for (number, is_there) in [(1, false), (2, true), (4, false)] {
        assert_eq!(store.feedback(TENANT, feedback_id(number)).await.unwrap().is_some(), is_there, "{number}");
    }
    assert_eq!(store.runs(TENANT, &[run_id(20), run_id(30), run_id(31)]).await.unwrap().len(), 2);
    assert!(accept(store, vec![post(1), patch(1)]).await.changed, "it can come again");
    assert_eq!(store.run(TENANT, run_id(1)).await.unwrap().unwrap().run.project_id, next);
    store.create_project(again).await.unwrap();
}
