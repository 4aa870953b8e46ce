//! What a database remembers of deliveries, and what the API makes of it.

use std::time::Duration;

use axum::http::StatusCode;
use runhook::model::delivery::{AttemptResult, DeliveryState};
use runhook::model::id::{DeliveryId, TenantId};
use runhook::model::time::Clock;
use runhook::store::outbox::Claimant;
use runhook::task::Activity;
use serde_json::{Value, json};
use uuid::Uuid;

use super::house::House;
use crate::support::outbox;
use crate::support::receiver::{Answer, Gate, Receiver};

const TENANT: TenantId = TenantId::DEFAULT;

fn ids(answer: &Value) -> Vec<&str> {
    answer["deliveries"].as_array().unwrap().iter().map(|delivery| delivery["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn attempts_and_their_outcome_are_there_after_a_restart() {
    let receiver = Receiver::start([Answer::Status(500), Answer::Status(200)]).await;
    let mut house = House::new(&receiver.url()).await;
    let id = house.matched(1).await[0];
    house.round().await;
    let mut house = house.crash().await;
    let (delivery, attempts) = house.store.delivery(TENANT, id).await.unwrap().unwrap();
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 1));
    assert_eq!(attempts[0].result, AttemptResult::answered(500));
    house.round().await;
    assert_eq!(receiver.requests().len(), 1, "not due yet");
    house.clock.advance(Duration::from_secs(2));
    house.round().await;
    let (delivery, attempts) = house.store.delivery(TENANT, id).await.unwrap().unwrap();
    assert_eq!((delivery.state, delivery.attempts, attempts.len()), (DeliveryState::Delivered, 2, 2));
    assert!(delivery.finished_at >= Some(house.clock.now()));
}

#[tokio::test]
async fn a_crash_between_sending_and_recording_sends_the_same_again_at_the_next_start() {
    let mut receiver = Receiver::start([Answer::Held(Gate::closed()), Answer::Status(200)]).await;
    let mut house = House::new(&receiver.url()).await;
    let id = house.matched(1).await[0];
    house.sender.pass().await.unwrap();
    let first = receiver.next().await;
    // Where one process owns the database the clock stands still: nobody waits for the lease of one that is gone.
    let mut house = house.crash().await;
    house.outlive_leases();
    house.round().await;
    let second = receiver.next().await;
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(second.body, first.body);
    let (delivery, _) = house.store.delivery(TENANT, id).await.unwrap().unwrap();
    assert_eq!(delivery.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn a_lost_lease_records_nothing() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate.clone())]).await;
    let mut house = House::new(&receiver.url()).await;
    let id = house.matched(1).await[0];
    house.sender.pass().await.unwrap();
    receiver.next().await;
    house.clock.advance(Duration::from_mins(2));
    let now = house.clock.now();
    let other = Claimant { holder: Uuid::from_u128(99), now, until: now.after(Duration::from_hours(1)) };
    assert_eq!(outbox::claim(&*house.store, other, 10).await.unwrap().len(), 1);
    gate.open();
    house.sender.finish().await;
    let (delivery, attempts) = house.store.delivery(TENANT, id).await.unwrap().unwrap();
    assert_eq!((delivery.state, attempts.len()), (DeliveryState::Pending, 0));
}

#[tokio::test]
async fn pages_are_newest_first_and_follow_each_other() {
    let receiver = Receiver::start([]).await;
    let house = House::new(&receiver.url()).await;
    let mut made: Vec<String> = house.matched(5).await.iter().map(ToString::to_string).collect();
    made.reverse();
    let first = house.get("/v1/deliveries?limit=2").await;
    let next = first["next"].as_str().unwrap();
    let second = house.get(&format!("/v1/deliveries?limit=2&cursor={next}")).await;
    let next = second["next"].as_str().unwrap();
    let third = house.get(&format!("/v1/deliveries?limit=2&cursor={next}")).await;
    assert_eq!([ids(&first), ids(&second), ids(&third)].concat(), made);
    assert_eq!(third["next"], Value::Null);
}

