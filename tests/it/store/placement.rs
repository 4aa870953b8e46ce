//! Where rules stand, seen as the scheduler sees it: which changes a rule is shown, and how often.

use std::collections::BTreeMap;

use runhook::model::delivery::DeliveryState;
use runhook::model::id::{EndpointId, RuleId};
use runhook::model::rule::{Rule, RuleState};
use runhook::model::window::{Progress, Seq};
use runhook::store::rules::RuleChanges;
use runhook::store::{Store, StoreError};

use super::sample::{
    PROJECT, TENANT, accept_at, apply, at, cursor, endpoint, found, group, post, project_id, rule, run_id, window,
};

/// How often each change was shown to each rule.
#[derive(Default)]
struct Shown(BTreeMap<(RuleId, Seq), u32>);

impl Shown {
    /// Evaluates the group of these rules through a change, as the scheduler does.
    async fn group(&mut self, store: &dyn Store, rules: &[&Rule], through: Seq) {
        let key = group(rules[0]);
        let from = cursor(store, &key).await;
        let starts = store.starts(TENANT, key.project_id, from.seq).await.unwrap();
        assert!(starts.values().all(|start| *start > from.seq), "only what lies beyond is told");
        for rule in rules {
            let start = starts.get(&rule.id).copied().unwrap_or(0);
            for seq in from.seq.max(start) + 1..=through {
                *self.0.entry((rule.id, seq)).or_default() += 1;
            }
        }
        let window = window(Progress::Group(key), from.seq, through, from.at, at(1000 + through));
        store.commit_window(found(store, window, &[], EndpointId(uuid::Uuid::nil())).await).await.unwrap();
    }

    /// Evaluates all spans.
    async fn spans(&mut self, store: &dyn Store) {
        for span in store.standing(TENANT, project_id(PROJECT)).await.unwrap().spans {
            for seq in span.after + 1..=span.through {
                *self.0.entry((span.rule_id, seq)).or_default() += 1;
            }
            let window = window(Progress::Span(span.rule_id), span.after, span.through, at(0), at(2000));
            store.commit_window(found(store, window, &[], EndpointId(uuid::Uuid::nil())).await).await.unwrap();
        }
    }

    /// That a rule was shown exactly these changes, each once.
    fn assert_once(&self, rule: &Rule, changes: std::ops::RangeInclusive<Seq>) {
        let shown: Vec<_> =
            self.0.iter().filter(|((id, _), _)| *id == rule.id).map(|((_, seq), n)| (*seq, *n)).collect();
        assert_eq!(shown, changes.map(|seq| (seq, 1)).collect::<Vec<_>>(), "{}", rule.key);
    }
}

async fn fill(store: &dyn Store, runs: std::ops::RangeInclusive<u32>) {
    for number in runs {
        accept_at(store, vec![post(number)], at(i64::from(number))).await;
    }
}

pub(crate) async fn a_new_rule_sees_what_comes_after_it(store: &dyn Store) {
    fill(store, 1..=3).await;
    let (a, b) = (rule("a", 60), rule("b", 60));
    apply(store, vec![a.clone()], at(10)).await;
    assert_eq!(cursor(store, &group(&a)).await.seq, 3, "an empty group begins where its first rule does");
    fill(store, 4..=5).await;
    apply(store, vec![b.clone()], at(20)).await;
    fill(store, 6..=7).await;
    let mut shown = Shown::default();
    shown.group(store, &[&a, &b], 7).await;
    shown.assert_once(&a, 4..=7);
    shown.assert_once(&b, 6..=7);
}

