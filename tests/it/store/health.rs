//! What attempts leave on their endpoints: since when one fails, its circuit, that it is disabled, and who hears of it.

use runhook::model::audit::Action;
use runhook::model::delivery::{DeliveryState, Outcome};
use runhook::model::endpoint::{Disabled, Endpoint};
use runhook::model::event::Told;
use runhook::model::health::{Circuit, Health, Turn};
use runhook::model::id::{ApplicationId, DeliveryId};
use runhook::model::message::Source;
use runhook::payload::notice;
use runhook::store::Store;
use runhook::store::audit::AuditQuery;
use runhook::store::events::EventQuery;
use runhook::store::outbox::{Aftermath, Claim, DeliveryQuery, Finished, GivenUp, Notice, Overdue};
use runhook::store::rules::RuleChanges;
use serde_json::Value;

use super::audit::{entry, listed};
use super::events::subscribe;
use super::outbox::{attempt, claim, sent_to, three_endpoints};
use super::sample::{TENANT, at, endpoint, rule};

async fn stored(store: &dyn Store, number: u32) -> Endpoint {
    store.endpoints(TENANT, &[endpoint(number, None).id]).await.unwrap().pop().unwrap()
}

/// Claims the delivery of a run to one endpoint, at so many seconds.
async fn claimed(store: &dyn Store, run: u32, number: u32, now: i64) -> Claim {
    sent_to(store, run, &[number]).await;
    claim_of(store, run, number, now).await
}

async fn claim_of(store: &dyn Store, holder: u32, number: u32, now: i64) -> Claim {
    let claims = claim(store, holder, now, now + 10, 1).await;
    claims.into_iter().find(|claim| claim.endpoint.id == endpoint(number, None).id).unwrap()
}

async fn finish(store: &dyn Store, finished: Vec<Finished>) {
    for answer in store.finish_attempts(&finished).await.unwrap() {
        answer.unwrap();
    }
}

/// An attempt that began at so many seconds and was answered so after one.
fn answered(claim: &Claim, second: i64, status: u16, aftermath: Aftermath) -> Finished {
    let outcome = if status == 200 { Outcome::Delivered } else { Outcome::Failed("no".to_owned()) };
    Finished { aftermath, ..Finished::new(claim.lease.clone(), attempt(claim, at(second), status), outcome) }
}

fn none() -> Aftermath {
    Aftermath::default()
}

pub(crate) async fn since_when_an_endpoint_fails_is_known_until_it_takes_something(store: &dyn Store) {
    three_endpoints(store, 6).await;
    let failing_since = async || stored(store, 1).await.health.failing_since;
    let first = claimed(store, 1, 1, 100).await;
    finish(store, vec![answered(&first, 100, 500, none())]).await;
    assert_eq!(failing_since().await, Some(at(101)));
    let second = claimed(store, 2, 1, 200).await;
    assert_eq!(second.endpoint.health.failing_since, Some(at(101)), "a claim brings it along");
    finish(store, vec![answered(&second, 200, 404, none())]).await;
    assert_eq!(failing_since().await, Some(at(101)), "the first failure counts");
    let third = claimed(store, 3, 1, 300).await;
    finish(store, vec![answered(&third, 300, 200, none())]).await;
    assert_eq!(failing_since().await, None);
    let (fourth, fifth) = (claimed(store, 4, 1, 400).await, claimed(store, 5, 1, 400).await);
    finish(store, vec![answered(&fifth, 405, 500, none()), answered(&fourth, 400, 200, none())]).await;
    assert_eq!(failing_since().await, Some(at(406)), "attempts count in the order they were made in");
    let again = RuleChanges { put_endpoints: vec![endpoint(1, None)], ..RuleChanges::default() };
    store.apply_rules(TENANT, again, at(500)).await.unwrap();
    assert_eq!(stored(store, 1).await.health, Health::default(), "an endpoint that is changed starts afresh");
}

