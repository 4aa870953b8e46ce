//! What rules did, and rules that look at once.

use runhook::model::id::EndpointId;
use runhook::model::rule::{Registration, Rule};
use runhook::model::window::Progress;
use runhook::store::Store;
use runhook::store::rule_log::LogQuery;
use runhook::store::rules::RuleChanges;

use super::sample::{
    PROJECT, TENANT, accept, accept_at, apply, at, found, group, post, project_id, rule, run_id, window,
};

const TO: EndpointId = EndpointId(uuid::Uuid::from_u128(3));

pub(crate) async fn matches_are_logged_newest_first_with_their_windows(store: &dyn Store) {
    let rule = rule("a", 60);
    apply(store, vec![rule.clone()], at(0)).await;
    accept(store, vec![post(1), post(2), post(3)]).await;
    let first = window(Progress::Group(group(&rule)), 0, 1, at(0), at(60));
    store.commit_window(found(store, first, &[(rule.id, run_id(1))], TO).await).await.unwrap();
    let second = window(Progress::Group(group(&rule)), 1, 3, at(60), at(120));
    let matches = [(rule.id, run_id(2)), (rule.id, run_id(3))];
    store.commit_window(found(store, second, &matches, TO).await).await.unwrap();
    let log = async |query: LogQuery| {
        let found = store.rule_log(TENANT, rule.id, &query).await.unwrap();
        found.into_iter().map(|entry| entry.run_id).collect::<Vec<_>>()
    };
    let all = LogQuery { limit: 10, ..LogQuery::default() };
    assert_eq!(log(all.clone()).await, [run_id(3), run_id(2), run_id(1)]);
    assert_eq!(log(LogQuery { limit: 1, offset: 1, ..all.clone() }).await, [run_id(2)]);
    assert_eq!(log(LogQuery { before: Some((at(120), run_id(2))), ..all.clone() }).await, [run_id(1)]);
    assert_eq!(log(LogQuery { from: Some(at(61)), ..all.clone() }).await, [run_id(3), run_id(2)]);
    assert_eq!(log(LogQuery { until: Some(at(120)), ..all.clone() }).await, [run_id(1)]);
    assert_eq!(log(LogQuery { project_id: Some(project_id("other")), ..all.clone() }).await, []);
    assert_eq!(log(LogQuery { is_span: Some(true), ..all.clone() }).await, []);
    assert_eq!(log(LogQuery { is_span: Some(false), ..all.clone() }).await.len(), 3);
    let newest = store.rule_log(TENANT, rule.id, &LogQuery { limit: 1, ..all }).await.unwrap().remove(0);
    assert_eq!((newest.applied_at, newest.window), (at(120), Some((at(60), at(120)))));
    assert_eq!((newest.run_name.as_deref(), newest.run_type.as_deref()), (Some("run 3"), Some("chain")));
}

pub(crate) async fn a_hastened_rule_gets_what_its_group_has_yet_to_pass_as_a_span(store: &dyn Store) {
    let (hastened, other) = (rule("a", 60), rule("b", 60));
    apply(store, vec![hastened.clone(), other], at(0)).await;
    accept(store, vec![post(1), post(2)]).await;
    let first = window(Progress::Group(group(&hastened)), 0, 1, at(0), at(60));
    store.commit_window(found(store, first, &[], TO).await).await.unwrap();
    let hasten = async || {
        let changes = RuleChanges { hasten_rules: vec![hastened.id], ..RuleChanges::default() };
        store.apply_rules(TENANT, changes, at(70)).await.unwrap();
    };
    hasten().await;
    let standing = store.standing(TENANT, project_id(PROJECT)).await.unwrap();
    let spans: Vec<_> = standing.spans.iter().map(|span| (span.rule_id, span.after, span.through)).collect();
    assert_eq!(spans, [(hastened.id, 1, 2)]);
    let starts = store.starts(TENANT, project_id(PROJECT), 0).await.unwrap();
    assert_eq!(starts.get(&hastened.id), Some(&2));
    hasten().await;
    assert_eq!(store.standing(TENANT, project_id(PROJECT)).await.unwrap().spans, standing.spans, "there is no more");
}

pub(crate) async fn a_rule_that_belongs_to_a_project_keeps_its_place_when_that_is_renamed(store: &dyn Store) {
    accept(store, vec![post(1)]).await;
    let (created_at, updated_at) = (at(0), at(0));
    let registration = Registration { project_id: project_id(PROJECT), created_at, updated_at, backfilled_at: None };
    let belonging = Rule { registration: Some(registration), ..rule("a", 60) };
    apply(store, vec![belonging.clone(), rule("b", 60)], at(0)).await;
    accept(store, vec![post(2)]).await;
    let mut project = store.project(TENANT, project_id(PROJECT)).await.unwrap().unwrap();
    "renamed".clone_into(&mut project.name);
    store.update_project(project).await.unwrap();
    let names: Vec<String> = store.list_rules(TENANT).await.unwrap().into_iter().map(|rule| rule.project).collect();
    assert_eq!(names, ["renamed", PROJECT]);
    let starts = store.starts(TENANT, project_id(PROJECT), 0).await.unwrap();
    assert_eq!(starts.get(&belonging.id), Some(&1), "it has not seen the second change");
}

pub(crate) async fn the_last_change_before_an_instant_is_found(store: &dyn Store) {
    for number in 1..=3 {
        accept_at(store, vec![post(number)], at(10 * i64::from(number))).await;
    }
    let before = async |seconds| store.last_change_before(TENANT, project_id(PROJECT), at(seconds)).await.unwrap();
    assert_eq!((before(10).await, before(11).await, before(30).await, before(99).await), (0, 1, 2, 3));
}
