//! Random histories of turns, their children, feedback, crashes and time against what rules on threads promise: no turn is
//! told twice, a thread is told only when it has been idle, all of it that is finished is told then, and in the end
//! nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use runhook::config::Limits;
use runhook::model::rule::Rule;
use runhook::model::run::{Fields, PartKind};
use runhook::model::time::Timestamp;
use runhook::scheduler::Scheduler;

use super::faults::{Fault, Leases};
use super::threads::{IDLE, extra, thread_rule, turn};
use super::world::{World, begun, below, ended, every, finished, part};
use crate::support::home::is_on_a_server;

fn cases() -> u32 {
    if is_on_a_server() { 10 } else { 40 }
}

const TURNS: u128 = 8;
const THREADS: u128 = 3;

/// Every thread, and those with a turn that failed.
const KEYS: [&str; 2] = ["all", "failing"];

#[derive(Debug, Clone)]
enum Step {
    Begin(u128),
    End(u128, bool),
    Child(u128, u128),
    Move(u128, u128),
    Judge(u128),
    Wait(u64),
    Pass,
    Restart,
    Race,
    Die(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let turn = 1..=TURNS;
    prop_oneof![
        6 => turn.clone().prop_map(Step::Begin),
        6 => (turn.clone(), any::<bool>()).prop_map(|(turn, failed)| Step::End(turn, failed)),
        2 => (turn.clone(), 0..2_u128).prop_map(|(turn, child)| Step::Child(turn, child)),
        2 => (turn.clone(), 0..THREADS).prop_map(|(turn, thread)| Step::Move(turn, thread)),
        1 => turn.prop_map(Step::Judge),
        6 => prop_oneof![Just(1), Just(29), Just(31), Just(61), Just(400)].prop_map(Step::Wait),
        6 => Just(Step::Pass),
        1 => Just(Step::Restart),
        1 => Just(Step::Race),
        1 => any::<bool>().prop_map(Step::Die),
    ]
}

#[derive(Debug, Clone, Default)]
struct Turn {
    begun: bool,
    ended: bool,
    failed: bool,
    moved: Option<u128>,
}

struct History {
    world: World,
    scheduler: Scheduler,
    turns: BTreeMap<u128, Turn>,
    changed: BTreeMap<u128, Timestamp>,
    known: usize,
    moves: u32,
    told: [BTreeSet<u128>; 2],
    messages: [usize; 2],
}

impl History {
    async fn new() -> Self {
        let world = World::with(Limits { changes_per_window: 4, ..Limits::default() }).await;
        let failing = Some("eq(status, \"error\")".to_owned());
        let failing = Rule { filter: failing, cadence: every(60), ..thread_rule("failing") };
        world.apply(&[thread_rule("all"), failing]).await;
        let scheduler = world.scheduler();
        let (turns, changed, told) = Default::default();
        Self { world, scheduler, turns, changed, known: 0, moves: 0, told, messages: [0; 2] }
    }

