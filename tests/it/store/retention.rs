//! Dropping what is past its age.

use futures_util::future::join;
use runhook::blob::key_of;
use runhook::model::audit::Action;
use runhook::model::delivery::{Attempt, AttemptResult, Outcome};
use runhook::model::id::{MessageId, RuleId, TraceId};
use runhook::model::message::Link;
use runhook::model::rule::Rule;
use runhook::model::run::{BlobKey, BlobRef, Fields, Part, PartKind, Payload};
use runhook::model::time::Timestamp;
use runhook::model::window::{Progress, Seq};
use runhook::store::audit::AuditQuery;
use runhook::store::outbox::Claimant;
use runhook::store::retention::{Dropped, DroppedMessages, DroppedRuns, OldRuns};
use runhook::store::rules::RuleChanges;
use runhook::store::windows::WindowCommit;
use runhook::store::{Store, StoreError};

use super::audit::{entry, listed};
use super::sample::{
    PROJECT, TENANT, accept, accept_at, accept_feedback, apply, at, begun, changes, delivery, endpoint, feedback,
    feedback_id, found, group, json, part, patch, post, project_id, rule, run_id, uuid, window,
};
use crate::support::outbox;

async fn old_runs(store: &dyn Store, through: Seq) -> OldRuns {
    OldRuns {
        tenant_id: TENANT,
        project_id: project_id(PROJECT),
        after: 0,
        through,
        rules_version: store.rules_version().await.unwrap(),
        limit: 100,
        now: at(1_000),
    }
}

async fn drop_runs(store: &dyn Store, through: Seq) -> DroppedRuns {
    store.drop_runs(old_runs(store, through).await).await.unwrap()
}

/// The numbers of those of the first nine runs that are there.
async fn there(store: &dyn Store) -> Vec<u32> {
    let ids: Vec<_> = (1..=9).map(run_id).collect();
    let runs = store.runs(TENANT, &ids).await.unwrap();
    (1..=9).filter(|number| runs.iter().any(|stored| stored.run.id == run_id(*number))).collect()
}

async fn log(store: &dyn Store) -> Vec<Seq> {
    changes(store, PROJECT).await.iter().map(|change| change.seq).collect()
}

fn child(number: u32, root: u32) -> Part {
    let fields = Fields { parent_run_id: Some(run_id(root)), trace_id: Some(run_id(root).into()), ..begun(number) };
    part(PartKind::Post, run_id(number), Some(PROJECT), fields)
}

pub(crate) async fn a_project_is_aged_when_its_oldest_change_is(store: &dyn Store) {
    accept_at(store, vec![post(1)], at(10)).await;
    accept_at(store, vec![post(2), part(PartKind::Post, run_id(3), Some("young"), begun(3))], at(20)).await;
    let aged = async |before| {
        let found = store.aged_projects(before).await.unwrap();
        found.into_iter().map(|aged| (aged.project_id, aged.name, aged.last_seq)).collect::<Vec<_>>()
    };
    assert_eq!(aged(at(10)).await, []);
    assert_eq!(aged(at(11)).await, [(project_id(PROJECT), PROJECT.to_owned(), 2)]);
    drop_runs(store, 1).await;
    assert_eq!(aged(at(20)).await, []);
    assert_eq!(aged(at(21)).await.len(), 2);
}

pub(crate) async fn old_runs_go_with_their_feedback_and_their_changes(store: &dyn Store) {
    accept(store, vec![post(1), post(2)]).await;
    accept_feedback(store, vec![feedback(1, run_id(1), 0.5), feedback(2, run_id(2), 0.5)]).await;
    accept(store, vec![post(3)]).await;
    assert_eq!(log(store).await, [1, 2, 3, 4, 5]);
    assert_eq!(drop_runs(store, 3).await, DroppedRuns { runs: 1, changes: 3, next: None });
    assert_eq!((there(store).await, log(store).await), (vec![2, 3], vec![4, 5]));
    assert!(store.feedback(TENANT, feedback_id(1)).await.unwrap().is_none());
    assert!(store.feedback(TENANT, feedback_id(2)).await.unwrap().is_some());
    assert_eq!(drop_runs(store, 5).await, DroppedRuns { runs: 2, changes: 2, next: None });
    assert_eq!((there(store).await, log(store).await), (vec![], vec![]));
    accept(store, vec![post(1)]).await;
    assert_eq!((there(store).await, log(store).await), (vec![1], vec![6]), "it may come again, and numbers go on");
}

