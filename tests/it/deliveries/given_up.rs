//! What operators see of an endpoint that fails, on a real database: its circuit, its end, and the message that tells it.

use std::time::Duration;

use runhook::delivery::Conduct;
use runhook::model::id::{DeliveryId, TenantId};
use runhook::model::time::Clock;
use serde_json::Value;

use super::house::House;
use crate::support::receiver::{Answer, Receiver};

const DAY: Duration = Duration::from_hours(24);

async fn shown(house: &House) -> Value {
    house.get("/v1/endpoints/oncall").await
}

/// Sends it again, and waits for what comes of it.
async fn again(house: &mut House, id: DeliveryId) {
    let now = house.clock.now();
    let replayed = house.store.replay(TenantId::DEFAULT, &[id], now, None).await.unwrap();
    assert_eq!(replayed, 1);
    house.round().await;
}

#[tokio::test]
async fn an_endpoint_that_takes_nothing_for_five_days_is_disabled_and_the_operator_hears_of_it() {
    let receiver = Receiver::start([Answer::Status(404)]).await;
    let mut ops = Receiver::start([]).await;
    let conduct = Conduct { disable_after: Some(5 * DAY), notices: Some("ops".to_owned()) };
    let mut house = House::with_conduct(&receiver.url(), conduct).await;
    house.put_ops(&ops.url()).await;
    let id = house.matched(1).await[0];
    house.round().await;
    let since = shown(&house).await["failing_since"].as_str().unwrap().to_owned();
    house.clock.advance(4 * DAY);
    again(&mut house, id).await;
    let failing = shown(&house).await;
    assert_eq!((failing["disabled"].clone(), &failing["failing_since"]), (Value::Null, &Value::from(since.as_str())));

    house.clock.advance(DAY + Duration::from_mins(1));
    again(&mut house, id).await;
    let reason = format!("every attempt has failed for 5d, since {since}");
    assert_eq!(shown(&house).await["disabled"]["reason"], reason.as_str());
    assert_eq!(disabled_by_the_server(&house).await, ["failing"]);
    house.clock.advance(Duration::from_secs(1));
    house.round().await;
    let told = ops.next().await;
    assert!(told.header("webhook-signature").starts_with("v1,"));
    let notice = told.json();
    assert_eq!(notice["type"], "endpoint.disabled");
    assert_eq!((&notice["data"]["endpoint"], &notice["data"]["reason"]), (&"oncall".into(), &reason.as_str().into()));
    assert_eq!(notice["data"]["failing_since"], since.as_str());
    assert!(!notice.to_string().contains("t0k3n"), "no secret is told");
    let listed = house.get("/v1/deliveries?state=delivered").await;
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 1, "it is a delivery like any other: {listed}");

    house.post("/v1/endpoints/oncall/enable").await;
    receiver.answer_always(Answer::Status(200));
    again(&mut house, id).await;
    let healed = shown(&house).await;
    assert_eq!((&healed["disabled"], &healed["failing_since"]), (&Value::Null, &Value::Null));
    assert_eq!(ops.requests().len(), 1);
}

