//! What a rule is told by, and how long what it looks at must have rested: `group_by` and `idle`, or `settle`.

use std::time::Duration;

use crate::model::rule::GroupBy;
use crate::rule_file::cadence;
use crate::rule_file::reading::{Reading, Section};

/// How long a trace is left in peace when a rule looks at more than single runs and does not say.
const SETTLE: Duration = Duration::from_secs(10);

/// How long a thread has been idle when a rule looks at it and does not say: as upstream.
const IDLE: Duration = Duration::from_mins(10);

const GROUPS: [(&str, GroupBy); 1] = [("thread_id", GroupBy::Thread)];

/// What a rule is told by.
#[derive(Clone, Copy)]
pub(super) struct Grouping {
    pub(super) by: Option<GroupBy>,
    rest: Option<Duration>,
}

impl Grouping {
    /// How long what it looks at must have rested: a thread, or a trace if the rule looks at those.
    pub(super) fn rest(&self, looks_at_trace: bool) -> Duration {
        let usual = match self.by {
            Some(GroupBy::Thread) => IDLE,
            None if looks_at_trace => SETTLE,
            None => Duration::ZERO,
        };
        self.rest.unwrap_or(usual)
    }
}

/// Reads it. None when something that is written cannot be read, or does not go together.
pub(super) fn lower(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<Grouping> {
    if rule.key_span("group_by").is_none() {
        if let Some(span) = rule.key_span("idle") {
            let hint = "add `group_by: thread_id`, or write `settle` for how long a trace must be quiet";
            reading.error("no-group", &span, "`idle` is about threads, and the rule is told by runs", hint);
            return None;
        }
        let rest = rule.get("settle").map_or(Some(None), |node| cadence::settle(reading, node).map(Some))?;
        return Some(Grouping { by: None, rest });
    }
    let by = rule.get("group_by").and_then(|node| reading.choice(node, "group_by", &GROUPS));
    let rest = rule.get("idle").map_or(Some(None), |node| cadence::idle(reading, node).map(Some));
    let fits = goes_together(reading, rule);
    Some(Grouping { by: Some(by?), rest: rest? }).filter(|_| fits)
}

/// Whether a rule on threads says nothing that is not about threads.
fn goes_together(reading: &mut Reading<'_>, rule: &Section<'_>) -> bool {
    let settle = rule.key_span("settle");
    if let Some(span) = &settle {
        let hint = "write `idle` for how long a thread must have been idle, or remove it";
        reading.error("settle-and-group", span, "a rule on threads does not wait for single traces", hint);
        // What else is wrong with it is still worth knowing.
        rule.get("settle").and_then(|node| cadence::settle(reading, node));
    }
    let dataset = rule.key_span("add_to_dataset_id");
    if let Some(span) = &dataset {
        let hint = "name a queue or a webhook, or remove `group_by`";
        reading.error("dataset-and-group", span, "a rule on threads makes no examples of runs", hint);
    }
    settle.is_none() && dataset.is_none()
}
