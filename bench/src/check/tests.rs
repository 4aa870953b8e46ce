//! The checker can fail: each promise, broken on purpose, is named.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};
use uuid::Uuid;

use super::evidence::{Change, Group, Match, Message, Progress, Project, Rule, Window};
use super::*;
use crate::run_id::{Class, RunId};

const PROJECT: Uuid = Uuid::from_u128(0x11);
const RULE: Uuid = Uuid::from_u128(0x22);
const IDLE: Uuid = Uuid::from_u128(0x33);
const SCORE: Uuid = Uuid::from_u128(0x44);

fn run(serial: u64, error: bool) -> Uuid {
    let class = Class { error, feedback: !error, low: !error };
    RunId { millis: 1_790_000_000_000, class, load: 1, project: 0, serial }.uuid()
}

fn group() -> Group {
    Group { project: PROJECT, timing: "\"immediate\" settled 0".to_owned() }
}

fn rule(id: Uuid, key: &str) -> Rule {
    let timing = group().timing;
    Rule { id, key: key.to_owned(), project: "bench-*".to_owned(), timing, active: true, tells: true }
}

/// Six runs in one project, the even ones failing; two windows; feedback about run 1; everything in order.
fn in_order() -> Evidence {
    let runs: Vec<Uuid> = (0..6).map(|serial| run(serial, serial % 2 == 0)).collect();
    let failing: Vec<Uuid> = runs.iter().step_by(2).copied().collect();
    let scored = runs[1];
    let ack = |run: &Uuid, feedback| Ack { run: *run, feedback, intended: 1, acked: 2 };
    let mut acks: Vec<Ack> = runs.iter().map(|run| ack(run, false)).collect();
    acks.push(ack(&scored, true));
    let told = |message, rule, runs: &[Uuid]| Notice {
        at: 9,
        message: Uuid::from_u128(message),
        rule,
        endpoint: None,
        status: 200,
        runs: runs.to_vec(),
    };
    let change = |(seq, run): (i64, &Uuid)| Change { project: PROJECT, seq, run: *run };
    let mut changes: Vec<Change> = (1..).zip(&runs).map(change).collect();
    changes.push(Change { project: PROJECT, seq: 7, run: scored });
    let window = |after, through| Window { progress: Progress::Group(group()), after, through };
    let message = |id, rule, runs| Message { id: Uuid::from_u128(id), rule, runs };
    Evidence {
        acks,
        notices: Some(vec![
            told(1, RULE, &failing[..1]),
            told(2, RULE, &failing[1..]),
            told(2, RULE, &failing[1..]),
            told(3, SCORE, &[scored]),
        ]),
        projects: [(PROJECT, Project { name: "bench-00000".to_owned(), last_seq: 7 })].into(),
        runs: runs.iter().map(|run| (PROJECT, *run)).collect(),
        feedback: vec![scored],
        changes,
        rules: vec![rule(RULE, "bench-error-1"), rule(IDLE, "bench-idle-1"), rule(SCORE, "bench-score-1")],
        windows: vec![window(0, 1), window(2, 5), window(6, 7)],
        cursors: [(group(), 7)].into(),
        starts: [].into(),
        matches: failing
            .iter()
            .map(|run| Match { rule: RULE, run: *run })
            .chain([Match { rule: SCORE, run: scored }])
            .collect(),
        messages: vec![message(1, RULE, 1), message(2, RULE, 2), message(3, SCORE, 1)],
        deliveries: [("delivered", 3)].into(),
    }
}

/// The promises that are named broken after this was done to evidence in order.
fn broken_by(spoil: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    let mut evidence = in_order();
    spoil(&mut evidence);
    verdict(&evidence, Leniency::default()).violations.into_keys().collect()
}

fn notices(evidence: &mut Evidence) -> &mut Vec<Notice> {
    evidence.notices.as_mut().unwrap()
}

#[test]
fn what_is_in_order_passes_and_a_repeated_message_is_only_counted() {
    let verdict = verdict(&in_order(), Leniency::default());
    assert!(verdict.is_clean(), "{:?}", verdict.shown);
    assert_eq!((verdict.arrived, verdict.repeats), (3, 1));
}

