//! Rule files: reading one, and what applying it would change of many rules that are there.

use std::fmt::Write as _;

use runhook::model::id::TenantId;
use runhook::model::time::Timestamp;
use runhook::rule_file::plan::{Current, Index, Plan, Prune, Wanted, plan};
use runhook::rule_file::{Loaded, SourceFile, load};

use crate::case::{Case, Size, Turn};
use crate::rules::filter;

pub(super) const CASES: [Case; 2] = [
    Case { name: "files/read-1k-rules", objects: 1_000, unit: "rules", prepare: read },
    Case { name: "files/plan-1k-rules-beside-50k", objects: 1_000, unit: "rules", prepare: beside },
];

fn read(size: Size) -> Turn {
    let text = text(0, if size == Size::Whole { 1_000 } else { 100 });
    Box::new(move || loaded(&text).rules.len())
}

fn beside(size: Size) -> Turn {
    let (many, few) = if size == Size::Whole { (50_000, 1_000) } else { (5_000, 1_000) };
    let chunks = (0..many).step_by(5_000);
    let rules = chunks.flat_map(|from| planned(&Current::default(), &loaded(&text(from, 5_000))).writes.put_rules);
    let current = Current { rules: rules.collect(), endpoints: Vec::new() };
    let wanted = loaded(&text(many, few));
    Box::new(move || planned(&current, &wanted).items.len())
}

fn planned(current: &Current, loaded: &Loaded) -> Plan {
    let wanted = Wanted { rules: &loaded.rules, endpoints: &loaded.endpoints, origin: "" };
    plan(TenantId::DEFAULT, Timestamp(0), &Index::of(current), wanted, Prune::Nothing)
}

fn loaded(text: &str) -> Loaded {
    let loaded = load(&[SourceFile { name: "team.yaml".into(), text: text.into() }], &|_| None);
    assert!(!loaded.has_errors(), "{:?}", loaded.reports);
    loaded
}

/// A file of rules of which each has a webhook of its own.
fn text(from: u64, count: u64) -> String {
    let mut text = "version: 1\nrules:\n".to_owned();
    for number in from..from + count {
        let filter = filter(number);
        writeln!(text, "  - key: rule-{number}\n    project: support\n    filter: '{filter}'").unwrap();
        writeln!(text, "    webhooks: [{{ url: https://hooks.example.com/{number} }}]").unwrap();
    }
    text
}
