//! Rules as teams write them: by name, error, tag, metadata, feedback and latency, most with two or three conditions.

use std::time::Duration;

use runhook::model::id::{RuleId, TenantId};
use runhook::model::rule::{Actions, BatchLimits, Cadence, Rule, RuleState};

use crate::runs::{CUSTOMERS, KEYS, MODELS, NAMES, Numbers, TAGS, TYPES, pick};

/// The filter of this number.
pub(crate) fn filter(number: u64) -> String {
    let mut numbers = Numbers::new(number + 77);
    let numbers = &mut numbers;
    let name = numbers.below(NAMES);
    let seconds = format!("{}.{}", numbers.below(25), numbers.below(1000));
    match number % 12 {
        0 => format!("and(eq(status, \"error\"), eq(name, \"step-{name}\"))"),
        1 => {
            let key = pick(numbers, KEYS);
            format!(
                "and(eq(is_root, true), eq(feedback_key, \"{key}\"), lt(feedback_score, 0.{:02}))",
                numbers.below(100)
            )
        }
        2 => format!("and(eq(run_type, \"{}\"), gt(latency, {seconds}))", pick(numbers, TYPES)),
        3 => format!("and(eq(metadata.customer, \"c-{}\"), eq(status, \"error\"))", numbers.below(CUSTOMERS)),
        4 => format!("and(has(tags, \"tag-{}\"), gt(latency, {seconds}))", numbers.below(TAGS)),
        5 => format!("and(eq(name, \"step-{name}\"), gt(latency, {seconds}))"),
        6 => format!(
            "and(eq(metadata_key, \"ls_model_name\"), eq(metadata_value, \"{}\"), eq(name, \"step-{name}\"))",
            pick(numbers, MODELS)
        ),
        7 => format!("or(eq(name, \"step-{name}\"), has(tags, \"tag-{}\"))", numbers.below(TAGS)),
        8 => format!("and(eq(name, \"step-{name}\"), like(error, \"%word{}%\"))", numbers.below(5000)),
        9 => format!("gt(latency, {seconds})"),
        10 => format!(
            "and(eq(metadata.env, \"prod\"), in(name, [\"step-{name}\", \"step-{}\"]), neq(error, null))",
            numbers.below(NAMES)
        ),
        _ => format!("and(eq(status, \"error\"), has(tags, \"tag-{}\"))", numbers.below(TAGS)),
    }
}

/// The rule of this number on a project.
pub(crate) fn rule(number: u64, project: &str) -> Rule {
    let key = format!("rule-{number}");
    Rule {
        tenant_id: TenantId::DEFAULT,
        id: RuleId::of_key(TenantId::DEFAULT, &key),
        name: format!("Rule number {number}"),
        key,
        project: project.to_owned(),
        filter: Some(filter(number)),
        trace_filter: None,
        tree_filter: None,
        sampling_rate: 1.0,
        cadence: Cadence::DEFAULT,
        settle: Duration::ZERO,
        backfill_from: None,
        batch: BatchLimits::default(),
        endpoints: Vec::new(),
        state: RuleState::Active,
        origin: Some("rules/team.yaml".to_owned()),
        actions: Actions::default(),
        group_by: None,
        registration: None,
        event: None,
    }
}

pub(crate) fn project(number: u64) -> String {
    format!("project-{number}")
}