    fn thread_of(&self, turn: u128) -> Option<u128> {
        let known = self.turns.get(&turn).filter(|known| known.begun)?;
        Some(known.moved.unwrap_or(turn % THREADS))
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Begin(number) => {
                let second = i64::try_from(number).unwrap();
                let fields = turn(&(number % THREADS).to_string(), second, begun("a"));
                self.turns.entry(number).or_default().begun = true;
                self.send(number, PartKind::Post, fields).await;
            }
            Step::End(number, failed) => {
                let known = self.turns.entry(number).or_default();
                (known.ended, known.failed) = (true, known.failed | failed);
                let fields = Fields { error: failed.then(|| "boom".to_owned()), ..ended() };
                self.send(number, PartKind::Patch, fields).await;
            }
            Step::Child(number, child) => {
                self.send(number * 100 + child, PartKind::Post, below(number, finished("tool"))).await;
            }
            Step::Move(number, thread) => {
                self.turns.entry(number).or_default().moved = Some(thread);
                // A patch that was applied before would change nothing: each of these is another one.
                self.moves += 1;
                let tags = Some(vec![self.moves.to_string()]);
                let fields = Fields { extra: Some(extra(&thread.to_string())), tags, ..Fields::default() };
                self.send(number, PartKind::Patch, fields).await;
            }
            Step::Judge(number) => self.world.judge(number, "good", 1.0).await,
            Step::Wait(seconds) => self.world.wait(seconds),
            Step::Pass => _ = self.world.pass(&mut self.scheduler).await,
            Step::Restart => self.scheduler = self.world.scheduler(),
            Step::Race => {
                self.world.faults.leases(Leases::Blind);
                let mut other = self.world.scheduler();
                let _both = tokio::join!(self.world.pass(&mut self.scheduler), self.world.pass(&mut other));
                self.world.faults.leases(Leases::Kept);
            }
            Step::Die(before) => {
                self.world.faults.at_commit(if before { Fault::Before } else { Fault::After });
                self.world.pass(&mut self.scheduler).await;
                self.world.faults.forget();
                self.scheduler = self.world.scheduler();
            }
        }
        self.note_changes().await;
        self.check().await;
    }

    async fn send(&self, run: u128, kind: PartKind, fields: Fields) {
        self.world.send(vec![part(run, kind, fields)]).await;
    }

    /// Reads what the log of changes has gained, and notes when turns changed.
    async fn note_changes(&mut self) {
        let log = self.world.changes().await;
        for change in log.iter().skip(self.known) {
            let run = change.run_id.0.as_u128();
            let turn = if run > TURNS { run / 100 } else { run };
            self.changed.insert(turn, change.at);
        }
        self.known = log.len();
    }

    /// What must hold at any time of what was told just now.
    async fn check(&mut self) {
        let now = self.world.now();
        for (which, key) in KEYS.iter().enumerate() {
            let told = self.world.told_runs(key).await;
            for turn in told.iter().skip(self.messages[which]).flatten() {
                assert!(self.told[which].insert(*turn), "{key}: {turn} was told twice");
            }
            for turn in told.iter().skip(self.messages[which]).flatten() {
                let thread = self.thread_of(*turn).unwrap();
                assert!(self.last_change(thread).after(IDLE) <= now, "{key}: {thread} was told and was not idle");
                let left: Vec<u128> = self.finished(thread).filter(|turn| !self.told[which].contains(turn)).collect();
                assert!(left.is_empty(), "{key}: {thread} was told without {left:?}");
            }
            self.messages[which] = told.len();
        }
    }

    /// When a thread last changed: what has left it since is no part of it.
    fn last_change(&self, thread: u128) -> Timestamp {
        let of_thread = self.changed.iter().filter(|(turn, _)| self.thread_of(**turn) == Some(thread));
        *of_thread.map(|(_, at)| at).max().unwrap()
    }

    fn finished(&self, thread: u128) -> impl Iterator<Item = u128> {
        let ended = self.turns.iter().filter(|(_, turn)| turn.begun && turn.ended);
        ended.map(|(number, _)| *number).filter(move |number| self.thread_of(*number) == Some(thread))
    }

    async fn end(&mut self) {
        for _ in 0..4 {
            self.world.wait(600);
            self.world.settle(&mut self.scheduler).await;
            self.check().await;
        }
        for thread in 0..THREADS {
            let failing = self.finished(thread).any(|turn| self.turns[&turn].failed);
            for (told, asked) in self.told.iter().zip([true, failing]) {
                let lost: Vec<u128> = self.finished(thread).filter(|turn| asked && !told.contains(turn)).collect();
                assert!(lost.is_empty(), "{lost:?} of thread {thread} were lost");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_turn_is_told_once_when_its_thread_has_been_idle(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut history = History::new().await;
            history.world.wait(1);
            for step in steps {
                history.take(step).await;
            }
            history.end().await;
        });
    }
}
