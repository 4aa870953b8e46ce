//! What rules and endpoints are called, and what must hold of endpoints for changes to be applied.

use runhook::model::endpoint::Endpoint;
use runhook::model::id::EndpointId;
use runhook::store::names::EndpointMark;
use runhook::store::rules::{Demand, RuleChanges};
use runhook::store::{Store, StoreError};

use super::sample::{TENANT, at, endpoint, rule, uuid};

fn named(number: u32, key: &str) -> Endpoint {
    Endpoint { key: Some(key.to_owned()), ..endpoint(number, None) }
}

fn unnamed(number: u32) -> Endpoint {
    Endpoint { key: None, ..endpoint(number, None) }
}

async fn put(store: &dyn Store, put_endpoints: Vec<Endpoint>) {
    let changes = RuleChanges { put_endpoints, ..RuleChanges::default() };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
}

pub(crate) async fn endpoints_are_listed_page_by_page_named_ones_first(store: &dyn Store) {
    put(store, vec![unnamed(1), named(4, "b"), unnamed(3), named(2, "a"), named(5, "B")]).await;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.endpoint_page(TENANT, after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(EndpointMark::of(last));
        found.extend(page.into_iter().map(|endpoint| endpoint.id));
    }
    assert_eq!(found, [5, 2, 4, 1, 3].map(|number| EndpointId(uuid(3, number))));
}

pub(crate) async fn names_are_looked_up_and_those_of_others_are_not(store: &dyn Store) {
    put(store, vec![named(1, "oncall"), unnamed(2)]).await;
    let one = rule("a", 60);
    let changes = RuleChanges { put_rules: vec![one.clone(), rule("b", 60)], ..RuleChanges::default() };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
    let unknown = runhook::model::id::RuleId(uuid(4, 99));
    assert_eq!(store.rule_keys(TENANT, &[one.id, unknown]).await.unwrap(), [(one.id, "a".to_owned())]);
    assert_eq!(store.endpoint_of_key(TENANT, "oncall").await.unwrap().unwrap().id, EndpointId(uuid(3, 1)));
    assert_eq!(store.endpoint_of_key(TENANT, "onca").await.unwrap(), None);
    let found = store.endpoints(TENANT, &[EndpointId(uuid(3, 2)), EndpointId(uuid(3, 9))]).await.unwrap();
    assert_eq!(found, [unnamed(2)]);
    let other = runhook::model::id::TenantId(uuid(7, 7));
    assert_eq!(store.rule_keys(other, &[one.id]).await.unwrap(), []);
    assert_eq!(store.endpoint_of_key(other, "oncall").await.unwrap(), None);
    assert_eq!(store.endpoint_page(other, None, 10).await.unwrap(), []);
}

pub(crate) async fn changes_are_applied_only_while_endpoints_are_as_is_asked(store: &dyn Store) {
    put(store, vec![named(1, "oncall")]).await;
    let sends = |number: u32| {
        let mut rule = rule("a", 60);
        rule.endpoints = vec![EndpointId(uuid(3, number))];
        rule
    };
    let refused = async |number: u32, demand: Demand, changes: RuleChanges| {
        let demands = vec![(EndpointId(uuid(3, number)), demand)];
        let answer = store.apply_rules(TENANT, RuleChanges { demands, ..changes }, at(1)).await;
        match answer {
            Ok(()) => false,
            Err(StoreError::Stale(_)) => true,
            Err(other) => panic!("{other}"),
        }
    };
    let with = |rule| RuleChanges { put_rules: vec![rule], ..RuleChanges::default() };
    assert!(refused(2, Demand::There, with(sends(2))).await);
    assert!(store.list_rules(TENANT).await.unwrap().is_empty(), "nothing was applied");
    assert!(!refused(1, Demand::There, with(sends(1))).await);
    let create = || RuleChanges { put_endpoints: vec![named(1, "oncall")], ..RuleChanges::default() };
    assert!(refused(1, Demand::NotThere, create()).await);
    let remove = || RuleChanges { remove_endpoints: vec![EndpointId(uuid(3, 1))], ..RuleChanges::default() };
    assert!(refused(1, Demand::Unused, remove()).await);
    assert_eq!(store.list_endpoints(TENANT).await.unwrap().len(), 1);
    let elsewhere = RuleChanges { put_rules: vec![sends(2)], ..remove() };
    assert!(!refused(1, Demand::Unused, elsewhere).await, "what the rule sends to after the changes counts");
    assert!(!refused(1, Demand::NotThere, create()).await);
}