pub(crate) async fn a_backfilled_rule_sees_every_change_since_that_instant_once(store: &dyn Store) {
    fill(store, 1..=5).await;
    let mut a = Rule { backfill_from: Some(at(3)), ..rule("a", 60) };
    apply(store, vec![a.clone()], at(10)).await;
    fill(store, 6..=7).await;
    let mut shown = Shown::default();
    shown.group(store, &[&a], 7).await;
    shown.spans(store).await;
    shown.assert_once(&a, 3..=7);
    a.backfill_from = Some(at(2));
    apply(store, vec![a.clone()], at(20)).await;
    shown.spans(store).await;
    shown.assert_once(&a, 2..=7);
}

/// Two groups with their cursors at these changes; then `a` joins the group of `b`.
async fn moved(store: &dyn Store, a_at: Seq, b_at: Seq) {
    let (mut a, b) = (rule("a", 60), rule("b", 5));
    apply(store, vec![a.clone(), b.clone()], at(0)).await;
    fill(store, 1..=10).await;
    let mut shown = Shown::default();
    shown.group(store, &[&a], a_at).await;
    shown.group(store, &[&b], b_at).await;
    a.cadence = b.cadence.clone();
    apply(store, vec![a.clone()], at(30)).await;
    fill(store, 11..=12).await;
    shown.group(store, &[&a, &b], 11).await;
    shown.spans(store).await;
    shown.group(store, &[&a, &b], 12).await;
    shown.assert_once(&a, 1..=12);
    shown.assert_once(&b, 1..=12);
}

pub(crate) async fn a_rule_that_moves_to_a_group_ahead_sees_every_change_once(store: &dyn Store) {
    moved(store, 4, 8).await;
}

pub(crate) async fn a_rule_that_moves_to_a_group_behind_sees_every_change_once(store: &dyn Store) {
    moved(store, 8, 4).await;
}

pub(crate) async fn a_rule_that_moves_to_a_group_of_its_own_sees_every_change_once(store: &dyn Store) {
    let mut a = rule("a", 60);
    apply(store, vec![a.clone()], at(0)).await;
    fill(store, 1..=6).await;
    let mut shown = Shown::default();
    shown.group(store, &[&a], 4).await;
    let version = store.rules_version().await.unwrap();
    store.settle_project(TENANT, project_id(PROJECT), 6, version).await.unwrap();
    a.cadence = rule("b", 5).cadence;
    apply(store, vec![a.clone()], at(30)).await;
    assert_eq!(store.stirred_projects().await.unwrap().len(), 1);
    shown.group(store, &[&a], 6).await;
    shown.assert_once(&a, 1..=6);
    a.cadence = rule("a", 60).cadence;
    apply(store, vec![a.clone()], at(40)).await;
    fill(store, 7..=8).await;
    shown.group(store, &[&a], 8).await;
    shown.assert_once(&a, 1..=8);
}

pub(crate) async fn a_resumed_rule_sees_what_comes_after_that(store: &dyn Store) {
    let a = Rule { backfill_from: Some(at(0)), ..rule("a", 60) };
    fill(store, 1..=2).await;
    apply(store, vec![a.clone()], at(10)).await;
    assert!(store.set_rule_state(TENANT, a.id, RuleState::Paused, at(11), None).await.unwrap());
    assert!(store.active_rules().await.unwrap().rules.is_empty());
    fill(store, 3..=4).await;
    assert!(store.set_rule_state(TENANT, a.id, RuleState::Active, at(12), None).await.unwrap());
    let snapshot = store.active_rules().await.unwrap();
    assert_eq!((snapshot.rules, snapshot.version), (vec![a.clone()], store.rules_version().await.unwrap()));
    fill(store, 5..=6).await;
    let mut shown = Shown::default();
    shown.group(store, &[&a], 6).await;
    shown.spans(store).await;
    shown.assert_once(&a, 5..=6);
    let unknown = RuleId::of_key(TENANT, "unknown");
    assert!(!store.set_rule_state(TENANT, unknown, RuleState::Paused, at(13), None).await.unwrap());
}

