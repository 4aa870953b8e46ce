//! What an endpoint is spared, and the others with it: its pace, its circuit, and all that fail at once.

use std::num::NonZeroU32;
use std::time::Duration;

use runhook::model::delivery::DeliveryState;
use runhook::model::id::DeliveryId;
use runhook::model::pace::Pace;
use runhook::model::time::Clock;
use runhook::task::{Activity, Next};
use tokio::task::yield_now;

use super::stage::{PATIENT, Stage};
use crate::support::receiver::{Answer, Gate, Receiver, nobody};

fn delivered(stage: &Stage, ids: &[DeliveryId]) -> usize {
    ids.iter().filter(|id| stage.row(**id).delivery.state == DeliveryState::Delivered).count()
}

fn attempts(stage: &Stage, ids: &[DeliveryId]) -> usize {
    ids.iter().map(|id| stage.row(*id).attempts.len()).sum()
}

#[tokio::test]
async fn an_endpoint_with_a_rate_is_sent_no_more_and_the_others_do_not_wait_for_it() {
    let (limited, free) = (Receiver::start([]).await, Receiver::start([]).await);
    let mut stage = Stage::with(|_| PATIENT, 64);
    stage.pace = Pace { rate: "2/s".parse().ok(), ..Pace::default() };
    let slow = stage.deliver_many_to(&limited.url(), 6);
    stage.pace = Pace::default();
    let fast = stage.deliver_many_to(&free.url(), 20);
    let mut next = stage.round().await;
    for expected in 2..=6 {
        assert_eq!((delivered(&stage, &slow), delivered(&stage, &fast)), (expected, 20));
        if expected < 6 {
            let half_a_second = Duration::from_millis(500);
            assert_eq!(next, Next::At(stage.clock.now().after(half_a_second)), "it sleeps until there is room");
            stage.clock.advance(half_a_second);
            next = stage.round().await;
        }
    }
    assert_eq!(stage.round().await, Next::Idle);
    assert_eq!(limited.requests().len(), 6);
}

#[tokio::test]
async fn a_burst_is_sent_at_once_and_a_lost_one_is_not_made_up() {
    let receiver = Receiver::start([]).await;
    let mut stage = Stage::with(|_| PATIENT, 64);
    stage.pace = Pace { rate: "60/h".parse().ok(), burst: NonZeroU32::new(3), ..Pace::default() };
    let ids = stage.deliver_many_to(&receiver.url(), 10);
    stage.round().await;
    assert_eq!(delivered(&stage, &ids), 3);
    stage.clock.advance(Duration::from_hours(24));
    stage.round().await;
    assert_eq!(delivered(&stage, &ids), 6, "a day of rest is a burst, and not a day's worth");
}

#[tokio::test]
async fn an_endpoint_with_a_concurrency_holds_so_many_slots() {
    let gate = Gate::closed();
    let receiver = Receiver::start([Answer::Held(gate.clone())]).await;
    let mut stage = Stage::with(|_| PATIENT, 64);
    stage.pace = Pace { concurrency: NonZeroU32::new(2), ..Pace::default() };
    let ids = stage.deliver_many_to(&receiver.url(), 5);
    stage.sender.pass().await.unwrap();
    receiver.arrived(2).await;
    stage.sender.pass().await.unwrap();
    assert_eq!(ids.iter().filter(|id| stage.row(**id).lease.is_some()).count(), 2, "no more are claimed");
    gate.open();
    for _ in 0..3 {
        stage.round().await;
    }
    assert_eq!(delivered(&stage, &ids), 5);
}

