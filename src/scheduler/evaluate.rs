//! Evaluating what is due in one project: read once, look, and commit each window in one transaction.
//!
//! A window is decided by what the store holds when it is read, and it counts only if nothing it depends on has moved
//! when it is committed: the cursor, the rules and the matches. Otherwise the commit is refused and the evaluation is
//! repeated, so two schedulers on one store, or a crash between any two steps, can neither lose a match nor repeat one.
//! Large payloads are in blob storage before the commit; a crash in between leaves a blob that nobody links to, never
//! a link to nothing. Storage that refuses them, is slow, or stays away must not hold up the other rules of the window:
//! then they travel inside the message.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::blob::{BlobError, BlobStore};
use crate::config::Limits;
use crate::model::collection::{Example, Queued};
use crate::model::delivery::{Delivery, DeliveryState};
use crate::model::id::{DeliveryId, EndpointId, RuleId, RunId};
use crate::model::message::{Message, Source};
use crate::model::rule::Rule;
use crate::model::run::StoredRun;
use crate::model::time::Timestamp;
use crate::model::window::{Progress, Seq, Window};
use crate::payload;
use crate::scheduler::audience::{self, Audience};
use crate::scheduler::look::{self, Draft, Found, Telling};
use crate::scheduler::plan::{Reading, Rest, Stretch};
use crate::store::collections::ActionsTaken;
use crate::store::windows::{Stirred, WindowCommit};
use crate::store::{Store, StoreError};

/// Uploads at a time.
const UPLOADS: usize = 8;

/// How long the uploads of one rule may take.
const UPLOADING: Duration = Duration::from_secs(15);

/// How messages are built: with large values as links, or with all values inside.
type Building = fn(payload::Request<'_>) -> Result<payload::Built, payload::PayloadError>;

/// Why an evaluation did not finish. It is repeated; nothing is lost by it.
#[derive(Debug, thiserror::Error)]
pub(super) enum EvaluationError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Blob storage.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// What one pass works with.
pub(super) struct Evaluation<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) blobs: &'a dyn BlobStore,
    pub(super) limits: &'a Limits,
    pub(super) rules_version: i64,
    pub(super) now: Timestamp,
    /// Whether to come back later when blob storage does not answer. It was waited for long enough when not.
    pub(super) waits_for_blobs: bool,
    /// Whether nothing is left of the project, as it was listed, once all that is due has been seen.
    pub(super) is_all: bool,
}

/// What became of a stretch that was due.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) stretch: Stretch,
    /// What is left of it. None: someone else was faster, and it is to be planned anew.
    pub(super) rest: Option<Rest>,
    /// Messages that wait for delivery now, at most.
    pub(super) messages: usize,
    /// Whether the project was settled with it, if nothing more had come.
    pub(super) settled: bool,
}

