//! Replicas that record attempts at the same endpoints at the same time wait for one another in one order, never in a ring.

use futures_util::future::join;
use runhook::model::delivery::Outcome;
use runhook::store::outbox::{Claim, Finished};
use runhook::store::postgres::PgStore;
use runhook::store::{KeyStore as _, OutboxStore as _};

use super::Replica;
use crate::store::events::subscribe;
use crate::store::outbox::{attempt, claim, sent_to, three_endpoints};
use crate::store::sample::{TENANT, at, endpoint};

const ROUNDS: u32 = 20;

/// What becomes of claimed deliveries at one second.
fn ended(claims: &[Claim], second: i64, status: u16, outcome: &Outcome) -> Vec<Finished> {
    let mut claims: Vec<&Claim> = claims.iter().filter(|claim| claim.delivery.source.rule().is_some()).collect();
    claims.sort_by_key(|claim| claim.endpoint.id);
    let one = |claim: &&Claim| Finished::new(claim.lease.clone(), attempt(claim, at(second), status), outcome.clone());
    claims.iter().map(one).collect()
}

/// Two replicas on one database, on which somebody hears of all that fails.
async fn two() -> Option<(Replica, PgStore)> {
    let replica = Replica::open().await?;
    let other = replica.another().await;
    three_endpoints(replica.store(), 3 * ROUNDS).await;
    subscribe(replica.store(), 10, 2, &["rule.failing", "delivery.failed", "endpoint.disabled"], &[]).await;
    Some((replica, other))
}

/// How often the server had to end a transaction that waited in a ring. It counts when connections are closed.
async fn rings(replica: Replica, other: PgStore) -> i64 {
    other.close().await;
    replica.store.close().await;
    let mut connection = replica.database.connect().await;
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                  AND backend_type = 'client backend'";
    while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection).await.unwrap() > 0 {}
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(deadlocks).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_at_the_same_endpoints_are_told_by_one_replica_after_the_other() {
    let Some((replica, other)) = two().await else { return };
    let store = replica.store();
    let failed = Outcome::Failed("no".to_owned());
    for round in 0..ROUNDS {
        let now = i64::from(round) * 100 + 100;
        let to = [1, 2, 3];
        // They take something, and fail anew: since an instant that a rule has not been told to fail of.
        sent_to(store, 3 * round + 1, &to).await;
        let well = ended(&claim(store, 1, now, now + 10, 1).await, now, 200, &Outcome::Delivered);
        store.finish_attempts(&well).await.unwrap();
        sent_to(store, 3 * round + 2, &to).await;
        let again = Outcome::Retry(at(now + 15));
        let first = ended(&claim(store, 1, now + 12, now + 20, 1).await, now + 12, 500, &again);
        store.finish_attempts(&first).await.unwrap();
        let one = ended(&claim(store, 1, now + 20, now + 60, 1).await, now + 20, 500, &failed);
        sent_to(store, 3 * round + 3, &to).await;
        let mut two = ended(&claim(&other, 2, now + 20, now + 60, 1).await, now + 20, 500, &failed);
        assert_eq!((one.len(), two.len()), (3, 3));
        two.reverse();
        let (one, two) = join(store.finish_attempts(&one), other.finish_attempts(&two)).await;
        assert!(one.unwrap().iter().chain(&two.unwrap()).all(Result::is_ok));
    }
    assert_eq!(rings(replica, other).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_disabled_by_one_replica_while_another_records_what_it_took_and_what_it_did_not() {
    let Some((replica, other)) = two().await else { return };
    let store = replica.store();
    let gone = Outcome::Gone("answered 410".to_owned());
    for round in 0..ROUNDS {
        let now = i64::from(round) * 100 + 100;
        sent_to(store, 2 * round + 1, &[1, 2]).await;
        let one = ended(&claim(store, 1, now, now + 50, 1).await, now, 410, &gone);
        sent_to(store, 2 * round + 2, &[1, 2]).await;
        let claims = claim(&other, 2, now, now + 50, 1).await;
        let mut two = ended(&claims, now, 500, &Outcome::Failed("no".to_owned()));
        assert_eq!((one.len(), two.len()), (2, 2));
        two.reverse();
        let (one, two) = join(store.finish_attempts(&one), other.finish_attempts(&two)).await;
        assert!(one.unwrap().iter().all(Result::is_ok), "what disables an endpoint is recorded");
        // What the other one had under way was recorded before, or ended with its endpoint.
        two.unwrap();
        for number in [1, 2] {
            let id = endpoint(number, None).id;
            assert!(store.set_endpoint_state(TENANT, id, None, at(now + 60), None).await.unwrap());
        }
    }
    assert_eq!(rings(replica, other).await, 0);
}