pub(crate) async fn a_run_that_changed_again_is_as_young_as_that_and_its_old_change_goes(store: &dyn Store) {
    accept(store, vec![post(1), post(2)]).await;
    accept(store, vec![patch(1)]).await;
    accept_feedback(store, vec![feedback(1, run_id(2), 0.5)]).await;
    assert_eq!(drop_runs(store, 2).await, DroppedRuns { runs: 0, changes: 2, next: None });
    assert_eq!((there(store).await, log(store).await), (vec![1, 2], vec![3, 4]));
    assert_eq!(drop_runs(store, 3).await, DroppedRuns { runs: 1, changes: 1, next: None });
    assert_eq!((there(store).await, log(store).await), (vec![2], vec![4]));
}

pub(crate) async fn a_trace_goes_whole_once_all_of_it_is_old(store: &dyn Store) {
    accept(store, vec![post(1), child(2, 1), post(3)]).await;
    accept(store, vec![child(4, 1)]).await;
    assert_eq!(drop_runs(store, 3).await, DroppedRuns { runs: 1, changes: 1, next: None });
    assert_eq!((there(store).await, log(store).await), (vec![1, 2, 4], vec![1, 2, 4]));
    accept(store, vec![post(5)]).await;
    assert_eq!(drop_runs(store, 4).await, DroppedRuns { runs: 3, changes: 3, next: None });
    assert_eq!((there(store).await, log(store).await), (vec![5], vec![5]));
}

pub(crate) async fn traces_go_when_somebody_asks_for_it_whole_and_no_others(store: &dyn Store) {
    accept(store, vec![post(1), child(2, 1), post(3), part(PartKind::Post, run_id(4), Some("other"), begun(4))]).await;
    accept_feedback(store, vec![feedback(1, run_id(2), 0.5), feedback(2, run_id(3), 0.5)]).await;
    let told = |number| Some(entry(number, 1, Action::DeleteTraces));
    let drop = async |traces: &[u32], number| {
        let traces: Vec<TraceId> = traces.iter().map(|trace| run_id(*trace).into()).collect();
        store.drop_traces(TENANT, project_id(PROJECT), &traces, at(900), told(number)).await.unwrap()
    };
    assert_eq!(drop(&[4, 9], 1).await, 0, "it is another project's");
    assert_eq!(drop(&[1], 2).await, 2);
    assert_eq!(drop(&[1], 3).await, 0);
    assert_eq!(there(store).await, [3, 4]);
    assert!(store.feedback(TENANT, feedback_id(1)).await.unwrap().is_none());
    assert!(store.feedback(TENANT, feedback_id(2)).await.unwrap().is_some());
    assert_eq!(listed(store, AuditQuery::default()).await, [2], "what drops nothing is not told");
    // What is left of the log goes by its age.
    assert_eq!(drop_runs(store, 9).await.runs, 1);
    assert_eq!((there(store).await, log(store).await), (vec![4], vec![]));
    accept(store, vec![post(1)]).await;
    assert_eq!(there(store).await, [1, 4], "it may come again");
}

pub(crate) async fn runs_are_looked_at_in_batches_that_follow_each_other(store: &dyn Store) {
    accept(store, vec![post(1), child(2, 1), post(3), post(4), post(5)]).await;
    accept(store, vec![child(6, 1)]).await;
    let mut old = OldRuns { limit: 2, ..old_runs(store, 5).await };
    let mut dropped = Vec::new();
    loop {
        let batch = store.drop_runs(old).await.unwrap();
        dropped.push((batch.runs, batch.next));
        match batch.next {
            Some(next) => old.after = next,
            None => break,
        }
    }
    assert_eq!(dropped, [(0, Some(2)), (2, Some(4)), (1, None)]);
    assert_eq!(there(store).await, [1, 2, 6]);
}

