//! Messages, deliveries and attempts.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use runhook::model::delivery::{Attempt, AttemptResult, Delivery, DeliveryState, Outcome};
use runhook::model::endpoint::{Disabled, Endpoint, Overrides, Policy};
use runhook::model::id::{DeliveryId, EndpointId};
use runhook::model::message::{Body, Link};
use runhook::model::pace::Pace;
use runhook::model::run::BlobKey;
use runhook::model::sealed::Sealed;
use runhook::model::time::Timestamp;
use runhook::model::window::Progress;
use runhook::store::outbox::{Claim, Claimant, DeliveryQuery, Finished, Share, Waiting};
use runhook::store::rules::RuleChanges;
use runhook::store::windows::WindowCommit;
use runhook::store::{Store, StoreError};

use super::sample::{TENANT, accept, at, endpoint, found, group, post, rule, run_id, uuid, window};
use crate::support::outbox::{self as support, finish};

/// Deliveries of one rule to one endpoint, due one second after the other, the last one first.
async fn outbox(store: &dyn Store, count: u32) -> Vec<Delivery> {
    let (rule, to) = (rule("a", 60), endpoint(1, None));
    let changes = RuleChanges {
        put_rules: vec![rule.clone()],
        put_endpoints: vec![to.clone(), endpoint(2, None)],
        ..RuleChanges::default()
    };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
    accept(store, (1..=count).map(post).collect()).await;
    let mut deliveries = Vec::new();
    for number in 1..=count {
        let seq = i64::from(number);
        let window = window(Progress::Group(group(&rule)), seq - 1, seq, at(seq - 1), at(seq));
        let mut commit = found(store, window, &[(rule.id, run_id(number))], to.id).await;
        commit.deliveries[0].due_at = at(100 - seq);
        deliveries.extend(commit.deliveries.clone());
        store.commit_window(commit).await.unwrap();
    }
    deliveries
}

pub(super) async fn claim(store: &dyn Store, holder: u32, now: i64, until: i64, limit: u32) -> Vec<Claim> {
    let claimant = Claimant { holder: uuid(9, holder), now: at(now), until: at(until) };
    support::claim(store, claimant, limit).await.unwrap()
}

pub(super) fn attempt(claim: &Claim, started: Timestamp, status: u16) -> Attempt {
    let result = AttemptResult::answered(status);
    Attempt { number: claim.lease.attempt, started_at: started, duration_ms: 1_000, request: None, result }
}

async fn state(store: &dyn Store, delivery: &Delivery) -> (Delivery, Vec<Attempt>) {
    store.delivery(TENANT, delivery.id).await.unwrap().unwrap()
}

pub(crate) async fn due_deliveries_are_claimed_once_oldest_first(store: &dyn Store) {
    let deliveries = outbox(store, 3).await;
    assert!(claim(store, 1, 96, 500, 10).await.is_empty(), "nothing is due yet");
    let claims = claim(store, 1, 98, 500, 10).await;
    let claimed: Vec<_> = claims.iter().map(|claim| claim.delivery.id).collect();
    assert_eq!(claimed, [deliveries[2].id, deliveries[1].id]);
    assert_eq!((claims[0].lease.attempt, claims[0].lease.until), (1, at(500)));
    assert_eq!(*claims[0].endpoint, endpoint(1, None));
    let rest = claim(store, 2, 200, 500, 10).await;
    assert_eq!(rest.iter().map(|claim| claim.delivery.id).collect::<Vec<_>>(), [deliveries[0].id]);
    assert!(claim(store, 3, 200, 500, 10).await.is_empty());
}

