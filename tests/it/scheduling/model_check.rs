//! Random histories of runs, feedback, rules, passes, crashes and time against a brute-force oracle: every pair of rule
//! and run that should match is told exactly once, and no other is.
//!
//! Runs only ever come to match; nothing unmatches them. So a pair must be told if the run (or, for rules on traces,
//! something in its trace) changed after the rule's last start, and it may be told if it did in an earlier time of the
//! rule and matched before that ended: what was accepted but not yet evaluated when a rule is paused is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use runhook::config::Limits;
use runhook::model::rule::{Cadence, Rule, RuleState};
use runhook::model::run::{Fields, PartKind};
use runhook::model::time::Timestamp;
use runhook::model::window::Seq;
use runhook::scheduler::Scheduler;
use runhook::store::rules::RuleChanges;

use super::faults::{Fault, Leases};
use super::world::{TENANT, World, begun, below, cron, ended, every, finished, part, rule};
use crate::support::home::is_on_a_server;

/// A history takes longer on a server, and what differs there is the store's own model's matter.
fn cases() -> u32 {
    if is_on_a_server() { 12 } else { 48 }
}

const TRACES: u128 = 4;
const RUNS_OF_TRACE: u128 = 3;
/// Two of them are alike, so that rules meet in groups.
const KINDS: [&str; 4] = ["runs", "likewise", "feedback", "traces"];

#[derive(Debug, Clone)]
enum Step {
    Begin(u128),
    End(u128, bool),
    Finish(u128, bool),
    Judge(u128),
    Rule(RuleStep),
    Wait(u64),
    Pass,
    Settle,
    Restart,
    Race,
    BlindRace,
    DieBefore,
    DieAfter,
    DieHolding,
}

#[derive(Debug, Clone)]
enum RuleStep {
    Add { kind: usize, cadence: usize, backfill: bool },
    Move { kind: usize, cadence: usize },
    Pause(usize),
    Resume(usize),
    Remove(usize),
}