pub(crate) async fn a_project_that_comes_after_a_glob_is_seen_from_its_first_change(store: &dyn Store) {
    let a = Rule { project: "sup*".into(), ..rule("a", 60) };
    apply(store, vec![a.clone()], at(0)).await;
    fill(store, 1..=3).await;
    let mut shown = Shown::default();
    shown.group(store, &[&a], 3).await;
    shown.assert_once(&a, 1..=3);
}

pub(crate) async fn rules_are_applied_whole_or_not_at_all(store: &dyn Store) {
    let (a, twin) = (rule("a", 60), Rule { id: rule("b", 60).id, ..rule("a", 60) });
    apply(store, vec![a.clone()], at(0)).await;
    let version = store.rules_version().await.unwrap();
    let changes = RuleChanges { put_rules: vec![rule("c", 60), twin], ..RuleChanges::default() };
    assert!(matches!(store.apply_rules(TENANT, changes, at(1)).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.list_rules(TENANT).await.unwrap(), [a]);
    assert_eq!(store.rules_version().await.unwrap(), version);
}

pub(crate) async fn a_rule_or_an_endpoint_that_is_put_twice_is_a_conflict(store: &dyn Store) {
    let other_key = Rule { key: "b".into(), ..rule("a", 60) };
    let rules = RuleChanges { put_rules: vec![rule("a", 60), other_key], ..RuleChanges::default() };
    let put_endpoints = vec![endpoint(1, None), endpoint(1, Some(rule("a", 60).id))];
    let endpoints = RuleChanges { put_endpoints, ..RuleChanges::default() };
    for changes in [rules, endpoints] {
        let answer = store.apply_rules(TENANT, changes, at(0)).await;
        assert!(matches!(answer, Err(StoreError::Conflict(_))), "{answer:?}");
    }
    assert!(store.list_rules(TENANT).await.unwrap().is_empty());
    assert!(store.list_endpoints(TENANT).await.unwrap().is_empty());
}

pub(crate) async fn a_removed_rule_takes_its_endpoints_and_waiting_deliveries_along(store: &dyn Store) {
    let (a, b) = (rule("a", 60), rule("b", 60));
    let (own, named) = (endpoint(1, Some(a.id)), endpoint(2, None));
    let changes = RuleChanges {
        put_rules: vec![a.clone(), b.clone()],
        put_endpoints: vec![own.clone(), named.clone()],
        ..RuleChanges::default()
    };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
    assert_eq!(store.list_endpoints(TENANT).await.unwrap().len(), 2);
    fill(store, 1..=1).await;
    let window = window(Progress::Group(group(&a)), 0, 1, at(0), at(60));
    let commit = found(store, window, &[(a.id, run_id(1)), (b.id, run_id(1))], named.id).await;
    store.commit_window(commit.clone()).await.unwrap();
    let state = async |index: usize| {
        let delivery = store.delivery(TENANT, commit.deliveries[index].id).await.unwrap().unwrap().0;
        (delivery.state, delivery.finished_at)
    };
    let removal = RuleChanges { remove_rules: vec![a.id], ..RuleChanges::default() };
    store.apply_rules(TENANT, removal, at(70)).await.unwrap();
    assert_eq!(store.list_rules(TENANT).await.unwrap(), [b]);
    assert_eq!(store.list_endpoints(TENANT).await.unwrap(), std::slice::from_ref(&named));
    assert_eq!(state(0).await, (DeliveryState::Failed("rule removed".into()), Some(at(70))));
    assert_eq!(state(1).await, (DeliveryState::Pending, None));
    let removal = RuleChanges { remove_endpoints: vec![named.id], ..RuleChanges::default() };
    store.apply_rules(TENANT, removal, at(80)).await.unwrap();
    assert_eq!(state(1).await, (DeliveryState::Failed("endpoint removed".into()), Some(at(80))));
    assert_eq!(store.matched(TENANT, &[(a.id, run_id(1))]).await.unwrap().len(), 1, "what it matched stays matched");
}
