//! The matcher: which of many rules a run matches, and what a change of the rules costs.

use std::rc::Rc;

use runhook::filter::Facts;
use runhook::matcher::{Candidates, Matcher};
use runhook::model::id::TenantId;
use runhook::model::rule::Rule;
use runhook::model::run::StoredRun;

use crate::case::{Case, Size, Turn};
use crate::rules;
use crate::runs::run;

const RUNS: u64 = 1024;

pub(super) const CASES: [Case; 6] = [
    Case { name: "matcher/100k-rules-5k-projects", objects: RUNS, unit: "runs", prepare: |size| known(spread(size)) },
    Case {
        name: "matcher/100k-rules-5k-projects-fresh",
        objects: RUNS,
        unit: "runs",
        prepare: |size| fresh(spread(size)),
    },
    Case { name: "matcher/10k-rules-1-project", objects: RUNS, unit: "runs", prepare: |size| known(hot(size)) },
    Case { name: "matcher/10k-rules-1-project-fresh", objects: RUNS, unit: "runs", prepare: |size| fresh(hot(size)) },
    Case { name: "matcher/build-10k-rules", objects: 10_000, unit: "rules", prepare: build },
    Case { name: "matcher/change-1-of-100k-rules", objects: 1, unit: "changes", prepare: change },
];

struct Scene {
    matcher: Matcher,
    projects: Vec<String>,
    runs: Vec<StoredRun>,
}

fn scene((rules, projects): (Vec<Rule>, u64)) -> Scene {
    // Runs meet projects in no order, as they do.
    let visited = (0..RUNS).map(|run| rules::project(run * 4_099 % projects)).collect();
    Scene { matcher: Matcher::new(rules), projects: visited, runs: (0..RUNS).map(run).collect() }
}

fn spread(size: Size) -> (Vec<Rule>, u64) {
    let (rules, projects) = if size == Size::Whole { (100_000, 5_000) } else { (2_000, 100) };
    (spread_over(rules, projects), projects)
}

fn hot(size: Size) -> (Vec<Rule>, u64) {
    (spread_over(if size == Size::Whole { 10_000 } else { 1_000 }, 1), 1)
}

/// So many rules over so many projects. Neighbours in number differ in kind, so that every project has all kinds.
fn spread_over(rules: u64, projects: u64) -> Vec<Rule> {
    (0..rules).map(|number| rules::rule(number, &rules::project((number / 12 + number) % projects))).collect()
}

/// How many rules match one run.
fn matches(matcher: &Matcher, project: &str, facts: &Facts<'_>, found: &mut Candidates) -> usize {
    let mut passed = 0;
    for set in matcher.of_project(TenantId::DEFAULT, project) {
        set.run_candidates(facts, found);
        passed +=
            found.slots().iter().filter_map(|slot| set.rule(*slot)).filter(|rule| rule.matches_run(facts)).count();
    }
    passed
}

/// Runs whose facts are known: matching alone.
fn known(scene: (Vec<Rule>, u64)) -> Turn {
    // Facts borrow their runs, and both have to outlive this function.
    let Scene { matcher, projects, runs } = self::scene(scene);
    let runs: &'static [StoredRun] = runs.leak();
    let facts: Vec<Facts<'static>> = runs.iter().map(Facts::of).collect();
    let mut found = Candidates::default();
    Box::new(move || {
        facts.iter().zip(&projects).map(|(facts, project)| matches(&matcher, project, facts, &mut found)).sum()
    })
}

/// Runs as they come from the store: facts are taken, then matched.
fn fresh(scene: (Vec<Rule>, u64)) -> Turn {
    let Scene { matcher, projects, runs } = self::scene(scene);
    let mut found = Candidates::default();
    Box::new(move || {
        let each = runs.iter().zip(&projects);
        each.map(|(run, project)| matches(&matcher, project, &Facts::of(run), &mut found)).sum()
    })
}

fn build(size: Size) -> Turn {
    let (rules, _) = hot(size);
    Box::new(move || Matcher::new(rules.clone()).of_project(TenantId::DEFAULT, &rules::project(0)).len())
}

/// One rule of many is edited, again and again.
fn change(size: Size) -> Turn {
    let (rules, _) = spread(size);
    let mut matcher = Matcher::new(rules.clone());
    let rules = Rc::new(rules);
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let mut rules = Vec::clone(&rules);
        rules[0].filter = Some(rules::filter(turn));
        matcher.update(rules);
        matcher.of_project(TenantId::DEFAULT, &rules::project(0)).len()
    })
}