pub(crate) async fn an_expired_lease_can_be_claimed_and_its_holder_records_nothing(store: &dyn Store) {
    let deliveries = outbox(store, 1).await;
    let lost = claim(store, 1, 100, 110, 1).await.remove(0);
    assert!(claim(store, 2, 109, 150, 1).await.is_empty());
    let held = claim(store, 2, 110, 150, 1).await.remove(0);
    let late = finish(store, &lost.lease, attempt(&lost, at(100), 200), Outcome::Delivered).await;
    assert!(matches!(late, Err(StoreError::Stale(_))));
    assert_eq!(state(store, &deliveries[0]).await.1, []);
    finish(store, &held.lease, attempt(&held, at(110), 200), Outcome::Delivered).await.unwrap();
    let (delivery, attempts) = state(store, &deliveries[0]).await;
    assert_eq!((delivery.state, delivery.finished_at), (DeliveryState::Delivered, Some(at(111))));
    assert_eq!((delivery.attempts, attempts), (1, vec![attempt(&held, at(110), 200)]));
    let twice = finish(store, &held.lease, attempt(&held, at(110), 200), Outcome::Delivered).await;
    assert!(matches!(twice, Err(StoreError::Stale(_))));
}

pub(crate) async fn what_is_put_back_can_be_claimed_at_once_and_a_lost_lease_gives_nothing_up(store: &dyn Store) {
    outbox(store, 3).await;
    let claims = claim(store, 1, 100, 110, 3).await;
    let leases: Vec<_> = claims.iter().map(|claim| claim.lease.clone()).collect();
    store.put_back(&leases[..2]).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), Some(claims[0].delivery.due_at), "as if it had not been claimed");
    let again = claim(store, 2, 100, 110, 3).await;
    assert_eq!(again.iter().map(|claim| claim.lease.attempt).collect::<Vec<_>>(), [1, 1]);
    store.put_back(&leases).await.unwrap();
    let rest = claim(store, 3, 100, 110, 3).await;
    assert_eq!(rest.iter().map(|claim| claim.delivery.id).collect::<Vec<_>>(), [claims[2].delivery.id]);
    finish(store, &again[0].lease, attempt(&again[0], at(100), 200), Outcome::Delivered).await.unwrap();
    store.put_back(&[again[0].lease.clone()]).await.unwrap();
    assert_eq!(state(store, &again[0].delivery).await.0.state, DeliveryState::Delivered);
}

pub(crate) async fn what_is_recorded_with_a_lost_lease_counts_and_that_one_alone_does_not(store: &dyn Store) {
    outbox(store, 3).await;
    let claims = claim(store, 1, 100, 110, 3).await;
    store.put_back(&[claims[1].lease.clone()]).await.unwrap();
    let made = |claim: &Claim| Finished::new(claim.lease.clone(), attempt(claim, at(100), 200), Outcome::Delivered);
    let answers = store.finish_attempts(&claims.iter().map(made).collect::<Vec<_>>()).await.unwrap();
    assert!(matches!(answers.as_slice(), [Ok(()), Err(StoreError::Stale(_)), Ok(())]), "{answers:?}");
    let mut found = Vec::new();
    for claim in &claims {
        let (delivery, attempts) = state(store, &claim.delivery).await;
        found.push((delivery.state == DeliveryState::Delivered, attempts.len()));
    }
    assert_eq!(found, [(true, 1), (false, 0), (true, 1)]);
}

pub(crate) async fn a_retry_is_due_when_it_says_and_attempts_go_on_counting(store: &dyn Store) {
    let deliveries = outbox(store, 1).await;
    let first = claim(store, 1, 100, 110, 1).await.remove(0);
    finish(store, &first.lease, attempt(&first, at(100), 503), Outcome::Retry(at(130))).await.unwrap();
    assert!(claim(store, 2, 129, 150, 1).await.is_empty());
    let second = claim(store, 2, 130, 150, 1).await.remove(0);
    assert_eq!((second.lease.attempt, second.delivery.due_at), (2, at(130)));
    let failed = Outcome::Failed("the endpoint answered 500".into());
    finish(store, &second.lease, attempt(&second, at(130), 500), failed).await.unwrap();
    let (delivery, attempts) = state(store, &deliveries[0]).await;
    assert_eq!(delivery.state, DeliveryState::Failed("the endpoint answered 500".into()));
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
}

pub(crate) async fn the_next_due_instant_follows_leases_and_retries(store: &dyn Store) {
    assert_eq!(store.next_due().await.unwrap(), None);
    outbox(store, 1).await;
    assert_eq!(store.next_due().await.unwrap(), Some(at(99)));
    let claim = claim(store, 1, 100, 110, 1).await.remove(0);
    assert_eq!(store.next_due().await.unwrap(), Some(at(110)));
    finish(store, &claim.lease, attempt(&claim, at(100), 503), Outcome::Retry(at(130))).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), Some(at(130)));
}

