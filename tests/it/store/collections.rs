//! Datasets, examples and queues, and what windows add to them.

use runhook::model::audit::Action;
use runhook::model::collection::{Collection, CollectionKind, Example, Queued};
use runhook::model::id::{ApplicationId, DatasetId, EndpointId, ExampleId, QueueId, RuleId, RunId, TenantId};
use runhook::model::run::{BlobKey, BlobRef, Payload};
use runhook::model::window::Progress;
use runhook::store::collections::{ActionsTaken, CollectionQuery, ExampleQuery, Shelved};
use runhook::store::events::EventQuery;
use runhook::store::rule_log::LogQuery;
use runhook::store::windows::WindowCommit;
use runhook::store::{Store, StoreError};
use serde_json::Value;
use uuid::Uuid;

use super::audit::entry;
use super::events::subscribe;
use super::sample::{
    PROJECT, TENANT, accept, apply, at, found, group, json, post, project_id, rule, run_id, uuid, window,
};

const TO: EndpointId = EndpointId(Uuid::from_u128(3));
const BOTH: [CollectionKind; 2] = [CollectionKind::Dataset, CollectionKind::Queue];

pub(super) fn collection(kind: CollectionKind, number: u32, name: &str) -> Collection {
    Collection {
        tenant_id: TENANT,
        kind,
        id: uuid(9, number),
        name: name.into(),
        description: Some("what it is for".into()),
        details: Some(json(r#"{"extra": {"b": 1,"a":2}}"#)),
        created_at: at(i64::from(number)),
        modified_at: at(i64::from(number)),
    }
}

pub(super) fn example(number: u32, dataset: Uuid) -> Example {
    Example {
        tenant_id: TENANT,
        id: ExampleId(uuid(8, number)),
        dataset_id: DatasetId(dataset),
        inputs: Some(Payload::Inline(json(r#"{ "q" : 1.10 }"#))),
        outputs: None,
        metadata: None,
        source_run_id: Some(run_id(number)),
        created_at: at(i64::from(number)),
        modified_at: at(i64::from(number)),
    }
}

async fn names(store: &dyn Store, kind: CollectionKind, query: CollectionQuery) -> Vec<(String, u64)> {
    let found = store.list_collections(TENANT, kind, &query).await.unwrap();
    found.into_iter().map(|(collection, count)| (collection.name, count)).collect()
}

pub(super) async fn of(store: &dyn Store, dataset: Uuid) -> Vec<ExampleId> {
    let query = ExampleQuery { dataset_id: Some(DatasetId(dataset)), limit: 100, ..ExampleQuery::default() };
    store.list_examples(TENANT, &query).await.unwrap().into_iter().map(|example| example.id).collect()
}

pub(crate) async fn collections_have_names_of_their_own_among_their_kind(store: &dyn Store) {
    for kind in BOTH {
        store.create_collection(collection(kind, 1, "one")).await.unwrap();
        for taken in [collection(kind, 2, "one"), collection(kind, 1, "two")] {
            assert!(matches!(store.create_collection(taken).await, Err(StoreError::Conflict(_))));
        }
        store.create_collection(collection(kind, 2, "Two")).await.unwrap();
        let renamed = Collection { name: "one".into(), ..collection(kind, 2, "Two") };
        assert!(matches!(store.update_collection(renamed).await, Err(StoreError::Conflict(_))));
        let missing = store.update_collection(collection(kind, 3, "three")).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))));
        let all = CollectionQuery { limit: 10, ..CollectionQuery::default() };
        assert_eq!(names(store, kind, all.clone()).await, [("Two".into(), 0), ("one".into(), 0)]);
        let named = CollectionQuery { name: Some("one".into()), ..all.clone() };
        let found = store.list_collections(TENANT, kind, &named).await.unwrap();
        assert_eq!(found, [(collection(kind, 1, "one"), 0)]);
        assert_eq!(
            names(store, kind, CollectionQuery { name_contains: Some("tw".into()), ..all.clone() }).await.len(),
            1
        );
        assert_eq!(names(store, kind, CollectionQuery { ids: vec![uuid(9, 1)], ..all.clone() }).await.len(), 1);
        assert_eq!(names(store, kind, CollectionQuery { offset: 1, ..all }).await, [("one".into(), 0)]);
        let elsewhere = TenantId(Uuid::from_u128(9));
        assert!(!store.delete_collection(elsewhere, kind, uuid(9, 1), None).await.unwrap());
        assert!(store.delete_collection(TENANT, kind, uuid(9, 1), None).await.unwrap());
        assert!(!store.delete_collection(TENANT, kind, uuid(9, 1), None).await.unwrap());
    }
}

pub(crate) async fn examples_are_replaced_by_id_and_go_with_their_dataset(store: &dyn Store) {
    store.create_collection(collection(CollectionKind::Dataset, 1, "one")).await.unwrap();
    let (set, other) = (uuid(9, 1), uuid(9, 2));
    let refused = store.put_examples(TENANT, vec![example(1, set), example(2, other)]).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))));
    assert_eq!(of(store, set).await, []);
    store.put_examples(TENANT, vec![example(1, set), example(2, set)]).await.unwrap();
    let changed = Example { metadata: Some(json("{}")), ..example(1, set) };
    store.put_examples(TENANT, vec![changed.clone()]).await.unwrap();
    assert_eq!(of(store, set).await, [example(2, set).id, changed.id]);
    let one = ExampleQuery { ids: vec![changed.id], limit: 1, ..ExampleQuery::default() };
    assert_eq!(store.list_examples(TENANT, &one).await.unwrap(), std::slice::from_ref(&changed));
    let all = CollectionQuery { limit: 10, ..CollectionQuery::default() };
    assert_eq!(names(store, CollectionKind::Dataset, all).await, [("one".into(), 2)]);
    assert!(store.delete_example(TENANT, changed.id, None).await.unwrap());
    assert!(!store.delete_example(TENANT, changed.id, None).await.unwrap());
    assert!(store.delete_collection(TENANT, CollectionKind::Dataset, set, None).await.unwrap());
    assert_eq!(of(store, set).await, []);
}