pub(crate) async fn a_circuit_stands_with_its_endpoint_until_it_is_closed(store: &dyn Store) {
    three_endpoints(store, 5).await;
    let circuit = Circuit { until: at(500), openings: 3 };
    let turned = |turn| Aftermath { turn: Some(turn), ..Aftermath::default() };
    let first = claimed(store, 1, 1, 100).await;
    finish(store, vec![answered(&first, 100, 500, turned(Turn::Open(circuit)))]).await;
    assert_eq!(stored(store, 1).await.health.circuit, Some(circuit));
    sent_to(store, 2, &[1, 2]).await;
    let waiting = store.waiting(None, 5).await.unwrap();
    assert_eq!(waiting.iter().map(|one| one.circuit).collect::<Vec<_>>(), [Some(circuit), None]);
    let probe = claim_of(store, 2, 1, 500).await;
    assert_eq!(probe.endpoint.health.circuit, Some(circuit));
    finish(store, vec![answered(&probe, 500, 200, turned(Turn::Close))]).await;
    assert_eq!(stored(store, 1).await.health, Health::default());
    let third = claimed(store, 3, 1, 600).await;
    finish(store, vec![answered(&third, 600, 500, turned(Turn::Open(circuit)))]).await;
    assert!(store.set_endpoint_state(TENANT, endpoint(1, None).id, None, at(700), None).await.unwrap());
    assert_eq!(stored(store, 1).await.health, Health::default(), "whoever enables it wants it tried");
}

fn disabled(second: i64) -> Disabled {
    Disabled { at: at(second), reason: "it fails".to_owned() }
}

/// That an endpoint is given up if it has failed since then, and that the second endpoint hears of it.
fn given_up(number: u32, since: i64, second: i64) -> Aftermath {
    let message = notice::endpoint_disabled(&endpoint(number, None), &disabled(second), Some(at(since))).unwrap();
    Aftermath {
        turn: None,
        given_up: Some(GivenUp { failing_since: at(since), disabled: disabled(second) }),
        notice: Some(Notice { to: "endpoint-2".to_owned(), message }),
        told: Some(entry(number, 1, Action::DisableEndpoint)),
        overdue: None,
    }
}

pub(crate) async fn an_endpoint_that_is_given_up_is_disabled_and_told_of_once(store: &dyn Store) {
    three_endpoints(store, 6).await;
    let first = claimed(store, 1, 1, 100).await;
    finish(store, vec![answered(&first, 100, 500, none())]).await;
    let (early, one, other) =
        (claimed(store, 2, 1, 200).await, claimed(store, 3, 1, 200).await, claimed(store, 4, 1, 200).await);
    finish(store, vec![answered(&early, 200, 500, given_up(1, 90, 201))]).await;
    assert_eq!(stored(store, 1).await.disabled, None, "it has failed since another instant than was thought");
    assert!(listed(store, AuditQuery::default()).await.is_empty());
    let waits = sent_to(store, 5, &[1]).await.deliveries[0].clone();
    let both = [answered(&one, 201, 500, given_up(1, 101, 202)), answered(&other, 202, 500, given_up(1, 101, 203))];
    finish(store, both.to_vec()).await;
    let gone = stored(store, 1).await;
    assert_eq!((gone.disabled, gone.health), (Some(disabled(202)), Health::default()));
    assert_eq!(listed(store, AuditQuery::default()).await, [1], "the log says it once");
    let (ended, _) = store.delivery(TENANT, waits.id).await.unwrap().unwrap();
    assert_eq!(ended.state, DeliveryState::Failed("endpoint disabled".to_owned()));
    let told = claim(store, 9, 300, 310, 10).await;
    assert_eq!(told.len(), 1, "one message, however many attempts disabled it");
    assert_eq!(told[0].endpoint.id, endpoint(2, None).id);
    let message = store.message(TENANT, told[0].delivery.message_id).await.unwrap().unwrap();
    assert_eq!((message.source, message.window_id), (Source::Endpoint(endpoint(1, None).id), None));
    assert_eq!(Some(message), given_up(1, 101, 202).notice.map(|notice| notice.message));
}

