//! The delivery loop: what it claims, what it waits for, what it records.

use std::sync::Arc;
use std::time::Duration;

use runhook::model::delivery::{AttemptResult, DeliveryState};
use runhook::model::time::Clock;
use runhook::store::OutboxStore;
use runhook::store::outbox::Claimant;
use runhook::task::{Activity, Next, Status};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::stage::{HURRIED, Links, PATIENT, Stage};
use crate::support::outbox;
use crate::support::receiver::{Answer, Gate, Receiver, nobody};

#[tokio::test]
async fn a_message_arrives_with_its_id_its_secrets_and_a_fresh_link() {
    let mut receiver = Receiver::start([]).await;
    let mut stage = Stage::new();
    let id = stage.deliver_to(&receiver.url());
    stage.round().await;
    let request = receiver.next().await;
    assert_eq!(request.header("webhook-id"), stage.row(id).delivery.message_id.to_string());
    assert_eq!(request.header("webhook-timestamp"), "1795336200");
    assert_eq!(request.target, "/hook?secret=p%2B%20q%26r");
    assert_eq!(request.json()["link"], "http://blobs.test/tenant/run/inputs-1?expires=1795422600");
    let row = stage.row(id);
    assert_eq!(row.delivery.state, DeliveryState::Delivered);
    assert_eq!(row.attempts.len(), 1);
    assert_eq!((row.attempts[0].number, &row.attempts[0].result), (1, &AttemptResult::answered(200)));
    assert_eq!(stage.round().await, Next::Idle);
}

#[tokio::test]
async fn server_errors_are_tried_again_with_the_same_id_and_a_new_time() {
    let receiver = Receiver::start([Answer::Status(500), Answer::Status(503), Answer::Status(200)]).await;
    let mut stage = Stage::new();
    let id = stage.deliver_to(&receiver.url());
    for wait in [2, 8] {
        stage.round().await;
        assert_eq!(stage.row(id).delivery.due_at, stage.clock.now().after(Duration::from_secs(wait)));
        stage.clock.advance(Duration::from_secs(wait));
    }
    stage.round().await;
    assert_eq!(stage.row(id).delivery.state, DeliveryState::Delivered);
    let sent = receiver.requests();
    let ids: Vec<&str> = sent.iter().map(|request| request.header("webhook-id")).collect();
    let times: Vec<&str> = sent.iter().map(|request| request.header("webhook-timestamp")).collect();
    assert_eq!((ids.len(), ids[0], ids[1]), (3, ids[1], ids[2]));
    assert_eq!(times, ["1795336200", "1795336202", "1795336210"]);
}

#[tokio::test]
async fn each_way_to_fail_ends_as_its_policy_says() {
    let table = [
        (Answer::Status(500), 3, "answered 500 (tried 3 times)"),
        (Answer::Status(404), 1, "answered 404"),
        (Answer::Status(429), 1, "answered 429"),
        (Answer::Redirect("http://127.0.0.1:1/".to_owned()), 1, "answered 302: redirects are not followed"),
        (Answer::Endless, 1, ""),
        (Answer::Close, 3, "connection broke: connection closed before message completed (tried 3 times)"),
    ];
    for (answer, attempts, reason) in table {
        let receiver = Receiver::start([answer.clone()]).await;
        let mut stage = Stage::new();
        let id = stage.deliver_to(&receiver.url());
        for _ in 0..4 {
            stage.round().await;
            stage.clock.advance(Duration::from_secs(8));
        }
        let expected =
            if reason.is_empty() { DeliveryState::Delivered } else { DeliveryState::Failed(reason.to_owned()) };
        assert_eq!(stage.row(id).delivery.state, expected, "{answer:?}");
        assert_eq!(receiver.requests().len(), attempts, "{answer:?}");
    }
}

#[tokio::test]
async fn a_dead_endpoint_is_knocked_at_three_times_and_a_silent_one_once() {
    let mut stage = Stage::with(|_| HURRIED, 8);
    let dead = stage.deliver_to(&format!("http://{}/", nobody().await));
    let silent = Receiver::start([Answer::Held(Gate::closed())]).await;
    let hung = stage.deliver_to(&silent.url());
    for _ in 0..4 {
        stage.round().await;
        stage.clock.advance(Duration::from_secs(8));
    }
    let dead = stage.row(dead);
    assert_eq!(dead.attempts.len(), 3);
    assert!(matches!(&dead.delivery.state, DeliveryState::Failed(reason) if reason.starts_with("not connected: ")));
    let hung = stage.row(hung);
    assert_eq!(hung.attempts.len(), 1);
    assert_eq!(hung.delivery.state, DeliveryState::Failed("connected, but no answer in time".to_owned()));
}

#[tokio::test]
async fn a_refused_target_fails_at_once_and_tells_nothing_of_the_network() {
    let mut stage = Stage::new();
    let id = stage.deliver_to("http://169.254.169.254/latest/meta-data");
    stage.round().await;
    let reason = "the target's address is not public; the operator can allow it with --allow-targets";
    assert_eq!(stage.row(id).delivery.state, DeliveryState::Failed(reason.to_owned()));
}

