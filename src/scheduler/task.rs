//! The scheduler's loop: one pass looks at every project that has stirred and evaluates what is due in it.
//!
//! The pass reads the list of stirred projects, and nothing else for a project in which nothing is due and nothing has
//! changed since it was last planned: the due instant is remembered, never its cause, so forgetting it (a restart, a
//! change of the rules) costs one more look. A project that fails is tried again after a pause of its own; the others
//! go on.
//!
//! The order of reads matters. The list of projects is read before the version of the rules, so that a project is
//! settled only under rules that were in force when its newest change was there: a rule that arrived later starts at
//! that change or behind it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::blob::BlobStore;
use crate::config::Limits;
use crate::matcher::Matcher;
use crate::model::id::{ProjectId, TenantId};
use crate::model::rule::Cadence;
use crate::model::time::{Clock, Timestamp};
use crate::model::window::{Progress, Seq};
use crate::scheduler::cadence::Timing;
use crate::scheduler::evaluate::{Evaluation, EvaluationError, Outcome};
use crate::scheduler::plan::{self, Rest, Stretch, Timings};
use crate::store::rules::RuleSnapshot;
use crate::store::windows::Stirred;
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
}

/// Evaluates rules.
pub struct Scheduler {
    parts: Parts,
    rules: Rules,
    agenda: HashMap<(TenantId, ProjectId), Entry>,
}

/// The rules in force.
#[derive(Default)]
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

impl Scheduler {
    /// A scheduler that has looked at nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, rules: Rules::default(), agenda: HashMap::new() }
    }

    async fn run_pass(&mut self) -> Result<Next, StoreError> {
        let started = self.parts.clock.now();
        let stirred = self.parts.store.stirred_projects().await?;
        self.refresh_rules().await?;
        let mut agenda = HashMap::with_capacity(stirred.len());
        for project in stirred {
            let key = (project.tenant_id, project.project_id);
            let known = self.agenda.remove(&key);
            let entry = match known {
                Some(entry) if entry.can_wait(project.last_seq, self.parts.clock.now()) => entry,
                known => self.advance(&project, known.unwrap_or_default()).await,
            };
            agenda.insert(key, entry);
        }
        self.agenda = agenda;
        let now = self.parts.clock.now();
        metrics::gauge!("runhook_changes_behind").set(self.behind());
        metrics::histogram!("runhook_pass_seconds").record(now.since(started).as_secs_f64());
        Ok(match self.agenda.values().filter_map(|entry| entry.due).min() {
            None => Next::Idle,
            Some(due) if due <= now => Next::Now,
            Some(due) => Next::At(due),
        })
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
        self.rules.take(snapshot);
        self.agenda.clear();
        Ok(())
    }

    /// Evaluates what is due in a project, and says when it has to be looked at again.
    async fn advance(&self, project: &Stirred, known: Entry) -> Entry {
        match self.try_advance(project, &known.unread).await {
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
    async fn try_advance(&self, project: &Stirred, unread: &[Progress]) -> Result<Option<Entry>, EvaluationError> {
        let stretches = self.plan(project).await?;
        let now = self.parts.clock.now();
        let firsts = self.firsts(project, &stretches).await?;
        let mut entry = Entry { last_seq: project.last_seq, ..Entry::default() };
        let mut due = Vec::new();
        for stretch in stretches {
            let first = firsts.get(&stretch.from).copied().unwrap_or(now);
            let at = stretch.due_at(first, now);
            if unread.contains(&stretch.progress) || at.is_some_and(|at| at <= now) {
                due.push(stretch);
            } else {
                entry.await_due(project, &stretch, at);
            }
        }
        for outcome in self.evaluate(project, due, now).await? {
            let Some(rest) = outcome.rest else { return Ok(None) };
            entry.note(project, outcome.stretch, rest, now);
        }
        if entry.behind == 0 {
            let (tenant, id, version) = (project.tenant_id, project.project_id, self.rules.version.unwrap_or(0));
            self.parts.store.settle_project(tenant, id, project.last_seq, version).await?;
        }
        Ok(Some(entry))
    }

    async fn plan(&self, project: &Stirred) -> Result<Vec<Stretch>, StoreError> {
        let Rules { matcher, timings, .. } = &self.rules;
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
        due: Vec<Stretch>,
        now: Timestamp,
    ) -> Result<Vec<Outcome>, EvaluationError> {
        let evaluation = Evaluation {
            store: &*self.parts.store,
            blobs: &*self.parts.blobs,
            limits: &self.parts.limits,
            rules_version: self.rules.version.unwrap_or(0),
            now,
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
}
