//! The process dies around a commit, or another replica is at work: every change of state is told once.

use std::sync::Arc;
use std::time::Duration;

use runhook::store::Store;
use runhook::task::Activity as _;
use serde_json::{Value, json};

use super::{House, rule, webhook, with};
use crate::scheduling::faults::{Fault, Faults, FaultyStore};
use crate::support::receiver::{Answer, Gate, Receiver};
use crate::support::server::{Server, Settings};

const PATIENCE: Duration = Duration::from_mins(1);

/// The house's store, which fails where it is told to.
fn faulty(house: &House, fault: Fault) -> Arc<dyn Store> {
    let faults = Arc::new(Faults::default());
    faults.at_commit(fault);
    Arc::new(FaultyStore::new(Arc::clone(&house.store), faults))
}

#[tokio::test]
async fn a_process_that_dies_before_or_after_the_commit_leaves_one_notice() {
    for (fault, after) in [(Fault::Before, 0), (Fault::After, 1)] {
        let mut receiver = Receiver::start([]).await;
        let mut house = House::open().await;
        let alert = house.alert(&rule("error_count", "sum", 1.0), &webhook(&receiver.url())).await;
        house.runs(2, 2).await;
        house.clock.advance(Duration::from_mins(1));
        house.watcher_over(faulty(&house, fault)).pass().await.unwrap();
        assert_eq!(house.deliveries().await, after);
        let mut house = house.crash().await;
        house.watch().await;
        assert_eq!((house.deliveries().await, house.state(&alert).await.0.as_str()), (1, "firing"));
        house.send().await;
        house.minutes(1).await;
        house.send().await;
        receiver.next().await;
        assert_eq!(receiver.requests().len(), 1);
    }
}

#[tokio::test]
async fn replicas_that_evaluate_at_the_same_time_tell_once() {
    let mut house = House::open().await;
    let alert = house.alert(&rule("run_count", "sum", 1.0), &webhook("http://127.0.0.1:45999/")).await;
    for round in 1..=10_usize {
        house.runs(1, 0).await;
        house.clock.advance(Duration::from_mins(1));
        let store = || Arc::clone(&house.store);
        let mut watchers = [0; 3].map(|_| house.watcher_over(store()));
        let [one, two, three] = &mut watchers;
        let (one, two, three) = tokio::join!(one.pass(), two.pass(), three.pass());
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(house.deliveries().await, round * 2 - 1);
        house.clock.advance(Duration::from_mins(6));
        house.watch().await;
        assert_eq!((house.deliveries().await, house.state(&alert).await.0.as_str()), (round * 2, "resolved"));
    }
}

#[tokio::test]
async fn an_alert_that_is_changed_while_it_is_evaluated_is_evaluated_as_it_is_then() {
    let mut house = House::open().await;
    let alert = house.alert(&rule("run_count", "sum", 1.0), &webhook("http://127.0.0.1:45999/")).await;
    house.runs(1, 0).await;
    house.clock.advance(Duration::from_mins(1));
    let kept = house.store.list_alerts(super::TENANT).await.unwrap().remove(0);
    let path = format!("{}/{}", house.path(), alert["id"].as_str().unwrap());
    let removed = Fault::Meanwhile(Box::new(move |store| {
        Box::pin(async move {
            let (project, id) = (kept.alert.project_id, kept.alert.id);
            assert!(store.remove_alert(super::TENANT, project, id, kept.evaluated_at, None).await.unwrap());
        })
    }));
    house.watcher_over(faulty(&house, removed)).pass().await.unwrap();
    assert_eq!((house.deliveries().await, house.call("GET", &path, &Value::Null).await.0), (0, 404));
}

/// A server with a session and an alert that fires at once: no run has come in the last five minutes.
async fn silent(receiver: &Receiver) -> (Server, String) {
    let server = Server::start(Settings::with(["--allow-targets", "127.0.0.1"]));
    let (_, session) = server.call("POST", "/sessions", Some(&json!({"name": "quiet"}))).await;
    let silence = with(rule("run_count", "sum", 1.0), &json!({"operator": "lt"}));
    let body = json!({"rule": silence, "actions": webhook(&receiver.url())});
    let path = format!("/api/v1/platform/alerts/{}", session["id"].as_str().unwrap());
    let (status, alert) = server.call("POST", &path, Some(&body)).await;
    assert_eq!(status, 201, "{alert}");
    (server, format!("{path}/{}", alert["id"].as_str().unwrap()))
}

#[tokio::test]
async fn a_killed_server_has_the_alert_it_acknowledged_and_tells_of_it_under_one_id() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate.clone()), Answer::Status(200)]).await;
    let (server, path) = silent(&receiver).await;
    let first = tokio::time::timeout(PATIENCE, receiver.next()).await.unwrap();
    // It dies between the notice and its answer, and again right after it has started.
    let server = server.restart().restart();
    gate.open();
    assert_eq!(server.call("GET", &path, None).await.1["state"]["state"], "firing");
    let again = tokio::time::timeout(Duration::from_mins(2), receiver.next()).await.unwrap();
    assert_eq!((again.header("webhook-id"), &again.body), (first.header("webhook-id"), &first.body));
    let (_, listed) = server.call("GET", "/v1/deliveries", None).await;
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn killed_right_after_it_acknowledged_an_alert_a_server_still_tells_of_it_once() {
    let mut receiver = Receiver::start([]).await;
    let (server, path) = silent(&receiver).await;
    let server = server.restart();
    tokio::time::timeout(Duration::from_mins(2), receiver.next()).await.unwrap();
    assert_eq!(server.call("GET", &path, None).await.1["state"]["state"], "firing");
    let (_, listed) = server.call("GET", "/v1/deliveries", None).await;
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 1, "{listed}");
}