#[tokio::test]
async fn a_replayed_delivery_has_all_its_retries_again() {
    let receiver = Receiver::start([Answer::Status(404), Answer::Status(500), Answer::Status(200)]).await;
    let mut stage = Stage::new();
    let id = stage.deliver_to(&receiver.url());
    stage.round().await;
    assert_eq!(stage.row(id).delivery.state, DeliveryState::Failed("answered 404".to_owned()));
    let tenant = stage.row(id).delivery.tenant_id;
    assert_eq!(stage.outbox.replay(tenant, &[id], stage.clock.now(), None).await.unwrap(), 1);
    stage.round().await;
    stage.clock.advance(Duration::from_secs(2));
    stage.round().await;
    let row = stage.row(id);
    assert_eq!(row.delivery.state, DeliveryState::Delivered);
    assert_eq!(row.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn a_slow_endpoint_does_not_delay_another() {
    let gate = Gate::closed();
    let mut slow = Receiver::start([Answer::Held(gate.clone())]).await;
    let mut quick = Receiver::start([]).await;
    let mut stage = Stage::new();
    let held = stage.deliver_to(&slow.url());
    stage.sender.pass().await.unwrap();
    slow.next().await;
    for _ in 0..20 {
        stage.deliver_to(&quick.url());
        stage.sender.pass().await.unwrap();
        quick.next().await;
    }
    assert_eq!(stage.row(held).attempts, []);
    gate.open();
    stage.sender.finish().await;
    assert_eq!(stage.row(held).delivery.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn the_backlogs_of_slow_endpoints_leave_room_for_another() {
    let gate = Gate::closed();
    let slow =
        [Receiver::start([Answer::Held(gate.clone())]).await, Receiver::start([Answer::Held(gate.clone())]).await];
    let mut quick = Receiver::start([]).await;
    let mut stage = Stage::with(|_| PATIENT, 16);
    let mut held = Vec::new();
    for receiver in &slow {
        held.extend(stage.deliver_many_to(&receiver.url(), 40));
        let next = stage.sender.pass().await.unwrap();
        assert_eq!(next, Next::Idle, "what waits for a crowded endpoint is looked for when an attempt ends");
    }
    for _ in 0..5 {
        stage.deliver_to(&quick.url());
        stage.sender.pass().await.unwrap();
        quick.next().await;
    }
    gate.open();
    for _ in 0..20 {
        stage.round().await;
    }
    assert!(held.iter().all(|id| stage.row(*id).delivery.state == DeliveryState::Delivered));
}

#[tokio::test]
async fn no_more_is_claimed_than_can_be_sent() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate.clone())]).await;
    let mut stage = Stage::with(|_| PATIENT, 1);
    let (first, second) = (stage.deliver_to(&receiver.url()), stage.deliver_to(&receiver.url()));
    let next = stage.sender.pass().await.unwrap();
    let lease = stage.row(first).lease.clone().unwrap();
    assert_eq!(next, Next::At(lease.until), "the attempt that ends pokes; one that does not leaves its lease");
    receiver.next().await;
    assert_eq!((stage.row(first).lease.is_some(), stage.row(second).lease.is_some()), (true, false));
    gate.open();
    stage.sender.finish().await;
    stage.round().await;
    assert_eq!(stage.row(second).delivery.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn whoever_lost_the_lease_records_nothing() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate.clone())]).await;
    let mut stage = Stage::new();
    let id = stage.deliver_to(&receiver.url());
    stage.sender.pass().await.unwrap();
    receiver.next().await;
    stage.clock.advance(Duration::from_hours(1));
    let now = stage.clock.now();
    let other = Claimant { holder: Uuid::from_u128(99), now, until: now.after(Duration::from_hours(1)) };
    assert_eq!(outbox::claim(&*stage.outbox, other, 1).await.unwrap().len(), 1);
    gate.open();
    stage.sender.finish().await;
    let row = stage.row(id);
    assert_eq!((row.delivery.state, row.attempts.len()), (DeliveryState::Pending, 0));
}

