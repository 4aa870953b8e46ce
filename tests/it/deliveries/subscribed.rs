//! Endpoints that subscribe to events are endpoints like any other: they have a circuit and an end. And what was sent to them
//! is listed as soon as it is recorded.

use std::time::Duration;

use runhook::delivery::Conduct;
use runhook::model::endpoint::Endpoint;
use runhook::model::id::{EndpointId, TenantId};
use runhook::model::time::Clock;
use serde_json::json;

use super::house::House;
use crate::support::receiver::{Answer, Receiver};

const DAY: Duration = Duration::from_hours(24);

async fn stored(house: &House, id: EndpointId) -> Endpoint {
    house.store.endpoints(TenantId::DEFAULT, &[id]).await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn an_endpoint_that_subscribes_has_a_circuit_and_an_end_like_any_other() {
    let receiver = Receiver::start([Answer::Close]).await;
    let mut watcher = Receiver::start([]).await;
    let conduct = Conduct { disable_after: Some(5 * DAY), notices: None };
    let mut house = House::with_conduct(&receiver.url(), conduct).await;
    let (_, app) = house.call("POST", "/api/v1/app", &json!({"name": "a", "uid": "a"})).await;
    let app = app["id"].as_str().unwrap().parse().unwrap();
    let failing = house.put_subscriber(app, 21, &receiver.url(), &["x.y"]).await;
    house.put_subscriber(app, 22, &watcher.url(), &["endpoint.disabled"]).await;
    for number in 0..16 {
        let message = json!({"eventType": "x.y", "payload": {"n": number}});
        assert_eq!(house.call("POST", "/api/v1/app/a/msg", &message).await.0, 202);
    }
    house.round().await;
    assert!(stored(&house, failing).await.health.circuit.is_some());
    let sent = receiver.requests().len();
    house.clock.advance(Duration::from_secs(9));
    house.round().await;
    assert_eq!(receiver.requests().len(), sent, "what waits is not tried");

    house.clock.advance(5 * DAY);
    house.round().await;
    let disabled = stored(&house, failing).await.disabled.unwrap();
    assert!(disabled.reason.starts_with("every attempt has failed for 5d"), "{disabled:?}");
    house.clock.advance(Duration::from_secs(1));
    house.round().await;
    let told = watcher.next().await.json();
    assert_eq!((&told["endpoint_id"], &told["reason"]), (&json!(failing), &json!(disabled.reason)));
}

#[tokio::test]
async fn an_attempt_is_listed_when_it_has_been_made_and_no_clock_need_move() {
    let receiver = Receiver::start([Answer::Body(200, "OK".into())]).await;
    let mut house = House::new(&receiver.url()).await;
    let (_, app) = house.call("POST", "/api/v1/app", &json!({"name": "a", "uid": "a"})).await;
    let app = app["id"].as_str().unwrap().parse().unwrap();
    let endpoint = house.put_subscriber(app, 21, &receiver.url(), &["x.y"]).await;
    for number in 1..=3 {
        let message = json!({"eventType": "x.y", "payload": {"n": number}});
        let (_, sent) = house.call("POST", "/api/v1/app/a/msg", &message).await;
        let now = house.clock.now();
        house.round().await;
        let listed = house.get(&format!("/api/v1/app/a/attempt/endpoint/{endpoint}")).await;
        assert_eq!(listed["data"].as_array().unwrap().len(), number, "{listed:#}");
        let of_message = house.get(&format!("/api/v1/app/a/attempt/msg/{}", sent["id"].as_str().unwrap())).await;
        assert_eq!((&of_message["data"][0]["response"], house.clock.now()), (&json!("OK"), now));
    }
}
