//! The audit log.

use std::net::IpAddr;

use runhook::model::audit::{Action, Actor, Entry, Object};
use runhook::model::collection::CollectionKind;
use runhook::model::endpoint::Disabled;
use runhook::model::id::{ApiKeyId, AuditId, DeliveryId, EndpointId, ExampleId, QueueId, TenantId};
use runhook::model::rule::RuleState;
use runhook::store::audit::AuditQuery;
use runhook::store::keys::ApiKey;
use runhook::store::rules::{Demand, RuleChanges};
use runhook::store::{Store, StoreError};
use serde_json::json;
use uuid::Uuid;

use super::sample::{PROJECT, TENANT, accept, apply, at, endpoint, feedback_id, post, project_id, rule, run_id, uuid};

/// An entry made so many seconds into the test, by a key of this number.
pub(super) fn entry(number: u32, key: u32, action: Action) -> Entry {
    Entry {
        tenant_id: TENANT,
        id: AuditId(uuid(11, number)),
        at: at(i64::from(number / 2)),
        actor: Actor::ApiKey { id: ApiKeyId(uuid(8, key)), name: format!("key {key}") },
        address: Some(IpAddr::from([10, 0, 0, 1])),
        request_id: Some("r1".to_owned()),
        action,
        object: Object::new("thing", uuid(3, number)),
        detail: Some(json!({"fields": ["filter"]})),
    }
}

pub(super) async fn listed(store: &dyn Store, query: AuditQuery) -> Vec<u128> {
    let entries = store.audit_log(TENANT, &AuditQuery { limit: 100, ..query }).await.unwrap();
    entries.iter().map(|entry| entry.id.0.as_u128() & 0xFFFF).collect()
}

pub(crate) async fn an_entry_is_there_when_its_act_happened_and_only_then(store: &dyn Store) {
    let now = at(1);
    apply(store, vec![rule("a", 60)], at(0)).await;
    accept(store, vec![post(1)]).await;
    let put = RuleChanges { put_endpoints: vec![endpoint(1, None)], ..RuleChanges::default() };
    store.apply_rules(TENANT, put, at(0)).await.unwrap();
    let told = |number| Some(entry(number, 1, Action::UpdateRule));
    let (a, known, unknown) = (rule("a", 60).id, endpoint(1, None).id, EndpointId(uuid(3, 99)));

    let paused = RuleState::Paused;
    assert!(store.set_rule_state(TENANT, a, paused, now, told(1)).await.unwrap());
    assert!(!store.set_rule_state(TENANT, rule("b", 60).id, paused, now, told(2)).await.unwrap());
    let disabled = Some(Disabled { at: now, reason: "test".to_owned() });
    assert!(store.set_endpoint_state(TENANT, known, disabled.clone(), now, told(3)).await.unwrap());
    assert!(!store.set_endpoint_state(TENANT, unknown, disabled, now, told(4)).await.unwrap());
    let changes = |demand, told: Option<Entry>| RuleChanges {
        demands: vec![(unknown, demand)],
        told: told.into_iter().collect(),
        ..RuleChanges::default()
    };
    store.apply_rules(TENANT, changes(Demand::NotThere, told(5)), now).await.unwrap();
    let stale = store.apply_rules(TENANT, changes(Demand::There, told(6)), now).await;
    assert!(matches!(stale, Err(StoreError::Stale(_))), "{stale:?}");
    let key = |number: u8| ApiKey {
        id: ApiKeyId(uuid(8, number.into())),
        tenant_id: TENANT,
        name: "ci".to_owned(),
        hash: [number; 32],
        prefix: "rh_".to_owned(),
        scopes: runhook::model::scope::Scopes::all(),
        created_at: now,
        revoked_at: None,
    };
    store.put_api_key(key(1), told(7)).await.unwrap();
    store.put_api_key(key(1), told(8)).await.unwrap();
    assert!(store.revoke_api_key(key(1).id, now, told(9)).await.unwrap());
    assert!(!store.revoke_api_key(key(1).id, now, told(10)).await.unwrap());
    assert!(!store.delete_feedback(TENANT, feedback_id(1), now, told(12)).await.unwrap());
    assert!(!store.delete_collection(TENANT, CollectionKind::Queue, uuid(9, 1), told(14)).await.unwrap());
    assert!(!store.delete_example(TENANT, ExampleId(uuid(9, 1)), told(16)).await.unwrap());
    assert!(!store.dequeue(TENANT, QueueId(uuid(9, 1)), run_id(1), told(18)).await.unwrap());
    assert_eq!(store.replay(TENANT, &[DeliveryId(uuid(5, 1))], now, told(20)).await.unwrap(), 0);
    assert!(store.delete_project(TENANT, project_id(PROJECT), told(21)).await.unwrap());
    assert!(!store.delete_project(TENANT, project_id(PROJECT), told(22)).await.unwrap());

    let mut found = listed(store, AuditQuery::default()).await;
    found.sort_unstable();
    assert_eq!(found, [1, 3, 5, 7, 9, 21]);
}