#[tokio::test]
async fn a_crash_between_sending_and_recording_sends_again_with_the_same_id() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate), Answer::Status(200)]).await;
    let mut stage = Stage::new();
    let id = stage.deliver_to(&receiver.url());
    stage.sender.pass().await.unwrap();
    let first = receiver.next().await;
    let mut stage = stage.crash();
    assert_eq!(stage.round().await, Next::At(stage.row(id).lease.unwrap().until), "the lease still holds");
    stage.clock.advance(Duration::from_mins(2));
    stage.round().await;
    assert_eq!(receiver.next().await.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(stage.row(id).delivery.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn what_will_never_be_sent_fails_with_its_reason() {
    let receiver = Receiver::start([]).await;
    let mut stage = Stage::new();
    let deleted = stage.deliver_to(&receiver.url());
    stage.links(Links::Refused);
    stage.round().await;
    let failed = |reason: &str| DeliveryState::Failed(reason.to_owned());
    let now = stage.row(deleted).delivery.state;
    assert_eq!(now, failed("a blob it links to cannot be read: it was deleted"));
    stage.links(Links::Made);
    let locked = stage.deliver_to(&receiver.url());
    stage.outbox.damage_target(locked);
    let gone = stage.deliver_to(&receiver.url());
    stage.outbox.forget_message(gone);
    stage.round().await;
    assert_eq!(stage.row(locked).delivery.state, failed("the endpoint's secrets do not open with this server's keys"));
    assert_eq!(stage.row(gone).delivery.state, failed("its message is gone"));
    assert_eq!(receiver.requests(), []);
}

#[tokio::test]
async fn an_outage_of_our_own_is_not_held_against_the_endpoint() {
    let receiver = Receiver::start([]).await;
    let mut stage = Stage::new();
    let id = stage.deliver_to(&receiver.url());
    stage.links(Links::Unavailable);
    for _ in 0..10 {
        stage.round().await;
        stage.clock.advance(Duration::from_mins(2));
    }
    assert_eq!(stage.row(id).attempts, []);
    stage.links(Links::Made);
    stage.outbox.be_busy(2);
    stage.round().await;
    assert_eq!(stage.row(id).delivery.state, DeliveryState::Delivered);
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn an_attempt_that_panics_ends_too() {
    let receiver = Receiver::start([]).await;
    let mut stage = Stage::new();
    let id = stage.deliver_to(&receiver.url());
    stage.links(Links::Panic);
    for _ in 0..3 {
        stage.round().await;
        stage.clock.advance(Duration::from_secs(8));
    }
    let DeliveryState::Failed(reason) = stage.row(id).delivery.state else { panic!("not failed") };
    assert!(reason.contains("broke down inside Runhook"), "{reason}");
}

#[tokio::test]
async fn a_stop_lets_attempts_under_way_come_to_their_end() {
    let gate = Gate::closed();
    let mut receiver = Receiver::start([Answer::Held(gate.clone())]).await;
    let mut stage = Stage::new();
    let id = stage.deliver_to(&receiver.url());
    let stop = CancellationToken::new();
    let (status, _) = watch::channel(Status::default());
    let (outbox, clock, poke) = (Arc::clone(&stage.outbox), Arc::clone(&stage.clock), stage.poke.clone());
    let looping = runhook::task::run(stage.sender, poke, clock, status, stop.clone());
    let stopping = async {
        receiver.next().await;
        stop.cancel();
        gate.open();
    };
    tokio::join!(looping, stopping);
    assert_eq!(outbox.row(id).delivery.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn an_attempt_that_ends_wakes_the_loop_for_the_next() {
    let receiver = Receiver::start([]).await;
    let mut stage = Stage::with(|_| PATIENT, 1);
    let ids: Vec<_> = (0..5).map(|_| stage.deliver_to(&receiver.url())).collect();
    let stop = CancellationToken::new();
    let (status, _) = watch::channel(Status::default());
    let (outbox, clock, poke) = (Arc::clone(&stage.outbox), Arc::clone(&stage.clock), stage.poke.clone());
    let looping = runhook::task::run(stage.sender, poke, clock, status, stop.clone());
    let stopping = async {
        receiver.arrived(5).await;
        stop.cancel();
    };
    tokio::join!(looping, stopping);
    assert!(ids.iter().all(|id| outbox.row(*id).delivery.state == DeliveryState::Delivered));
}

#[tokio::test]
async fn attempts_that_end_together_are_recorded_together() {
    let gate = Gate::closed();
    let receiver = Receiver::start([Answer::Held(gate.clone())]).await;
    let mut stage = Stage::with(|_| PATIENT, 64);
    let ids = stage.deliver_many_to(&receiver.url(), 30);
    stage.sender.pass().await.unwrap();
    receiver.arrived(30).await;
    gate.open();
    stage.sender.finish().await;
    assert!(ids.iter().all(|id| stage.row(*id).delivery.state == DeliveryState::Delivered));
    let recordings = stage.outbox.recordings();
    assert_eq!(recordings.iter().sum::<usize>(), 30);
    assert!(recordings.len() < 30, "{recordings:?}");
}

#[tokio::test]
async fn a_message_that_did_not_come_with_the_claim_is_read_by_itself() {
    let mut receiver = Receiver::start([]).await;
    let mut stage = Stage::new();
    stage.outbox.claim_without_messages();
    let id = stage.deliver_to(&receiver.url());
    stage.round().await;
    assert_eq!(receiver.next().await.header("webhook-id"), stage.row(id).delivery.message_id.to_string());
    assert_eq!(stage.row(id).delivery.state, DeliveryState::Delivered);
}