#[test]
fn a_lost_run_and_a_run_in_two_projects_are_named() {
    let lost = broken_by(|evidence| {
        let gone = run(1, false);
        evidence.runs.retain(|(_, run)| *run != gone);
    });
    assert!(lost.contains(&"stored once"), "{lost:?}");
    let other = Uuid::from_u128(0x99);
    assert_eq!(broken_by(|evidence| evidence.runs.push((other, run(5, false)))), ["stored once"]);
}

#[test]
fn a_run_in_another_project_than_it_was_sent_to_is_named() {
    let other = Uuid::from_u128(0x99);
    let broken = broken_by(|evidence| {
        evidence.projects.insert(other, Project { name: "else".to_owned(), last_seq: 0 });
        evidence.runs[5].0 = other;
    });
    assert!(broken.contains(&"stored once"), "{broken:?}");
}

#[test]
fn lost_feedback_is_named() {
    let broken = broken_by(|evidence| evidence.feedback.clear());
    assert!(broken.contains(&"feedback stored"), "{broken:?}");
}

#[test]
fn a_missing_and_a_repeated_number_are_named() {
    assert_eq!(broken_by(|evidence| evidence.changes[6].seq = 9), ["changes without gaps", "gaps hold nothing"]);
    assert!(broken_by(|evidence| evidence.changes[5].seq = 5).contains(&"changes without gaps"));
    assert!(broken_by(|evidence| _ = evidence.changes.pop()).contains(&"changes without gaps"));
}

#[test]
fn a_group_that_did_not_come_to_the_end_is_named() {
    let broken = broken_by(|evidence| _ = evidence.cursors.insert(group(), 6));
    assert_eq!(broken, ["at rest", "windows do not overlap"]);
}

#[test]
fn overlapping_windows_are_named() {
    assert_eq!(broken_by(|evidence| evidence.windows[1].after = 0), ["windows do not overlap"]);
    assert_eq!(broken_by(|evidence| evidence.windows.push(evidence.windows[0].clone())), ["windows do not overlap"]);
}

#[test]
fn a_match_whose_change_lies_in_a_gap_is_named() {
    assert_eq!(broken_by(|evidence| evidence.windows[1].after = 3), ["gaps hold nothing"]);
}

#[test]
fn a_missed_run_is_named_although_the_notifications_agree_with_the_matches() {
    let broken = broken_by(|evidence| {
        evidence.matches.remove(0);
        evidence.messages.remove(0);
        notices(evidence).remove(0);
    });
    assert_eq!(broken, ["nothing missed"]);
}

#[test]
fn a_run_that_should_not_have_matched_is_named() {
    let broken = broken_by(|evidence| evidence.matches.push(Match { rule: IDLE, run: run(1, false) }));
    assert_eq!(broken, ["nothing made up", "notified", "told once"]);
}

#[test]
fn a_run_matched_before_its_feedback_is_there_is_named() {
    let broken = broken_by(|evidence| {
        evidence.feedback.clear();
        evidence.acks.pop();
    });
    assert_eq!(broken, ["nothing made up"]);
}

#[test]
fn a_match_stored_twice_is_named() {
    let broken = broken_by(|evidence| evidence.matches.push(evidence.matches[0]));
    assert_eq!(broken, ["matched once", "told once"]);
}

#[test]
fn a_notification_that_never_came_is_named() {
    assert_eq!(broken_by(|evidence| drop(notices(evidence).remove(0))), ["notified"]);
}

#[test]
fn a_run_in_two_messages_is_named() {
    let broken = broken_by(|evidence| {
        let mut again = notices(evidence)[0].clone();
        again.message = Uuid::from_u128(2);
        notices(evidence).push(again);
    });
    assert_eq!(broken, ["notified once"]);
}

#[test]
fn a_message_nobody_stored_is_named() {
    let broken = broken_by(|evidence| notices(evidence)[3].message = Uuid::from_u128(77));
    assert_eq!(broken, ["nothing made up", "notified"]);
}