pub(crate) async fn a_blob_is_named_by_an_example_until_that_goes(store: &dyn Store) {
    store.create_collection(collection(CollectionKind::Dataset, 1, "one")).await.unwrap();
    let key = BlobKey("t/r/inputs-1".into());
    let blob = BlobRef { key: key.clone(), bytes: 100_000, extract: json("{}") };
    let linked = Example { inputs: Some(Payload::Blob(blob)), ..example(1, uuid(9, 1)) };
    store.put_examples(TENANT, vec![linked.clone()]).await.unwrap();
    let unnamed = async || store.unnamed_blobs(TENANT, &[(run_id(1), key.clone())], at(500)).await.unwrap();
    assert_eq!(unnamed().await, []);
    let without = Example { inputs: None, ..linked.clone() };
    store.put_examples(TENANT, vec![without]).await.unwrap();
    assert_eq!(unnamed().await, std::slice::from_ref(&key));
    store.put_examples(TENANT, vec![linked.clone()]).await.unwrap();
    assert!(store.delete_example(TENANT, linked.id, None).await.unwrap());
    assert_eq!(unnamed().await, std::slice::from_ref(&key));
}

pub(crate) async fn queued_runs_come_in_their_order_and_once(store: &dyn Store) {
    store.create_collection(collection(CollectionKind::Queue, 1, "one")).await.unwrap();
    accept(store, vec![post(1), post(2), post(3)]).await;
    let queue = QueueId(uuid(9, 1));
    let waiting = async || {
        let found = store.queued_runs(TENANT, queue, 10, 0).await.unwrap();
        found.into_iter().map(|(run, _)| run).collect::<Vec<RunId>>()
    };
    assert!(!store.enqueue(TENANT, QueueId(uuid(9, 2)), &[run_id(1)], at(1)).await.unwrap());
    assert!(store.enqueue(TENANT, queue, &[run_id(3), run_id(1)], at(1)).await.unwrap());
    assert!(store.enqueue(TENANT, queue, &[run_id(2), run_id(3), run_id(77)], at(2)).await.unwrap());
    assert_eq!(waiting().await, [run_id(3), run_id(1), run_id(2)], "a run that is not there is not shown");
    assert_eq!(store.queued_runs(TENANT, queue, 1, 1).await.unwrap(), [(run_id(1), at(1))]);
    assert!(store.dequeue(TENANT, queue, run_id(1), None).await.unwrap());
    assert!(!store.dequeue(TENANT, queue, run_id(1), None).await.unwrap());
    store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap();
    accept(store, vec![post(2)]).await;
    assert_eq!(waiting().await, [], "it left the queue with its project");
}

