use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::matcher::{CompiledRule, Matcher};
use crate::model::id::{ProjectId, RuleId, RunId, TenantId, TraceId};
use crate::model::rule::{Actions, BatchLimits, Rule, RuleState};
use crate::model::window::{Cursor, Span};

const TENANT: TenantId = TenantId::DEFAULT;
const MINUTE: Cadence = Cadence::DEFAULT;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

fn project(last_seq: Seq) -> Stirred {
    Stirred { tenant_id: TENANT, project_id: ProjectId(Uuid::nil()), name: "bot".to_owned(), last_seq }
}

fn rule(key: &str, cadence: Cadence) -> Rule {
    Rule {
        tenant_id: TENANT,
        id: RuleId::of_key(TENANT, key),
        key: key.to_owned(),
        name: key.to_owned(),
        project: "bot".to_owned(),
        filter: None,
        trace_filter: None,
        tree_filter: None,
        sampling_rate: 1.0,
        cadence,
        settle: Duration::ZERO,
        backfill_from: None,
        batch: BatchLimits::default(),
        endpoints: Vec::new(),
        state: RuleState::Active,
        origin: None,
        actions: Actions::default(),
        group_by: None,
        registration: None,
        event: None,
    }
}

/// What is planned when rules begin where `starts` says.
fn planned(rules: Vec<Rule>, standing: &Standing, starts: &[(&str, Seq)], last_seq: Seq) -> Vec<Stretch> {
    let (matcher, project) = (Matcher::new(rules), project(last_seq));
    let mut starts: HashMap<RuleId, Seq> =
        starts.iter().map(|(key, seq)| (RuleId::of_key(TENANT, key), *seq)).collect();
    let standing = Standing { last_start: starts.values().copied().max().unwrap_or(0), ..standing.clone() };
    let behind = behind(&project, &standing, &matcher);
    starts.retain(|_, start| behind.is_some_and(|behind| *start > behind));
    stretches(&project, &standing, starts, &matcher, &Timings::new())
}

fn watching(stretch: &Stretch) -> Vec<&Arc<CompiledRule>> {
    stretch.watchers.sets().iter().flat_map(|set| set.rules()).collect()
}

fn group(cadence: Cadence) -> GroupKey {
    let project_id = ProjectId(Uuid::nil());
    GroupKey { tenant_id: TENANT, project_id, cadence, settle: Duration::ZERO }
}

fn cursors(cursors: &[(Cadence, Seq)]) -> HashMap<GroupKey, Cursor> {
    cursors.iter().map(|(cadence, seq)| (group(cadence.clone()), Cursor { seq: *seq, at: at(*seq) })).collect()
}

/// Changes 1, 2, 3, ... accepted at the seconds of their numbers.
fn reading(numbers: std::ops::RangeInclusive<Seq>, more: bool) -> Reading {
    let change = |seq| Change {
        seq,
        run_id: RunId(Uuid::from_u128(1)),
        trace_id: TraceId(Uuid::from_u128(1)),
        at: at(seq),
        left: None,
    };
    Reading { changes: numbers.map(change).collect(), more }
}

fn stretch(settle: u64) -> Stretch {
    Stretch {
        progress: Progress::Group(group(MINUTE)),
        timing: Arc::new(Timing::Immediate),
        settle: Duration::from_secs(settle),
        watchers: Watchers::default(),
        after: 2,
        from: 2,
        through: None,
        last_end: Some(at(2)),
    }
}

#[test]
fn rules_of_one_cadence_share_a_stretch_and_others_have_their_own() {
    let rules = vec![rule("a", MINUTE), rule("b", MINUTE), rule("c", Cadence::Immediate)];
    let planned = planned(rules, &Standing::default(), &[], 5);
    let shape: Vec<_> = planned.iter().map(|stretch| (&stretch.progress, watching(stretch).len())).collect();
    assert_eq!(shape, [(&Progress::Group(group(Cadence::Immediate)), 1), (&Progress::Group(group(MINUTE)), 2)]);
}

#[test]
fn a_group_that_has_seen_everything_has_no_stretch() {
    let standing = Standing { groups: cursors(&[(MINUTE, 5)]), ..Standing::default() };
    assert!(planned(vec![rule("a", MINUTE)], &standing, &[], 5).is_empty());
    assert_eq!(planned(vec![rule("a", MINUTE)], &standing, &[], 6).len(), 1);
}

#[test]
fn a_group_that_was_never_evaluated_reads_from_where_the_earliest_of_its_rules_starts() {
    let starts = [("a", 7), ("b", 3)];
    let planned = planned(vec![rule("a", MINUTE), rule("b", MINUTE)], &Standing::default(), &starts, 9);
    assert_eq!((planned[0].after, planned[0].from, planned[0].last_end), (0, 3, None));
}

#[test]
fn a_rule_without_a_start_looks_from_the_first_change() {
    let planned = planned(vec![rule("a", MINUTE), rule("b", MINUTE)], &Standing::default(), &[("a", 7)], 9);
    assert_eq!((planned[0].after, planned[0].from), (0, 0));
}

