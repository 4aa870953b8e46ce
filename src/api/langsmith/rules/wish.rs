//! What a body asks of a rule: read key by key, laid over the rule as it is, and written as a file would have it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::api::problem::Problem;
use crate::filter::{Filter, Mode};
use crate::ingest::{Invalid, value};
use crate::model::id::{DatasetId, ProjectId, QueueId};
use crate::model::rule::{Actions, GroupBy, Rule, RuleState};
use crate::model::time::Timestamp;
use crate::rule_file::literal;

use super::webhooks::{self, Webhook};

/// The keys of a body.
pub(super) type Keys<'a> = BTreeMap<String, &'a RawValue>;

/// Keys that are read, beside those of [`FILTERS`].
const KNOWN: [&str; 11] = [
    "display_name",
    "sampling_rate",
    "session_id",
    "is_enabled",
    "backfill_from",
    "webhooks",
    "add_to_dataset_id",
    "add_to_dataset_prefer_correction",
    "add_to_annotation_queue_id",
    "group_by",
    "id",
];

const FILTERS: [&str; 3] = ["filter", "trace_filter", "tree_filter"];

/// Keys that ask for what this server does not do, each with what it does instead.
const REFUSED: [(&str, &str); 15] = [
    ("evaluators", NO_EVALUATORS),
    ("code_evaluators", NO_EVALUATORS),
    ("evaluator_id", NO_EVALUATORS),
    ("evaluator_version", NO_EVALUATORS),
    ("create_alignment_queue", NO_EVALUATORS),
    ("use_corrections_dataset", NO_EVALUATORS),
    ("num_few_shot_examples", NO_EVALUATORS),
    ("include_extended_stats", NO_EVALUATORS),
    ("spend_limit", NO_EVALUATORS),
    ("alerts", "PagerDuty is told by a rule of a file with `format: pagerduty`, or by `/v1/platform/alerts`"),
    ("extend_only", "retention here does not depend on rules: see `retention` of the configuration"),
    ("transient", "rules here last until they are removed"),
    ("dataset_id", "rules here watch sessions: give `session_id`"),
    ("tracer_session_issue_id", "there are no issues of sessions here"),
    ("tag_value_ids", "rules here have no tags"),
];

const NO_EVALUATORS: &str = "rules here run no evaluators: let a webhook call yours, and send its score as feedback";

/// A rule as it is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wished {
    pub(super) key: String,
    pub(super) name: Option<String>,
    pub(super) sampling_rate: Option<f64>,
    pub(super) session_id: Option<ProjectId>,
    pub(super) is_enabled: bool,
    pub(super) filters: [Option<String>; 3],
    pub(super) backfill_from: Option<Timestamp>,
    pub(super) webhooks: Vec<Webhook>,
    pub(super) actions: Actions,
    pub(super) group_by: Option<GroupBy>,
}

/// Refuses keys that ask for what this server does not do, and those it does not know. A value that says nothing asks
/// for nothing: clients send those of every key they know.
pub(super) fn check(keys: &Keys<'_>) -> Result<(), Invalid> {
    for (key, raw) in keys.iter().filter(|(_, raw)| !says_nothing(raw)) {
        if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| refused == key) {
            return Err(Invalid::new(key, format!("is not supported by this server: {instead}")));
        }
        if !KNOWN.contains(&key.as_str()) && !FILTERS.contains(&key.as_str()) {
            return Err(Invalid::new(
                key,
                format!("is unknown (value {})", raw.get().chars().take(40).collect::<String>()),
            ));
        }
    }
    Ok(())
}

fn says_nothing(raw: &RawValue) -> bool {
    let text: String = raw.get().chars().filter(|c| !c.is_whitespace()).collect();
    matches!(text.as_str(), "null" | "false" | "[]" | "{}" | "\"\"" | "0")
}

impl Wished {
    /// What a rule is, as far as this surface changes it.
    pub(super) fn of(rule: &Rule, webhooks: Vec<Webhook>) -> Self {
        Self {
            key: rule.key.clone(),
            name: Some(rule.name.clone()),
            sampling_rate: Some(rule.sampling_rate),
            session_id: rule.registration.as_ref().map(|registration| registration.project_id),
            is_enabled: rule.state == RuleState::Active,
            filters: [rule.filter.clone(), rule.trace_filter.clone(), rule.tree_filter.clone()],
            backfill_from: rule.backfill_from,
            webhooks,
            actions: rule.actions.clone(),
            group_by: rule.group_by,
        }
    }

