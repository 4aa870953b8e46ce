//! Rules as YAML that applies again. Secrets are not in it: a variable stands for each.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::model::amount::{duration_text, size_text};
use crate::model::endpoint::{Endpoint, MASK};
use crate::model::pace::Pace;
use crate::model::rule::{Actions, BatchLimits, Cadence, GroupBy, Rule, RuleState};
use crate::model::signing::Signature;
use crate::rule_file::difference::signature_name;
use crate::rule_file::trying::{policy_name, retries_text};

/// Writes rules, in their order, with the endpoints they send to.
#[must_use]
pub fn export(rules: &[Rule], endpoints: &[Endpoint]) -> String {
    let mut text =
        "# Exported by Runhook. Each ${VARIABLE} stands for a value that is sealed: set it before applying.\n\
                    version: 1\n"
            .to_owned();
    let mut variables = Variables::default();
    text.push_str(if rules.is_empty() { "rules: []\n" } else { "rules:\n" });
    for rule in rules {
        write_rule(&mut text, rule, endpoints, &mut variables);
    }
    let named: Vec<(&str, &Endpoint)> =
        endpoints.iter().filter_map(|endpoint| Some((endpoint.key.as_deref()?, endpoint))).collect();
    if !named.is_empty() {
        text.push_str("endpoints:\n");
    }
    for (key, endpoint) in named {
        if endpoint.is_own() {
            text.push_str("  # made through the API: remove it there before a file has it\n");
        }
        line(&mut text, "  - ", "key", &scalar(key));
        write_target(&mut text, "    ", "    ", key, endpoint, &mut variables);
    }
    text
}

fn write_rule(text: &mut String, rule: &Rule, endpoints: &[Endpoint], variables: &mut Variables) {
    if rule.state == RuleState::Paused {
        text.push_str("  # paused\n");
    }
    if rule.is_registered() {
        text.push_str("  # made through the API: remove it there before a file has it\n");
    }
    line(text, "  - ", "key", &scalar(&rule.key));
    let mut field = |name: &str, value: &str| line(text, "    ", name, value);
    field("name", &scalar(&rule.name));
    field("project", &scalar(&literal(&rule.project)));
    let filters = [("filter", &rule.filter), ("trace_filter", &rule.trace_filter), ("tree_filter", &rule.tree_filter)];
    for (name, filter) in filters {
        if let Some(filter) = filter {
            field(name, &scalar(filter));
        }
    }
    if (rule.sampling_rate - 1.0).abs() > f64::EPSILON {
        field("sampling_rate", &rule.sampling_rate.to_string());
    }
    match &rule.cadence {
        Cadence::Immediate => field("every", "immediate"),
        Cadence::Every(period) => field("every", &duration_text(*period)),
        Cadence::Cron { expression, timezone } => {
            field("cron", &quoted(expression));
            field("timezone", &scalar(timezone));
        }
    }
    match rule.group_by {
        Some(GroupBy::Thread) => {
            field("group_by", "thread_id");
            field("idle", &duration_text(rule.settle));
        }
        None => field("settle", &duration_text(rule.settle)),
    }
    if let Some(at) = rule.backfill_from {
        field("backfill_from", &at.to_string());
    }
    if rule.batch != BatchLimits::default() {
        let BatchLimits { max_runs, max_bytes, inline_bytes } = rule.batch;
        let (max_bytes, inline_bytes) = (size_text(max_bytes), size_text(inline_bytes));
        field("batch", &format!("{{ max_runs: {max_runs}, max_bytes: {max_bytes}, inline_bytes: {inline_bytes} }}"));
    }
    write_actions(text, &rule.actions);
    if rule.endpoints.is_empty() {
        return;
    }
    text.push_str("    webhooks:\n");
    for id in &rule.endpoints {
        let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.id == *id) else { continue };
        match &endpoint.key {
            Some(key) => line(text, "      - ", "endpoint", &scalar(key)),
            None => write_target(text, "      - ", "        ", &rule.key, endpoint, variables),
        }
    }
}

fn write_actions(text: &mut String, actions: &Actions) {
    if let Some(dataset) = actions.add_to_dataset_id {
        line(text, "    ", "add_to_dataset_id", &dataset.to_string());
    }
    if actions.prefer_correction {
        line(text, "    ", "add_to_dataset_prefer_correction", "true");
    }
    if let Some(queue) = actions.add_to_annotation_queue_id {
        line(text, "    ", "add_to_annotation_queue_id", &queue.to_string());
    }
}