#[test]
fn a_group_that_is_far_behind_keeps_the_starts_of_its_rules_though_another_has_passed_them() {
    let standing = Standing { groups: cursors(&[(MINUTE, 8)]), ..Standing::default() };
    let rules = vec![rule("a", MINUTE), rule("b", Cadence::Immediate), rule("c", Cadence::Immediate)];
    let planned = planned(rules, &standing, &[("c", 7)], 9);
    let late: Vec<bool> = watching(&planned[0]).iter().map(|rule| planned[0].watchers.looks(rule, 7)).collect();
    assert_eq!((planned[0].from, late), (0, vec![true, false]));
}

#[test]
fn changes_before_the_start_of_all_rules_are_passed_over_unread() {
    let standing = Standing { groups: cursors(&[(MINUTE, 2)]), ..Standing::default() };
    let planned = planned(vec![rule("a", MINUTE)], &standing, &[("a", 7)], 9);
    assert_eq!((planned[0].after, planned[0].from, planned[0].unseen(&project(9))), (2, 7, 2));
}

#[test]
fn the_spans_of_a_rule_are_looked_at_one_after_the_other_and_those_of_absent_rules_rest() {
    let span = |key: &str, after, through| Span {
        tenant_id: TENANT,
        project_id: ProjectId(Uuid::nil()),
        rule_id: RuleId::of_key(TENANT, key),
        after,
        through,
    };
    let standing = Standing {
        groups: cursors(&[(MINUTE, 9)]),
        last_start: 0,
        spans: vec![span("a", 0, 4), span("a", 6, 9), span("paused", 0, 9)],
    };
    let planned = planned(vec![rule("a", MINUTE)], &standing, &[("a", 9)], 9);
    assert_eq!(planned.len(), 1);
    assert_eq!((planned[0].after, planned[0].through), (0, Some(4)));
    let rule = watching(&planned[0])[0];
    assert!(planned[0].watchers.looks(rule, 1) && !planned[0].watchers.looks(rule, 0));
}

#[test]
fn a_window_over_all_changes_ends_now() {
    let cut = stretch(0).cut(&reading(1..=6, false), at(100)).unwrap();
    assert_eq!(cut, Cut { through: 6, start_time: at(2), end_time: at(100), rest: Rest::Seen });
}

#[test]
fn a_window_that_was_bounded_ends_with_its_last_change_and_the_next_begins_there() {
    let cut = stretch(0).cut(&reading(1..=6, true), at(100)).unwrap();
    assert_eq!(cut, Cut { through: 6, start_time: at(2), end_time: at(6), rest: Rest::Unread });
}

#[test]
fn changes_that_have_not_settled_are_left_to_a_later_window() {
    let cut = stretch(10).cut(&reading(1..=6, false), at(14)).unwrap();
    assert_eq!(cut, Cut { through: 4, start_time: at(2), end_time: at(4), rest: Rest::Unsettled(at(5)) });
    assert_eq!(stretch(10).cut(&reading(1..=6, false), at(12)), Err(Rest::Unsettled(at(3))));
}

#[test]
fn a_change_behind_one_that_has_not_settled_waits_with_it() {
    let mut reading = reading(1..=4, false);
    reading.changes[2].at = at(13);
    let cut = stretch(10).cut(&reading, at(14));
    assert_eq!(cut, Err(Rest::Unsettled(at(13))));
}

#[test]
fn a_window_never_ends_before_it_begins() {
    let late = Stretch { last_end: Some(at(500)), ..stretch(0) };
    let cut = late.cut(&reading(1..=6, false), at(100)).unwrap();
    assert_eq!((cut.start_time, cut.end_time), (at(500), at(500)));
}

#[test]
fn the_first_window_begins_with_its_first_change() {
    let first = Stretch { last_end: None, ..stretch(0) };
    assert_eq!(first.cut(&reading(1..=6, false), at(100)).unwrap().start_time, at(3));
}

fn span(through: Seq) -> Stretch {
    Stretch { through: Some(through), last_end: None, progress: Progress::Span(RuleId(Uuid::nil())), ..stretch(0) }
}

#[test]
fn a_span_ends_where_it_ends_and_is_bounded_like_a_window() {
    let cut = span(5).cut(&reading(1..=9, false), at(100)).unwrap();
    assert_eq!(cut, Cut { through: 5, start_time: at(3), end_time: at(5), rest: Rest::Seen });
    let cut = span(50).cut(&reading(1..=9, true), at(100)).unwrap();
    assert_eq!((cut.through, cut.rest), (9, Rest::Unread));
}

#[test]
fn a_span_whose_changes_are_gone_is_used_up() {
    let cut = span(5).cut(&reading(7..=9, false), at(100)).unwrap();
    assert_eq!((cut.through, cut.rest), (5, Rest::Seen));
}
