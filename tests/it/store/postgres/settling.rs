//! Settling a project while the rules are being revised: what a rule should see is never settled over.

use std::cell::Cell;

use runhook::model::rule::Rule;
use runhook::model::window::Progress;
use runhook::store::postgres::PgStore;
use runhook::store::{RuleStore as _, Store, WindowStore as _};
use sqlx::PgConnection;

use super::Replica;
use super::races::{wait_for_waiters, waiters};
use crate::store::sample::{
    PROJECT, TENANT, accept, apply, at, cursor, endpoint, found, group, post, project_id, rule, window,
};

/// Has every revision stop before it ends, with all that it reads and writes done, while someone holds this lock.
const STOP: &str = "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql \
     AS $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$; \
     CREATE TRIGGER stop BEFORE UPDATE ON counters FOR EACH ROW EXECUTE FUNCTION stop()";

async fn sql(connection: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(connection).await.unwrap();
}

async fn stirred(store: &dyn Store) -> Vec<i64> {
    store.stirred_projects().await.unwrap().iter().map(|project| project.last_seq).collect()
}

/// Puts a rule, and settles the project through change 2 while that is under way, `meanwhile` first.
async fn settle_during(replica: &Replica, scheduler: &PgStore, put: &Rule, meanwhile: impl Future<Output = ()>) {
    let version = replica.store.rules_version().await.unwrap();
    let mut blocker = replica.database.connect().await;
    let (mut watcher, mut second) = (replica.database.connect().await, replica.database.connect().await);
    sql(&mut blocker, "SELECT pg_advisory_lock(7)").await;
    let settled = Cell::new(false);
    let settling = async {
        wait_for_waiters(&mut second, 1).await;
        meanwhile.await;
        scheduler.settle_project(TENANT, project_id(PROJECT), 2, version).await.unwrap();
        settled.set(true);
    };
    let release = async {
        while !settled.get() && waiters(&mut watcher).await < 2 {}
        sql(&mut blocker, "SELECT pg_advisory_unlock(7)").await;
    };
    tokio::join!(apply(replica.store(), vec![put.clone()], at(9)), settling, release);
    assert_eq!(replica.store.rules_version().await.unwrap(), version + 1);
}

#[tokio::test]
async fn a_project_is_not_settled_over_what_came_while_a_rule_was_being_added() {
    let Some(replica) = Replica::open().await else { return };
    let scheduler = replica.another().await;
    accept(replica.store(), vec![post(1)]).await;
    replica.sql(STOP).await;
    let new = rule("new", 60);
    let arrival = async {
        accept(replica.store(), vec![post(2)]).await;
    };
    settle_during(&replica, &scheduler, &new, arrival).await;
    assert_eq!(cursor(replica.store(), &group(&new)).await.seq, 1, "it was placed before the second change");
    assert_eq!(stirred(replica.store()).await, [2]);
    replica.close().await;
}

/// A rule that has seen one change of two.
async fn half_seen(replica: &Replica) -> Rule {
    let rule = rule("a", 60);
    apply(replica.store(), vec![rule.clone()], at(0)).await;
    accept(replica.store(), vec![post(1), post(2)]).await;
    let window = window(Progress::Group(group(&rule)), 0, 1, at(0), at(60));
    let commit = found(replica.store(), window, &[], endpoint(1, None).id).await;
    replica.store.commit_window(commit).await.unwrap();
    rule
}

#[tokio::test]
async fn a_project_is_not_settled_over_what_a_rule_that_is_being_moved_has_not_seen() {
    let Some(replica) = Replica::open().await else { return };
    let scheduler = replica.another().await;
    let moved = Rule { cadence: rule("b", 5).cadence, ..half_seen(&replica).await };
    replica.sql(STOP).await;
    settle_during(&replica, &scheduler, &moved, async {}).await;
    assert_eq!(cursor(replica.store(), &group(&moved)).await.seq, 1);
    assert_eq!(stirred(replica.store()).await, [2]);
    replica.close().await;
}

#[tokio::test]
async fn a_rule_that_is_moved_while_a_project_is_being_settled_stirs_it_again() {
    let Some(replica) = Replica::open().await else { return };
    let scheduler = replica.another().await;
    let moved = Rule { cadence: rule("b", 5).cadence, ..half_seen(&replica).await };
    let version = replica.store.rules_version().await.unwrap();
    let mut blocker = replica.database.connect().await;
    let (mut watcher, mut second) = (replica.database.connect().await, replica.database.connect().await);
    sql(&mut blocker, "BEGIN; SELECT 1 FROM projects FOR UPDATE").await;
    let moving = async {
        wait_for_waiters(&mut second, 1).await;
        apply(replica.store(), vec![moved.clone()], at(9)).await;
    };
    let release = async {
        wait_for_waiters(&mut watcher, 2).await;
        sql(&mut blocker, "ROLLBACK").await;
    };
    let settling = scheduler.settle_project(TENANT, project_id(PROJECT), 2, version);
    let (settled, (), ()) = tokio::join!(settling, moving, release);
    settled.unwrap();
    assert_eq!(stirred(replica.store()).await, [2]);
    replica.close().await;
}