pub(crate) async fn a_finished_delivery_can_be_replayed_and_a_pending_one_cannot(store: &dyn Store) {
    let deliveries = outbox(store, 2).await;
    let claim_one = claim(store, 1, 98, 110, 1).await.remove(0);
    finish(store, &claim_one.lease, attempt(&claim_one, at(98), 200), Outcome::Delivered).await.unwrap();
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
    assert_eq!(store.replay(TENANT, &ids, at(300), None).await.unwrap(), 1);
    let (replayed, attempts) = state(store, &claim_one.delivery).await;
    assert_eq!((replayed.state, replayed.due_at, replayed.finished_at), (DeliveryState::Pending, at(300), None));
    assert_eq!(attempts.len(), 1);
    let again = claim(store, 2, 300, 400, 5).await;
    let again = again.iter().find(|claim| claim.delivery.id == claim_one.delivery.id).unwrap();
    assert_eq!(again.lease.attempt, 2);
    finish(store, &again.lease, attempt(again, at(300), 200), Outcome::Delivered).await.unwrap();
    let removal = RuleChanges { remove_endpoints: vec![endpoint(1, None).id], ..RuleChanges::default() };
    store.apply_rules(TENANT, removal, at(310)).await.unwrap();
    assert_eq!(store.replay(TENANT, &ids, at(400), None).await.unwrap(), 0, "there is nowhere to send it");
}

pub(crate) async fn a_disabled_endpoint_is_sent_nothing_until_it_is_enabled(store: &dyn Store) {
    let deliveries = outbox(store, 2).await;
    let to = endpoint(1, None);
    let disabled = Disabled { at: at(50), reason: "asked for".into() };
    assert!(store.set_endpoint_state(TENANT, to.id, Some(disabled.clone()), at(50), None).await.unwrap());
    assert!(!store.set_endpoint_state(TENANT, EndpointId(uuid(3, 9)), None, at(50), None).await.unwrap());
    for delivery in &deliveries {
        let (found, _) = state(store, delivery).await;
        assert_eq!(found.state, DeliveryState::Failed("endpoint disabled".into()));
    }
    let changes = RuleChanges { put_endpoints: vec![to.clone()], ..RuleChanges::default() };
    store.apply_rules(TENANT, changes, at(60)).await.unwrap();
    let stored = store.list_endpoints(TENANT).await.unwrap().into_iter().find(|stored| stored.id == to.id).unwrap();
    assert_eq!(stored.disabled, Some(disabled), "applying a file does not enable it");
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
    assert_eq!(store.replay(TENANT, &ids, at(70), None).await.unwrap(), 2);
    assert!(claim(store, 1, 80, 500, 10).await.is_empty(), "a claim finds it disabled, and ends what waits");
    assert_eq!(state(store, &deliveries[0]).await.0.state, DeliveryState::Failed("endpoint disabled".into()));
    assert!(store.set_endpoint_state(TENANT, to.id, None, at(90), None).await.unwrap());
    assert_eq!(store.replay(TENANT, &ids, at(91), None).await.unwrap(), 2);
    assert_eq!(claim(store, 2, 91, 500, 10).await.len(), 2);
}

pub(crate) async fn an_endpoint_that_is_gone_is_disabled_with_all_that_waits_for_it(store: &dyn Store) {
    let deliveries = outbox(store, 3).await;
    let claims = claim(store, 1, 98, 500, 2).await;
    let outcomes = [Outcome::Gone("answered 410".into()), Outcome::Delivered];
    let finished: Vec<Finished> = claims
        .iter()
        .zip(outcomes)
        .map(|(claim, outcome)| Finished::new(claim.lease.clone(), attempt(claim, at(98), 410), outcome))
        .collect();
    for answer in store.finish_attempts(&finished).await.unwrap() {
        answer.unwrap();
    }
    assert_eq!(state(store, &claims[0].delivery).await.0.state, DeliveryState::Failed("answered 410".into()));
    assert_eq!(state(store, &claims[1].delivery).await.0.state, DeliveryState::Delivered, "recorded with it");
    let waits = |delivery: &&Delivery| claims.iter().all(|claim| claim.delivery.id != delivery.id);
    let waiting = deliveries.iter().find(waits).unwrap();
    assert_eq!(state(store, waiting).await.0.state, DeliveryState::Failed("endpoint disabled".into()));
    let stored = store.list_endpoints(TENANT).await.unwrap();
    let stored = stored.iter().find(|stored| stored.id == claims[0].endpoint.id).unwrap();
    assert_eq!(stored.disabled, Some(Disabled { at: at(99), reason: "answered 410".into() }));
}

