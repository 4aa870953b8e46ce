//! What differs between a rule or an endpoint as it is and as a file wants it.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::model::amount::{duration_text, size_text};
use crate::model::endpoint::{Endpoint, Format, MASK, Overrides, ShownTarget, Target};
use crate::model::rule::{BatchLimits, Cadence, GroupBy, Rule};
use crate::model::signing::{Signature, Signing};
use crate::rule_file::TargetDraft;
use crate::rule_file::trying::{policy_name, retries_text};

pub(super) use crate::crypto::shown;

/// A field that differs. A secret shows as masked on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name, as in the file: `webhooks[0].headers.X-Token`.
    pub field: String,
    /// As it is.
    pub before: Option<String>,
    /// As it will be.
    pub after: Option<String>,
}

impl Difference {
    pub(super) fn plain(field: &str, before: Option<String>, after: Option<String>) -> Self {
        Self { field: field.to_owned(), before, after }
    }
}

/// What differs between two versions of a rule, but its webhooks.
pub(super) fn of_rules(before: &Rule, after: &Rule) -> Vec<Difference> {
    let (was, will) = (fields(before), fields(after));
    let changed = was.into_iter().zip(will).filter(|(was, will)| was != will);
    changed.map(|((field, was), (_, will))| Difference::plain(field, was, will)).collect()
}

fn fields(rule: &Rule) -> [(&'static str, Option<String>); 19] {
    let BatchLimits { max_runs, max_bytes, inline_bytes } = rule.batch;
    let (every, cron, timezone) = match &rule.cadence {
        Cadence::Immediate => (Some("immediate".to_owned()), None, None),
        Cadence::Every(period) => (Some(duration_text(*period)), None, None),
        Cadence::Cron { expression, timezone } => (None, Some(expression.clone()), Some(timezone.clone())),
    };
    let rest = Some(duration_text(rule.settle));
    let idle = rest.clone().filter(|_| rule.group_by.is_some());
    [
        ("name", Some(rule.name.clone())),
        ("project", Some(rule.project.clone())),
        ("filter", rule.filter.clone()),
        ("trace_filter", rule.trace_filter.clone()),
        ("tree_filter", rule.tree_filter.clone()),
        ("sampling_rate", Some(rule.sampling_rate.to_string())),
        ("every", every),
        ("cron", cron),
        ("timezone", timezone),
        ("settle", rest.filter(|_| rule.group_by.is_none())),
        ("group_by", rule.group_by.map(|GroupBy::Thread| "thread_id".to_owned())),
        ("idle", idle),
        ("backfill_from", rule.backfill_from.map(|at| at.to_string())),
        ("batch.max_runs", Some(max_runs.to_string())),
        ("batch.max_bytes", Some(size_text(max_bytes))),
        ("batch.inline_bytes", Some(size_text(inline_bytes))),
        ("add_to_dataset_id", rule.actions.add_to_dataset_id.map(|id| id.to_string())),
        ("add_to_dataset_prefer_correction", Some(rule.actions.prefer_correction.to_string())),
        ("add_to_annotation_queue_id", rule.actions.add_to_annotation_queue_id.map(|id| id.to_string())),
    ]
}

/// What differs between an endpoint and its draft. A target that does not open differs as a whole.
pub(super) fn of_endpoints(
    prefix: &str,
    before: &Endpoint,
    target: Option<&Target>,
    draft: &TargetDraft,
) -> Vec<Difference> {
    let after = shown(&draft.target);
    let mut found = Vec::new();
    match target {
        None => found.push(masked(format!("{prefix}url"))),
        Some(target) => {
            if target.url.expose_secret() != draft.target.url.expose_secret() {
                found.push(of_urls(prefix, &before.shown, &after));
            }
            found.extend(of_pairs(&format!("{prefix}query"), &target.query, &draft.target.query));
            found.extend(of_pairs(&format!("{prefix}headers"), &target.headers, &draft.target.headers));
            found.extend(of_pairs(&format!("{prefix}secrets"), &target.secrets, &draft.target.secrets));
            found.extend(of_signing(prefix, &target.signing, &draft.target.signing));
        }
    }
    if before.format != draft.format {
        let (field, was, will) = of_formats(&before.format, &draft.format);
        found.push(Difference::plain(&format!("{prefix}{field}"), was, will));
    }
    if before.policy != draft.policy {
        let name = |policy| Some(policy_name(policy).to_owned());
        found.push(Difference::plain(&format!("{prefix}policy"), name(before.policy), name(draft.policy)));
    }
    found.extend(of_overrides(prefix, &before.overrides, &draft.overrides));
    found
}

/// Two templates are told by how long they are: the text may be long, and its place is the file.
fn of_formats(before: &Format, after: &Format) -> (&'static str, Option<String>, Option<String>) {
    if let (Some(was), Some(will)) = (before.template(), after.template()) {
        let length = |text: &str| Some(format!("{} bytes", text.len()));
        return ("template", length(was), length(will));
    }
    ("format", Some(before.name().to_owned()), Some(after.name().to_owned()))
}

fn of_overrides(prefix: &str, before: &Overrides, after: &Overrides) -> Vec<Difference> {
    let timeout = |of: &Overrides| of.timeout.map(duration_text);
    let retries = |of: &Overrides| of.retries.as_deref().map(retries_text);
    let rate = |of: &Overrides| of.pace.rate.map(|rate| rate.to_string());
    let burst = |of: &Overrides| of.pace.burst.map(|count| count.to_string());
    let concurrency = |of: &Overrides| of.pace.concurrency.map(|count| count.to_string());
    let fields = [
        ("timeout", timeout(before), timeout(after)),
        ("retries", retries(before), retries(after)),
        ("rate", rate(before), rate(after)),
        ("burst", burst(before), burst(after)),
        ("concurrency", concurrency(before), concurrency(after)),
    ];
    let changed = fields.into_iter().filter(|(_, was, will)| was != will);
    changed.map(|(field, was, will)| Difference::plain(&format!("{prefix}{field}"), was, will)).collect()
}

fn of_signing(prefix: &str, before: &Signing, after: &Signing) -> Vec<Difference> {
    let mut found = Vec::new();
    let secret = |signing: &Signing| signing.newest().map(|secret| secret.expose_secret().to_owned());
    let (was, will) = (secret(before), secret(after));
    if was != will {
        let mask = |secret: Option<String>| secret.map(|_| MASK.to_owned());
        found.push(Difference { field: format!("{prefix}signing_secret"), before: mask(was), after: mask(will) });
    }
    if before.headers != after.headers {
        let name = |headers| Some(signature_name(headers).to_owned());
        found.push(Difference::plain(&format!("{prefix}signature"), name(before.headers), name(after.headers)));
    }
    found
}

/// Whether two targets are the same but for their signatures, secrets included.
pub(super) fn same(before: &Target, after: &Target) -> bool {
    before.url.expose_secret() == after.url.expose_secret()
        && exposed(&before.query) == exposed(&after.query)
        && exposed(&before.headers) == exposed(&after.headers)
        && exposed(&before.secrets) == exposed(&after.secrets)
}

/// What files call a choice of signatures.
pub(super) fn signature_name(signature: Signature) -> &'static str {
    match signature {
        Signature::Standard => "standard",
        Signature::Langsmith => "langsmith",
        Signature::Both => "both",
    }
}