#[tokio::test]
async fn one_that_took_something_meanwhile_is_not_disabled() {
    let receiver = Receiver::start([Answer::Status(404)]).await;
    let conduct = Conduct { disable_after: Some(5 * DAY), notices: None };
    let mut house = House::with_conduct(&receiver.url(), conduct).await;
    let id = house.matched(1).await[0];
    for answer in [404, 200, 404] {
        receiver.answer_always(Answer::Status(answer));
        house.clock.advance(3 * DAY);
        if answer == 404 && receiver.requests().is_empty() {
            house.round().await;
        } else {
            again(&mut house, id).await;
        }
    }
    assert_eq!(shown(&house).await["disabled"], Value::Null);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_of_too() {
    let receiver = Receiver::start([Answer::Status(410)]).await;
    let mut ops = Receiver::start([]).await;
    let conduct = Conduct { disable_after: None, notices: Some("ops".to_owned()) };
    let mut house = House::with_conduct(&receiver.url(), conduct).await;
    house.put_ops(&ops.url()).await;
    house.set_standard().await;
    house.matched(5).await;
    house.round().await;
    house.clock.advance(Duration::from_secs(1));
    house.round().await;
    assert_eq!(ops.next().await.json()["data"]["reason"], "answered 410: the receiver is gone for good");
    house.round().await;
    assert_eq!(ops.requests().len(), 1, "once, however many attempts found it");
    assert_eq!(disabled_by_the_server(&house).await, ["gone"], "once in the log, too");
}

/// Why the audit log says that the server disabled the endpoint, each time.
async fn disabled_by_the_server(house: &House) -> Vec<String> {
    let page = house.get("/v1/audit?object=oncall&actor=server&action=endpoint.disable").await;
    let entries = page["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["detail"]["why"].as_str().unwrap().to_owned()).collect()
}

/// The deliveries in this state, each with its reason.
async fn reasons(house: &House, state: &str) -> Vec<String> {
    let page = house.get(&format!("/v1/deliveries?state={state}&limit=100")).await;
    let text = |delivery: &Value| delivery["reason"].as_str().unwrap_or_default().to_owned();
    page["deliveries"].as_array().unwrap().iter().map(text).collect()
}

#[tokio::test]
async fn what_waits_for_a_dead_endpoint_ends_as_its_policy_says_even_where_none_is_ever_disabled() {
    for (is_standard, hours, text) in [(false, 24, "1d"), (true, 84, "84h")] {
        let receiver = Receiver::start([Answer::Close]).await;
        let conduct = Conduct { disable_after: None, notices: None };
        let mut house = House::with_conduct(&receiver.url(), conduct).await;
        if is_standard {
            house.set_standard().await;
        }
        let ids = house.matched(60).await;
        house.round().await;
        house.clock.advance(Duration::from_hours(hours - 1));
        house.round().await;
        assert_eq!(reasons(&house, "pending").await.len(), ids.len(), "a probe failed, and all wait on");
        house.clock.advance(Duration::from_hours(2));
        house.round().await;
        let expected = format!("waited {text} for an endpoint that does not answer");
        let ended = reasons(&house, "failed").await;
        assert!(ended.len() > 50 && ended.iter().all(|reason| *reason == expected), "{ended:?}");
        // What was probed meanwhile has waited less, and is tried again.
        for _ in 0..100 {
            house.clock.advance(Duration::from_hours(hours));
            house.round().await;
        }
        assert_eq!(reasons(&house, "failed").await.len(), ids.len());
        assert_eq!(shown(&house).await["disabled"], Value::Null);
        receiver.answer_always(Answer::Status(200));
        house.clock.advance(Duration::from_mins(10));
        again(&mut house, ids[0]).await;
        assert_eq!(reasons(&house, "delivered").await.len(), 1, "it can be sent again");
    }
}

#[tokio::test]
async fn an_open_circuit_is_shown_and_whoever_enables_the_endpoint_closes_it() {
    let receiver = Receiver::start([Answer::Close]).await;
    let mut house = House::new(&receiver.url()).await;
    let ids = house.matched(16).await;
    house.round().await;
    let open = shown(&house).await;
    assert_eq!((&open["circuit"]["state"], &open["circuit"]["openings"]), (&"open".into(), &1.into()), "{open}");
    assert!(open["circuit"]["next_probe_at"].is_string() && open["failing_since"].is_string());
    let sent = receiver.requests().len();
    house.clock.advance(Duration::from_secs(9));
    house.round().await;
    assert_eq!(receiver.requests().len(), sent);
    receiver.answer_always(Answer::Status(200));
    house.post("/v1/endpoints/oncall/enable").await;
    house.round().await;
    assert_eq!(shown(&house).await["circuit"], Value::Null);
    let delivered = house.get("/v1/deliveries?state=delivered").await;
    assert_eq!(delivered["deliveries"].as_array().unwrap().len(), ids.len());
}
