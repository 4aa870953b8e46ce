//! Replicas that do the same at the same time.

use std::cell::Cell;
use std::collections::HashSet;

use futures_util::future::{join, join_all};
use runhook::model::delivery::{Attempt, AttemptResult, Outcome};
use runhook::model::run::{Fields, PartKind, Status};
use runhook::model::window::Progress;
use runhook::store::outbox::Claimant;
use runhook::store::retention::OldRuns;
use runhook::store::rules::RuleChanges;
use runhook::store::runs::Batch;
use runhook::store::{
    ProjectStore as _, RetentionStore as _, RuleStore as _, RunStore as _, StoreError, WindowStore as _,
};
use sqlx::PgConnection;

use super::Replica;
use crate::store::sample::{
    PROJECT, TENANT, accept, accept_feedback, apply, at, begun, changes, cursor, endpoint, feedback, found, group,
    part, patch, post, project_id, rule, run_id, uuid, window,
};
use crate::support::outbox;

/// How many clients wait for locks.
pub(super) async fn waiters(watcher: &mut PgConnection) -> i64 {
    let waiters = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar(waiters).fetch_one(watcher).await.unwrap()
}

/// Waits until so many clients wait for locks.
pub(super) async fn wait_for_waiters(watcher: &mut PgConnection, count: i64) {
    while waiters(watcher).await < count {}
}

#[tokio::test]
async fn transactions_that_end_out_of_order_hide_no_change_from_a_reader() {
    let Some(replica) = Replica::open().await else { return };
    let store = replica.store();
    accept(store, vec![post(9)]).await;
    let (mut blocker, mut watcher, mut second) =
        (replica.database.connect().await, replica.database.connect().await, replica.database.connect().await);
    // The first batch has its number when it meets this row, and waits; the second does not meet it.
    sqlx::raw_sql("BEGIN").execute(&mut blocker).await.unwrap();
    sqlx::query(
        "INSERT INTO runs (tenant_id, project_id, run_id, trace_id, name, run_type, status, is_root, is_stray, \
         start_at, changed_seq, modified_at) VALUES ($1, $2, $3, $3, '', '', '', true, false, 0, 0, 0)",
    )
    .bind(TENANT.0)
    .bind(project_id(PROJECT).0)
    .bind(run_id(1).0)
    .execute(&mut blocker)
    .await
    .unwrap();
    let overtaken = Cell::new(false);
    let later = async {
        wait_for_waiters(&mut second, 1).await;
        accept(store, vec![post(2)]).await;
        overtaken.set(true);
    };
    let reading = async {
        while !overtaken.get() && waiters(&mut watcher).await < 2 {}
        let seen = changes(store, PROJECT).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
        seen
    };
    let (_, (), mut seen) = tokio::join!(accept(store, vec![post(1)]), later, reading);
    let after = seen.last().map_or(0, |change| change.seq);
    seen.extend(store.changes(TENANT, project_id(PROJECT), after, at(1_000), 10).await.unwrap());
    assert_eq!(seen.iter().map(|change| change.run_id).collect::<Vec<_>>(), [run_id(9), run_id(1), run_id(2)]);
    replica.close().await;
}

#[tokio::test]
async fn a_post_and_a_patch_of_a_new_run_that_come_together_make_one_run() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    let rounds = (0..60_u32).map(|number| {
        let (one, two): (&dyn runhook::store::Store, &dyn runhook::store::Store) = (replica.store(), &other);
        async move {
            if number % 2 == 0 {
                join(accept(one, vec![post(number)]), accept(two, vec![patch(number)])).await;
            } else {
                join(accept(two, vec![patch(number)]), accept(one, vec![post(number)])).await;
            }
        }
    });
    join_all(rounds).await;
    let ids: Vec<_> = (0..60).map(run_id).collect();
    let runs = replica.store.runs(TENANT, &ids).await.unwrap();
    assert_eq!(runs.len(), 60);
    assert!(runs.iter().all(|stored| stored.run.status == Status::Success));
    let numbers: Vec<i64> = changes(replica.store(), PROJECT).await.iter().map(|change| change.seq).collect();
    assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    let mut connection = replica.database.connect().await;
    let left = "SELECT (SELECT count(*) FROM waiting_parts) + (SELECT count(*) FROM run_bodies WHERE body = '')";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&mut connection).await.unwrap(), 0);
    replica.close().await;
}

