//! Connections that are lost: before, and while a transaction is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use runhook::model::delivery::{Attempt, AttemptResult, DeliveryState, Outcome};
use runhook::model::window::Progress;
use runhook::store::outbox::Claimant;
use runhook::store::postgres::PgStore;
use runhook::store::rules::RuleChanges;
use runhook::store::{KeyStore as _, OutboxStore as _, RuleStore as _, StoreError, WindowStore as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Replica, options};
use crate::store::sample::{
    PROJECT, TENANT, accept, apply, at, changes, endpoint, found, group, post, rule, run_id, uuid, window,
};
use crate::support::outbox;

/// A way to the server that loses answers to COMMIT.
struct Wire {
    port: u16,
    losses: Arc<AtomicU32>,
    _carrying: JoinSet<()>,
}

impl Wire {
    async fn to(host: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let losses = Arc::new(AtomicU32::new(0));
        let mut carrying = JoinSet::new();
        let left = Arc::clone(&losses);
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(host.as_str()).await.unwrap();
                connections.spawn(carry(client, server, Arc::clone(&left)));
            }
        });
        Self { port, losses, _carrying: carrying }
    }

    /// Loses so many answers from now on.
    fn lose(&self, answers: u32) {
        self.losses.store(answers, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, losses: Arc<AtomicU32>) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
                let commits = asked[..length].windows(6).any(|word| word == b"COMMIT");
                if commits && losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                    // The answer shows that it was done; nobody gets to see it.
                    let _answer = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn open() -> Option<(Replica, PgStore, Wire)> {
    let replica = Replica::open().await?;
    let mut url = replica.database.url.clone();
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let wire = Wire::to(host).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(wire.port)).unwrap();
    let store = PgStore::connect(url.as_str(), &options()).await.expect("opened");
    Some((replica, store, wire))
}

#[tokio::test]
async fn a_batch_whose_commit_was_not_answered_is_stored_once() {
    let Some((replica, store, wire)) = open().await else { return };
    wire.lose(2);
    assert!(accept(&store, vec![post(1)]).await.changed);
    assert_eq!(wire.losses.load(Ordering::SeqCst), 0);
    assert_eq!(changes(replica.store(), PROJECT).await.len(), 1);
    store.close().await;
    replica.close().await;
}

#[tokio::test]
async fn batches_of_a_group_whose_commit_was_not_answered_are_stored_once() {
    let Some((replica, store, wire)) = open().await else { return };
    for round in 0..4 {
        wire.lose(2);
        let answers = join_all((1..=6).map(|number| accept(&store, vec![post(round * 10 + number)]))).await;
        assert!(answers.iter().all(|accepted| accepted.changed), "nobody is told that his batch was a repeat");
        assert_eq!(wire.losses.load(Ordering::SeqCst), 0);
    }
    let numbers: Vec<i64> = changes(replica.store(), PROJECT).await.iter().map(|change| change.seq).collect();
    assert_eq!(numbers, (1..=24).collect::<Vec<_>>());
    store.close().await;
    replica.close().await;
}

#[tokio::test]
async fn a_window_whose_commit_was_not_answered_is_committed_once() {
    let Some((replica, store, wire)) = open().await else { return };
    let rule = rule("a", 60);
    apply(&store, vec![rule.clone()], at(0)).await;
    accept(&store, vec![post(1), post(2)]).await;
    for (through, matches) in [(1, vec![(rule.id, run_id(1))]), (2, vec![])] {
        let window = window(Progress::Group(group(&rule)), through - 1, through, at(through), at(through * 60));
        let commit = found(&store, window, &matches, endpoint(1, None).id).await;
        wire.lose(1);
        store.commit_window(commit.clone()).await.unwrap();
        assert_eq!(wire.losses.load(Ordering::SeqCst), 0);
        assert!(matches!(store.commit_window(commit).await, Err(StoreError::Stale(_))), "it is there already");
    }
    store.close().await;
    replica.close().await;
}

#[tokio::test]
async fn claims_and_attempts_whose_commit_was_not_answered_count_once() {
    let Some((replica, store, wire)) = open().await else { return };
    let (rule, to) = (rule("a", 60), endpoint(1, None));
    let put = RuleChanges { put_rules: vec![rule.clone()], put_endpoints: vec![to.clone()], ..RuleChanges::default() };
    wire.lose(1);
    store.apply_rules(TENANT, put, at(0)).await.unwrap();
    let window = window(Progress::Group(group(&rule)), 0, 0, at(0), at(60));
    store.commit_window(found(&store, window, &[(rule.id, run_id(1))], to.id).await).await.unwrap();
    wire.lose(1);
    let claimant = Claimant { holder: uuid(9, 1), now: at(100), until: at(200) };
    let claims = outbox::claim(&store, claimant, 5).await.unwrap();
    assert_eq!(claims.len(), 1, "what it took the first time is its own");
    let result = AttemptResult::answered(200);
    let attempt = Attempt { number: 1, started_at: at(100), duration_ms: 1, request: None, result };
    wire.lose(1);
    outbox::finish(&store, &claims[0].lease, attempt.clone(), Outcome::Delivered).await.unwrap();
    let (delivery, attempts) = store.delivery(TENANT, claims[0].delivery.id).await.unwrap().unwrap();
    assert_eq!((delivery.state, attempts), (DeliveryState::Delivered, vec![attempt]));
    store.close().await;
    replica.close().await;
}

#[tokio::test]
async fn connections_that_the_server_ended_are_made_again() {
    let Some(replica) = Replica::open().await else { return };
    accept(replica.store(), vec![post(1)]).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for number in 2..6 {
        replica.database.sql(end).await;
        accept(replica.store(), vec![post(number)]).await;
    }
    assert_eq!(changes(replica.store(), PROJECT).await.len(), 5);
    replica.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let patience = std::time::Duration::from_millis(300);
    let options = runhook::store::postgres::Options { acquire_timeout: patience, ..options() };
    let url = format!("postgres://nobody@127.0.0.1:{free}/nothing");
    let error = PgStore::connect(&url, &options).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}