#[test]
fn deliveries_that_wait_or_failed_are_named_unless_they_may_fail() {
    assert_eq!(broken_by(|evidence| _ = evidence.deliveries.insert("pending", 1)), ["delivered"]);
    assert_eq!(broken_by(|evidence| _ = evidence.deliveries.insert("failed", 1)), ["delivered"]);
    let mut evidence = in_order();
    evidence.deliveries.insert("failed", 1);
    assert!(verdict(&evidence, Leniency { failed_deliveries: true, ..Leniency::default() }).is_clean());
}

/// A database with Runhook's own schema that holds what [`in_order`] does, as far as it is about the rule.
async fn database(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute(include_str!("../../../migrations/sqlite/0001_first.sql")).await.unwrap();
    let group = format!(
        r#"{{"group":{{"tenant_id":"{0}","project_id":"{PROJECT}","cadence":"immediate","settle":{{"secs":0,"nanos":0}}}}}}"#,
        Uuid::nil()
    );
    let rule = r#"{"project":"bench-*","cadence":"immediate","settle":{"secs":0,"nanos":0},"endpoints":["x"]}"#;
    let hex = |id: Uuid| format!("x'{}'", id.simple());
    let (tenant, project, rule_id) = (hex(Uuid::nil()), hex(PROJECT), hex(RULE));
    let mut sql = format!(
        "INSERT INTO projects (tenant_id, project_id, name, start_at, last_seq) VALUES ({tenant}, {project}, 'bench-00000', 0, 6);
         INSERT INTO rules VALUES ({tenant}, {rule_id}, 'bench-error-1', 'active', '{rule}');
         INSERT INTO group_cursors VALUES ({tenant}, {project}, '\"immediate\"', 0, 6, 0);
         INSERT INTO windows VALUES ({tenant}, x'01', {project}, '{group}', 0, 6, 0, 0);
         INSERT INTO messages VALUES ({tenant}, {}, {rule_id}, x'01', 1, 1, 3, '', x'', 0);
         INSERT INTO deliveries VALUES ({tenant}, x'05', x'06', x'07', {rule_id}, 1, NULL, 1, 0, 0, NULL, 0, 0);",
        hex(Uuid::from_u128(1)),
    );
    sql.extend((0..6).map(|serial| {
        let (id, fails) = (hex(run(serial, serial % 2 == 0)), serial % 2 == 0);
        let seq = serial + 1;
        let matched = format!("INSERT INTO matches VALUES ({tenant}, {rule_id}, {id}, {project});");
        format!(
            "INSERT INTO runs VALUES ({tenant}, {project}, {id}, {id}, NULL, 'n', 'llm', 'error', 1, 0, 0, 0, 1, 0);
             INSERT INTO changes VALUES ({tenant}, {project}, {seq}, {id}, {id}, 0); {}",
            if fails { matched } else { String::new() }
        )
    }));
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    connection
}

async fn checked(file: &Path) -> Verdict {
    let (acks, notices) = {
        let evidence = in_order();
        let runs: Vec<Uuid> = evidence.acks.iter().filter(|ack| !ack.feedback).map(|ack| ack.run).collect();
        let failing = runs.iter().step_by(2).copied().collect();
        let told =
            Notice { at: 1, message: Uuid::from_u128(1), rule: RULE, endpoint: None, status: 200, runs: failing };
        (evidence.acks.into_iter().filter(|ack| !ack.feedback).collect(), vec![told])
    };
    check(&format!("sqlite://{}", file.display()), acks, Some(notices), Leniency::default()).await.unwrap()
}

#[tokio::test]
async fn a_database_in_order_passes_and_a_row_that_goes_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runhook.db");
    let mut connection = database(&file).await;
    let verdict = checked(&file).await;
    assert!(verdict.is_clean(), "{:?}", verdict.shown);
    assert_eq!((verdict.stored_runs, verdict.matches, verdict.windows), (6, 3, 1));
    connection.execute("DELETE FROM runs WHERE run_id = (SELECT MAX(run_id) FROM runs)").await.unwrap();
    connection.execute("UPDATE windows SET through_seq = 7").await.unwrap();
    connection.execute("UPDATE deliveries SET state = 0").await.unwrap();
    let broken: Vec<_> = checked(&file).await.violations.into_keys().collect();
    assert_eq!(broken, ["delivered", "stored once", "windows do not overlap"]);
}