    /// Lays a body over it. A key that is absent leaves its field as it is; `null` clears it.
    pub(super) fn lay(&mut self, keys: &Keys<'_>, stored: &webhooks::Stored) -> Result<(), Invalid> {
        let given = |key: &str| keys.get(key).map(|raw| Some(*raw).filter(|raw| raw.get() != "null"));
        let some = |key: &str| given(key).flatten();
        if let Some(raw) = some("display_name") {
            self.name = Some(value::string("display_name", raw)?).filter(|name| !name.trim().is_empty());
        }
        if let Some(raw) = some("sampling_rate") {
            self.sampling_rate = Some(rate(raw)?);
        }
        if let Some(raw) = some("session_id") {
            self.session_id = Some(value::id("session_id", raw)?);
        }
        if let Some(raw) = some("is_enabled") {
            self.is_enabled = flag("is_enabled", raw)?;
        }
        for (name, filter) in FILTERS.into_iter().zip(&mut self.filters) {
            if let Some(raw) = given(name) {
                *filter = raw.map(|raw| self::filter(name, raw)).transpose()?.flatten();
            }
        }
        if let Some(raw) = given("backfill_from") {
            self.backfill_from = raw.map(|raw| value::time("backfill_from", raw)).transpose()?;
        }
        if let Some(raw) = given("webhooks") {
            self.webhooks = raw.map(|raw| webhooks::read(raw, stored)).transpose()?.unwrap_or_default();
        }
        if let Some(raw) = given("group_by") {
            self.group_by = raw.map(group).transpose()?;
        }
        self.lay_actions(keys)
    }

    /// The same for what the rule does with its matches.
    pub(super) fn lay_actions(&mut self, keys: &Keys<'_>) -> Result<(), Invalid> {
        let given = |key: &str| keys.get(key).map(|raw| Some(*raw).filter(|raw| raw.get() != "null"));
        let (dataset, queue) = ("add_to_dataset_id", "add_to_annotation_queue_id");
        if let Some(raw) = given(dataset) {
            self.actions.add_to_dataset_id = raw.map(|raw| value::id::<DatasetId>(dataset, raw)).transpose()?;
        }
        if let Some(raw) = given(queue) {
            self.actions.add_to_annotation_queue_id = raw.map(|raw| value::id::<QueueId>(queue, raw)).transpose()?;
        }
        let prefer = "add_to_dataset_prefer_correction";
        if let Some(raw) = given(prefer) {
            self.actions.prefer_correction = raw.map(|raw| flag(prefer, raw)).transpose()?.unwrap_or(false);
        }
        self.actions.prefer_correction &= self.actions.add_to_dataset_id.is_some();
        Ok(())
    }

    /// As a file would have it, on a project of this name.
    pub(super) fn document(&self, project: &str) -> Result<Value, Problem> {
        if self.webhooks.is_empty() && self.actions.is_empty() {
            let message = "is missing, and so are `add_to_dataset_id` and `add_to_annotation_queue_id`: a rule does \
                           something with what it matches";
            return Err(Invalid::new("webhooks", message).into());
        }
        if project.contains(['*', '?']) {
            let message =
                format!("is a session called `{project}`, where * and ? would fit others too: rename it first");
            return Err(Invalid::new("session_id", message).into());
        }
        let mut rule = Map::new();
        rule.insert("key".to_owned(), self.key.clone().into());
        rule.insert("name".to_owned(), self.name.clone().into());
        rule.insert("project".to_owned(), literal(project).into());
        for (name, filter) in FILTERS.into_iter().zip(&self.filters) {
            rule.extend(filter.as_ref().map(|filter| (name.to_owned(), filter.clone().into())));
        }
        rule.insert("sampling_rate".to_owned(), self.sampling_rate.unwrap_or(1.0).into());
        rule.extend(self.group_by.map(|by| ("group_by".to_owned(), json!(by))));
        rule.extend(self.backfill_from.map(|at| ("backfill_from".to_owned(), at.to_string().into())));
        let Actions { add_to_dataset_id: dataset, prefer_correction, add_to_annotation_queue_id: queue } =
            &self.actions;
        rule.extend(dataset.map(|id| ("add_to_dataset_id".to_owned(), json!(id))));
        rule.extend(prefer_correction.then(|| ("add_to_dataset_prefer_correction".to_owned(), true.into())));
        rule.extend(queue.map(|id| ("add_to_annotation_queue_id".to_owned(), json!(id))));
        if !self.webhooks.is_empty() {
            rule.insert("webhooks".to_owned(), self.webhooks.iter().map(Webhook::document).collect());
        }
        Ok(Value::Object(rule))
    }
}

fn rate(raw: &RawValue) -> Result<f64, Invalid> {
    let rate: f64 =
        serde_json::from_str(raw.get()).map_err(|_| Invalid::new("sampling_rate", "must be a number from 0 to 1"))?;
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(Invalid::new("sampling_rate", "must be from 0 to 1")) }
}

/// What the rule is told by.
fn group(raw: &RawValue) -> Result<GroupBy, Invalid> {
    let wrong = |_| Invalid::new("group_by", "must be thread_id, or null for a rule on runs");
    serde_json::from_str(raw.get()).map_err(wrong)
}

fn flag(field: &str, raw: &RawValue) -> Result<bool, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| Invalid::new(field, "must be true or false"))
}

/// A filter that parses, or none if it is blank. A mistake is told with its place in the filter.
pub(in crate::api::langsmith) fn filter(name: &str, raw: &RawValue) -> Result<Option<String>, Invalid> {
    let text = value::string(name, raw)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let Err(problems) = Filter::parse(&text, Mode::Lenient) else { return Ok(Some(text)) };
    let told: Vec<String> = problems
        .iter()
        .map(|problem| {
            let column = text.get(..problem.span.start).unwrap_or_default().chars().count().saturating_add(1);
            let hint = problem.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("at character {column}: {}{hint}", problem.message)
        })
        .collect();
    Err(Invalid::new(name, format!("does not parse: {}", told.join("; "))))
}