#[tokio::test]
async fn a_page_selects_by_state_rule_endpoint_and_time() {
    let receiver = Receiver::start([Answer::Status(404), Answer::Status(200)]).await;
    let mut house = House::new(&receiver.url()).await;
    house.matched(3).await;
    house.round().await;
    for (query, count) in [
        ("state=failed", 1),
        ("state=delivered", 2),
        ("state=pending", 0),
        ("rule=low-score", 3),
        (&format!("rule={}", house.rule), 3),
        ("endpoint=oncall&state=failed", 1),
        (&format!("endpoint={}", house.endpoint), 3),
        ("since=2026-11-22T08:29:59Z", 2),
        ("since=1s", 2),
        ("since=1d", 3),
        ("until=2026-11-22T08:29:59Z", 1),
        ("since=1d&until=1s", 1),
        ("status=404", 1),
        ("status=2xx&rule=low-score", 2),
        ("failed_since=1d", 1),
        ("failed_since=1d&status=5xx", 0),
    ] {
        let page = house.get(&format!("/v1/deliveries?{query}")).await;
        assert_eq!(ids(&page).len(), count, "{query}");
    }
    for (query, status) in [
        ("state=gone", StatusCode::BAD_REQUEST),
        ("since=yesterday", StatusCode::BAD_REQUEST),
        ("status=6666", StatusCode::BAD_REQUEST),
        ("failed_since=1d&since=1d", StatusCode::UNPROCESSABLE_ENTITY),
        ("failed_since=1d&state=delivered", StatusCode::UNPROCESSABLE_ENTITY),
        ("limit=many", StatusCode::BAD_REQUEST),
        ("cursor=x", StatusCode::BAD_REQUEST),
        ("colour=red", StatusCode::BAD_REQUEST),
        ("endpoint=nobody", StatusCode::NOT_FOUND),
        ("rule=another", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(house.call("GET", &format!("/v1/deliveries?{query}"), &Value::Null).await.0, status, "{query}");
    }
}

#[tokio::test]
async fn a_delivery_is_shown_with_its_attempts_and_no_secret() {
    let receiver = Receiver::start([Answer::Status(404)]).await;
    let mut house = House::new(&format!("{}/path-secret", receiver.url())).await;
    let id = house.matched(1).await[0];
    house.round().await;
    let shown = house.get(&format!("/v1/deliveries/{id}")).await;
    assert_eq!(shown["state"], "failed");
    assert_eq!(shown["reason"], "answered 404");
    assert_eq!(shown["rule"], json!({"id": house.rule, "key": "low-score"}));
    assert_eq!(shown["endpoint"]["key"], "oncall");
    assert_eq!(shown["target"]["url"], format!("http://{}/…", receiver.address()));
    assert_eq!(shown["target"]["query"], json!({"secret": "********"}));
    assert_eq!(shown["target"]["headers"], json!({"X-Team-Token": "********"}));
    assert_eq!(shown["message"]["parts"], 1);
    assert_eq!(shown["attempt_count"], 1);
    assert_eq!(shown["attempts"][0]["said"], "answered 404");
    assert_eq!(shown["attempts"][0]["result"], json!({"kind": "answered", "status": 404}));
    let sent = json!({
        "method": "POST", "url": format!("http://{}/…?secret=********", receiver.address()), "bytes": 10,
        "headers": ["x-team-token", "content-type", "user-agent", "webhook-id", "webhook-timestamp"],
    });
    assert_eq!(shown["attempts"][0]["request"], sent);
    let text = shown.to_string();
    assert!(!["p+ q", "p%2B", "t0k3n", "path-secret"].iter().any(|secret| text.contains(secret)), "{text}");
    let missing = DeliveryId(Uuid::nil());
    assert_eq!(house.call("GET", &format!("/v1/deliveries/{missing}"), &Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(house.call("GET", "/v1/deliveries/seven", &Value::Null).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_replay_sends_the_same_message_again_with_all_its_tries() {
    let receiver = Receiver::start([Answer::Status(404), Answer::Status(500), Answer::Status(200)]).await;
    let mut house = House::new(&receiver.url()).await;
    let id = house.matched(1).await[0];
    house.round().await;
    let replay = |dry_run: bool| json!({"ids": [id], "dry_run": dry_run});
    let (_, would) = house.call("POST", "/v1/deliveries/replay", &replay(true)).await;
    assert_eq!(would, json!({"dry_run": true, "replayed": 1, "ids": [id], "skipped": [], "next": null}));
    house.round().await;
    assert_eq!(receiver.requests().len(), 1);
    let (_, done) = house.call("POST", "/v1/deliveries/replay", &replay(false)).await;
    assert_eq!(done["replayed"], 1);
    let (_, again) = house.call("POST", "/v1/deliveries/replay", &replay(false)).await;
    assert_eq!(again["skipped"], json!([{"id": id, "reason": "it is pending already"}]));
    house.round().await;
    house.clock.advance(Duration::from_secs(2));
    house.round().await;
    let sent = receiver.requests();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|request| request.header("webhook-id") == sent[0].header("webhook-id")));
    assert_eq!(house.get(&format!("/v1/deliveries/{id}")).await["state"], "delivered");
}

#[tokio::test]
async fn a_selection_is_replayed_page_by_page_and_takes_what_failed() {
    let receiver =
        Receiver::start([Answer::Status(404), Answer::Status(404), Answer::Status(404), Answer::Status(200)]).await;
    let mut house = House::new(&receiver.url()).await;
    house.matched(4).await;
    house.round().await;
    let (_, first) = house.call("POST", "/v1/deliveries/replay", &json!({"rule": "low-score", "limit": 2})).await;
    assert_eq!((&first["replayed"], first["next"].is_string()), (&json!(2), true));
    let more = json!({"rule": "low-score", "limit": 2, "cursor": first["next"]});
    let (_, second) = house.call("POST", "/v1/deliveries/replay", &more).await;
    assert_eq!((&second["replayed"], &second["next"]), (&json!(1), &Value::Null));
    house.round().await;
    assert_eq!(receiver.requests().len(), 7);
    assert_eq!(ids(&house.get("/v1/deliveries?state=delivered").await).len(), 4);
}

#[tokio::test]
async fn a_replay_of_everything_by_mistake_or_to_nowhere_is_refused() {
    let receiver = Receiver::start([Answer::Status(404)]).await;
    let mut house = House::new(&receiver.url()).await;
    let id = house.matched(1).await[0];
    house.round().await;
    for (body, status) in [
        (json!({}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"ids": [id], "state": "failed"}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"id": id}), StatusCode::BAD_REQUEST),
        (json!({"ids": ["seven"]}), StatusCode::BAD_REQUEST),
        (json!("all"), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(house.call("POST", "/v1/deliveries/replay", &body).await.0, status, "{body}");
    }
    let unknown = DeliveryId(Uuid::nil());
    house.remove_endpoint().await;
    let (_, answer) = house.call("POST", "/v1/deliveries/replay", &json!({"ids": [id, unknown]})).await;
    assert_eq!(answer["replayed"], 0);
    let expected = json!([{"id": unknown, "reason": "not found"}, {"id": id, "reason": "its endpoint was removed"}]);
    assert_eq!(answer["skipped"], expected);
}

#[tokio::test]
async fn what_failed_is_counted_with_its_last_reason_and_sent_again_since_it_failed() {
    let receiver =
        Receiver::start([Answer::Status(404), Answer::Status(200), Answer::Status(410), Answer::Status(200)]).await;
    let mut house = House::new(&receiver.url()).await;
    assert_eq!(house.get("/v1/deliveries/failed").await["counts"], json!({"total": 0, "more": false, "groups": []}));
    house.matched(3).await;
    house.clock.advance(Duration::from_hours(1));
    house.round().await;
    let failed = house.get("/v1/deliveries/failed?limit=1").await;
    let group = &failed["counts"]["groups"][0];
    assert_eq!((&failed["counts"]["total"], &group["count"]), (&json!(2), &json!(2)));
    assert_eq!((&group["endpoint"]["key"], &group["rule"]["key"]), (&json!("oncall"), &json!("low-score")));
    assert!(["answered 404", "answered 410"].contains(&group["last_reason"].as_str().unwrap()), "{failed:#}");
    let next = failed["next"].as_str().unwrap();
    let second = house.get(&format!("/v1/deliveries/failed?limit=1&cursor={next}")).await;
    assert_eq!((&second["counts"], &second["next"]), (&Value::Null, &Value::Null));
    assert_ne!(ids(&failed), ids(&second));

    // They were made an hour before they failed: the time since which an endpoint was down is that of the failures.
    let by_making = json!({"endpoint": "oncall", "since": "30m", "dry_run": true});
    assert_eq!(house.call("POST", "/v1/deliveries/replay", &by_making).await.1["replayed"], 0);
    let recover = |dry_run: bool| json!({"endpoint": "oncall", "failed_since": "30m", "limit": 1, "dry_run": dry_run});
    assert_eq!(house.call("POST", "/v1/deliveries/replay", &recover(true)).await.1["replayed"], 1);
    let (_, first) = house.call("POST", "/v1/deliveries/replay", &recover(false)).await;
    let mut more = recover(false);
    more["cursor"] = first["next"].clone();
    let (_, rest) = house.call("POST", "/v1/deliveries/replay", &more).await;
    assert_eq!((&first["replayed"], &rest["replayed"], &rest["next"]), (&json!(1), &json!(1), &Value::Null));
    house.round().await;
    assert_eq!(receiver.requests().len(), 5);
    assert_eq!(house.get("/v1/deliveries/failed").await["counts"]["total"], 0);
}