pub(crate) async fn nothing_is_dropped_under_other_rules_than_those_it_was_seen_with(store: &dyn Store) {
    accept(store, vec![post(1)]).await;
    let old = old_runs(store, 1).await;
    apply(store, vec![Rule { backfill_from: Some(at(0)), ..rule("late", 60) }], at(200)).await;
    assert!(matches!(store.drop_runs(old).await, Err(StoreError::Stale(_))));
    assert_eq!((there(store).await, log(store).await), (vec![1], vec![1]));
}

/// A rule that has matched the runs 1 to 3, told in one message to each of two endpoints.
async fn matched(store: &dyn Store) -> (Rule, WindowCommit) {
    let rule = rule("a", 60);
    let put_endpoints = vec![endpoint(1, None), endpoint(2, None)];
    let changes = RuleChanges { put_rules: vec![rule.clone()], put_endpoints, ..RuleChanges::default() };
    store.apply_rules(TENANT, changes, at(0)).await.unwrap();
    accept(store, vec![post(1), post(2), post(3)]).await;
    let window = window(Progress::Group(group(&rule)), 0, 3, at(0), at(60));
    let matches: Vec<_> = (1..=3).map(|number| (rule.id, run_id(number))).collect();
    let mut commit = found(store, window, &matches, endpoint(1, None).id).await;
    commit.deliveries.push(delivery(&commit.messages[0], endpoint(2, None).id, at(60)));
    store.commit_window(commit.clone()).await.unwrap();
    (rule, commit)
}

async fn are_matched(store: &dyn Store, rule: RuleId, numbers: [u32; 3]) -> Vec<u32> {
    let pairs = numbers.map(|number| (rule, run_id(number)));
    let matched = store.matched(TENANT, &pairs).await.unwrap();
    numbers.into_iter().filter(|number| matched.contains(&(rule, run_id(*number)))).collect()
}

pub(crate) async fn a_run_that_was_dropped_and_comes_again_is_still_matched(store: &dyn Store) {
    let (rule, _) = matched(store).await;
    assert_eq!(drop_runs(store, 3).await.runs, 3);
    assert_eq!(are_matched(store, rule.id, [1, 2, 3]).await, [1, 2, 3]);
    accept(store, vec![post(1)]).await;
    assert_eq!(there(store).await, [1]);
    let again = window(Progress::Group(group(&rule)), 3, 4, at(60), at(120));
    let again = found(store, again, &[(rule.id, run_id(1))], endpoint(1, None).id).await;
    assert!(matches!(store.commit_window(again).await, Err(StoreError::Stale(_))));
}

pub(crate) async fn a_match_is_forgotten_after_its_run_unless_the_run_is_there_again(store: &dyn Store) {
    let (rule, _) = matched(store).await;
    let forget = async |before, limit| store.forget_matches(before, limit).await.unwrap();
    assert_eq!(forget(at(9_999), 9).await, Dropped::default(), "their runs are there");
    assert_eq!(drop_runs(store, 2).await.runs, 2);
    assert_eq!(forget(at(1_000), 9).await, Dropped::default(), "not yet");
    accept(store, vec![post(1)]).await;
    let mut forgotten = 0;
    loop {
        let dropped = forget(at(1_001), 1).await;
        forgotten += dropped.rows;
        if !dropped.more {
            break;
        }
    }
    assert_eq!(forgotten, 1, "the run of the other one is there again");
    assert_eq!(are_matched(store, rule.id, [1, 2, 3]).await, [1, 3]);
    let old = OldRuns { now: at(5_000), ..old_runs(store, 4).await };
    assert_eq!(store.drop_runs(old).await.unwrap().runs, 2);
    assert_eq!(forget(at(5_000), 9).await.rows, 0, "what was dropped again is remembered from then on");
    assert_eq!(forget(at(5_001), 9).await.rows, 2);
}

/// Claims what waits for so many endpoints and records the same outcome for it, which ends it at that second.
async fn attempt_all(store: &dyn Store, second: i64, outcome: Outcome, endpoints: u32) {
    let claimant =
        Claimant { holder: uuid(9, u32::try_from(second).unwrap()), now: at(second), until: at(second + 60) };
    let waiting = store.waiting(None, endpoints).await.unwrap();
    for claim in store.claim_deliveries(claimant, &outbox::shares(&waiting, 100)).await.unwrap() {
        let result = AttemptResult::answered(200);
        let attempt = Attempt {
            number: claim.lease.attempt,
            started_at: at(second - 1),
            duration_ms: 1_000,
            request: None,
            result,
        };
        outbox::finish(store, &claim.lease, attempt, outcome.clone()).await.unwrap();
    }
}

