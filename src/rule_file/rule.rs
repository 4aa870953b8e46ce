//! One rule, from its section to a draft.

use std::time::Duration;

use crate::filter::{Filter, Needs};
use crate::model::id::{EndpointId, RuleId, TenantId};
use crate::model::rule::{Actions, BatchLimits, Cadence, GroupBy, Rule, RuleState};
use crate::model::time::Timestamp;
use crate::rule_file::endpoint::{EndpointDraft, EndpointName, Reference};
use crate::rule_file::node::Node;
use crate::rule_file::reading::{Reading, Section};
use crate::rule_file::target::{self, TARGET_KEYS};
use crate::rule_file::{action, batch, cadence, grouping};

/// Keys of a rule.
pub(super) const RULE_KEYS: &[&str] = &[
    "key",
    "name",
    "project",
    "filter",
    "trace_filter",
    "tree_filter",
    "sampling_rate",
    "every",
    "cron",
    "timezone",
    "settle",
    "backfill_from",
    "group_by",
    "idle",
    "batch",
    "webhooks",
    "add_to_dataset_id",
    "add_to_dataset_prefer_correction",
    "add_to_annotation_queue_id",
];

/// Keys of an entry of `webhooks`.
pub(super) const WEBHOOK_KEYS: &[&str] = &[
    "endpoint",
    "url",
    "query",
    "headers",
    "format",
    "template",
    "secrets",
    "policy",
    "timeout",
    "retries",
    "rate",
    "burst",
    "concurrency",
    "signing_secret",
    "signature",
];

const LONGEST_KEY: usize = 128;

/// A rule as a file describes it: all of a [`Rule`] that does not depend on where it is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleDraft {
    /// Its stable identity.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// The projects it watches.
    pub project: String,
    /// What the run must be.
    pub filter: Option<String>,
    /// What the root of its trace must be.
    pub trace_filter: Option<String>,
    /// What some run of its trace must be.
    pub tree_filter: Option<String>,
    /// The share of matching runs that are notified.
    pub sampling_rate: f64,
    /// When it is evaluated.
    pub cadence: Cadence,
    /// What it is told by.
    pub group_by: Option<GroupBy>,
    /// How long a trace must be quiet, or a thread idle.
    pub settle: Duration,
    /// From when on runs count that arrived before the rule.
    pub backfill_from: Option<Timestamp>,
    /// How batches are cut.
    pub batch: BatchLimits,
    /// Where its notifications go.
    pub endpoints: Vec<EndpointName>,
    /// What becomes of its matches beside.
    pub actions: Actions,
    /// The file it is in.
    pub file: String,
}

impl RuleDraft {
    /// The rule, for a tenant, with the ids of its endpoints there.
    #[must_use]
    pub fn rule(&self, tenant: TenantId, endpoints: Vec<EndpointId>, origin: Option<String>) -> Rule {
        Rule {
            tenant_id: tenant,
            id: RuleId::of_key(tenant, &self.key),
            key: self.key.clone(),
            name: self.name.clone(),
            project: self.project.clone(),
            filter: self.filter.clone(),
            trace_filter: self.trace_filter.clone(),
            tree_filter: self.tree_filter.clone(),
            sampling_rate: self.sampling_rate,
            cadence: self.cadence.clone(),
            settle: self.settle,
            backfill_from: self.backfill_from,
            batch: self.batch.clone(),
            endpoints,
            state: RuleState::Active,
            origin,
            actions: self.actions.clone(),
            group_by: self.group_by,
            registration: None,
            event: None,
        }
    }
}

/// What a section of `rules` says. Parts are there although others are wrong, so that other files can be checked
/// against them.
pub(super) struct Lowered {
    pub(super) key: Option<Reference>,
    pub(super) draft: Option<RuleDraft>,
    pub(super) endpoints: Vec<EndpointDraft>,
    /// Named endpoints it sends to.
    pub(super) uses: Vec<Reference>,
}