/// A commit of one match whose rule fills a dataset and a queue.
async fn acting(store: &dyn Store, after: i64, run: u32, rule_id: RuleId) -> WindowCommit {
    let of_group = group(&rule("a", 60));
    let window = window(Progress::Group(of_group), after, after + 1, at(0), at(60 + after));
    let made = Example { id: ExampleId(uuid(8, run)), ..example(run, uuid(9, 1)) };
    let actions = ActionsTaken {
        examples: vec![(rule_id, made)],
        queued: vec![(rule_id, Queued { queue_id: QueueId(uuid(9, 2)), run_id: run_id(run) })],
    };
    WindowCommit { actions, ..found(store, window, &[(rule_id, run_id(run))], TO).await }
}

pub(crate) async fn what_a_match_asks_for_happens_with_it_or_not_at_all(store: &dyn Store) {
    let rule = rule("a", 60);
    apply(store, vec![rule.clone()], at(0)).await;
    accept(store, vec![post(1), post(2)]).await;
    store.create_collection(collection(CollectionKind::Dataset, 1, "set")).await.unwrap();
    store.create_collection(collection(CollectionKind::Queue, 2, "queue")).await.unwrap();
    subscribe(store, 10, 0, &["record.created"], &[]).await;
    let state = async || {
        let queued = store.queued_runs(TENANT, QueueId(uuid(9, 2)), 10, 0).await.unwrap();
        (of(store, uuid(9, 1)).await.len(), queued.len())
    };
    let first = acting(store, 0, 1, rule.id).await;
    let outdated = WindowCommit { rules_version: first.rules_version - 1, ..first.clone() };
    assert!(matches!(store.commit_window(outdated).await, Err(StoreError::Stale(_))));
    assert_eq!(state().await, (0, 0));
    store.commit_window(first.clone()).await.unwrap();
    assert!(matches!(store.commit_window(first).await, Err(StoreError::Stale(_))));
    assert_eq!(state().await, (1, 1));
    assert!(store.delete_collection(TENANT, CollectionKind::Queue, uuid(9, 2), None).await.unwrap());
    store.commit_window(acting(store, 1, 2, rule.id).await).await.unwrap();
    assert_eq!(state().await, (2, 0));
    assert_eq!(told(store).await.len(), 2, "each example once, with the match that made it");
    let log = store.rule_log(TENANT, rule.id, &LogQuery { limit: 10, ..LogQuery::default() }).await.unwrap();
    let outcomes: Vec<Value> = log.iter().map(|entry| entry.outcome.as_ref().unwrap().read().unwrap()).collect();
    let told = |at: usize, action: &str| outcomes[at][action]["outcome"].as_str().unwrap().to_owned();
    assert_eq!([told(1, "add_to_dataset"), told(1, "add_to_annotation_queue")], ["success", "success"]);
    assert_eq!([told(0, "add_to_dataset"), told(0, "add_to_annotation_queue")], ["success", "error"]);
}

pub(crate) async fn what_collections_hold_of_a_run_is_told(store: &dyn Store) {
    accept(store, vec![post(1), post(2), post(3)]).await;
    store.create_collection(collection(CollectionKind::Dataset, 1, "one")).await.unwrap();
    for number in 2..=3 {
        store.create_collection(collection(CollectionKind::Queue, number, &number.to_string())).await.unwrap();
    }
    let (set, [early, late]) = (uuid(9, 1), [2, 3].map(|number| QueueId(uuid(9, number))));
    store
        .put_examples(TENANT, vec![example(1, set), Example { source_run_id: None, ..example(3, set) }])
        .await
        .unwrap();
    assert!(store.enqueue(TENANT, early, &[run_id(1), run_id(2)], at(10)).await.unwrap());
    assert!(store.enqueue(TENANT, late, &[run_id(2)], at(20)).await.unwrap());
    let all = [1, 2, 3].map(run_id);
    let held = |in_dataset, queued_at: Option<i64>| Shelved { in_dataset, queued_at: queued_at.map(at) };
    let found = store.shelved(TENANT, &all).await.unwrap();
    assert_eq!(found, [(run_id(1), held(true, Some(10))), (run_id(2), held(false, Some(20)))].into());
    assert!(store.dequeue(TENANT, late, run_id(2), None).await.unwrap());
    assert!(store.delete_example(TENANT, example(1, set).id, None).await.unwrap());
    let found = store.shelved(TENANT, &all).await.unwrap();
    assert_eq!(found, [(run_id(1), held(false, Some(10))), (run_id(2), held(false, Some(10)))].into());
    assert!(store.shelved(TenantId(Uuid::from_u128(9)), &all).await.unwrap().is_empty());
}