async fn drop_messages(store: &dyn Store, before: Timestamp) -> (u64, u64) {
    let DroppedMessages { messages, deliveries, next } = store.drop_messages(before, None, 10).await.unwrap();
    assert_eq!(next, None);
    (messages, deliveries)
}

pub(crate) async fn a_message_goes_with_all_its_deliveries_once_the_last_has_ended(store: &dyn Store) {
    let (_, commit) = matched(store).await;
    attempt_all(store, 100, Outcome::Delivered, 1).await;
    attempt_all(store, 200, Outcome::Failed("no".into()), 1).await;
    assert_eq!(drop_messages(store, at(200)).await, (0, 0), "one has ended, the other not long enough ago");
    let first = store.drop_messages(at(200), None, 1).await.unwrap();
    let behind = store.drop_messages(at(200), first.next, 1).await.unwrap();
    assert!(first.next.is_some() && behind == DroppedMessages::default(), "{first:?} {behind:?}");
    assert_eq!(drop_messages(store, at(201)).await, (1, 2));
    assert!(store.message(TENANT, commit.messages[0].id).await.unwrap().is_none());
    for delivery in &commit.deliveries {
        assert!(store.delivery(TENANT, delivery.id).await.unwrap().is_none());
    }
    assert_eq!(store.replay(TENANT, &[commit.deliveries[0].id], at(300), None).await.unwrap(), 0);
}

pub(crate) async fn a_pending_or_replayed_delivery_keeps_its_message(store: &dyn Store) {
    let (_, commit) = matched(store).await;
    let ids: Vec<_> = commit.deliveries.iter().map(|delivery| delivery.id).collect();
    attempt_all(store, 100, Outcome::Delivered, 1).await;
    assert_eq!(drop_messages(store, at(9_000)).await, (0, 0), "one was never tried");
    attempt_all(store, 200, Outcome::Delivered, 1).await;
    assert_eq!(store.replay(TENANT, &ids[..1], at(300), None).await.unwrap(), 1);
    assert_eq!(drop_messages(store, at(9_000)).await, (0, 0), "one was replayed");
    assert!(store.message(TENANT, commit.messages[0].id).await.unwrap().is_some());
    assert_eq!(store.delivery(TENANT, ids[0]).await.unwrap().unwrap().1.len(), 1);
    attempt_all(store, 400, Outcome::Delivered, 1).await;
    assert_eq!(drop_messages(store, at(9_000)).await, (1, 2));
}

pub(crate) async fn old_windows_go_and_young_ones_stay(store: &dyn Store) {
    let (rule, _) = matched(store).await;
    accept(store, vec![post(4), post(5)]).await;
    for (seq, end) in [(3, 120), (4, 180)] {
        let window = window(Progress::Group(group(&rule)), seq, seq + 1, at(end - 60), at(end));
        let number = u32::try_from(seq).unwrap() + 1;
        let commit = found(store, window, &[(rule.id, run_id(number))], endpoint(1, None).id).await;
        store.commit_window(commit).await.unwrap();
    }
    let ends = async || {
        let windows = store.rule_windows(TENANT, rule.id, 9).await.unwrap();
        windows.into_iter().map(|(window, _)| window.end_time).collect::<Vec<_>>()
    };
    assert_eq!(store.drop_windows(at(60), 9).await.unwrap(), Dropped::default());
    assert_eq!(store.drop_windows(at(180), 1).await.unwrap(), Dropped { rows: 1, more: true });
    assert_eq!(ends().await, [at(180), at(120)]);
    assert_eq!(store.drop_windows(at(180), 9).await.unwrap(), Dropped { rows: 1, more: false });
    assert_eq!(ends().await, [at(180)]);
    assert_eq!(are_matched(store, rule.id, [3, 4, 5]).await, [3, 4, 5], "matches are no part of a window");
}

