//! Projects.

use runhook::model::feedback::Feedback;
use runhook::model::id::{ProjectId, TenantId};
use runhook::model::project::{DEFAULT_PROJECT, Project};
use runhook::store::projects::{ProjectOrder, ProjectQuery};
use runhook::store::{Store, StoreError};
use uuid::Uuid;

use super::sample::{
    PROJECT, TENANT, accept, accept_feedback, at, changes, feedback, feedback_id, json, post, project_id, run_id,
};

pub(super) fn project(number: u128, name: &str) -> Project {
    Project {
        tenant_id: TENANT,
        id: ProjectId(Uuid::from_u128(number)),
        name: name.into(),
        description: Some("what it is for".into()),
        extra: Some(json(r#"{"b": 1,"a":2}"#)),
        reference_dataset_id: Some(Uuid::from_u128(5)),
        start_time: at(i64::try_from(number).unwrap()),
        end_time: None,
    }
}

pub(crate) async fn a_tenant_always_has_a_default_project(store: &dyn Store) {
    let query = ProjectQuery { limit: 10, ..ProjectQuery::default() };
    for tenant in [TENANT, TenantId(Uuid::from_u128(77))] {
        let found = store.list_projects(tenant, &query).await.unwrap();
        assert_eq!(found.iter().map(|project| project.name.as_str()).collect::<Vec<_>>(), [DEFAULT_PROJECT]);
    }
    assert!(store.delete_project(TENANT, project_id(DEFAULT_PROJECT), None).await.unwrap());
    assert_eq!(store.list_projects(TENANT, &query).await.unwrap().len(), 1);
}

pub(crate) async fn names_are_unique_in_a_tenant(store: &dyn Store) {
    let stored = store.create_project(project(1, "one")).await.unwrap();
    assert_eq!(store.project(TENANT, stored.id).await.unwrap(), Some(stored));
    for taken in [project(2, "one"), project(1, "two")] {
        assert!(matches!(store.create_project(taken).await, Err(StoreError::Conflict(_))));
    }
    store.create_project(project(2, "two")).await.unwrap();
    assert!(matches!(store.update_project(project(2, "one")).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.update_project(project(3, "three")).await, Err(StoreError::NotFound(_))));
    let elsewhere = Project { tenant_id: TenantId(Uuid::from_u128(9)), ..project(1, "one") };
    store.create_project(elsewhere).await.unwrap();
}

pub(crate) async fn a_renamed_project_leaves_its_name_to_a_new_one(store: &dyn Store) {
    accept(store, vec![post(1)]).await;
    let renamed = store.project(TENANT, project_id(PROJECT)).await.unwrap().unwrap();
    let renamed = Project { name: "renamed".into(), end_time: Some(at(5)), ..renamed };
    store.update_project(renamed.clone()).await.unwrap();
    accept(store, vec![post(2)]).await;
    assert_eq!(store.project(TENANT, renamed.id).await.unwrap(), Some(renamed.clone()));
    let new = store.run(TENANT, run_id(2)).await.unwrap().unwrap().run.project_id;
    assert_ne!(new, renamed.id);
    assert_eq!(store.project(TENANT, new).await.unwrap().unwrap().name, PROJECT);
}

pub(crate) async fn projects_are_listed_by_id_name_and_part_of_the_name(store: &dyn Store) {
    for (number, name) in [(1, "Alpha one"), (2, "beta"), (3, "alphabet")] {
        store.create_project(project(number, name)).await.unwrap();
    }
    let list = async |query: ProjectQuery| {
        let found = store.list_projects(TENANT, &query).await.unwrap();
        found.into_iter().map(|project| project.name).collect::<Vec<_>>()
    };
    let all = ProjectQuery { limit: 2, ..ProjectQuery::default() };
    assert_eq!(list(all.clone()).await, ["alphabet", "beta"]);
    assert_eq!(list(ProjectQuery { offset: 2, ..all.clone() }).await, ["Alpha one", "default"]);
    assert_eq!(list(ProjectQuery { name: Some("beta".into()), ..all.clone() }).await, ["beta"]);
    let contains = ProjectQuery { name_contains: Some("ALPHA".into()), ..all.clone() };
    assert_eq!(list(contains).await, ["alphabet", "Alpha one"]);
    let ids = vec![ProjectId(Uuid::from_u128(2)), ProjectId(Uuid::from_u128(9))];
    assert_eq!(list(ProjectQuery { ids, ..all }).await, ["beta"]);
}

pub(crate) async fn projects_are_listed_in_the_order_that_is_asked_for(store: &dyn Store) {
    for (number, name) in [(1, "b"), (2, "a"), (3, "B"), (4, "é")] {
        store.create_project(project(number, name)).await.unwrap();
    }
    let list = async |order, offset| {
        let query = ProjectQuery { order, offset, limit: 3, is_experiment: Some(true), ..ProjectQuery::default() };
        let found = store.list_projects(TENANT, &query).await.unwrap();
        found.into_iter().map(|project| project.name).collect::<Vec<_>>()
    };
    assert_eq!(list(ProjectOrder::NewestFirst, 0).await, ["é", "B", "a"]);
    assert_eq!(list(ProjectOrder::OldestFirst, 1).await, ["a", "B", "é"]);
    assert_eq!(list(ProjectOrder::Name, 0).await, ["B", "a", "b"]);
    assert_eq!(list(ProjectOrder::NameBackwards, 1).await, ["b", "a", "B"]);
}

pub(crate) async fn a_deleted_project_takes_everything_with_it(store: &dyn Store) {
    accept(store, vec![post(1), post(2)]).await;
    accept_feedback(store, vec![feedback(1, run_id(1), 0.5)]).await;
    assert!(store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap());
    assert!(!store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap());
    assert!(store.runs(TENANT, &[run_id(1), run_id(2)]).await.unwrap().is_empty());
    assert!(store.feedback(TENANT, feedback_id(1)).await.unwrap().is_none());
    assert!(changes(store, PROJECT).await.is_empty());
    assert!(store.stirred_projects().await.unwrap().is_empty());
    assert!(accept(store, vec![post(1)]).await.changed, "it can come again");
    assert_eq!(changes(store, PROJECT).await.len(), 1);
}

pub(crate) async fn a_deleted_project_leaves_feedback_on_runs_of_others(store: &dyn Store) {
    store.create_project(project(1, "one")).await.unwrap();
    let said_elsewhere = |number| {
        let session_id = Some(ProjectId(Uuid::from_u128(1)));
        Feedback { session_id, ..feedback(number, run_id(number), 0.5) }
    };
    accept_feedback(store, vec![said_elsewhere(1), said_elsewhere(2)]).await;
    accept(store, vec![post(1)]).await;
    assert!(store.delete_project(TENANT, ProjectId(Uuid::from_u128(1)), None).await.unwrap());
    assert!(store.feedback(TENANT, feedback_id(1)).await.unwrap().is_some());
    assert!(store.feedback(TENANT, feedback_id(2)).await.unwrap().is_none(), "its run never came");
    assert!(store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap());
    assert!(store.feedback(TENANT, feedback_id(1)).await.unwrap().is_none());
}

pub(crate) async fn experiments_are_listed_by_their_dataset_and_apart_from_the_rest(store: &dyn Store) {
    let on = |number: u128, dataset: Option<u128>| Project {
        reference_dataset_id: dataset.map(Uuid::from_u128),
        ..project(number, &format!("experiment {number}"))
    };
    for project in [on(1, Some(1)), on(2, Some(2)), on(3, None)] {
        store.create_project(project).await.unwrap();
    }
    let ids = async |query: ProjectQuery| {
        let found = store.list_projects(TENANT, &ProjectQuery { limit: 10, ..query }).await.unwrap();
        found.into_iter().filter(|project| project.name != DEFAULT_PROJECT).map(|one| one.name).collect::<Vec<_>>()
    };
    let by_dataset =
        ProjectQuery { reference_datasets: vec![Uuid::from_u128(2), Uuid::from_u128(7)], ..ProjectQuery::default() };
    assert_eq!(ids(by_dataset).await, ["experiment 2"]);
    assert_eq!(ids(ProjectQuery { is_experiment: Some(false), ..ProjectQuery::default() }).await, ["experiment 3"]);
    assert_eq!(ids(ProjectQuery { is_experiment: Some(true), ..ProjectQuery::default() }).await.len(), 2);
}