/// What was told of datasets and examples, oldest first: the type, and its data.
async fn told(store: &dyn Store) -> Vec<(String, Value)> {
    let query = EventQuery { application_id: Some(ApplicationId::TENANT), limit: 99, ..EventQuery::default() };
    let mut found = store.events(TENANT, &query).await.unwrap();
    found.reverse();
    let read = |json: &str| serde_json::from_str(json).unwrap();
    found.into_iter().map(|told| (told.event.event_type, read(&told.message.body.json))).collect()
}

pub(crate) async fn what_becomes_of_datasets_and_examples_is_told_as_argilla_tells_it(store: &dyn Store) {
    let unheard = collection(CollectionKind::Dataset, 1, "unheard");
    store.create_collection(unheard.clone()).await.unwrap();
    store.put_examples(TENANT, vec![example(1, unheard.id)]).await.unwrap();
    assert!(told(store).await.is_empty(), "nobody asks");
    let types =
        ["dataset.created", "dataset.updated", "dataset.deleted", "record.created", "record.updated", "record.deleted"];
    subscribe(store, 10, 0, &types, &[]).await;

    let dataset = collection(CollectionKind::Dataset, 2, "Fragen und Antworten");
    store.create_collection(dataset.clone()).await.unwrap();
    store.create_collection(collection(CollectionKind::Queue, 3, "queue")).await.unwrap();
    let taken = collection(CollectionKind::Dataset, 4, "unheard");
    assert!(matches!(store.create_collection(taken).await, Err(StoreError::Conflict(_))));
    let renamed = Collection { name: "FAQ".into(), modified_at: at(10), ..dataset.clone() };
    store.update_collection(renamed).await.unwrap();
    let blob = BlobRef { key: BlobKey("t/r/o".into()), bytes: 9, extract: json("{}") };
    let made = Example {
        outputs: Some(Payload::Inline(json("[1.50]"))),
        metadata: Some(json(r#"{"level": 3}"#)),
        created_at: at(20),
        modified_at: at(20),
        ..example(11, dataset.id)
    };
    store.put_examples(TENANT, vec![made.clone()]).await.unwrap();
    let other = Example { created_at: at(21), modified_at: at(21), ..example(12, dataset.id) };
    let changed = Example { outputs: Some(Payload::Blob(blob)), modified_at: at(22), ..made.clone() };
    store.put_examples(TENANT, vec![other, changed.clone()]).await.unwrap();
    let nowhere = Example { modified_at: at(23), ..example(13, uuid(9, 77)) };
    assert!(store.put_examples(TENANT, vec![nowhere]).await.is_err());
    let act = |number| Some(entry(number, 1, Action::DeleteExample));
    assert!(store.delete_example(TENANT, made.id, act(60)).await.unwrap());
    assert!(!store.delete_example(TENANT, made.id, act(61)).await.unwrap());
    assert!(store.delete_collection(TENANT, CollectionKind::Dataset, dataset.id, act(80)).await.unwrap());

    let told = told(store).await;
    let kinds: Vec<_> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = [
        "dataset.created",
        "dataset.updated",
        "record.created",
        "record.created",
        "record.updated",
        "record.deleted",
        "dataset.deleted",
    ];
    assert_eq!(kinds, expected);
    let (created, first, second, deleted) = (&told[0].1, &told[2].1, &told[4].1, &told[5].1);
    assert_eq!((&created["name"], &created["status"]), (&"Fragen und Antworten".into(), &"ready".into()));
    assert_eq!((&created["workspace"]["id"], &told[1].1["name"]), (&TENANT.to_string().into(), &"FAQ".into()));
    assert_eq!(first["fields"].to_string(), r#"{"inputs":{"q":1.1},"outputs":"[1.50]"}"#);
    assert_eq!((&first["metadata"]["level"], &first["status"]), (&3.into(), &"pending".into()));
    assert_eq!((&first["external_id"], &first["dataset"]["name"]), (&run_id(11).to_string().into(), &"FAQ".into()));
    assert_eq!((&second["id"], &second["fields"]["outputs"]), (&made.id.to_string().into(), &Value::Null));
    assert_eq!(deleted["id"], second["id"]);
}