pub(crate) async fn what_never_became_a_run_goes_when_nothing_more_was_heard_of_it(store: &dyn Store) {
    let nameless = |number| part(PartKind::Post, run_id(number), Some(PROJECT), Fields { name: None, ..begun(number) });
    accept_at(store, vec![patch(1), nameless(2), patch(3)], at(10)).await;
    accept_feedback(store, vec![feedback(4, run_id(4), 0.5), feedback(2, run_id(2), 0.5)]).await;
    let more = Fields { tags: Some(vec!["t".into()]), ..Fields::default() };
    accept_at(store, vec![part(PartKind::Patch, run_id(3), None, more)], at(20)).await;
    let drop = async |before, limit| store.drop_incomplete(before, limit).await.unwrap();
    assert_eq!(drop(at(10), 9).await, Dropped::default());
    assert_eq!(drop(at(20), 9).await, Dropped { rows: 1, more: false }, "of the others more was heard");
    accept(store, vec![post(1), post(3)]).await;
    let ended = async |number| store.run(TENANT, run_id(number)).await.unwrap().unwrap().run.end_time.is_some();
    assert!(!ended(1).await, "the patch is gone");
    assert!(ended(3).await, "this one was still waiting");
    assert_eq!(drop(at(101), 1).await, Dropped { rows: 0, more: true }, "this one has become complete");
    assert_eq!(drop(at(101), 9).await, Dropped { rows: 2, more: false });
    assert!(store.feedback(TENANT, feedback_id(4)).await.unwrap().is_none());
    assert!(store.feedback(TENANT, feedback_id(2)).await.unwrap().is_none());
    let name = Fields { name: Some("late".into()), ..Fields::default() };
    accept(store, vec![part(PartKind::Patch, run_id(2), Some(PROJECT), name)]).await;
    assert_eq!(there(store).await, [1, 3], "what was known of it is gone");
}

pub(crate) async fn a_run_that_became_complete_stays(store: &dyn Store) {
    let nameless = part(PartKind::Post, run_id(1), Some(PROJECT), Fields { name: None, ..begun(1) });
    accept_at(store, vec![nameless, patch(2)], at(10)).await;
    accept_feedback(store, vec![feedback(1, run_id(1), 0.5), feedback(2, run_id(2), 0.5)]).await;
    let name = Fields { name: Some("late".into()), ..Fields::default() };
    accept_at(store, vec![part(PartKind::Patch, run_id(1), None, name), post(2)], at(20)).await;
    assert_eq!(store.drop_incomplete(at(9_000), 9).await.unwrap(), Dropped { rows: 0, more: false });
    assert_eq!(there(store).await, [1, 2]);
    for number in [1, 2] {
        let stored = store.run(TENANT, run_id(number)).await.unwrap().unwrap();
        assert_eq!(stored.feedback.len(), 1);
        assert!(number == 1 || stored.run.end_time.is_some());
    }
}

fn blob(run: u32, name: &str) -> BlobKey {
    key_of(TENANT, run_id(run), name, name.as_bytes())
}

fn offloaded(key: BlobKey) -> Payload {
    Payload::Blob(BlobRef { key, bytes: 1, extract: json("{}") })
}

/// Those of the blobs of these runs with these names that nothing names.
async fn unnamed(store: &dyn Store, blobs: &[(u32, &str)], quiet_since: Timestamp) -> Vec<BlobKey> {
    let blobs: Vec<_> = blobs.iter().map(|(run, name)| (run_id(*run), blob(*run, name))).collect();
    store.unnamed_blobs(TENANT, &blobs, quiet_since).await.unwrap()
}