fn rule_step() -> impl Strategy<Value = RuleStep> {
    let (kind, cadence) = (0..KINDS.len(), 0..4_usize);
    prop_oneof![
        3 => (kind.clone(), cadence.clone(), any::<bool>())
            .prop_map(|(kind, cadence, backfill)| RuleStep::Add { kind, cadence, backfill }),
        3 => (kind.clone(), cadence).prop_map(|(kind, cadence)| RuleStep::Move { kind, cadence }),
        1 => kind.clone().prop_map(RuleStep::Pause),
        2 => kind.clone().prop_map(RuleStep::Resume),
        1 => kind.prop_map(RuleStep::Remove),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let run = 0..TRACES * RUNS_OF_TRACE;
    prop_oneof![
        6 => run.clone().prop_map(Step::Begin),
        6 => (run.clone(), any::<bool>()).prop_map(|(run, failed)| Step::End(run, failed)),
        6 => (run.clone(), any::<bool>()).prop_map(|(run, failed)| Step::Finish(run, failed)),
        4 => run.prop_map(Step::Judge),
        10 => rule_step().prop_map(Step::Rule),
        4 => prop_oneof![Just(1), Just(7), Just(30), Just(400)].prop_map(Step::Wait),
        6 => Just(Step::Pass),
        2 => Just(Step::Settle),
        1 => Just(Step::Restart),
        1 => Just(Step::Race),
        2 => Just(Step::BlindRace),
        1 => Just(Step::DieBefore),
        1 => Just(Step::DieAfter),
        2 => Just(Step::DieHolding),
    ]
}

/// When a rule looked at the project: after the first number, and, if that time is over, up to the second.
#[derive(Debug, Clone, Copy)]
struct Time {
    after: Seq,
    until: Option<Seq>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Begun,
    Ended,
    Failed,
    Judged,
}

#[derive(Default)]
struct Run {
    said: BTreeSet<Said>,
    /// Since which change it matches each kind of rule.
    matches_since: BTreeMap<usize, Seq>,
}

struct History {
    world: World,
    scheduler: Scheduler,
    runs: BTreeMap<u128, Run>,
    /// Number and instant of each change, and the run it is of.
    log: Vec<(Seq, Timestamp, u128)>,
    rules: BTreeMap<usize, Rule>,
    times: BTreeMap<usize, Vec<Time>>,
}

fn cadences(index: usize) -> Cadence {
    match index {
        0 => Cadence::Immediate,
        1 => every(5),
        2 => every(60),
        _ => cron("*/5 * * * *", "America/New_York"),
    }
}

fn rule_of(kind: usize, cadence: usize) -> Rule {
    let rule = Rule { cadence: cadences(cadence), ..rule(KINDS[kind]) };
    match KINDS[kind] {
        "feedback" => Rule { filter: Some("eq(feedback_key, \"bad\")".to_owned()), ..rule },
        "traces" => {
            Rule { tree_filter: Some("eq(status, \"error\")".to_owned()), settle: Duration::from_secs(10), ..rule }
        }
        _ => rule,
    }
}

fn root_of(run: u128) -> u128 {
    run - run % RUNS_OF_TRACE
}

/// Ids begin at 1.
fn id(run: u128) -> u128 {
    run + 1
}

fn placed(run: u128, fields: Fields) -> Fields {
    if root_of(run) == run { fields } else { below(id(root_of(run)), fields) }
}

impl History {
    async fn new() -> Self {
        let world = World::with(Limits { changes_per_window: 4, ..Limits::default() }).await;
        let scheduler = world.scheduler();
        let (runs, log, rules, times) = Default::default();
        Self { world, scheduler, runs, log, rules, times }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Begin(run) => self.say(run, PartKind::Post, begun("a"), &[Said::Begun]).await,
            Step::End(run, failed) => self.say(run, PartKind::Patch, ended(), failure(failed, &[Said::Ended])).await,
            Step::Finish(run, failed) => {
                let said = failure(failed, &[Said::Begun, Said::Ended]);
                self.say(run, PartKind::Post, finished("a"), said).await;
            }
            Step::Judge(run) => {
                self.world.judge(id(run), "bad", 0.0).await;
                self.runs.entry(run).or_default().said.insert(Said::Judged);
                self.note_changes().await;
            }
            Step::Wait(seconds) => self.world.wait(seconds),
            Step::Pass => {
                self.world.pass(&mut self.scheduler).await;
            }
            Step::Settle => {
                self.world.settle(&mut self.scheduler).await;
            }
            Step::Restart => self.scheduler = self.world.scheduler(),
            Step::Race => self.race().await,
            Step::BlindRace => {
                self.world.faults.leases(Leases::Blind);
                self.race().await;
                self.world.faults.leases(Leases::Kept);
            }
            Step::DieHolding => {
                self.world.faults.leases(Leases::Lost);
                self.world.pass(&mut self.scheduler).await;
                self.world.faults.leases(Leases::Kept);
                self.scheduler = self.world.scheduler();
            }
            Step::DieBefore => self.die(Fault::Before).await,
            Step::DieAfter => self.die(Fault::After).await,
            Step::Rule(step) => self.take_rule(step).await,
        }
    }

    async fn take_rule(&mut self, step: RuleStep) {
        match step {
            RuleStep::Add { kind, cadence, backfill } => self.add(kind, cadence, backfill).await,
            RuleStep::Move { kind, cadence } => {
                if let Some(rule) = self.rules.get_mut(&kind).filter(|rule| rule.state == RuleState::Active) {
                    rule.cadence = cadences(cadence);
                    let rule = rule.clone();
                    self.world.apply(&[rule]).await;
                }
            }
            RuleStep::Pause(kind) => self.set_state(kind, RuleState::Paused).await,
            RuleStep::Resume(kind) => self.set_state(kind, RuleState::Active).await,
            RuleStep::Remove(kind) => {
                if let Some(rule) = self.rules.remove(&kind) {
                    let changes = RuleChanges { remove_rules: vec![rule.id], ..RuleChanges::default() };
                    self.world.store.apply_rules(TENANT, changes, self.world.now()).await.unwrap();
                    self.end_time(kind);
                }
            }
        }
    }

    async fn race(&mut self) {
        let mut other = self.world.scheduler();
        let _both = tokio::join!(self.world.pass(&mut self.scheduler), self.world.pass(&mut other));
    }

    async fn die(&mut self, fault: Fault) {
        self.world.faults.at_commit(fault);
        self.world.pass(&mut self.scheduler).await;
        self.world.faults.forget();
        self.scheduler = self.world.scheduler();
    }

    async fn say(&mut self, run: u128, kind: PartKind, fields: Fields, said: &[Said]) {
        let fields = placed(run, with_error(fields, said.contains(&Said::Failed)));
        self.world.send(vec![part(id(run), kind, fields)]).await;
        self.runs.entry(run).or_default().said.extend(said);
        self.note_changes().await;
    }

    /// Reads what the log of changes has gained, and notes which runs have come to match.
    async fn note_changes(&mut self) {
        let known = self.log.len();
        for change in self.world.changes().await.into_iter().skip(known) {
            self.log.push((change.seq, change.at, change.run_id.0.as_u128() - 1));
        }
        let newest = self.newest();
        for kind in 0..KINDS.len() {
            for run in 0..TRACES * RUNS_OF_TRACE {
                if self.matches(kind, run) {
                    self.runs.entry(run).or_default().matches_since.entry(kind).or_insert(newest);
                }
            }
        }
    }

    fn matches(&self, kind: usize, run: u128) -> bool {
        let said = |run: u128, what| self.runs.get(&run).is_some_and(|run| run.said.contains(&what));
        let complete = said(run, Said::Begun) && (said(run, Said::Ended) || said(run, Said::Failed));
        let own = complete && (KINDS[kind] != "feedback" || said(run, Said::Judged));
        let failed_in_trace = || {
            let mut siblings = root_of(run)..root_of(run) + RUNS_OF_TRACE;
            siblings.any(|run| said(run, Said::Begun) && said(run, Said::Failed))
        };
        own && (KINDS[kind] != "traces" || failed_in_trace())
    }

    fn newest(&self) -> Seq {
        self.log.last().map_or(0, |(seq, _, _)| *seq)
    }

    async fn add(&mut self, kind: usize, cadence: usize, backfill: bool) {
        if self.rules.contains_key(&kind) {
            return;
        }
        let since = self.world.now().before(Duration::from_secs(30));
        let rule = Rule { backfill_from: backfill.then_some(since), ..rule_of(kind, cadence) };
        self.world.apply(std::slice::from_ref(&rule)).await;
        self.rules.insert(kind, rule);
        let earlier = self.log.iter().filter(|(_, at, _)| *at < since).map(|(seq, _, _)| *seq).max().unwrap_or(0);
        let after = if backfill { earlier } else { self.newest() };
        self.times.entry(kind).or_default().push(Time { after, until: None });
    }

    async fn set_state(&mut self, kind: usize, state: RuleState) {
        let Some(rule) = self.rules.get_mut(&kind).filter(|rule| rule.state != state) else { return };
        rule.state = state;
        self.world.set_state(KINDS[kind], state).await;
        match state {
            RuleState::Paused => self.end_time(kind),
            RuleState::Active => {
                let after = self.newest();
                self.times.entry(kind).or_default().push(Time { after, until: None });
            }
        }
    }

    fn end_time(&mut self, kind: usize) {
        let newest = self.newest();
        if let Some(time) = self.times.get_mut(&kind).and_then(|times| times.last_mut()) {
            time.until.get_or_insert(newest);
        }
    }

    /// Whether a pair may be told, and whether it must.
    fn verdict(&self, kind: usize, run: u128) -> (bool, bool) {
        let since = self.runs.get(&run).and_then(|state| state.matches_since.get(&kind));
        let Some(since) = since.copied() else { return (false, false) };
        let concerns = |other: u128| match KINDS[kind] {
            "traces" => root_of(other) == root_of(run),
            _ => other == run,
        };
        let (mut may, mut must) = (false, false);
        for time in self.times.get(&kind).into_iter().flatten() {
            let until = time.until.unwrap_or(Seq::MAX);
            let seen = self.log.iter().any(|(seq, _, of)| concerns(*of) && *seq > time.after && *seq <= until);
            may |= seen && since <= until;
            must |= seen && time.until.is_none();
        }
        (may, must)
    }

    async fn check(&mut self) {
        for _ in 0..4 {
            self.world.wait(600);
            self.world.settle(&mut self.scheduler).await;
        }
        for (kind, key) in KINDS.iter().enumerate() {
            let told = self.world.told_runs(key).await.concat();
            let once: BTreeSet<u128> = told.iter().copied().collect();
            assert_eq!(told.len(), once.len(), "{key}: told twice: {told:?}");
            for run in 0..TRACES * RUNS_OF_TRACE {
                let (may, must) = self.verdict(kind, run);
                let told = once.contains(&id(run));
                assert!(!told || may, "{key}: {} was told and should not have been; {:?}", id(run), self.log);
                assert!(told || !must, "{key}: {} was lost; {:?}", id(run), self.log);
            }
            let windows = self.world.windows(key).await.into_iter().map(|(_, runs)| runs as usize).sum::<usize>();
            assert_eq!(windows, once.len(), "{key}: the windows hold other matches than were told");
        }
    }
}

fn failure(failed: bool, said: &'static [Said]) -> &'static [Said] {
    match (failed, said) {
        (false, said) => said,
        (true, [Said::Ended]) => &[Said::Ended, Said::Failed],
        (true, _) => &[Said::Begun, Said::Ended, Said::Failed],
    }
}

fn with_error(fields: Fields, failed: bool) -> Fields {
    Fields { error: failed.then(|| "boom".to_owned()), ..fields }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_pair_of_rule_and_run_that_should_match_is_told_exactly_once(
        steps in proptest::collection::vec(step(), 1..70),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut history = History::new().await;
            for step in steps {
                history.take(step).await;
            }
            history.check().await;
        });
    }
}
