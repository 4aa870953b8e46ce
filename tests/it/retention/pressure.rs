//! What dropping costs those who send meanwhile. Measured by hand, on a machine with nothing else to do:
//!
//!   tests/with-postgres cargo test --test it pressure -- --ignored --nocapture --test-threads 1

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use runhook::model::run::{Fields, Part, PartKind, Payload};
use runhook::model::time::{Clock, SystemClock, Timestamp};
use runhook::retention::{Keeper, Parts};
use runhook::store::Store;
use runhook::store::runs::Batch;
use runhook::task::{Activity as _, Next};

use super::{DAY, House, TEN_DAYS};
use crate::store::sample::{PROJECT, TENANT, begun, json, part, run_id};

const OLD: u32 = 50_000;
const CLIENTS: u32 = 4;
const RUNS: u32 = 10;
const BEFORE: Duration = Duration::from_secs(10);
/// What a client waits between two batches.
const THINKS: Duration = Duration::from_millis(10);

fn large(number: u32) -> Part {
    let inputs = Some(Payload::Inline(json(&format!(r#"{{"text": "{}"}}"#, "lorem ipsum ".repeat(100)))));
    part(PartKind::Post, run_id(number), Some(PROJECT), Fields { inputs, ..begun(number) })
}

async fn send(store: &dyn Store, numbers: std::ops::Range<u32>, now: Timestamp) {
    store
        .accept(TENANT, Batch { parts: numbers.map(large).collect(), feedback: vec![], ..Batch::default() }, now)
        .await
        .unwrap();
}

/// Sends until it is told to stop; how long each batch took.
async fn client(store: Arc<dyn Store>, first: u32, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let (mut took, mut number) = (Vec::new(), first);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        send(store.as_ref(), number..number + RUNS, SystemClock.now()).await;
        took.push(began.elapsed());
        number += RUNS;
        tokio::time::sleep(THINKS).await;
    }
    took
}

/// Clients that send while something is done.
async fn clients_while<T>(house: &House, first: u32, work: impl Future<Output = T>) -> (Vec<Duration>, T) {
    let stop = Arc::new(AtomicBool::new(false));
    let clients =
        (0..CLIENTS).map(|number| client(Arc::clone(&house.stores[0]), first + number * 1_000_000, Arc::clone(&stop)));
    let work = async {
        let done = work.await;
        stop.store(true, Ordering::Relaxed);
        done
    };
    let (took, done) = join(join_all(clients), work).await;
    (took.concat(), done)
}

fn shown(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    format!("{} batches, p50 {:?}, p99 {:?}, longest {:?}", took.len(), at(50), at(99), at(100))
}

async fn measure(house: &House, place: &str) {
    let long_ago = SystemClock.now().before(20 * DAY);
    for first in (0..OLD).step_by(500) {
        send(house.store(), first..first + 500, long_ago).await;
    }
    let (alone, ()) = clients_while(house, 1_000_000, tokio::time::sleep(BEFORE)).await;
    let mut keeper = Keeper::new(Parts {
        store: Arc::clone(&house.stores[0]),
        blobs: Arc::clone(&house.blobs),
        clock: Arc::new(SystemClock),
        retention: TEN_DAYS,
    });
    let dropping = async {
        let (began, mut longest, mut passes) = (Instant::now(), Duration::ZERO, 0);
        loop {
            let pass = Instant::now();
            let Next::At(next) = keeper.pass().await.unwrap() else { continue };
            longest = longest.max(pass.elapsed());
            passes += 1;
            let pause = next.since(SystemClock.now());
            if pause > Duration::from_mins(1) {
                return (began.elapsed(), longest, passes);
            }
            tokio::time::sleep(pause).await;
        }
    };
    let (meanwhile, (took, longest, passes)) = clients_while(house, 10_000_000, dropping).await;
    let figures = format!(
        "{place}: {OLD} runs in {took:?}, {passes} passes, the longest {longest:?}\n  without: {}\n  with: {}\n",
        shown(alone),
        shown(meanwhile)
    );
    std::io::stderr().write_all(figures.as_bytes()).unwrap();
    assert!(house.store().run(TENANT, run_id(0)).await.unwrap().is_none());
    assert!(house.store().run(TENANT, run_id(OLD - 1)).await.unwrap().is_none());
    assert!(house.store().run(TENANT, run_id(1_000_000)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, for a minute"]
async fn fifty_thousand_runs_leave_a_file_while_others_arrive() {
    let house = House::on_a_file().await.unwrap();
    measure(&house, "SQLite").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, for a minute"]
async fn fifty_thousand_runs_leave_a_server_while_others_arrive() {
    let Some(house) = House::on_a_server().await else { return };
    measure(&house, "PostgreSQL").await;
    house.close().await;
}
