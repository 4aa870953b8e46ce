//! The scheduler's loop: one pass looks at every project that has stirred and evaluates what is due in it.
//!
//! The pass reads the list of stirred projects, and nothing else for a project in which nothing is due and nothing has
//! changed since it was last planned: the due instant is remembered, never its cause, so forgetting it (a restart, a
//! change of the rules) costs one more look. A project that fails is tried again after a pause of its own; the others
//! go on.
//!
//! The others are taken, a few at a time, and evaluated beside each other, each in a task of its own. What another
//! scheduler holds is looked at again shortly. A pass waits for its evaluations, but not for ever: when there is news
//! and all that is left is slow (a large upload, say), it ends and leaves them under way for the next.
//!
//! The order of reads matters. The list of projects is read before the version of the rules, so that a project is
//! settled only under rules that were in force when its newest change was there: a rule that arrived later starts at
//! that change or behind it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

use crate::blob::BlobStore;
use crate::config::Limits;
use crate::matcher::Matcher;
use crate::model::rule::Cadence;
use crate::model::time::{Clock, Timestamp};
use crate::model::window::{Progress, Seq};
use crate::scheduler::cadence::Timing;
use crate::scheduler::evaluate::{Evaluation, EvaluationError, Outcome};
use crate::scheduler::plan::{self, Rest, Stretch, Timings};
use crate::scheduler::shares::{RENEWED, Shares};
use crate::store::rules::RuleSnapshot;
use crate::store::windows::{ProjectKey, Stirred};
use crate::store::{Store, StoreError};
use crate::task::{Activity, Next, Poke};

/// What the scheduler is made of.
pub struct Parts {
    /// Where changes are read and windows committed.
    pub store: Arc<dyn Store>,
    /// Where large payloads go.
    pub blobs: Arc<dyn BlobStore>,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// How large a window may be.
    pub limits: Limits,
    /// Wakes delivery when there are messages.
    pub delivery: Poke,
    /// The poke of this very loop: a pass that waits for something slow listens for it.
    pub poke: Poke,
    /// A value of this scheduler's own, under which it holds projects.
    pub instance: Uuid,
}

/// Evaluates rules.
pub struct Scheduler {
    parts: Arc<Parts>,
    rules: Arc<Rules>,
    agenda: HashMap<ProjectKey, Entry>,
    shares: Shares,
    under_way: HashSet<ProjectKey>,
    evaluations: JoinSet<Advanced>,
}

/// What one evaluation works with.
struct Hand {
    parts: Arc<Parts>,
    rules: Arc<Rules>,
}

/// A project that was evaluated.
struct Advanced {
    key: ProjectKey,
    entry: Entry,
    /// The version of the rules it was evaluated with.
    version: Option<i64>,
}

/// The rules in force.
#[derive(Clone, Default)]
struct Rules {
    version: Option<i64>,
    matcher: Matcher,
    timings: Timings,
}

/// What is known of a stirred project without looking at it.
#[derive(Debug, Clone, Default)]
struct Entry {
    /// Its newest change when it was planned.
    last_seq: Seq,
    /// When something is due in it, if nothing more arrives.
    due: Option<Timestamp>,
    /// Whose catching up goes on at once, whatever the cadence.
    unread: Vec<Progress>,
    /// How many of its changes the last rule to come has not seen.
    behind: Seq,
    /// Failures in a row.
    failures: u32,
}

/// The pause after a project's first failure; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(250);

/// Projects that are evaluated at a time. Each may hold a window's runs in memory.
const AT_ONCE: usize = 4;

/// When a project that another scheduler holds is looked at again: it is given back as soon as it is done with.
const HELD_ELSEWHERE: Duration = Duration::from_millis(250);

/// Runs that come within this time of each other are evaluated in one pass. A pass costs the same for one as for a dozen, and
/// with a thousand runs a second there would be one for every few of them.
const BREATH: Duration = Duration::from_millis(3);

/// How long a pass waits for its evaluations before it listens for news.
const PATIENCE: Duration = Duration::from_millis(50);
/// How many failures in a row blob storage may be the cause of, before large values go without it: the pauses between
/// them are a quarter of a minute together.
const PATIENCE_WITH_BLOBS: u32 = 6;