pub(crate) async fn what_an_endpoint_says_beyond_its_policy_comes_back(store: &dyn Store) {
    let pace = Pace { rate: "10/s".parse().ok(), burst: NonZeroU32::new(20), concurrency: NonZeroU32::new(4) };
    let retries = Some(vec![Duration::from_millis(1500)]);
    let overrides = Overrides { timeout: Some(Duration::from_secs(9)), retries, pace };
    let to = Endpoint { overrides, origin: Some("a.yaml".into()), policy: Policy::Standard, ..endpoint(1, None) };
    let changes = RuleChanges { put_endpoints: vec![to.clone(), endpoint(2, None)], ..RuleChanges::default() };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
    let mut stored = store.list_endpoints(TENANT).await.unwrap();
    stored.sort_by_key(|endpoint| endpoint.id);
    assert_eq!(stored, [to, endpoint(2, None)]);
}

pub(crate) async fn deliveries_are_listed_newest_first_by_state_rule_and_endpoint(store: &dyn Store) {
    let deliveries = outbox(store, 3).await;
    let claim = claim(store, 1, 97, 110, 1).await.remove(0);
    finish(store, &claim.lease, attempt(&claim, at(97), 400), Outcome::Failed("no".into())).await.unwrap();
    let list = async |query: DeliveryQuery| {
        let found = store.list_deliveries(TENANT, &query).await.unwrap();
        found.into_iter().map(|delivery| delivery.created_at).collect::<Vec<_>>()
    };
    let all = DeliveryQuery { limit: 10, ..DeliveryQuery::default() };
    assert_eq!(list(all.clone()).await, [at(3), at(2), at(1)]);
    assert_eq!(list(DeliveryQuery { state: Some("failed".into()), ..all.clone() }).await, [at(3)]);
    assert_eq!(list(DeliveryQuery { state: Some("pending".into()), ..all.clone() }).await, [at(2), at(1)]);
    assert_eq!(list(DeliveryQuery { rule_id: Some(rule("b", 1).id), ..all.clone() }).await, []);
    assert_eq!(list(DeliveryQuery { rule_id: Some(rule("a", 1).id), limit: 1, ..all.clone() }).await, [at(3)]);
    assert_eq!(list(DeliveryQuery { endpoint_id: Some(EndpointId(uuid(3, 2))), ..all.clone() }).await, []);
    assert_eq!(list(DeliveryQuery { since: Some(at(2)), ..all.clone() }).await, [at(3), at(2)]);
    let before = Some((at(2), deliveries[1].id));
    assert_eq!(list(DeliveryQuery { before, ..all }).await, [at(1)]);
}

/// A delivery of a run's window to each of these endpoints, of one message.
pub(super) async fn sent_to(store: &dyn Store, number: u32, to: &[u32]) -> WindowCommit {
    let seq = i64::from(number);
    let window = window(Progress::Group(group(&rule("a", 60))), seq - 1, seq, at(seq - 1), at(seq));
    let mut commit = found(store, window, &[(rule("a", 60).id, run_id(number))], endpoint(to[0], None).id).await;
    for number in &to[1..] {
        let other = endpoint(*number, None).id;
        let first = commit.deliveries[0].clone();
        let id = DeliveryId::of(first.message_id, other);
        commit.deliveries.push(Delivery { id, endpoint_id: other, ..first });
    }
    store.commit_window(commit.clone()).await.unwrap();
    commit
}