pub(super) fn lower(reading: &mut Reading<'_>, node: &Node, file: &str) -> Option<Lowered> {
    let rule = reading.section(node, "a rule", RULE_KEYS)?;
    let key = rule
        .require(reading, "key", "give it a stable name: `key: low-user-score`")
        .and_then(|node| Some(Reference { key: key(reading, node)?, span: node.span.clone() }));
    let name = rule.get("name").map_or(Some(None), |node| reading.text(node, "`name`").map(Some));
    let project = rule.require(reading, "project", "say which runs it watches: `project: support-bot`, or `\"*\"`");
    let project = project.and_then(|node| project_name(reading, node));
    let filters = filters(reading, &rule);
    let sampling_rate = rule.get("sampling_rate").map_or(Some(1.0), |node| sampling_rate(reading, node));
    let cadence = cadence::lower(reading, &rule);
    let grouping = grouping::lower(reading, &rule);
    let backfill_from = rule.get("backfill_from").map_or(Some(None), |node| instant(reading, node).map(Some));
    let batch = rule.get("batch").map_or(Some(BatchLimits::default()), |node| batch::lower(reading, node));
    let actions = action::lower(reading, &rule);
    let owner = key.as_ref().map(|key| key.key.clone()).unwrap_or_default();
    let Webhooks { names, endpoints, uses } = webhooks(reading, &rule, &owner, file);
    let draft = || {
        let filters = filters?;
        let key = key.as_ref()?.key.clone();
        Some(RuleDraft {
            name: name?.unwrap_or(&key).to_owned(),
            key,
            project: project?,
            sampling_rate: sampling_rate?,
            cadence: cadence?,
            group_by: grouping?.by,
            settle: grouping?.rest(filters.looks_at_trace),
            filter: filters.filter,
            trace_filter: filters.trace_filter,
            tree_filter: filters.tree_filter,
            backfill_from: backfill_from?,
            batch: batch?,
            endpoints: names,
            actions: actions?,
            file: file.to_owned(),
        })
    };
    let draft = draft();
    Some(Lowered { key, draft, endpoints, uses })
}

/// Reads a key: of a rule or of an endpoint.
pub(super) fn key(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    let text = reading.text(node, "`key`")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.len() > LONGEST_KEY || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(fits) {
        let hint = format!("letters, digits and any of - _ . after a letter or digit, at most {LONGEST_KEY}");
        reading.error("bad-key", &node.span, "this is not a key", &hint);
        return None;
    }
    Some(text.to_owned())
}

fn project_name(reading: &mut Reading<'_>, node: &Node) -> Option<String> {
    let text = reading.resolved(node, "`project`")?.text;
    if text.trim().is_empty() {
        reading.error("empty", &node.span, "`project` is empty", "a name, or a glob such as support-*");
        return None;
    }
    Some(text)
}

struct Filters {
    filter: Option<String>,
    trace_filter: Option<String>,
    tree_filter: Option<String>,
    looks_at_trace: bool,
}

