//! Deliveries that failed: in the order of their ends, and counted.

use runhook::model::delivery::{Attempt, AttemptResult, Outcome};
use runhook::model::id::{DeliveryId, EndpointId, TenantId};
use runhook::model::message::Source;
use runhook::model::window::Progress;
use runhook::store::Store;
use runhook::store::failed::{FailedCount, FailedQuery};
use runhook::store::outbox::{Claimant, DeliveryQuery};
use runhook::store::rules::RuleChanges;

use crate::support::outbox;

use super::sample::{TENANT, accept, at, endpoint, found, group, post, rule, run_id, uuid, window};

/// Five deliveries that were made one after the other, of two rules to two endpoints, each tried a while later and in the
/// opposite order: the fourth is delivered, and the others fail. Their ids in the order in which they were made.
async fn failures(store: &dyn Store) -> Vec<DeliveryId> {
    let (one, other) = (rule("a", 60), rule("b", 120));
    let changes = RuleChanges {
        put_rules: vec![one.clone(), other.clone()],
        put_endpoints: vec![endpoint(1, None), endpoint(2, None)],
        ..RuleChanges::default()
    };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
    accept(store, (1..=5).map(post).collect()).await;
    let mut made = Vec::new();
    for number in 1..=5_u32 {
        let seq = i64::from(number);
        let (rule, to, from) = if number == 3 { (&other, 2, 0) } else { (&one, 1, seq - 1) };
        let window =
            window(Progress::Group(group(rule)), if number == 4 { 2 } else { from }, seq, at(seq - 1), at(seq));
        let mut commit = found(store, window, &[(rule.id, run_id(number))], EndpointId(uuid(3, to))).await;
        commit.deliveries[0].due_at = at(100 - seq);
        commit.deliveries[0].created_at = at(seq);
        made.push(commit.deliveries[0].id);
        store.commit_window(commit).await.unwrap();
    }
    for (second, status) in [(95, 503), (96, 200), (97, 404), (98, 503), (99, 0)] {
        let claimant = Claimant { holder: uuid(9, 1), now: at(second), until: at(second + 50) };
        let claim = outbox::claim(store, claimant, 1).await.unwrap().remove(0);
        let result = if status == 0 { AttemptResult::TimedOut } else { AttemptResult::answered(status) };
        let outcome = match status {
            200 => Outcome::Delivered,
            0 => Outcome::Failed("no answer".into()),
            status => Outcome::Failed(format!("answered {status}")),
        };
        let attempt =
            Attempt { number: claim.lease.attempt, started_at: at(second), duration_ms: 0, request: None, result };
        outbox::finish(store, &claim.lease, attempt, outcome).await.unwrap();
    }
    made
}

async fn ids(store: &dyn Store, query: FailedQuery) -> Vec<DeliveryId> {
    let query = FailedQuery { limit: if query.limit == 0 { 10 } else { query.limit }, ..query };
    store.failed_deliveries(TENANT, &query).await.unwrap().into_iter().map(|delivery| delivery.id).collect()
}

pub(crate) async fn failed_deliveries_are_listed_in_the_order_of_their_ends(store: &dyn Store) {
    let made = failures(store).await;
    let any = FailedQuery::default();
    assert_eq!(ids(store, any.clone()).await, [made[0], made[1], made[2], made[4]]);
    let first = store.failed_deliveries(TENANT, &FailedQuery { limit: 2, ..any.clone() }).await.unwrap();
    let before = first.last().map(|last| (last.finished_at.unwrap(), last.id));
    assert_eq!(ids(store, FailedQuery { before, ..any.clone() }).await, [made[2], made[4]]);
    assert_eq!(ids(store, FailedQuery { endpoint_id: Some(EndpointId(uuid(3, 2))), ..any.clone() }).await, [made[2]]);
    assert_eq!(ids(store, FailedQuery { rule_id: Some(rule("b", 120).id), ..any.clone() }).await, [made[2]]);
    assert_eq!(ids(store, FailedQuery { statuses: Some((500, 599)), ..any.clone() }).await, [made[1], made[4]]);
    assert_eq!(ids(store, FailedQuery { since: Some(at(98)), ..any.clone() }).await, [made[0], made[1]]);
    assert_eq!(ids(store, FailedQuery { until: Some(at(98)), ..any.clone() }).await, [made[2], made[4]]);
    let other = store.failed_deliveries(TenantId(uuid(7, 7)), &FailedQuery { limit: 10, ..any }).await.unwrap();
    assert_eq!(other, []);
}

pub(crate) async fn failed_deliveries_are_counted_by_endpoint_and_rule_with_their_last_reason(store: &dyn Store) {
    failures(store).await;
    let counted = |to: u32, of: &str, period: u64, count: u64, second: i64, why: &str| FailedCount {
        endpoint_id: EndpointId(uuid(3, to)),
        source: Source::Rule(rule(of, period).id),
        count,
        last_at: at(second),
        last_reason: why.to_owned(),
    };
    let limit = FailedQuery { limit: 10, ..FailedQuery::default() };
    let all = store.count_failed(TENANT, &limit).await.unwrap();
    assert_eq!(all, [counted(1, "a", 60, 3, 99, "no answer"), counted(2, "b", 120, 1, 97, "answered 404")]);
    let until = FailedQuery { until: Some(at(99)), ..limit.clone() };
    assert_eq!(store.count_failed(TENANT, &until).await.unwrap()[0], counted(1, "a", 60, 2, 98, "answered 503"));
    let last = FailedQuery { limit: 2, ..limit };
    assert_eq!(store.count_failed(TENANT, &last).await.unwrap(), [counted(1, "a", 60, 2, 99, "no answer")]);
}

pub(crate) async fn deliveries_are_selected_by_their_last_answer_and_until_an_instant(store: &dyn Store) {
    let made = failures(store).await;
    let list = async |query: DeliveryQuery| -> Vec<DeliveryId> {
        let found = store.list_deliveries(TENANT, &DeliveryQuery { limit: 10, ..query }).await.unwrap();
        found.into_iter().map(|delivery| delivery.id).collect()
    };
    let any = DeliveryQuery::default();
    assert_eq!(list(DeliveryQuery { statuses: Some((200, 299)), ..any.clone() }).await, [made[3]]);
    assert_eq!(list(DeliveryQuery { statuses: Some((404, 404)), ..any.clone() }).await, [made[2]]);
    assert_eq!(list(DeliveryQuery { until: Some(at(3)), ..any.clone() }).await, [made[1], made[0]]);
    assert_eq!(list(DeliveryQuery { since: Some(at(2)), until: Some(at(3)), ..any }).await, [made[1]]);
}