pub(crate) async fn what_has_waited_too_long_ends_and_what_is_under_way_does_not(store: &dyn Store) {
    three_endpoints(store, 9).await;
    let probe = claimed(store, 1, 1, 100).await;
    let under_way = claimed(store, 2, 1, 100).await;
    let tried = claimed(store, 3, 1, 100).await;
    let retried = Outcome::Retry(at(150));
    finish(store, vec![Finished::new(tried.lease.clone(), attempt(&tried, at(100), 500), retried)]).await;
    let mut waits = Vec::new();
    for (run, number) in [(4, 1), (5, 1), (6, 2)] {
        waits.push(sent_to(store, run, &[number]).await.deliveries[0].clone());
    }
    let until = waits[0].due_at;
    assert!(until < at(100), "they have waited longer than the others");
    let overdue = |ready_until| Aftermath {
        overdue: Some(Overdue { ready_until, at: at(200), reason: "waited 1d".to_owned() }),
        ..Aftermath::default()
    };
    let state = async |id| store.delivery(TENANT, id).await.unwrap().unwrap().0;
    finish(store, vec![answered(&under_way, 101, 500, overdue(until.before(std::time::Duration::from_micros(1))))])
        .await;
    assert_eq!(state(waits[0].id).await.state, DeliveryState::Pending);
    finish(store, vec![answered(&probe, 101, 500, overdue(at(150)))]).await;
    let ended = DeliveryState::Failed("waited 1d".to_owned());
    let first = state(waits[0].id).await;
    assert_eq!((&first.state, first.finished_at), (&ended, Some(at(200))));
    assert_eq!((state(waits[1].id).await.state, state(tried.delivery.id).await.state), (ended.clone(), ended));
    assert_eq!(state(waits[2].id).await.state, DeliveryState::Pending, "that of another endpoint");
    let late = claimed(store, 7, 1, 300).await;
    let other = claimed(store, 8, 1, 300).await;
    finish(store, vec![answered(&late, 301, 500, overdue(at(305)))]).await;
    assert_eq!(state(other.delivery.id).await.state, DeliveryState::Pending, "it is under way");
}

pub(crate) async fn nothing_is_told_to_who_is_not_there_or_is_disabled_too(store: &dyn Store) {
    three_endpoints(store, 6).await;
    let gone = |claim: &Claim, to: &str| {
        let aftermath = given_up(claim.endpoint.id.0.as_bytes()[15].into(), 0, 201);
        let notice = aftermath.notice.map(|notice| Notice { to: to.to_owned(), ..notice });
        let outcome = Outcome::Gone("answered 410".to_owned());
        let aftermath = Aftermath { notice, ..Aftermath::default() };
        Finished { aftermath, ..Finished::new(claim.lease.clone(), attempt(claim, at(200), 410), outcome) }
    };
    let one = claimed(store, 1, 1, 200).await;
    finish(store, vec![gone(&one, "nobody")]).await;
    assert_eq!(stored(store, 1).await.disabled.map(|disabled| disabled.at), Some(at(201)));
    let two = claimed(store, 2, 2, 200).await;
    finish(store, vec![gone(&two, "endpoint-2")]).await;
    assert!(stored(store, 2).await.disabled.is_some());
    let three = claimed(store, 3, 3, 200).await;
    finish(store, vec![gone(&three, "endpoint-2")]).await;
    assert!(store.waiting(None, 5).await.unwrap().is_empty());
}

pub(crate) async fn what_has_waited_too_long_is_told_as_any_failure_is(store: &dyn Store) {
    three_endpoints(store, 4).await;
    let watching = subscribe(store, 10, 2, &["rule.failing", "delivery.failed"], &[]).await;
    let probe = claimed(store, 1, 1, 100).await;
    let mut waits = Vec::new();
    for run in 2..=4 {
        waits.push(sent_to(store, run, &[1]).await.deliveries[0].id.to_string());
    }
    let overdue = |claim: &Claim, second: i64| {
        let overdue = Overdue { ready_until: at(second), at: at(second + 50), reason: "waited 1d".to_owned() };
        let aftermath = Aftermath { overdue: Some(overdue), ..Aftermath::default() };
        let retry = Outcome::Retry(at(second + 100));
        Finished { aftermath, ..Finished::new(claim.lease.clone(), attempt(claim, at(second), 500), retry) }
    };
    finish(store, vec![overdue(&probe, 150)]).await;
    let told = told_of(store, "delivery.failed").await;
    let body = |told: &Told| serde_json::from_str::<Value>(&told.message.body.json).unwrap();
    let mut ended: Vec<_> = told.iter().map(|one| body(one)["delivery_id"].as_str().unwrap().to_owned()).collect();
    ended.sort();
    waits.sort();
    assert_eq!(ended, waits);
    let one = body(&told[0]);
    assert_eq!((&one["reason"], &one["failed_at"]), (&"waited 1d".into(), &at(200).to_string().into()));
    assert_eq!(told_to_fail(store).await.len(), 1, "three deliveries ended, and one thing became of the rule");
    let telling = store.delivery(TENANT, DeliveryId::of(told[0].message.id, watching)).await.unwrap().unwrap().0;
    assert_eq!((telling.state, telling.due_at), (DeliveryState::Pending, at(200)));

    let probe = claim_of(store, 12, 1, 310).await;
    assert_eq!(store.replay(TENANT, &[waits[0].parse().unwrap()], at(320), None).await.unwrap(), 1);
    finish(store, vec![overdue(&probe, 350)]).await;
    assert_eq!(told_of(store, "delivery.failed").await.len(), 4, "it waited in vain once more");

    let telling = claim(store, 20, 500, 510, 1).await;
    let telling = telling.into_iter().find(|claim| claim.endpoint.id == watching).unwrap();
    finish(store, vec![overdue(&telling, 600)]).await;
    let of_watching = DeliveryQuery {
        state: Some("failed".to_owned()),
        endpoint_id: Some(watching),
        limit: 99,
        ..DeliveryQuery::default()
    };
    assert_eq!(store.list_deliveries(TENANT, &of_watching).await.unwrap().len(), 4, "all but the one that was tried");
    assert_eq!(told_of(store, "delivery.failed").await.len(), 4, "of tellings that end nothing is told");
}