#[tokio::test]
async fn first_parts_of_one_run_that_come_together_are_all_kept() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    for number in 0..15 {
        let tagged = |tag: &str| {
            let fields = Fields { tags: Some(vec![tag.into()]), error: Some(tag.into()), ..begun(number) };
            part(PartKind::Post, run_id(number), Some(PROJECT), fields)
        };
        let ended = part(PartKind::Patch, run_id(number), Some(PROJECT), crate::store::sample::ended(number));
        let (one, two) = (replica.store(), &other as &dyn runhook::store::Store);
        tokio::join!(accept(one, vec![tagged("a")]), accept(two, vec![ended]), accept(two, vec![tagged("b")]));
        let run = replica.store.run(TENANT, run_id(number)).await.unwrap().unwrap().run;
        assert!(run.end_time.is_some() && run.outputs.is_some() && run.inputs.is_some(), "{run:?}");
    }
    replica.close().await;
}

#[tokio::test]
async fn a_child_finds_the_parent_that_comes_at_the_same_time() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    let rounds = (0..30_u32).map(|round| {
        let (parent, child) = (100 + round, 200 + round);
        let fields = Fields { parent_run_id: Some(run_id(parent)), ..begun(child) };
        let child = part(PartKind::Post, run_id(child), Some(PROJECT), fields);
        join(accept(replica.store(), vec![post(parent)]), accept(&other, vec![child]))
    });
    join_all(rounds).await;
    for round in 0..30 {
        let run = replica.store.run(TENANT, run_id(200 + round)).await.unwrap().unwrap().run;
        assert!(run.dotted_order.contains('.'), "round {round}: {}", run.dotted_order);
    }
    replica.close().await;
}

#[tokio::test]
async fn feedback_that_comes_with_its_run_is_covered_by_a_change() {
    let Some(replica) = Replica::open().await else { return };
    let mut blocker = replica.database.connect().await;
    let (mut watcher, mut second) = (replica.database.connect().await, replica.database.connect().await);
    accept(replica.store(), vec![post(9)]).await;
    // The run is written and waits for its number; the feedback comes now, and must not miss the run.
    sqlx::raw_sql("BEGIN; UPDATE projects SET settled_seq = settled_seq").execute(&mut blocker).await.unwrap();
    let rated = async {
        wait_for_waiters(&mut second, 1).await;
        accept_feedback(replica.store(), vec![feedback(1, run_id(1), 0.5)]).await
    };
    let release = async {
        wait_for_waiters(&mut watcher, 2).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
    };
    tokio::join!(accept(replica.store(), vec![post(1)]), rated, release);
    let log: Vec<_> = changes(replica.store(), PROJECT).await.iter().map(|change| change.run_id).collect();
    assert_eq!(log, [run_id(9), run_id(1), run_id(1)]);
    replica.close().await;
}

#[tokio::test]
async fn batches_over_the_same_runs_in_any_order_all_end() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    let batches = (0..24_u32).map(|number| {
        let mut parts = vec![post(number % 5), post(number % 7 + 10), patch(number % 3), patch(number % 11)];
        for (index, project) in ["x", "y", "z"].iter().enumerate() {
            let run = 100 + number * 3 + u32::try_from(index).unwrap();
            parts.push(part(PartKind::Post, run_id(run), Some(project), begun(run)));
        }
        if number % 2 == 0 {
            parts.reverse();
        }
        let store: &dyn runhook::store::Store = if number % 3 == 0 { replica.store() } else { &other };
        accept(store, parts)
    });
    join_all(batches).await;
    for project in [PROJECT, "x", "y", "z"] {
        let numbers: Vec<i64> = changes(replica.store(), project).await.iter().map(|change| change.seq).collect();
        assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>(), "{project}");
    }
    replica.close().await;
}

#[tokio::test]
async fn a_project_that_is_removed_while_runs_arrive_leaves_nothing_half() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    for round in 0..8 {
        let arrivals = (0..6_u32).map(|number| accept(replica.store(), vec![post(round * 10 + number)]));
        let (_, removed) = join(join_all(arrivals), other.delete_project(TENANT, project_id(PROJECT), None)).await;
        removed.unwrap();
    }
    assert_eq!(lost(&replica).await, 0);
    replica.close().await;
}