/// A rule, three endpoints and as many runs as are wanted.
pub(super) async fn three_endpoints(store: &dyn Store, runs: u32) {
    let changes = RuleChanges {
        put_rules: vec![rule("a", 60)],
        put_endpoints: (1..=3).map(|number| endpoint(number, None)).collect(),
        ..RuleChanges::default()
    };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
    accept(store, (1..=runs).map(post).collect()).await;
}

fn claimant(holder: u32, now: i64) -> Claimant {
    Claimant { holder: uuid(9, holder), now: at(now), until: at(now + 100) }
}

pub(crate) async fn each_endpoint_gets_its_share_of_first_attempts_and_of_retries(store: &dyn Store) {
    three_endpoints(store, 6).await;
    for number in 1..=3 {
        sent_to(store, number, &[1]).await;
    }
    for claim in claim(store, 1, 100, 110, 3).await {
        finish(store, &claim.lease, attempt(&claim, at(100), 500), Outcome::Retry(at(150))).await.unwrap();
    }
    for number in 4..=6 {
        sent_to(store, number, &[1, 2]).await;
    }
    let share = |number, firsts, retries| Share { endpoint_id: endpoint(number, None).id, firsts, retries };
    let shares = [share(1, 1, 2), share(2, 2, 5), share(3, 5, 5)];
    let claims = store.claim_deliveries(claimant(2, 200), &shares).await.unwrap();
    let mut taken: Vec<_> = claims.iter().map(|claim| (claim.endpoint.id, claim.lease.attempt)).collect();
    taken.sort_unstable();
    let [one, two] = [1, 2].map(|number| endpoint(number, None).id);
    assert_eq!(taken, [(one, 1), (one, 2), (one, 2), (two, 1), (two, 1)]);
    assert!(store.claim_deliveries(claimant(3, 200), &[]).await.unwrap().is_empty());
}

pub(crate) async fn what_waits_is_listed_by_endpoint_in_pages(store: &dyn Store) {
    three_endpoints(store, 2).await;
    sent_to(store, 1, &[1, 2, 3]).await;
    let claims = claim(store, 1, 100, 110, 1).await;
    let second = claims.iter().find(|claim| claim.endpoint.id == endpoint(2, None).id).unwrap();
    finish(store, &second.lease, attempt(second, at(100), 500), Outcome::Retry(at(130))).await.unwrap();
    let third = claims.iter().find(|claim| claim.endpoint.id == endpoint(3, None).id).unwrap();
    finish(store, &third.lease, attempt(third, at(100), 200), Outcome::Delivered).await.unwrap();
    sent_to(store, 2, &[2]).await;
    let waiting = |number, first_at, retry_at| Waiting {
        tenant_id: TENANT,
        endpoint_id: endpoint(number, None).id,
        first_at,
        retry_at,
        pace: Pace::default(),
        circuit: None,
    };
    let expected = [waiting(1, Some(at(110)), None), waiting(2, Some(at(2)), Some(at(130)))];
    assert_eq!(store.waiting(None, 5).await.unwrap(), expected, "a leased one can be claimed when its lease ends");
    assert_eq!(store.waiting(None, 1).await.unwrap(), expected[..1]);
    assert_eq!(store.waiting(Some(endpoint(1, None).id), 5).await.unwrap(), expected[1..]);
}

pub(crate) async fn a_claim_brings_endpoints_and_messages_along(store: &dyn Store) {
    three_endpoints(store, 2).await;
    let commit = sent_to(store, 1, &[1, 2]).await;
    sent_to(store, 2, &[1]).await;
    let claims = claim(store, 1, 100, 110, 5).await;
    assert_eq!(claims.len(), 3);
    let first: Vec<_> = claims.iter().filter(|claim| claim.delivery.message_id == commit.messages[0].id).collect();
    let messages: Vec<_> = first.iter().map(|claim| claim.message.clone().unwrap()).collect();
    assert!(Arc::ptr_eq(&messages[0], &messages[1]), "one message for two endpoints is read once");
    assert_eq!(*messages[0], commit.messages[0]);
    let to_one: Vec<_> = claims.iter().filter(|claim| claim.endpoint.id == endpoint(1, None).id).collect();
    assert!(Arc::ptr_eq(&to_one[0].endpoint, &to_one[1].endpoint));
}