async fn told_to_fail(store: &dyn Store) -> Vec<Told> {
    told_of(store, "rule.failing").await
}

/// What was told of a type, newest first.
async fn told_of(store: &dyn Store, event_type: &str) -> Vec<Told> {
    let query = EventQuery {
        application_id: Some(ApplicationId::TENANT),
        event_type: Some(event_type.to_owned()),
        limit: 9,
        ..EventQuery::default()
    };
    store.events(TENANT, &query).await.unwrap()
}

pub(crate) async fn a_rule_is_told_to_fail_once_until_its_endpoint_takes_something_again(store: &dyn Store) {
    three_endpoints(store, 9).await;
    let unheard = claimed(store, 1, 3, 50).await;
    finish(store, vec![answered(&unheard, 50, 500, none())]).await;
    assert!(told_to_fail(store).await.is_empty(), "nobody asks");
    let watching = subscribe(store, 10, 2, &["rule.failing", "delivery.failed"], &[]).await;
    let first = claimed(store, 2, 1, 100).await;
    let again = Outcome::Retry(at(150));
    finish(store, vec![Finished::new(first.lease.clone(), attempt(&first, at(100), 500), again)]).await;
    assert!(told_to_fail(store).await.is_empty(), "it is tried again");

    let (first, second) = (claim_of(store, 12, 1, 150).await, claimed(store, 3, 1, 150).await);
    finish(store, vec![answered(&first, 150, 500, none()), answered(&second, 151, 404, none())]).await;
    let third = claimed(store, 4, 1, 200).await;
    finish(store, vec![answered(&third, 200, 404, none())]).await;
    let told = told_to_fail(store).await;
    assert_eq!(told.len(), 1, "three deliveries failed, and one thing became of the rule");
    let body: Value = serde_json::from_str(&told[0].message.body.json).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert_eq!((text(&body["rule"]), text(&body["rule_id"])), (rule("a", 60).key, rule("a", 60).id.to_string()));
    assert_eq!(text(&body["endpoint_id"]), endpoint(1, None).id.to_string());
    assert_eq!((text(&body["failing_since"]), text(&body["reason"])), (at(101).to_string(), "no".to_owned()));
    let waits = store.delivery(TENANT, DeliveryId::of(told[0].message.id, watching)).await.unwrap().unwrap().0;

    let (fourth, fifth) = (claimed(store, 5, 1, 300).await, claimed(store, 6, 1, 300).await);
    finish(store, vec![answered(&fourth, 300, 500, none()), answered(&fifth, 301, 200, none())]).await;
    assert_eq!(told_to_fail(store).await.len(), 1, "it is well when this is recorded");
    let sixth = claimed(store, 7, 1, 400).await;
    finish(store, vec![answered(&sixth, 400, 500, none())]).await;
    assert_eq!(told_to_fail(store).await.len(), 2, "it fails anew");
    let gone = claimed(store, 8, 2, 500).await;
    let outcome = Outcome::Gone("answered 410".to_owned());
    finish(store, vec![Finished::new(gone.lease.clone(), attempt(&gone, at(500), 410), outcome)]).await;
    assert_eq!(told_to_fail(store).await.len(), 3, "at another endpoint, which is disabled by it");

    let telling = claim(store, 20, 600, 610, 9).await;
    let telling = telling.into_iter().find(|claim| claim.delivery.id == waits.id).unwrap();
    let before = store.list_deliveries(TENANT, &DeliveryQuery { limit: 99, ..DeliveryQuery::default() }).await.unwrap();
    finish(store, vec![answered(&telling, 600, 500, none())]).await;
    let after = store.list_deliveries(TENANT, &DeliveryQuery { limit: 99, ..DeliveryQuery::default() }).await.unwrap();
    assert_eq!(after.len(), before.len(), "of a telling that fails nothing is told");
}
