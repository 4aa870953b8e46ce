//! A primary that is lost, with a synchronous standby that is promoted: what was acknowledged is there, what matches is
//! notified once, and the replicas that were running go on by themselves.
//!
//! The replicas reach the primary by an address that is given to the standby when it is promoted, as a virtual address, a
//! name or a proxy would be.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::watch;

use crate::replicas::{BOUND, Shared, batch, until, within};
use crate::support::cluster::Cluster;
use crate::support::postgres::Database;
use crate::support::receiver::{Answer, Gate};
use crate::support::server::Server;
use crate::support::way::Way;
use crate::survival::run_id;

const RUNS_PER_BATCH: usize = 6;
const RUNS_PER_BURST: usize = 90;

/// When the primary is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While batches are on their way, and looked at.
    WhileAccepting,
    /// Right after a burst was acknowledged, while the receiver holds a notification that it has not answered.
    WhileDelivering,
}

/// Clients that send batch after batch, each until it is acknowledged, to one replica after the other.
struct Load<'a> {
    replicas: &'a [Server],
    next: AtomicUsize,
    stop: AtomicBool,
    acknowledged: watch::Sender<BTreeSet<usize>>,
}

impl<'a> Load<'a> {
    fn on(replicas: &'a [Server]) -> Self {
        let acknowledged = watch::Sender::new(BTreeSet::new());
        Self { replicas, next: AtomicUsize::new(1), stop: AtomicBool::new(false), acknowledged }
    }

    async fn run(&self, server: &Server) {
        while !self.stop.load(Ordering::SeqCst) {
            self.send(server, RUNS_PER_BATCH).await;
        }
    }

    async fn send(&self, server: &Server, count: usize) {
        let first = self.next.fetch_add(count, Ordering::SeqCst);
        let numbers: Vec<usize> = (first..first + count).collect();
        let body = batch(&numbers);
        loop {
            match server.call("POST", "/runs/batch", Some(&body)).await {
                (202, _) => break,
                (503, _) => {}
                other => panic!("{other:?}"),
            }
        }
        self.acknowledged.send_modify(|acknowledged| acknowledged.extend(numbers));
    }

    /// Waits until so many more runs are acknowledged.
    async fn more(&self, count: usize) {
        let wanted = self.acknowledged.borrow().len() + count;
        let mut seen = self.acknowledged.subscribe();
        seen.wait_for(|acknowledged| acknowledged.len() >= wanted).await.unwrap();
    }
}

/// Loses the primary at this moment, while there is load, and has the standby take its place.
async fn fail_over(shared: &Shared, load: &Load<'_>, way: &Way, pair: (Cluster, Cluster), moment: Moment) -> Cluster {
    let (mut primary, standby) = pair;
    load.stop.store(false, Ordering::SeqCst);
    let disaster = async {
        load.more(4 * RUNS_PER_BATCH).await;
        let gate = (moment == Moment::WhileDelivering).then(Gate::closed);
        if let Some(gate) = &gate {
            let heard = shared.receiver.requests().len();
            shared.receiver.answer_next(Answer::Held(gate.clone()));
            shared.receiver.arrived(heard + 1).await;
            load.send(&load.replicas[0], RUNS_PER_BURST).await;
        }
        primary.kill();
        if let Some(gate) = gate {
            gate.open();
        }
        standby.promote().await;
        way.lead_to(&standby.url());
        load.more(4 * RUNS_PER_BATCH).await;
        load.stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(load.run(&load.replicas[0]), load.run(&load.replicas[1]), disaster);
    standby
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_primary_dies_and_a_standby_is_promoted_nothing_is_lost_and_replicas_go_on() {
    let Some(mut primary) = Cluster::create().await else { return };
    let database = Database::create_on(primary.url()).await;
    let way = Way::to(&database.url).await;
    let url = way.url(&database.url);
    let shared = Shared::on(database).await;
    let replica = || shared.start(shared.settings(&url, &["--rules", &shared.at("rules")]));
    let replicas = [replica(), replica()];
    let load = Load::on(&replicas);
    for moment in [Moment::WhileAccepting, Moment::WhileDelivering] {
        let standby = primary.standby().await;
        primary.wait_for_standby().await;
        let what = format!("failover {moment:?}");
        primary = within(2 * BOUND, &what, fail_over(&shared, &load, &way, (primary, standby), moment)).await;
    }
    let acknowledged = load.acknowledged.borrow().clone();
    within(BOUND, "notifications", shared.all_notified(&acknowledged)).await;
    for server in &replicas {
        until(server, "/readyz", |status, _| status == 200).await;
        until(server, "/v1/status", |_, status| status["projects_behind"] == 0).await;
    }
    for number in &acknowledged {
        let (status, run) = replicas[1].call("GET", &format!("/runs/{}", run_id(*number)), None).await;
        assert_eq!((status, &run["inputs"]["number"]), (200, &json!(number)), "run {number} was acknowledged");
    }
    shared.check_once(&acknowledged);
    let (_, failed) = replicas[0].call("GET", "/v1/deliveries?state=failed&limit=1", None).await;
    assert_eq!(failed["deliveries"], json!([]), "a failover fails no delivery");
    for server in replicas {
        let (status, log) = server.stop();
        assert!(status.success(), "{log}");
    }
}