pub(crate) async fn attempts_are_recorded_together_each_for_the_holder_of_its_lease(store: &dyn Store) {
    three_endpoints(store, 70).await;
    for number in 1..=70 {
        sent_to(store, number, &[1]).await;
    }
    let claims = claim(store, 1, 100, 110, 100).await;
    let lost = claim(store, 2, 110, 200, 1).await.remove(0).delivery.id;
    let outcome = |number: usize| match number % 3 {
        0 => Outcome::Delivered,
        1 => Outcome::Retry(at(300)),
        _ => Outcome::Failed(format!("no {number}")),
    };
    let finished: Vec<Finished> = claims
        .iter()
        .enumerate()
        .map(|(number, claim)| {
            let attempt = Attempt { duration_ms: number as u64, ..attempt(claim, at(105), 200) };
            Finished::new(claim.lease.clone(), attempt, outcome(number))
        })
        .collect();
    let answers = store.finish_attempts(&finished).await.unwrap();
    assert_eq!(answers.len(), 70);
    for (number, (claim, answer)) in claims.iter().zip(answers).enumerate() {
        let (delivery, attempts) = state(store, &claim.delivery).await;
        if claim.delivery.id == lost {
            assert!(matches!(answer, Err(StoreError::Stale(_))), "{answer:?}");
            assert_eq!((delivery.state, attempts), (DeliveryState::Pending, vec![]));
            continue;
        }
        answer.unwrap();
        assert_eq!(attempts, [finished[number].attempt.clone()]);
        let expected = match outcome(number) {
            Outcome::Delivered => DeliveryState::Delivered,
            Outcome::Retry(_) => DeliveryState::Pending,
            Outcome::Failed(reason) | Outcome::Gone(reason) => DeliveryState::Failed(reason),
        };
        assert_eq!(delivery.state, expected);
    }
    assert!(store.finish_attempts(&[]).await.unwrap().is_empty());
}

/// Two deliveries that are claimed.
pub(crate) async fn two_claims(store: &dyn Store) -> Vec<Claim> {
    three_endpoints(store, 2).await;
    for number in 1..=2 {
        sent_to(store, number, &[number]).await;
    }
    claim(store, 1, 100, 110, 1).await
}

pub(crate) async fn a_message_comes_back_as_it_was(store: &dyn Store) {
    let (rule, to) = (rule("a", 60), endpoint(1, None));
    let window = window(Progress::Group(group(&rule)), 0, 0, at(0), at(1));
    let mut commit = found(store, window, &[(rule.id, run_id(1))], to.id).await;
    commit.messages[0].body = Body {
        json: r#"{"a": "", "b":1.0}"#.into(),
        links: vec![Link { at: 7, key: BlobKey("tenant/run/inputs-1".into()) }],
    };
    store.commit_window(commit.clone()).await.unwrap();
    let message = store.message(TENANT, commit.messages[0].id).await.unwrap();
    assert_eq!(message.as_ref(), commit.messages.first());
}

pub(crate) async fn sealed_targets_are_listed_by_id_and_replaced_only_if_unchanged(store: &dyn Store) {
    let endpoints: Vec<Endpoint> = (1..=3).map(|number| endpoint(number, None)).collect();
    let changes = RuleChanges { put_endpoints: endpoints.clone(), ..RuleChanges::default() };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
    let first = store.sealed_targets(None, 2).await.unwrap();
    assert_eq!(first.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [endpoints[0].id, endpoints[1].id]);
    let rest = store.sealed_targets(Some(endpoints[1].id), 2).await.unwrap();
    assert_eq!(rest.len(), 1);
    let (old, new) = (Sealed(vec![1, 2, 3]), Sealed(vec![4]));
    assert!(store.reseal_target(endpoints[0].id, &old, new.clone()).await.unwrap());
    assert!(!store.reseal_target(endpoints[0].id, &old, new.clone()).await.unwrap());
    assert_eq!(store.sealed_targets(None, 1).await.unwrap(), [(endpoints[0].id, new)]);
}