impl Scheduler {
    /// A scheduler that has looked at nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let shares = Shares::new(Arc::clone(&parts.store), Arc::clone(&parts.clock), parts.instance);
        Self {
            parts: Arc::new(parts),
            rules: Arc::default(),
            agenda: HashMap::new(),
            shares,
            under_way: HashSet::new(),
            evaluations: JoinSet::new(),
        }
    }

    async fn run_pass(&mut self) -> Result<Next, StoreError> {
        let started = self.parts.clock.now();
        let stirred = self.parts.store.stirred_projects().await?;
        self.refresh_rules().await?;
        let listed: HashMap<ProjectKey, Seq> =
            stirred.iter().map(|project| (project.key(), project.last_seq)).collect();
        self.agenda.retain(|key, _| listed.contains_key(key));
        let news = self.evaluate_all(stirred, &listed).await;
        self.shares.give_back(|key| self.under_way.contains(key)).await;
        let news = news?;
        let now = self.parts.clock.now();
        metrics::gauge!("runhook_changes_behind").set(self.behind());
        metrics::histogram!("runhook_pass_seconds").record(now.since(started).as_secs_f64());
        Ok(match self.agenda.values().filter_map(|entry| entry.due).min() {
            _ if news => Next::Now,
            None => Next::Idle,
            Some(due) if due <= now => Next::Now,
            Some(due) => Next::At(due),
        })
    }

    /// Evaluates what cannot wait of the projects that are listed. Whether it stopped waiting because there is news.
    async fn evaluate_all(
        &mut self,
        stirred: Vec<Stirred>,
        listed: &HashMap<ProjectKey, Seq>,
    ) -> Result<bool, StoreError> {
        let now = self.parts.clock.now();
        let mut waiting: VecDeque<Stirred> = stirred
            .into_iter()
            .filter(|project| !self.under_way.contains(&project.key()))
            .filter(|project| {
                let known = self.agenda.get(&project.key());
                known.is_none_or(|entry| !entry.can_wait(project.last_seq, now))
            })
            .collect();
        let patient_until = Instant::now() + PATIENCE;
        loop {
            self.begin(&mut waiting).await?;
            if self.evaluations.is_empty() {
                return Ok(false);
            }
            let may_leave = waiting.is_empty() && self.under_way.len() < AT_ONCE;
            let (poke, evaluations) = (&self.parts.poke, &mut self.evaluations);
            tokio::select! {
                biased;
                Some(done) = evaluations.join_next() => self.note(done, listed),
                () = news(poke, patient_until), if may_leave => return Ok(true),
                () = tokio::time::sleep(RENEWED) => self.shares.renew().await,
            }
        }
    }

    /// Begins as many evaluations as there is room for.
    async fn begin(&mut self, waiting: &mut VecDeque<Stirred>) -> Result<(), StoreError> {
        let room = AT_ONCE.saturating_sub(self.under_way.len());
        if room == 0 || waiting.is_empty() {
            return Ok(());
        }
        let wanted: Vec<ProjectKey> = waiting.iter().map(Stirred::key).collect();
        let taken = self.shares.take(&wanted, room).await?;
        let elsewhere = taken.len() < room;
        for project in std::mem::take(waiting) {
            if taken.contains(&project.key()) {
                self.start(project);
            } else if elsewhere {
                self.leave(&project);
            } else {
                waiting.push_back(project);
            }
        }
        Ok(())
    }

    fn start(&mut self, project: Stirred) {
        let key = project.key();
        let known = self.agenda.remove(&key).unwrap_or_default();
        let hand = Hand { parts: Arc::clone(&self.parts), rules: Arc::clone(&self.rules) };
        self.under_way.insert(key);
        self.evaluations.spawn(async move {
            let entry = hand.advance(&project, known).await;
            Advanced { key, entry, version: hand.rules.version }
        });
    }

    /// Leaves a project to the scheduler that holds it, for now.
    fn leave(&mut self, project: &Stirred) {
        let due = Some(self.parts.clock.now().after(HELD_ELSEWHERE));
        let entry = self.agenda.entry(project.key()).or_default();
        *entry = Entry { last_seq: project.last_seq, due, ..entry.clone() };
    }

    /// Notes what came of an evaluation.
    fn note(&mut self, done: Result<Advanced, JoinError>, listed: &HashMap<ProjectKey, Seq>) {
        let Advanced { key, mut entry, version } = match done {
            Ok(advanced) => advanced,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_cancelled) => return,
        };
        self.under_way.remove(&key);
        let Some(last_seq) = listed.get(&key) else { return };
        // It has changed, or the rules have, while it was under way.
        if version != self.rules.version {
            entry = Entry { due: Some(self.parts.clock.now()), ..Entry::default() };
        } else if entry.last_seq != *last_seq && entry.failures == 0 {
            entry.due = Some(self.parts.clock.now());
        }
        self.agenda.insert(key, entry);
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    fn behind(&self) -> f64 {
        self.agenda.values().map(|entry| entry.behind).fold(0, Seq::saturating_add) as f64
    }

    async fn refresh_rules(&mut self) -> Result<(), StoreError> {
        let version = self.parts.store.rules_version().await?;
        if self.rules.version == Some(version) {
            return Ok(());
        }
        let snapshot = self.parts.store.active_rules().await?;
        Arc::make_mut(&mut self.rules).take(snapshot);
        self.agenda.clear();
        Ok(())
    }
}

