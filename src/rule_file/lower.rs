//! From files to drafts: each file by itself, then all of them together, since keys are shared.

use std::collections::{BTreeMap, BTreeSet};

use crate::filter::Mode;
use crate::filter::report::Lines;
use crate::model::problem::Problem;
use crate::rule_file::endpoint::{EndpointDraft, EndpointName, Reference};
use crate::rule_file::node::{self, Node};
use crate::rule_file::outside::Outside;
use crate::rule_file::reading::{Reading, nearest};
use crate::rule_file::report::FileReport;
use crate::rule_file::rule::{self, RuleDraft};
use crate::rule_file::target::{self, TARGET_KEYS};
use crate::rule_file::{Loaded, SourceFile, secret};

/// Keys of a file.
pub(super) const FILE_KEYS: &[&str] = &["version", "rules", "endpoints"];

/// Keys of an entry of `endpoints`.
pub(super) const ENDPOINT_KEYS: &[&str] = &[
    "key",
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

/// What one file says.
#[derive(Default)]
struct Contents {
    rule_keys: Vec<Reference>,
    rules: Vec<RuleDraft>,
    endpoint_keys: Vec<Reference>,
    endpoints: Vec<EndpointDraft>,
    uses: Vec<Reference>,
}

/// Reads files together.
pub(super) fn load(files: &[SourceFile], variables: &dyn Fn(&str) -> Option<String>, mode: Mode) -> Loaded {
    let (mut all, mut reports): (Vec<Contents>, Vec<FileReport>) =
        files.iter().map(|file| read(file, variables, mode)).unzip();
    let broken = reports.iter().any(FileReport::has_errors);
    repeated(files, &all, &mut reports, "rule", |contents| &contents.rule_keys);
    repeated(files, &all, &mut reports, "endpoint", |contents| &contents.endpoint_keys);
    let outside = references(files, &all, &mut reports, broken);
    for report in &mut reports {
        report.problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
    }
    Loaded {
        rules: all.iter_mut().flat_map(|contents| contents.rules.drain(..)).collect(),
        endpoints: all.iter_mut().flat_map(|contents| contents.endpoints.drain(..)).collect(),
        outside,
        reports,
    }
}

fn read(file: &SourceFile, variables: &dyn Fn(&str) -> Option<String>, mode: Mode) -> (Contents, FileReport) {
    let mut reading = Reading { text: &file.text, variables, mode, problems: Vec::new() };
    let mut contents = Contents::default();
    let shown = match node::read(&file.text) {
        Ok(root) => {
            whole(&mut reading, &root, file, &mut contents);
            secret::masked(&file.text, &root)
        }
        Err(problem) => {
            reading.problems.push(problem);
            secret::masked_blindly(&file.text)
        }
    };
    (contents, FileReport { name: file.name.clone(), shown, problems: reading.problems, untold: 0 })
}

fn whole(reading: &mut Reading<'_>, root: &Node, file: &SourceFile, contents: &mut Contents) {
    if matches!(root.value, node::Value::Null) {
        reading.warning("empty", &(0..0), "the file is empty", "start with `version: 1` and `rules:`");
        return;
    }
    let Some(section) = reading.section(root, "a rule file", FILE_KEYS) else { return };
    if let Some(node) = section.require(reading, "version", "start the file with `version: 1`") {
        version(reading, node);
    }
    if let Some(node) = section.get("endpoints") {
        for item in reading.items(node, "`endpoints`").unwrap_or_default() {
            endpoint(reading, item, &file.name, contents);
        }
    }
    if let Some(node) = section.get("rules") {
        for item in reading.items(node, "`rules`").unwrap_or_default() {
            let Some(lowered) = rule::lower(reading, item, &file.name) else { continue };
            contents.rule_keys.extend(lowered.key);
            contents.rules.extend(lowered.draft);
            contents.endpoints.extend(lowered.endpoints);
            contents.uses.extend(lowered.uses);
        }
    } else if section.get("endpoints").is_none() {
        reading.warning("empty", &section.span(), "the file has no rules", "add `rules:`");
    }
}

fn version(reading: &mut Reading<'_>, node: &Node) {
    let Some(number) = reading.number(node, "`version`") else { return };
    if (number - 1.0).abs() > f64::EPSILON {
        reading.error("bad-version", &node.span, "this version of Runhook does not know this format", "write 1");
    }
}

fn endpoint(reading: &mut Reading<'_>, node: &Node, file: &str, contents: &mut Contents) {
    let Some(section) = reading.section(node, "an endpoint", ENDPOINT_KEYS) else { return };
    debug_assert!(TARGET_KEYS.iter().all(|key| ENDPOINT_KEYS.contains(key)));
    let key_node = section.require(reading, "key", "give it a name that rules can use: `key: oncall`");
    let key = key_node.and_then(|node| Some(Reference { key: rule::key(reading, node)?, span: node.span.clone() }));
    let target = target::lower(reading, &section);
    if let Some(key) = key {
        if let Some(target) = target {
            let name = EndpointName::Named(key.key.clone());
            contents.endpoints.push(EndpointDraft { name, target, file: file.to_owned() });
        }
        contents.endpoint_keys.push(key);
    }
}

/// A key is used once in all files: otherwise which one counts would depend on their order.
fn repeated(
    files: &[SourceFile],
    all: &[Contents],
    reports: &mut [FileReport],
    what: &str,
    keys: fn(&Contents) -> &Vec<Reference>,
) {
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    for ((file, contents), report) in files.iter().zip(all).zip(reports) {
        // What is shown of a file has its lines where the file has them.
        let lines = Lines::of(&file.text);
        for found in keys(contents) {
            if let Some(place) = first.get(found.key.as_str()) {
                let message = format!("the {what} key `{}` is taken by {place}", found.key);
                let problem = Problem::error("repeated-key", found.span.clone(), message);
                report.problems.push(problem.hint(format!("a key names one {what}: choose another")));
                continue;
            }
            let (line, _) = lines.place(found.span.start);
            first.insert(&found.key, format!("{}, line {line}", file.name));
        }
    }
}

/// Every endpoint of the files is named by a rule. Those that rules name and no file has are returned.
fn references(files: &[SourceFile], all: &[Contents], reports: &mut [FileReport], broken: bool) -> Vec<Outside> {
    let known: BTreeSet<&str> =
        all.iter().flat_map(|contents| &contents.endpoint_keys).map(|key| key.key.as_str()).collect();
    let used: BTreeSet<&str> = all.iter().flat_map(|contents| &contents.uses).map(|key| key.key.as_str()).collect();
    let names: Vec<&str> = known.iter().copied().collect();
    let mut outside = Vec::new();
    for ((file, contents), report) in files.iter().zip(all).zip(reports) {
        for missing in contents.uses.iter().filter(|key| !known.contains(key.key.as_str())) {
            let near = nearest(&missing.key, &names).map(str::to_owned);
            let (key, span) = (missing.key.clone(), missing.span.clone());
            outside.push(Outside { key, file: file.name.clone(), span, near });
        }
        // A rule that could not be read may be the one that uses it.
        for unused in contents.endpoint_keys.iter().filter(|key| !broken && !used.contains(key.key.as_str())) {
            let message = format!("no rule sends to the endpoint `{}`", unused.key);
            let hint = "name it in a rule's `webhooks`, or remove it";
            report.problems.push(Problem::warning("unused-endpoint", unused.span.clone(), message).hint(hint));
        }
    }
    outside
}
