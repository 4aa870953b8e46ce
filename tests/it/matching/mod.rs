//! The matcher finds exactly the rules that match: what its index answers is what asking every rule answers, for any
//! rules, runs and traces, also after the rules have changed again and again.

mod generated;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use runhook::filter::Facts;
use runhook::matcher::{Candidates, CompiledRule, Matcher, RuleSet, Trace};
use runhook::model::glob::Glob;
use runhook::model::id::{RuleId, RunId, TenantId};
use runhook::model::rule::{Rule, RuleState};
use runhook::model::run::StoredRun;

use generated::{NAMES, PROJECTS, rule, rules, stored_run, trace};

/// Which rule matches which run.
type Matches = BTreeSet<(RuleId, RunId)>;

/// The active rules that watch a project, none of them looked up.
fn watching<'r>(rules: &'r [Rule], project: &'r str) -> impl Iterator<Item = CompiledRule> + 'r {
    let watches = |rule: &&Rule| {
        rule.state == RuleState::Active
            && rule.tenant_id == TenantId::DEFAULT
            && Glob::parse(&rule.project).matches(project)
    };
    rules.iter().filter(watches).map(|rule| CompiledRule::new(rule.clone()).unwrap())
}

fn plainly(rules: &[Rule], project: &str, runs: &[StoredRun]) -> Matches {
    let facts: Vec<Facts<'_>> = runs.iter().map(Facts::of).collect();
    let shown = shown(&facts);
    let mut matches = Matches::new();
    for rule in watching(rules, project) {
        let passing = facts.iter().filter(|facts| rule.matches_run(facts));
        let passing = passing.filter(|_| !rule.looks_at_trace() || rule.matches_trace(&shown));
        matches.extend(passing.map(|facts| (rule.rule.id, facts.run.id)));
    }
    matches
}

fn looked_up(matcher: &Matcher, project: &str, runs: &[StoredRun]) -> Matches {
    let facts: Vec<Facts<'_>> = runs.iter().map(Facts::of).collect();
    let shown = shown(&facts);
    let mut all = Matches::new();
    let mut found = Candidates::default();
    for set in matcher.of_project(TenantId::DEFAULT, project) {
        for facts in &facts {
            set.run_candidates(facts, &mut found);
            all.extend(asked(&set, found.slots(), facts, &shown, false));
            set.member_candidates(facts, &mut found);
            all.extend(asked(&set, found.slots(), facts, &shown, true));
        }
        set.root_candidates(shown.root, &mut found);
        for facts in &facts {
            all.extend(asked(&set, found.slots(), facts, &shown, true));
        }
    }
    all
}

fn shown<'a>(facts: &'a [Facts<'a>]) -> Trace<'a> {
    Trace { root: facts.iter().find(|facts| facts.run.is_root()), runs: facts }
}

fn asked(set: &RuleSet, slots: &[u32], facts: &Facts<'_>, shown: &Trace<'_>, of_trace: bool) -> Matches {
    let each_once: BTreeSet<_> = slots.iter().collect();
    assert_eq!(each_once.len(), slots.len(), "a rule is a candidate once");
    let rules = slots.iter().map(|slot| set.rule(*slot).unwrap());
    let rules = rules.inspect(|rule| assert_eq!(rule.looks_at_trace(), of_trace));
    let matching = rules.filter(|rule| rule.matches_run(facts) && (!of_trace || rule.matches_trace(shown)));
    matching.map(|rule| (rule.rule.id, facts.run.id)).collect()
}

/// What becomes of some rules before the matcher is asked again.
#[derive(Debug, Clone)]
enum Change {
    Remove(Index),
    Edit(Index, Box<Rule>),
    Pause(Index),
    Add(Box<Rule>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<Index>().prop_map(Change::Remove),
        (any::<Index>(), rule()).prop_map(|(which, rule)| Change::Edit(which, Box::new(rule))),
        any::<Index>().prop_map(Change::Pause),
        rule().prop_map(|rule| Change::Add(Box::new(rule))),
    ]
}

fn apply(rules: &mut Vec<Rule>, change: Change) {
    match change {
        Change::Add(rule) => rules.push(*rule),
        _ if rules.is_empty() => {}
        Change::Remove(which) => drop(rules.swap_remove(which.index(rules.len()))),
        Change::Edit(which, rule) => {
            let old = which.get(rules).clone();
            let at = which.index(rules.len());
            rules[at] = Rule { id: old.id, key: old.key, ..*rule };
        }
        Change::Pause(which) => {
            let at = which.index(rules.len());
            rules[at].state = RuleState::Paused;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_looked_up_is_what_asking_every_rule_answers(
        rules in rules(1..250),
        runs in proptest::collection::vec(stored_run(), 1..24),
        project in proptest::sample::select(&PROJECTS[..]),
    ) {
        let matcher = Matcher::new(rules.clone());
        for run in runs {
            let alone = std::slice::from_ref(&run);
            prop_assert_eq!(looked_up(&matcher, project, alone), plainly(&rules, project, alone));
        }
    }

    #[test]
    fn traces_are_looked_up_as_they_are_asked(
        rules in rules(1..120),
        runs in trace(),
        project in proptest::sample::select(&PROJECTS[..]),
    ) {
        let matcher = Matcher::new(rules.clone());
        prop_assert_eq!(looked_up(&matcher, project, &runs), plainly(&rules, project, &runs));
        let (_, rootless) = runs.split_first().unwrap();
        prop_assert_eq!(looked_up(&matcher, project, rootless), plainly(&rules, project, rootless));
    }

    #[test]
    fn rules_that_change_are_looked_up_as_if_they_had_never_been_otherwise(
        mut rules in rules(0..60),
        steps in proptest::collection::vec(proptest::collection::vec(change(), 0..6), 1..8),
        runs in proptest::collection::vec(stored_run(), 1..8),
    ) {
        let mut matcher = Matcher::new(rules.clone());
        for step in steps {
            for change in step {
                apply(&mut rules, change);
            }
            matcher.update(rules.clone());
            for project in PROJECTS {
                prop_assert_eq!(looked_up(&matcher, project, &runs), plainly(&rules, project, &runs));
            }
        }
    }
}

#[test]
fn generated_rules_match_generated_runs_often_and_mostly_not() {
    // Else the laws above would be about nothing.
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let rules = rules(400..401).new_tree(&mut runner).unwrap().current();
    let runs: Vec<StoredRun> = (0..100).map(|_| stored_run().new_tree(&mut runner).unwrap().current()).collect();
    let watching: Vec<CompiledRule> = watching(&rules, NAMES[0]).filter(|rule| !rule.looks_at_trace()).collect();
    let asked = runs.len() * watching.len();
    let passed: usize =
        runs.iter().map(|run| watching.iter().filter(|rule| rule.matches_run(&Facts::of(run))).count()).sum();
    assert!(passed > asked / 50 && passed < asked / 2, "{passed} of {asked}");
    let matcher = Matcher::new(rules);
    let mut found = Candidates::default();
    let mut candidates = 0;
    for (run, set) in runs
        .iter()
        .flat_map(|run| matcher.of_project(TenantId::DEFAULT, NAMES[0]).into_iter().map(move |set| (run, set)))
    {
        set.run_candidates(&Facts::of(run), &mut found);
        candidates += found.slots().len();
    }
    assert!(
        candidates >= passed && candidates < asked * 2 / 3,
        "{candidates} candidates, {passed} matches, {asked} asked"
    );
}