pub(crate) async fn entries_are_listed_newest_first_and_by_who_did_what_to_what(store: &dyn Store) {
    let server =
        Entry { actor: Actor::Server, address: None, request_id: None, detail: None, ..entry(5, 1, Action::Wipe) };
    let elsewhere = Entry { tenant_id: TenantId(Uuid::from_u128(9)), ..entry(6, 1, Action::Wipe) };
    let all = [
        entry(1, 1, Action::CreateRule),
        entry(2, 2, Action::CreateRule),
        entry(3, 1, Action::RotateEndpoint),
        entry(4, 2, Action::DeleteRule),
        server,
        elsewhere,
    ];
    for entry in &all {
        store.note(entry.clone()).await.unwrap();
        store.note(entry.clone()).await.unwrap();
    }
    let whole = store.audit_log(TENANT, &AuditQuery { limit: 100, ..AuditQuery::default() }).await.unwrap();
    assert_eq!(whole, [4, 3, 2, 1, 0].map(|index| all[index].clone()), "as they were noted");
    assert_eq!(store.audit_log(TENANT, &AuditQuery { limit: 2, ..AuditQuery::default() }).await.unwrap().len(), 2);

    let any = AuditQuery::default;
    for (query, expected) in [
        (AuditQuery { before: Some((all[3].at, all[3].id)), ..any() }, &[3, 2, 1][..]),
        (AuditQuery { before: Some((all[2].at, all[2].id)), ..any() }, &[2, 1]),
        (AuditQuery { since: Some(at(1)), until: Some(at(2)), ..any() }, &[3, 2]),
        (AuditQuery { actor: Some("key 2".into()), ..any() }, &[4, 2]),
        (AuditQuery { actor: Some(uuid(8, 1).to_string()), ..any() }, &[3, 1]),
        (AuditQuery { actor: Some("server".into()), ..any() }, &[5]),
        (AuditQuery { actor: Some("api-key".into()), ..any() }, &[4, 3, 2, 1]),
        (AuditQuery { actions: vec![Action::CreateRule, Action::DeleteRule], ..any() }, &[4, 2, 1]),
        (AuditQuery { object: Some("thing".into()), actions: vec![Action::RotateEndpoint], ..any() }, &[3]),
        (AuditQuery { object: Some(uuid(3, 2).to_string()), ..any() }, &[2]),
        (AuditQuery { object: Some("nothing' OR '1".into()), ..any() }, &[]),
    ] {
        assert_eq!(listed(store, query.clone()).await, expected, "{query:?}");
    }
}

pub(crate) async fn a_wipe_is_told_and_old_entries_go(store: &dyn Store) {
    for number in [2, 4, 6, 8] {
        store.note(entry(number, 1, Action::CreateRule)).await.unwrap();
    }
    store.wipe(Some(entry(10, 1, Action::Wipe))).await.unwrap();
    assert_eq!(listed(store, AuditQuery::default()).await, [10, 8, 6, 4, 2]);
    let dropped = store.drop_audit(at(3), 1).await.unwrap();
    assert_eq!((dropped.rows, dropped.more), (1, true));
    let dropped = store.drop_audit(at(3), 9).await.unwrap();
    assert_eq!((dropped.rows, dropped.more), (1, false));
    assert_eq!(listed(store, AuditQuery::default()).await, [10, 8, 6]);
}