impl Evaluation<'_> {
    /// Evaluates one window of every stretch. Stretches near each other share one read; one that is far behind is
    /// read on its own, so that it does not hold up the others. Nor does one whose window cannot be committed: the
    /// others are, and then the first failure is returned.
    pub(super) async fn run(
        &self,
        project: &Stirred,
        due: Vec<Stretch>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), EvaluationError> {
        let mut waiting = due;
        let mut failed = None;
        while let Some(oldest) = waiting.iter().map(|stretch| stretch.from).min() {
            let reading = self.read(project, oldest).await?;
            let read_to = reading.changes.last().map_or(oldest, |change| change.seq);
            let (near, far): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|stretch| !reading.more || stretch.from == oldest || stretch.from < read_to);
            waiting = far;
            let is_last = self.is_all && waiting.is_empty() && failed.is_none();
            if let Err(error) = self.evaluate(project, &reading, near, is_last, outcomes).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn read(&self, project: &Stirred, after: Seq) -> Result<Reading, StoreError> {
        let limit = self.limits.changes_per_window.max(1);
        let (tenant, id) = (project.tenant_id, project.project_id);
        let changes = self.store.changes(tenant, id, after, Timestamp(i64::MAX), limit).await?;
        let more = u32::try_from(changes.len()).is_ok_and(|read| read >= limit);
        Ok(Reading { changes, more })
    }

    async fn evaluate(
        &self,
        project: &Stirred,
        reading: &Reading,
        stretches: Vec<Stretch>,
        is_last: bool,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), EvaluationError> {
        let mut drafts = Vec::with_capacity(stretches.len());
        for stretch in stretches {
            match stretch.cut(reading, self.now) {
                Ok(cut) => drafts.push(Draft::new(stretch, cut)),
                Err(rest) => outcomes.push(Outcome { stretch, rest: Some(rest), messages: 0, settled: false }),
            }
        }
        look::fill(self.store, project, reading, &mut drafts, self.limits.turns_per_thread).await?;
        let mut failed = None;
        let mut left = drafts.len();
        for draft in drafts {
            left -= 1;
            let seen = || outcomes.iter().all(|outcome| outcome.rest == Some(Rest::Seen));
            let settles = is_last && left == 0 && failed.is_none() && draft.cut.rest == Rest::Seen && seen();
            match self.finish(project, draft, settles.then_some(project.last_seq)).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Commits a window.
    async fn finish(
        &self,
        project: &Stirred,
        mut draft: Draft,
        settles: Option<Seq>,
    ) -> Result<Outcome, EvaluationError> {
        self.drop_matched(project, &mut draft).await?;
        let Draft { mut stretch, cut, found, .. } = draft;
        let window = stretch.window(project, &cut, self.rules_version);
        let mut commit = WindowCommit {
            window,
            rules_version: self.rules_version,
            matches: Vec::new(),
            messages: Vec::new(),
            deliveries: Vec::new(),
            settles,
            events: Vec::new(),
            actions: ActionsTaken::default(),
            applied_at: self.now,
        };
        let mut audience = Audience::of(self.store, project.tenant_id);
        for (place, found) in found {
            if let Some(rule) = stretch.watchers.rule(place).filter(|_| found.ids().next().is_some()) {
                let hearers = audience.of_rule(&rule.rule).await?;
                self.tell(project, &rule.rule, found, &hearers, &mut commit).await?;
            }
        }
        // Of examples that are added it may be told too.
        let (matches, messages) =
            (commit.matches.len(), commit.messages.len().saturating_add(commit.actions.examples.len()));
        let rest = match self.store.commit_window(commit).await {
            Ok(()) => {
                count(&stretch.progress, matches);
                stretch.after = cut.through;
                stretch.from = stretch.from.max(cut.through);
                stretch.last_end = Some(cut.end_time);
                Some(cut.rest)
            }
            Err(StoreError::Stale(what)) => {
                tracing::debug!(project = %project.project_id, what, "someone else was faster; evaluating again");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let messages = if rest.is_some() { messages } else { 0 };
        Ok(Outcome { stretch, rest, messages, settled: settles.is_some() })
    }

    async fn drop_matched(&self, project: &Stirred, draft: &mut Draft) -> Result<(), StoreError> {
        let watchers = &draft.stretch.watchers;
        let id = |place| watchers.rule(place).map(|rule| rule.rule.id);
        let pairs: Vec<(RuleId, RunId)> = draft
            .found
            .iter()
            .filter_map(|(place, found)| Some((id(*place)?, found)))
            .flat_map(|(rule, found)| found.ids().map(move |run| (rule, run)))
            .collect();
        if pairs.is_empty() {
            return Ok(());
        }
        let matched: HashSet<(RuleId, RunId)> = self.store.matched(project.tenant_id, &pairs).await?;
        if !matched.is_empty() {
            for (place, found) in &mut draft.found {
                let Some(rule) = id(*place) else { continue };
                found.retain(|run| !matched.contains(&(rule, run)));
            }
        }
        Ok(())
    }

    /// Adds to the commit what one rule has to say.
    async fn tell(
        &self,
        project: &Stirred,
        rule: &Rule,
        found: Found,
        hearers: &[EndpointId],
        commit: &mut WindowCommit,
    ) -> Result<(), BlobError> {
        let mut telling = found.into_telling();
        if telling.runs.is_empty() {
            return Ok(());
        }
        let mut endpoints = rule.endpoints.clone();
        endpoints.extend(hearers.iter().filter(|hearer| !rule.endpoints.contains(hearer)));
        // A rule to which nobody listens remembers its matches and says nothing.
        let messages = if endpoints.is_empty() {
            Vec::new()
        } else {
            self.messages(project, rule, &commit.window, &mut telling).await?
        };
        self.act(rule, &telling.runs, &mut commit.actions);
        commit.matches.extend(telling.runs.iter().map(|stored| (rule.id, stored.run.id)));
        for mut message in messages {
            message.event_type.clone_from(&rule.event);
            if !hearers.is_empty() {
                commit.events.push((message.id, audience::event_of(rule)));
            }
            commit.deliveries.extend(endpoints.iter().map(|endpoint| Delivery {
                tenant_id: rule.tenant_id,
                id: DeliveryId::of(message.id, *endpoint),
                message_id: message.id,
                endpoint_id: *endpoint,
                source: Source::Rule(rule.id),
                state: DeliveryState::Pending,
                attempts: 0,
                due_at: self.now,
                created_at: self.now,
                finished_at: None,
            }));
            commit.messages.push(message);
        }
        Ok(())
    }

    /// Adds to the commit what the rule does with its matches beside.
    fn act(&self, rule: &Rule, runs: &[Arc<StoredRun>], taken: &mut ActionsTaken) {
        let actions = &rule.actions;
        if let Some(dataset) = actions.add_to_dataset_id {
            let example = |run| Example::of_run(run, dataset, rule.id, actions.prefer_correction, self.now);
            taken.examples.extend(runs.iter().map(|run| (rule.id, example(run))));
        }
        if let Some(queue_id) = actions.add_to_annotation_queue_id {
            let queued = |stored: &Arc<StoredRun>| (rule.id, Queued { queue_id, run_id: stored.run.id });
            taken.queued.extend(runs.iter().map(queued));
        }
    }

    /// A rule's messages, once all they link to is stored.
    async fn messages(
        &self,
        project: &Stirred,
        rule: &Rule,
        window: &Window,
        telling: &mut Telling,
    ) -> Result<Vec<Message>, BlobError> {
        let built = self.build(project, rule, window, telling, payload::build);
        match self.upload(built.uploads).await {
            Ok(()) => Ok(built.messages),
            Err(error @ BlobError::Unavailable(_)) if self.waits_for_blobs => Err(error),
            Err(error) => {
                tracing::warn!(rule = %rule.id, %error, "large values travel inside the message: they cannot be stored");
                Ok(self.build(project, rule, window, telling, payload::build_without_uploads).messages)
            }
        }
    }

    async fn upload(&self, uploads: Vec<payload::Upload>) -> Result<(), BlobError> {
        let put =
            |upload: payload::Upload| async move { self.blobs.put(&upload.key, upload.bytes, &upload.mime_type).await };
        let all = stream::iter(uploads.into_iter().map(put)).buffer_unordered(UPLOADS).try_collect();
        let slow = |_| BlobError::Refused(format!("the uploads took longer than {UPLOADING:?}"));
        tokio::time::timeout(UPLOADING, all).await.map_err(slow)?
    }

    /// Builds a rule's messages. A run that cannot be written is taken out, with an error in the log: it must not hold
    /// up its project for ever.
    fn build(
        &self,
        project: &Stirred,
        rule: &Rule,
        window: &Window,
        telling: &mut Telling,
        how: Building,
    ) -> payload::Built {
        let Telling { runs, threads } = telling;
        let build = |runs: &[Arc<StoredRun>]| {
            let runs: Vec<&StoredRun> = runs.iter().map(|stored| &**stored).collect();
            how(payload::Request { rule, window, runs: &runs, threads, project: &project.name, created_at: self.now })
        };
        if let Ok(built) = build(runs) {
            return built;
        }
        runs.retain(|stored| {
            let alone = build(std::slice::from_ref(stored));
            if let Err(error) = &alone {
                tracing::error!(run = %stored.run.id, rule = %rule.id, %error, "a run cannot be written; it is passed over");
                metrics::counter!("runhook_runs_unreadable_total").increment(1);
            }
            alone.is_ok()
        });
        build(runs).unwrap_or_else(|error| {
            tracing::error!(rule = %rule.id, %error, "a window cannot be written; it is passed over");
            runs.clear();
            payload::Built::default()
        })
    }
}

fn count(progress: &Progress, matches: usize) {
    let kind = match progress {
        Progress::Group(_) => "group",
        Progress::Span(_) => "span",
    };
    metrics::counter!("runhook_windows_total", "progress" => kind).increment(1);
    metrics::counter!("runhook_matches_total").increment(matches as u64);
}
