//! A file with everything wrong.

use runhook::filter::report::Style;
use runhook::rule_file::{SourceFile, Standing, load};

const BROKEN: &str = include_str!("../../fixtures/rule_files/broken.yaml");

fn rendered(name: &str, text: &str) -> String {
    let mut loaded = load(&[SourceFile { name: name.into(), text: text.into() }], &|_| None);
    loaded.refuse_outside(|_| Standing::Nowhere(None));
    loaded.reports.iter().map(|report| report.render(Style::Plain)).collect()
}

#[test]
fn every_problem_of_a_file_is_reported_at_once() {
    insta::assert_snapshot!(rendered("broken.yaml", BROKEN));
}

#[test]
fn no_report_repeats_what_could_be_a_secret() {
    let shown = rendered("broken.yaml", BROKEN);
    assert!(!shown.contains("planted"), "{shown}");
    // Not even when the file is not YAML at all, wherever it breaks.
    for (at, _) in BROKEN.char_indices().filter(|(_, c)| *c == '\n' || *c == ':') {
        let (before, after) = BROKEN.split_at(at);
        let broken = format!("{before}\t{{ [ : {after}");
        let shown = rendered("broken.yaml", &broken);
        assert!(!shown.contains("planted-secret"), "{shown}");
    }
}

#[test]
fn problems_of_several_files_are_told_apart() {
    let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
    let rule = "version: 1\nrules:\n  - key: twice\n    project: p\n    webhooks: [{ url: https://h.example/ }]\n";
    let loaded = load(&[file("a.yaml", rule), file("b.yaml", rule), file("c.yaml", "version: [")], &|_| None);
    let errors: Vec<String> = loaded
        .reports
        .iter()
        .flat_map(|report| report.problems.iter().map(move |problem| (report, problem)))
        .filter(|(_, problem)| problem.code != "no-filter")
        .map(|(report, problem)| format!("{}: {}", report.name, problem.message))
        .collect();
    assert_eq!(errors[0], "b.yaml: the rule key `twice` is taken by a.yaml, line 3");
    assert!(errors[1].starts_with("c.yaml: not valid YAML"), "{errors:?}");
}