fn write_target(
    text: &mut String,
    first: &str,
    rest: &str,
    owner: &str,
    endpoint: &Endpoint,
    variables: &mut Variables,
) {
    let url = variables.name(owner, "url");
    let shown = if endpoint.shown.url == MASK { "" } else { &endpoint.shown.url };
    line(text, first, "url", &format!("\"${{{url}}}\"  # {shown}"));
    for (field, pairs) in
        [("query", &endpoint.shown.query), ("headers", &endpoint.shown.headers), ("secrets", &endpoint.shown.secrets)]
    {
        if !pairs.is_empty() {
            line(text, rest, field, "");
        }
        for name in pairs.keys() {
            let variable = variables.name(owner, name);
            line(text, &format!("{rest}  "), &scalar(name), &format!("\"${{{variable}}}\""));
        }
    }
    line(text, rest, "format", endpoint.format.name());
    if let Some(template) = endpoint.format.template() {
        line(text, rest, "template", &quoted(template));
    }
    line(text, rest, "policy", policy_name(endpoint.policy));
    if let Some(timeout) = endpoint.overrides.timeout {
        line(text, rest, "timeout", &duration_text(timeout));
    }
    if let Some(waits) = &endpoint.overrides.retries {
        line(text, rest, "retries", &retries_text(waits));
    }
    let Pace { rate, burst, concurrency } = endpoint.overrides.pace;
    let pace = [
        ("rate", rate.map(|rate| rate.to_string())),
        ("burst", burst.map(|count| count.to_string())),
        ("concurrency", concurrency.map(|count| count.to_string())),
    ];
    for (name, value) in pace {
        if let Some(value) = value {
            line(text, rest, name, &value);
        }
    }
    if let Some(signing) = &endpoint.shown.signing {
        // A private key that was made here is known here alone: the line would ask for what nobody has.
        if signing.secrets.first().is_some_and(|newest| newest.public.is_none()) {
            let variable = variables.name(owner, "signing_secret");
            line(text, rest, "signing_secret", &format!("\"${{{variable}}}\""));
        }
        if signing.headers != Signature::Standard {
            line(text, rest, "signature", signature_name(signing.headers));
        }
    }
}

fn line(text: &mut String, indent: &str, name: &str, value: &str) {
    let written =
        if value.is_empty() { writeln!(text, "{indent}{name}:") } else { writeln!(text, "{indent}{name}: {value}") };
    written.unwrap_or_default();
}

/// Names of variables, each given once.
#[derive(Default)]
struct Variables(BTreeSet<String>);

impl Variables {
    fn name(&mut self, owner: &str, field: &str) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let base: String = format!("{owner}_{field}").chars().map(word).collect();
        let base = if base.starts_with(|c: char| c.is_ascii_digit()) { format!("_{base}") } else { base };
        let numbered = (2..).map(|number| format!("{base}_{number}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|name| !self.0.contains(name));
        let name = free.unwrap_or(base);
        self.0.insert(name.clone());
        name
    }
}

/// A value in which `${` is not the beginning of a variable.
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// A scalar as plain as YAML lets it be.
fn scalar(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = |c: char| c.is_alphanumeric() || " _-./()\",<>=+%*".contains(c);
    let word = matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off");
    if first && !word && text.chars().all(plain) && text.trim() == text { text.to_owned() } else { quoted(text) }
}

/// JSON's strings are YAML's double-quoted ones.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_quoted_only_where_yaml_needs_it() {
        assert_eq!(scalar("support-bot"), "support-bot");
        assert_eq!(scalar("and(eq(a, \"b\"))"), "and(eq(a, \"b\"))");
        assert_eq!(scalar("*"), "\"*\"");
        assert_eq!(scalar("no"), "\"no\"");
        assert_eq!(scalar("a: b # c"), "\"a: b # c\"");
        assert_eq!(scalar("1"), "\"1\"");
    }

    #[test]
    fn every_variable_has_a_name_of_its_own() {
        let mut names = Variables::default();
        assert_eq!(names.name("low-score", "X-Token"), "LOW_SCORE_X_TOKEN");
        assert_eq!(names.name("low.score", "X-Token"), "LOW_SCORE_X_TOKEN_2");
        assert_eq!(names.name("1a", "url"), "_1A_URL");
    }
}