/// Resolves when there is news after that instant.
async fn news(poke: &Poke, after: Instant) {
    tokio::time::sleep_until(after).await;
    poke.poked().await;
}

impl Hand {
    /// Evaluates what is due in a project, and says when it has to be looked at again.
    async fn advance(&self, project: &Stirred, known: Entry) -> Entry {
        match self.try_advance(project, &known).await {
            Ok(Some(entry)) => entry,
            // The rules have changed under the evaluation, or another scheduler is at work: a new pass sees it.
            Ok(None) => Entry { due: Some(self.parts.clock.now()), last_seq: project.last_seq, ..known },
            Err(error) => self.postpone(project, known, &error),
        }
    }

    fn postpone(&self, project: &Stirred, known: Entry, error: &EvaluationError) -> Entry {
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(known.failures.min(8)));
        tracing::error!(project = %project.project_id, %error, ?pause, "an evaluation failed; it will be repeated");
        metrics::counter!("runhook_evaluation_failures_total").increment(1);
        let due = Some(self.parts.clock.now().after(pause));
        Entry { last_seq: project.last_seq, due, failures: known.failures.saturating_add(1), ..known }
    }

    /// None if someone else was faster.
    async fn try_advance(&self, project: &Stirred, known: &Entry) -> Result<Option<Entry>, EvaluationError> {
        let stretches = self.plan(project).await?;
        let now = self.parts.clock.now();
        let firsts = self.firsts(project, &stretches).await?;
        let mut entry = Entry { last_seq: project.last_seq, ..Entry::default() };
        let mut due = Vec::new();
        for stretch in stretches {
            let first = firsts.get(&stretch.from).copied().unwrap_or(now);
            let at = stretch.due_at(first, now);
            if known.unread.contains(&stretch.progress) || at.is_some_and(|at| at <= now) {
                due.push(stretch);
            } else {
                entry.await_due(project, &stretch, at);
            }
        }
        let is_all = entry.behind == 0;
        let mut settled = false;
        for outcome in self.evaluate(project, known, due, now, is_all).await? {
            let Some(rest) = outcome.rest else { return Ok(None) };
            settled |= outcome.settled;
            entry.note(project, outcome.stretch, rest, now);
        }
        if entry.behind == 0 && !settled {
            let (tenant, id, version) = (project.tenant_id, project.project_id, self.rules.version.unwrap_or(0));
            self.parts.store.settle_project(tenant, id, project.last_seq, version).await?;
        }
        Ok(Some(entry))
    }

    async fn plan(&self, project: &Stirred) -> Result<Vec<Stretch>, StoreError> {
        let Rules { matcher, timings, .. } = &*self.rules;
        let (tenant, id) = (project.tenant_id, project.project_id);
        if matcher.of_project(tenant, &project.name).is_empty() {
            return Ok(Vec::new());
        }
        let standing = self.parts.store.standing(tenant, id).await?;
        // What is read of one version of the rules and what of the next never meet in a commit: it asks for the version.
        let starts = match plan::behind(project, &standing, matcher) {
            Some(seen) => self.parts.store.starts(tenant, id, seen).await?,
            None => HashMap::new(),
        };
        Ok(plan::stretches(project, &standing, starts, matcher, timings))
    }

    /// When the first unseen change of each stretch that depends on it was accepted, by where the stretch begins.
    async fn firsts(&self, project: &Stirred, stretches: &[Stretch]) -> Result<HashMap<Seq, Timestamp>, StoreError> {
        let mut firsts = HashMap::new();
        for stretch in stretches.iter().filter(|stretch| stretch.asks_first()) {
            if firsts.contains_key(&stretch.from) {
                continue;
            }
            let (tenant, id) = (project.tenant_id, project.project_id);
            let changes = self.parts.store.changes(tenant, id, stretch.from, Timestamp(i64::MAX), 1).await?;
            firsts.extend(changes.first().map(|change| (stretch.from, change.at)));
        }
        Ok(firsts)
    }

    async fn evaluate(
        &self,
        project: &Stirred,
        known: &Entry,
        due: Vec<Stretch>,
        now: Timestamp,
        is_all: bool,
    ) -> Result<Vec<Outcome>, EvaluationError> {
        let evaluation = Evaluation {
            store: &*self.parts.store,
            blobs: &*self.parts.blobs,
            limits: &self.parts.limits,
            rules_version: self.rules.version.unwrap_or(0),
            now,
            waits_for_blobs: known.failures < PATIENCE_WITH_BLOBS,
            is_all,
        };
        let mut outcomes = Vec::with_capacity(due.len());
        let result = evaluation.run(project, due, &mut outcomes).await;
        // What was committed before a failure is committed.
        if outcomes.iter().any(|outcome| outcome.messages > 0) {
            self.parts.delivery.poke();
        }
        result.map(|()| outcomes)
    }
}