pub(crate) async fn a_blob_is_named_by_its_run_a_part_that_waits_and_a_message(store: &dyn Store) {
    let (rule, _) = matched(store).await;
    let inputs = Fields { inputs: Some(offloaded(blob(4, "inputs"))), ..begun(4) };
    let outputs = Fields { outputs: Some(offloaded(blob(5, "outputs"))), ..Fields::default() };
    accept(
        store,
        vec![part(PartKind::Post, run_id(4), Some(PROJECT), inputs), part(PartKind::Patch, run_id(5), None, outputs)],
    )
    .await;
    let window = window(Progress::Group(group(&rule)), 3, 4, at(60), at(120));
    let mut commit = found(store, window, &[(rule.id, run_id(4))], endpoint(1, None).id).await;
    let link = |at| Link { at, key: blob(4, "extra") };
    commit.messages[0].body.links = vec![link(1), link(2)];
    store.commit_window(commit).await.unwrap();

    let all = [(4, "inputs"), (4, "extra"), (4, "events"), (5, "outputs"), (5, "inputs"), (6, "inputs")];
    let (later, rest) = (at(5_000), [blob(4, "events"), blob(5, "inputs"), blob(6, "inputs")]);
    assert_eq!(unnamed(store, &all, later).await, rest);
    assert_eq!(drop_runs(store, 4).await.runs, 4);
    assert_eq!(unnamed(store, &all[..3], later).await, [blob(4, "inputs"), blob(4, "events")], "the message has it");
    assert_eq!(store.drop_incomplete(at(5_000), 9).await.unwrap().rows, 1);
    attempt_all(store, 200, Outcome::Delivered, 9).await;
    assert_eq!(drop_messages(store, at(5_000)).await, (2, 3));
    assert_eq!(unnamed(store, &all, later).await.len(), all.len());
    assert_eq!(store.message(TENANT, MessageId::of(window_id(&rule), rule.id, 1, at(120))).await.unwrap(), None);
}

fn window_id(rule: &Rule) -> runhook::model::id::WindowId {
    window(Progress::Group(group(rule)), 3, 4, at(60), at(120)).id
}

pub(crate) async fn a_run_that_has_just_changed_keeps_all_of_its_blobs(store: &dyn Store) {
    let first = Fields { outputs: Some(offloaded(blob(1, "first"))), ..Fields::default() };
    accept_at(store, vec![post(1), part(PartKind::Patch, run_id(1), None, first)], at(10)).await;
    let second = Fields { outputs: Some(offloaded(blob(1, "second"))), ..Fields::default() };
    accept_at(store, vec![part(PartKind::Patch, run_id(1), None, second)], at(20)).await;
    let all = [(1, "first"), (1, "second")];
    assert_eq!(unnamed(store, &all, at(20)).await, [], "a message that tells the first may be under way");
    assert_eq!(unnamed(store, &all, at(21)).await, [blob(1, "first")]);
    let nameless = Fields { name: None, inputs: Some(offloaded(blob(2, "inputs"))), ..begun(2) };
    accept_at(store, vec![part(PartKind::Post, run_id(2), Some(PROJECT), nameless)], at(20)).await;
    assert_eq!(unnamed(store, &[(2, "inputs"), (2, "outputs")], at(9_000)).await, [], "it may become a run");
}

pub(crate) async fn all_blobs_are_looked_through_by_one_at_a_time(store: &dyn Store) {
    let begin = async |now, since| store.begin_sweep(at(now), at(since)).await.unwrap();
    assert!(begin(10, 5).await);
    assert!(!begin(11, 6).await);
    assert!(begin(20, 10).await);
    assert!(!begin(20, 19).await);
}

pub(crate) async fn two_who_drop_at_the_same_time_leave_what_one_would(store: &dyn Store) {
    let numbers = 0..120_u32;
    for chunk in numbers.clone().collect::<Vec<_>>().chunks(30) {
        accept(store, chunk.iter().map(|number| post(100 + number)).collect()).await;
    }
    accept(store, (1..=9).map(post).collect()).await;
    let drain = async || {
        let (mut old, mut runs, mut rounds) = (OldRuns { limit: 7, ..old_runs(store, 120).await }, 0, 0);
        // What the other one holds is passed over, and found by the next round.
        while rounds < 3 {
            let dropped = store.drop_runs(old).await.unwrap();
            runs += dropped.runs;
            old.after = dropped.next.unwrap_or(0);
            rounds += u32::from(dropped.next.is_none());
        }
        runs
    };
    let (one, other) = join(drain(), drain()).await;
    assert_eq!(one + other, 120, "each run is dropped by one of them");
    assert_eq!(there(store).await, (1..=9).collect::<Vec<_>>());
    assert_eq!(log(store).await, (121..=129).collect::<Vec<_>>());
}