fn filters(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<Filters> {
    let run = filter(reading, rule, "filter");
    let trace = filter(reading, rule, "trace_filter");
    let tree = filter(reading, rule, "tree_filter");
    let written = ["filter", "trace_filter", "tree_filter"].iter().any(|name| rule.key_span(name).is_some());
    if !written {
        let hint = "add `filter`, such as `filter: eq(status, \"error\")`";
        reading.warning("no-filter", &rule.span(), "a rule without a filter matches every finished run", hint);
    }
    let (run, trace, tree) = (run.ok()?, trace.ok()?, tree.ok()?);
    let usage = run.as_ref().is_some_and(|(_, needs)| needs.usage);
    Some(Filters {
        looks_at_trace: usage || trace.is_some() || tree.is_some(),
        filter: run.map(|(text, _)| text),
        trace_filter: trace.map(|(text, _)| text),
        tree_filter: tree.map(|(text, _)| text),
    })
}

/// A filter was written and cannot be read; why is among the problems.
struct Unreadable;

/// Reads a filter, if it is written.
fn filter(reading: &mut Reading<'_>, rule: &Section<'_>, name: &str) -> Result<Option<(String, Needs)>, Unreadable> {
    let Some(node) = rule.get(name) else { return Ok(None) };
    let text = reading.text(node, &format!("`{name}`")).ok_or(Unreadable)?;
    match Filter::parse(text, reading.mode) {
        Ok((filter, warnings)) => {
            reading.inside(node, text, warnings);
            Ok(Some((text.trim_end().to_owned(), filter.needs())))
        }
        Err(problems) => {
            reading.inside(node, text, problems);
            Err(Unreadable)
        }
    }
}

fn sampling_rate(reading: &mut Reading<'_>, node: &Node) -> Option<f64> {
    let rate = reading.number(node, "`sampling_rate`")?;
    if (0.0..=1.0).contains(&rate) {
        return Some(rate);
    }
    let hint = if (1.0..=100.0).contains(&rate) {
        format!("it is a share, not a percentage: {}", rate / 100.0)
    } else {
        "it is a share, from 0 to 1".to_owned()
    };
    reading.error("out-of-range", &node.span, "`sampling_rate` is out of range", &hint);
    None
}

fn instant(reading: &mut Reading<'_>, node: &Node) -> Option<Timestamp> {
    let text = reading.text(node, "`backfill_from`")?;
    let parsed = Timestamp::parse(text);
    if parsed.is_err() {
        let hint = "write ISO 8601, such as 2026-11-22T08:30:00Z (no offset means UTC)";
        reading.error("bad-time", &node.span, "`backfill_from` is not a time", hint);
    }
    parsed.ok()
}

#[derive(Default)]
struct Webhooks {
    names: Vec<EndpointName>,
    endpoints: Vec<EndpointDraft>,
    uses: Vec<Reference>,
}

fn webhooks(reading: &mut Reading<'_>, rule: &Section<'_>, owner: &str, file: &str) -> Webhooks {
    let mut found = Webhooks::default();
    let hint = "say where notifications go: `webhooks:` with at least one `- url: ...`";
    // A rule that does something else need not tell anyone.
    if rule.key_span("webhooks").is_none() && action::KEYS.iter().any(|key| rule.key_span(key).is_some()) {
        return found;
    }
    let Some(node) = rule.require(reading, "webhooks", hint) else { return found };
    let Some(items) = reading.items(node, "`webhooks`") else { return found };
    if items.is_empty() {
        reading.error("empty", &node.span, "`webhooks` is empty", hint);
    }
    for (index, item) in items.iter().enumerate() {
        let Some(section) = reading.section(item, "a webhook", WEBHOOK_KEYS) else { continue };
        if section.key_span("endpoint").is_some() {
            found.named(reading, &section);
        } else if let Some(target) = target::lower(reading, &section) {
            let name = EndpointName::Within { rule: owner.to_owned(), index };
            found.names.push(name.clone());
            found.endpoints.push(EndpointDraft { name, target, file: file.to_owned() });
        }
    }
    found
}

impl Webhooks {
    /// A webhook that goes to a named endpoint.
    fn named(&mut self, reading: &mut Reading<'_>, section: &Section<'_>) {
        for other in TARGET_KEYS {
            if let Some(span) = section.key_span(other) {
                let message = format!("`{other}` belongs to the endpoint that `endpoint` names");
                reading.error("two-targets", &span, message, "move it there, or remove `endpoint`");
            }
        }
        let Some(node) = section.get("endpoint") else { return };
        let Some(key) = reading.text(node, "`endpoint`") else { return };
        let name = EndpointName::Named(key.to_owned());
        if self.names.contains(&name) {
            reading.error("repeated-key", &node.span, "the rule sends to this endpoint already", "remove one of them");
            return;
        }
        self.uses.push(Reference { key: key.to_owned(), span: node.span.clone() });
        self.names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule_file::{SourceFile, load};

    /// The draft of a rule with these further lines, and the codes of what is wrong with it.
    fn draft(lines: &str) -> (Option<RuleDraft>, Vec<&'static str>) {
        let lines: String = lines.lines().flat_map(|line| ["    ", line, "\n"]).collect();
        let text = format!(
            "version: 1\nrules:\n  - key: a\n    project: ${{ENV}}-bot\n    webhooks: [{{ url: https://h.example/ }}]\n{lines}"
        );
        let files = [SourceFile { name: "f.yaml".into(), text }];
        let loaded = load(&files, &|name| (name == "ENV").then(|| "prod".to_owned()));
        let codes = loaded.reports.iter().flat_map(|report| &report.problems).map(|problem| problem.code).collect();
        (loaded.rules.into_iter().next(), codes)
    }

    #[test]
    fn what_a_file_does_not_say_has_a_default() {
        let (rule, codes) = draft("");
        let rule = rule.unwrap();
        assert_eq!((rule.name.as_str(), rule.project.as_str()), ("a", "prod-bot"));
        assert_eq!((rule.sampling_rate, rule.cadence, rule.settle), (1.0, Cadence::DEFAULT, Duration::ZERO));
        assert_eq!((rule.batch, rule.backfill_from), (BatchLimits::default(), None));
        assert_eq!(codes, ["no-filter"]);
    }

    #[test]
    fn rules_that_look_beyond_the_run_settle_unless_they_say_otherwise() {
        for (lines, seconds) in [
            ("filter: eq(name, \"x\")", 0),
            ("filter: gt(total_tokens, 5)", 10),
            ("trace_filter: eq(name, \"x\")", 10),
            ("tree_filter: eq(name, \"x\")", 10),
            ("tree_filter: eq(name, \"x\")\nsettle: 0s", 0),
            ("filter: eq(name, \"x\")\nsettle: 1m", 60),
        ] {
            assert_eq!(draft(lines).0.unwrap().settle, Duration::from_secs(seconds), "{lines}");
        }
    }

    #[test]
    fn rules_on_threads_wait_ten_minutes_unless_they_say_otherwise() {
        for (lines, seconds) in
            [("", 600), ("idle: 90s", 90), ("idle: 7d", 604_800), ("tree_filter: eq(name, \"x\")", 600)]
        {
            let rule = draft(&format!("group_by: thread_id\n{lines}")).0.unwrap();
            assert_eq!((rule.group_by, rule.settle), (Some(GroupBy::Thread), Duration::from_secs(seconds)), "{lines}");
        }
    }

    #[test]
    fn what_is_not_about_threads_does_not_go_with_them() {
        for (lines, code) in [
            ("idle: 5m", "no-group"),
            ("group_by: thread_id\nsettle: 10s", "settle-and-group"),
            ("group_by: thread_id\nadd_to_dataset_id: 7cdbfafe-53be-5490-985f-f31ecde2fd60", "dataset-and-group"),
            ("group_by: thread_id\nidle: 0s", "out-of-range"),
            ("group_by: thread_id\nidle: 8d", "out-of-range"),
            ("group_by: thread_id\nidle: soon", "bad-duration"),
            ("group_by: threads", "unknown-value"),
            ("group_by: session", "unknown-value"),
            ("group_by:", "empty"),
        ] {
            let (rule, codes) = draft(lines);
            assert!(rule.is_none() && codes.contains(&code), "{lines}: {codes:?}");
        }
    }

    #[test]
    fn cron_is_in_utc_unless_it_names_a_zone() {
        let zone = |lines| match draft(lines).0.unwrap().cadence {
            Cadence::Cron { timezone, .. } => timezone,
            other => panic!("{other:?}"),
        };
        assert_eq!(zone("cron: 0 9 * * *"), "UTC");
        assert_eq!(zone("cron: 0 9 * * *\ntimezone: Asia/Tokyo"), "Asia/Tokyo");
        assert_eq!(draft("timezone: Asia/Tokyo").1, ["no-filter", "no-cron"]);
    }

    #[test]
    fn a_variable_where_none_works_is_noticed() {
        let (rule, codes) = draft("filter: search(\"${ENV}\")");
        assert_eq!((rule.unwrap().filter.as_deref(), codes), (Some("search(\"${ENV}\")"), vec!["literal-variable"]));
    }

    #[test]
    fn a_key_without_a_value_is_a_mistake() {
        for key in ["name", "filter", "every", "cron", "settle", "batch", "backfill_from", "sampling_rate"] {
            let (rule, codes) = draft(&format!("{key}:"));
            assert!(rule.is_none() && codes.contains(&"empty"), "{key}: {codes:?}");
        }
    }
}