#[tokio::test]
async fn a_dead_endpoint_is_left_alone_until_a_probe_finds_it_alive() {
    let receiver = Receiver::start([Answer::Close]).await;
    let mut stage = Stage::with(|_| PATIENT, 8);
    let ids = stage.deliver_many_to(&receiver.url(), 60);
    while receiver.requests().len() < 10 {
        stage.round().await;
    }
    let circuit = stage.outbox.circuit(ids[0]).unwrap();
    let made = attempts(&stage, &ids);
    assert!(made < 18, "ten failures, and what was under way: {made}");
    assert_eq!(stage.round().await, Next::At(circuit.until));
    stage.clock.advance(circuit.until.since(stage.clock.now()).saturating_sub(Duration::from_millis(1)));
    stage.round().await;
    assert_eq!(attempts(&stage, &ids), made, "what waits uses up nothing");

    stage.clock.advance(Duration::from_millis(1));
    stage.round().await;
    assert_eq!(attempts(&stage, &ids), made + 1, "one probe");
    let again = stage.outbox.circuit(ids[0]).unwrap();
    assert_eq!(again.openings, circuit.openings + 1);

    receiver.answer_always(Answer::Status(200));
    stage.clock.advance(again.until.since(stage.clock.now()));
    for _ in 0..20 {
        stage.round().await;
    }
    assert_eq!(stage.outbox.circuit(ids[0]), None);
    assert_eq!(delivered(&stage, &ids), 60, "each of them still had tries left");
}

#[tokio::test]
async fn a_steady_endpoint_that_dies_fails_what_it_was_being_asked_and_not_all_that_was_claimed_for_it() {
    const AT_ONCE: usize = 4;
    // One is never answered meanwhile: an endpoint for which nothing is under way is forgotten, and would not be steady.
    let last = Gate::closed();
    let receiver = Receiver::start([Answer::Held(last.clone()), Answer::Status(200)]).await;
    let mut stage = Stage::with(|_| PATIENT, 64);
    stage.pace = Pace { concurrency: NonZeroU32::new(4), ..Pace::default() };
    let ids = stage.deliver_many_to(&receiver.url(), 500);
    let leased = |stage: &Stage| stage.outbox.count(|row| row.lease.is_some());
    let done = |stage: &Stage| stage.outbox.count(|row| row.delivery.state == DeliveryState::Delivered);
    while leased(&stage) + done(&stage) <= receiver.count() + AT_ONCE {
        assert!(done(&stage) + 1 < ids.len(), "it was never steady");
        stage.sender.pass().await.unwrap();
        yield_now().await;
    }
    let gate = Gate::closed();
    receiver.answer_always(Answer::DripHead(gate.clone()));
    let asked = receiver.count() + AT_ONCE - 1;
    while receiver.count() < asked {
        stage.sender.pass().await.unwrap();
        yield_now().await;
    }
    gate.open();
    while stage.outbox.circuit(ids[0]).is_none() {
        stage.sender.pass().await.unwrap();
        yield_now().await;
    }
    last.open();
    stage.sender.finish().await;
    let failed = attempts(&stage, &ids) - done(&stage);
    assert!((10..10 + AT_ONCE).contains(&failed), "ten open the circuit, and what was under way: {failed}");
    assert_eq!(leased(&stage), 0, "the others were put back");
    let circuit = stage.outbox.circuit(ids[0]).unwrap();
    assert_eq!(stage.round().await, Next::At(circuit.until));
}

#[tokio::test]
async fn many_endpoints_that_fail_at_once_cost_another_one_nothing() {
    let healthy = Receiver::start([]).await;
    let dead = nobody().await;
    let mut stage = Stage::with(|_| PATIENT, 64);
    let failing: Vec<Vec<DeliveryId>> =
        (0..50).map(|number| stage.deliver_many_to(&format!("http://{dead}/{number}"), 40)).collect();
    stage.round().await;
    let before = attempts(&stage, &failing.concat());
    for _ in 0..40 {
        stage.round().await;
        stage.clock.advance(Duration::from_millis(100));
    }
    let most = failing.iter().map(|ids| attempts(&stage, ids)).max().unwrap();
    assert!(most <= 20, "none was tried for long after its circuit had opened: {before}, {most}");
    let ids = stage.deliver_many_to(&healthy.url(), 20);
    stage.round().await;
    assert_eq!(delivered(&stage, &ids), 20, "in the very next pass");
}
