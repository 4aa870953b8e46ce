//! Filters: from text to something that can be asked, and the asking.

use runhook::filter::{Facts, Filter, Mode};

use crate::case::{Case, Turn};
use crate::rules;
use crate::runs::run;

pub(super) const CASES: [Case; 2] = [
    Case { name: "filter/parse", objects: 48, unit: "filters", prepare: |_| parse() },
    Case { name: "filter/eval", objects: 48 * 64, unit: "answers", prepare: |_| eval() },
];

fn texts() -> Vec<String> {
    (0..48).map(rules::filter).collect()
}

fn parse() -> Turn {
    let texts = texts();
    let sound = |text: &&String| Filter::parse(text, Mode::Lenient).is_ok();
    Box::new(move || texts.iter().filter(sound).count())
}

/// Every filter on every run, whose facts are taken anew.
fn eval() -> Turn {
    let filters: Vec<Filter> = texts().iter().map(|text| Filter::parse(text, Mode::Lenient).unwrap().0).collect();
    let runs: Vec<_> = (0..64).map(run).collect();
    Box::new(move || {
        let asked = runs.iter().map(|run| {
            let facts = Facts::of(run);
            filters.iter().filter(|filter| filter.matches(&facts)).count()
        });
        asked.sum()
    })
}