fn of_urls(prefix: &str, before: &ShownTarget, after: &ShownTarget) -> Difference {
    let field = format!("{prefix}url");
    if before.url == after.url {
        return masked(field);
    }
    Difference { field, before: Some(before.url.clone()), after: Some(after.url.clone()) }
}

fn of_pairs(field: &str, before: &[(String, SecretString)], after: &[(String, SecretString)]) -> Vec<Difference> {
    let value = |pairs: &[(String, SecretString)], name: &str| {
        pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.expose_secret().to_owned())
    };
    let names: BTreeSet<&str> = before.iter().chain(after).map(|(name, _)| name.as_str()).collect();
    let mut found = Vec::new();
    for name in names {
        let (was, will) = (value(before, name), value(after, name));
        if was != will {
            let mask = |value: Option<String>| value.map(|_| MASK.to_owned());
            found.push(Difference { field: format!("{field}.{name}"), before: mask(was), after: mask(will) });
        }
    }
    if found.is_empty() && exposed(before) != exposed(after) {
        let order = |pairs: &[(String, SecretString)]| {
            Some(pairs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "))
        };
        found.push(Difference::plain(field, order(before), order(after)));
    }
    found
}

fn masked(field: String) -> Difference {
    Difference { field, before: Some(MASK.to_owned()), after: Some(MASK.to_owned()) }
}

fn exposed(pairs: &[(String, SecretString)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect()
}