#[tokio::test]
async fn a_run_that_is_not_complete_goes_with_its_project_too() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    accept(replica.store(), vec![post(1)]).await;
    let (mut blocker, mut watcher) = (replica.database.connect().await, replica.database.connect().await);
    // The removal has passed the bodies when it meets this row, and waits.
    sqlx::raw_sql("BEGIN; SELECT 1 FROM runs FOR UPDATE").execute(&mut blocker).await.unwrap();
    let accepted = Cell::new(false);
    let arrival = async {
        let mut watcher = replica.database.connect().await;
        wait_for_waiters(&mut watcher, 1).await;
        let nameless = part(PartKind::Patch, run_id(2), Some(PROJECT), crate::store::sample::ended(2));
        accept(replica.store(), vec![nameless]).await;
        accepted.set(true);
    };
    let release = async {
        while !accepted.get() && waiters(&mut watcher).await < 2 {}
        sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
    };
    let (removed, (), ()) = tokio::join!(other.delete_project(TENANT, project_id(PROJECT), None), arrival, release);
    assert!(removed.unwrap());
    assert_eq!(lost(&replica).await, 0);
    replica.close().await;
}

/// Bodies without a project, and runs without a body.
async fn lost(replica: &Replica) -> i64 {
    let mut connection = replica.database.connect().await;
    let lost = "SELECT (SELECT count(*) FROM run_bodies b WHERE NOT EXISTS (SELECT 1 FROM projects p \
                WHERE p.tenant_id = b.tenant_id AND p.project_id = b.project_id)) \
                + (SELECT count(*) FROM runs r WHERE NOT EXISTS (SELECT 1 FROM run_bodies b \
                WHERE b.tenant_id = r.tenant_id AND b.run_id = r.run_id))";
    sqlx::query_scalar(lost).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn of_schedulers_that_commit_the_same_window_one_succeeds() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    let rule = rule("a", 60);
    apply(replica.store(), vec![rule.clone()], at(0)).await;
    accept(replica.store(), vec![post(1), post(2), post(3)]).await;
    for number in 1..=3 {
        let (seq, mut commits) = (i64::from(number), Vec::new());
        for ends in 0..6 {
            let window = window(Progress::Group(group(&rule)), seq - 1, seq, at(seq), at(seq * 10 + ends));
            commits.push(found(replica.store(), window, &[(rule.id, run_id(number))], endpoint(1, None).id).await);
        }
        let answers = join_all(commits.into_iter().enumerate().map(|(index, commit)| {
            if index % 2 == 0 { replica.store.commit_window(commit) } else { other.commit_window(commit) }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        let late = answers.iter().filter(|answer| answer.is_err());
        assert!(late.into_iter().all(|answer| matches!(answer, Err(StoreError::Stale(_)))), "{answers:?}");
    }
    assert_eq!(cursor(replica.store(), &group(&rule)).await.seq, 3);
    replica.close().await;
}

#[tokio::test]
async fn no_window_is_committed_past_a_revision_of_the_rules() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    let rule = rule("a", 60);
    apply(replica.store(), vec![rule.clone()], at(0)).await;
    accept(replica.store(), vec![post(1)]).await;
    for round in 0..20 {
        let from = cursor(replica.store(), &group(&rule)).await.seq;
        let window = window(Progress::Group(group(&rule)), from, from, at(round), at(round + 1));
        let commit = found(replica.store(), window, &[], endpoint(1, None).id).await;
        let version = commit.rules_version;
        let changes = RuleChanges { put_rules: vec![rule.clone()], ..RuleChanges::default() };
        let (committed, applied) =
            join(replica.store.commit_window(commit), other.apply_rules(TENANT, changes, at(round))).await;
        applied.unwrap();
        assert!(matches!(committed, Ok(()) | Err(StoreError::Stale(_))), "{committed:?}");
        assert_eq!(replica.store.rules_version().await.unwrap(), version + 1);
    }
    replica.close().await;
}

#[tokio::test]
async fn claimants_that_come_together_share_what_is_due() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    let (rule, to) = (rule("a", 60), endpoint(1, None));
    let put = RuleChanges { put_rules: vec![rule.clone()], put_endpoints: vec![to.clone()], ..RuleChanges::default() };
    replica.store.apply_rules(TENANT, put, at(0)).await.unwrap();
    for number in 1..=40 {
        let seq = i64::from(number);
        let window = window(Progress::Group(group(&rule)), seq - 1, seq, at(seq - 1), at(seq));
        let commit = found(replica.store(), window, &[(rule.id, run_id(number))], to.id).await;
        replica.store.commit_window(commit).await.unwrap();
    }
    let claims = join_all((0..10).map(|number| {
        let claimant = Claimant { holder: uuid(9, number), now: at(100), until: at(200) };
        if number % 2 == 0 { outbox::claim(&replica.store, claimant, 6) } else { outbox::claim(&other, claimant, 6) }
    }))
    .await;
    let claims: Vec<_> = claims.into_iter().flat_map(Result::unwrap).collect();
    let distinct: HashSet<_> = claims.iter().map(|claim| claim.delivery.id).collect();
    assert_eq!(distinct.len(), claims.len(), "none is claimed twice");
    assert!(claims.len() >= 34, "only {} were claimed", claims.len());
    let answers = join_all(claims.iter().flat_map(|claim| {
        let result = AttemptResult::answered(200);
        let attempt =
            Attempt { number: claim.lease.attempt, started_at: at(100), duration_ms: 1, request: None, result };
        [&replica.store, &other].map(|store| outbox::finish(store, &claim.lease, attempt.clone(), Outcome::Delivered))
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), claims.len());
    replica.close().await;
}

#[tokio::test]
async fn a_batch_waits_for_one_that_holds_its_run_and_loses_nothing() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    let batch = Batch { parts: vec![post(1)], feedback: vec![], ..Batch::default() };
    replica.store.accept(TENANT, batch, at(1)).await.unwrap();
    let (mut blocker, mut watcher) = (replica.database.connect().await, replica.database.connect().await);
    sqlx::raw_sql("BEGIN; SELECT 1 FROM run_bodies FOR UPDATE").execute(&mut blocker).await.unwrap();
    let release = async {
        wait_for_waiters(&mut watcher, 2).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
    };
    let tags = Fields { tags: Some(vec!["t".into()]), ..Fields::default() };
    let tagged = part(PartKind::Patch, run_id(1), None, tags);
    tokio::join!(accept(replica.store(), vec![patch(1)]), accept(&other, vec![tagged]), release);
    let run = replica.store.run(TENANT, run_id(1)).await.unwrap().unwrap().run;
    assert_eq!((run.status, run.tags), (Status::Success, vec!["t".to_owned()]));
    replica.close().await;
}

#[tokio::test]
async fn a_run_that_a_batch_is_at_work_on_is_left_alone_and_nobody_waits_for_it() {
    let Some(replica) = Replica::open().await else { return };
    accept(replica.store(), vec![post(1), post(2), post(3)]).await;
    let mut batch = replica.database.connect().await;
    sqlx::raw_sql("BEGIN").execute(&mut batch).await.unwrap();
    let hold = "SELECT run_id FROM run_bodies WHERE run_id = $1 FOR UPDATE";
    sqlx::query(hold).bind(run_id(2).0).execute(&mut batch).await.unwrap();
    let rules_version = replica.store.rules_version().await.unwrap();
    let old = OldRuns {
        tenant_id: TENANT,
        project_id: project_id(PROJECT),
        after: 0,
        through: 3,
        rules_version,
        limit: 10,
        now: at(1_000),
    };
    assert_eq!(replica.store.drop_runs(old).await.unwrap().runs, 2);
    sqlx::raw_sql("ROLLBACK").execute(&mut batch).await.unwrap();
    assert_eq!(changes(replica.store(), PROJECT).await.len(), 1, "its newest change is there with it");
    assert_eq!(replica.store.drop_runs(old).await.unwrap().runs, 1);
    replica.close().await;
}

#[tokio::test]
async fn a_post_that_comes_while_its_patch_is_dropped_is_stored_whichever_is_first() {
    let Some(replica) = Replica::open().await else { return };
    let other = replica.another().await;
    for number in 0..40 {
        accept(replica.store(), vec![patch(number)]).await;
        let batch = Batch {
            parts: vec![post(number)],
            feedback: vec![feedback(number, run_id(number), 0.5)],
            ..Batch::default()
        };
        let (dropped, accepted) =
            join(replica.store.drop_incomplete(at(101), 10), other.accept(TENANT, batch, at(200))).await;
        dropped.unwrap();
        assert!(accepted.unwrap().changed);
        let stored = other.run(TENANT, run_id(number)).await.unwrap().unwrap();
        assert_eq!(stored.feedback.len(), 1, "run {number}");
    }
    replica.close().await;
}
