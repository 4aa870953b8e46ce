use std::time::Duration;

use super::*;
use crate::filter::{Facts, Needs};
use crate::model::id::{ProjectId, RuleId, RunId};
use crate::model::rule::{Actions, BatchLimits, Cadence};
use crate::model::run::{Run, Status};
use crate::model::time::Timestamp;
use crate::model::usage::Usage;

const TENANT: TenantId = TenantId::DEFAULT;

fn rule(key: &str, project: &str, filter: &str) -> Rule {
    Rule {
        tenant_id: TENANT,
        id: RuleId::of_key(TENANT, key),
        key: key.into(),
        name: key.into(),
        project: project.into(),
        filter: Some(filter.into()),
        trace_filter: None,
        tree_filter: None,
        sampling_rate: 1.0,
        cadence: Cadence::DEFAULT,
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

fn compiled(change: impl FnOnce(&mut Rule)) -> CompiledRule {
    let mut rule = rule("r", "p", "");
    change(&mut rule);
    CompiledRule::new(rule).unwrap()
}

fn run(id: u128, name: &str, status: Status) -> Run {
    let id = RunId(uuid::Uuid::from_u128(id));
    Run {
        tenant_id: TENANT,
        project_id: ProjectId::of_name(TENANT, "p"),
        id,
        trace_id: id.into(),
        parent_run_id: None,
        dotted_order: String::new(),
        name: name.into(),
        run_type: "chain".into(),
        start_time: Timestamp(0),
        end_time: None,
        status,
        error: None,
        tags: Vec::new(),
        reference_example_id: None,
        inputs: None,
        outputs: None,
        extra: None,
        events: None,
        serialized: None,
        attachments: Vec::new(),
        usage: Usage::default(),
        first_token_time: None,
        modified_at: Timestamp(0),
    }
}

fn keys(matcher: &Matcher, project: &str) -> Vec<String> {
    let sets = matcher.of_project(TENANT, project);
    sets.iter().flat_map(|set| set.rules()).map(|rule| rule.rule.key.clone()).collect()
}

#[test]
fn rules_are_found_by_name_and_by_glob() {
    let mut paused = rule("paused", "support-bot", "");
    paused.state = RuleState::Paused;
    let mut foreign = rule("foreign", "support-bot", "");
    foreign.tenant_id = TenantId(uuid::Uuid::from_u128(7));
    let matcher = Matcher::new(vec![
        rule("glob", "support-*", ""),
        rule("one", "support-bot", ""),
        rule("other", "billing", ""),
        rule("broken", "support-bot", "eq(nmae, \"x\")"),
        rule("two", "support-bot", ""),
        paused,
        foreign,
    ]);
    assert_eq!(keys(&matcher, "support-bot"), ["one", "two", "glob"]);
    assert_eq!(keys(&matcher, "support-eu"), ["glob"]);
    assert_eq!(keys(&matcher, "billing"), ["other"]);
    assert_eq!(keys(&matcher, "Billing"), [""; 0]);
    assert!(matcher.of_project(TenantId(uuid::Uuid::from_u128(8)), "support-bot").is_empty());
}

#[test]
fn an_unfinished_run_matches_only_where_pending_is_asked_for() {
    let (pending, done) = (run(1, "agent", Status::Pending), run(2, "agent", Status::Success));
    let matches = |filter: &str| {
        let rule = compiled(|rule| rule.filter = Some(filter.into()));
        (rule.matches_run(&Facts::new(&pending, &[])), rule.matches_run(&Facts::new(&done, &[])))
    };
    assert_eq!(matches(""), (false, true));
    assert_eq!(matches("eq(name, \"agent\")"), (false, true));
    assert_eq!(matches("neq(status, \"error\")"), (false, true));
    assert_eq!(matches("not(eq(status, \"pending\"))"), (false, true));
    assert_eq!(matches("eq(status, \"pending\")"), (true, false));
    assert_eq!(matches("in(status, [\"pending\", \"success\"])"), (true, true));
    assert_eq!(matches("not(neq(status, \"pending\"))"), (true, false));
}

#[test]
fn a_trace_filter_asks_the_root_and_a_tree_filter_any_run() {
    let (root, child) = (run(1, "agent", Status::Success), run(2, "tool", Status::Pending));
    let runs = [Facts::new(&root, &[]), Facts::new(&child, &[])];
    let passes = |trace: Option<&str>, tree: Option<&str>, root: bool| {
        let rule = compiled(|rule| {
            rule.trace_filter = trace.map(Into::into);
            rule.tree_filter = tree.map(Into::into);
        });
        rule.matches_trace(&Trace { root: if root { runs.first() } else { None }, runs: &runs })
    };
    assert!(passes(Some("eq(name, \"agent\")"), None, true));
    assert!(!passes(Some("eq(name, \"tool\")"), None, true));
    assert!(!passes(Some("eq(name, \"agent\")"), None, false), "without its root a trace does not pass");
    assert!(passes(None, Some("eq(name, \"tool\")"), false));
    assert!(passes(None, Some("eq(name, \"agent\")"), true), "the run itself is part of its tree");
    assert!(!passes(None, Some("eq(name, \"other\")"), true));
    assert!(!passes(Some("eq(name, \"agent\")"), Some("eq(name, \"other\")"), true));
    assert!(passes(None, None, false));
}

#[test]
fn a_rule_looks_at_the_trace_for_filters_on_it_and_for_sums_over_it() {
    let looks = |change: fn(&mut Rule)| compiled(change).looks_at_trace();
    assert!(!looks(|_| {}));
    assert!(!looks(|rule| rule.filter = Some("gt(latency, 5)".into())));
    assert!(looks(|rule| rule.filter = Some("and(eq(is_root, true), not(lt(total_cost, 0.1)))".into())));
    assert!(looks(|rule| rule.trace_filter = Some("eq(name, \"a\")".into())));
    assert!(looks(|rule| rule.tree_filter = Some("eq(name, \"a\")".into())));
    assert!(!looks(|rule| rule.tree_filter = Some("  ".into())), "a blank filter says nothing");
}

#[test]
fn needs_are_those_of_all_filters_together() {
    let rule = compiled(|rule| {
        rule.filter = Some("eq(metadata_key, \"a\")".into());
        rule.tree_filter = Some("eq(feedback_key, \"a\")".into());
    });
    assert_eq!(rule.needs(), Needs { body: true, feedback: true, usage: false });
}