impl Rules {
    fn take(&mut self, snapshot: RuleSnapshot) {
        self.version = Some(snapshot.version);
        self.matcher.update(snapshot.rules);
        let cadences: HashSet<&Cadence> = self.matcher.cadences().collect();
        self.timings = cadences.into_iter().map(|cadence| (cadence.clone(), Arc::new(Timing::of(cadence)))).collect();
    }
}

impl Entry {
    /// Whether there is nothing to do in a project whose newest change is this one.
    fn can_wait(&self, last_seq: Seq, now: Timestamp) -> bool {
        let unchanged = self.last_seq == last_seq || self.failures > 0;
        unchanged && self.due.is_none_or(|due| due > now)
    }

    /// Notes a stretch that is not due.
    fn await_due(&mut self, project: &Stirred, stretch: &Stretch, due: Option<Timestamp>) {
        self.behind = self.behind.max(stretch.unseen(project));
        self.due = self.due.into_iter().chain(due).min();
    }

    /// Notes what is left of a stretch that was evaluated.
    fn note(&mut self, project: &Stirred, stretch: Stretch, rest: Rest, now: Timestamp) {
        match rest {
            // Its rule may have another span, which was left for later.
            Rest::Seen if matches!(stretch.progress, Progress::Span(_)) => self.due = Some(now),
            Rest::Seen => {}
            Rest::Unread => {
                self.await_due(project, &stretch, Some(now));
                self.unread.push(stretch.progress);
            }
            Rest::Unsettled(first) => self.await_due(project, &stretch, stretch.due_at(first, now)),
        }
    }
}

#[async_trait::async_trait]
impl Activity for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    async fn pass(&mut self) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.run_pass().await?)
    }

    fn breath(&self) -> Duration {
        BREATH
    }

    /// Lets what is under way come to its end, and gives all projects back.
    async fn finish(&mut self) {
        while let Some(done) = self.evaluations.join_next().await {
            self.note(done, &HashMap::new());
        }
        self.shares.give_back(|_| false).await;
    }
}
