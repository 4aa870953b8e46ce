//! Retention's loop: a round looks at everything once, a pass takes one bounded step of it.
//!
//! What a step leaves to be done follows it at once; a step that fails is left to the next round, so that storage which
//! does not answer holds up nothing but itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::blob::{BlobPages, BlobStore};
use crate::config::Retention;
use crate::model::run::BlobKey;
use crate::model::time::{Clock, Timestamp};
use crate::retention::seen::{self, Watching};
use crate::retention::sweep;
use crate::store::retention::{Aged, Ended, OldRuns};
use crate::store::{Store, StoreError};
use crate::task::{Activity, Next};

/// What retention is made of.
pub struct Parts {
    /// Where data leaves.
    pub store: Arc<dyn Store>,
    /// Where blobs do.
    pub blobs: Arc<dyn BlobStore>,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// How long things are kept.
    pub retention: Retention,
}

/// Drops what is past its age.
pub struct Keeper {
    parts: Parts,
    /// What is left of the round.
    steps: VecDeque<Step>,
    /// No round begins before this.
    rest_until: Timestamp,
    /// Projects of this round with runs past their age that some rule has not seen.
    held_back: u32,
}

/// One bounded piece of work.
enum Step {
    Removed,
    Projects,
    Project { aged: Aged, rules: Arc<Rules>, before: Timestamp },
    Runs(OldRuns),
    Messages { before: Timestamp, after: Option<Ended> },
    Aged { rows: Rows, before: Timestamp },
    Sweep { before: Timestamp },
    Page { pages: Box<dyn BlobPages>, before: Timestamp },
    Blobs { keys: Vec<BlobKey>, before: Timestamp },
}

/// What goes by its age alone. An event is one that nobody was sent; all others go with their messages.
#[derive(Clone, Copy)]
enum Rows {
    Events,
    Windows,
    Tokens,
    Incomplete,
    Matches,
    Audit,
}

/// The rules of a round.
struct Rules {
    version: i64,
    watching: Watching,
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Rows looked at in one transaction. On SQLite whoever sends waits for at most one of these.
const BATCH: u32 = 200;

/// How long after a round the next one begins.
const ROUND: Duration = Duration::from_mins(5);

/// How often all blobs are looked through, by whichever replica comes first.
const SWEEP: Duration = Duration::from_hours(6);

/// The pause after a step is this many times what the step took, within these bounds: so retention takes a quarter of a
/// database's time at most, and less when others make it slow.
const PAUSE: u32 = 3;
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Keeper {
    /// A keeper that begins its first round at once.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, steps: VecDeque::new(), rest_until: Timestamp(i64::MIN), held_back: 0 }
    }

    async fn run_pass(&mut self) -> Result<Next, Failed> {
        let began = self.parts.clock.now();
        if self.steps.is_empty() {
            if began < self.rest_until {
                return Ok(Next::At(self.rest_until));
            }
            self.steps = self.round(began).into();
            self.held_back = 0;
        }
        if let Some(step) = self.steps.pop_front() {
            let follow = self.take(step, began).await?;
            for step in follow.into_iter().rev() {
                self.steps.push_front(step);
            }
        }
        let now = self.parts.clock.now();
        if self.steps.is_empty() {
            metrics::gauge!("runhook_retention_held_back").set(self.held_back);
            self.rest_until = now.after(ROUND);
            return Ok(Next::At(self.rest_until));
        }
        let pause = now.since(began).saturating_mul(PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        Ok(Next::At(now.after(pause)))
    }

    /// The steps a round begins with. Blobs come last: they are named by what leaves before them.
    fn round(&self, now: Timestamp) -> Vec<Step> {
        let keep = &self.parts.retention;
        let before = |age: Option<Duration>| age.map(|age| now.before(age));
        let steps = [
            Some(Step::Removed),
            keep.runs.map(|_| Step::Projects),
            before(keep.deliveries).map(|before| Step::Messages { before, after: None }),
            before(keep.deliveries).map(|before| Step::Aged { rows: Rows::Events, before }),
            before(keep.windows).map(|before| Step::Aged { rows: Rows::Windows, before }),
            Some(Step::Aged { rows: Rows::Tokens, before: now }),
            before(keep.incomplete_runs).map(|before| Step::Aged { rows: Rows::Incomplete, before }),
            before(keep.matches).map(|before| Step::Aged { rows: Rows::Matches, before }),
            before(keep.audit).map(|before| Step::Aged { rows: Rows::Audit, before }),
            before(keep.unnamed_blobs).map(|before| Step::Sweep { before }),
        ];
        steps.into_iter().flatten().collect()
    }

    /// Takes a step; returns those that follow from it.
    async fn take(&mut self, step: Step, now: Timestamp) -> Result<Vec<Step>, Failed> {
        let store = &self.parts.store;
        let follow = match step {
            Step::Removed => again("removed", store.drop_removed(BATCH).await?, Step::Removed),
            Step::Projects => self.projects(now).await?,
            Step::Project { aged, rules, before } => self.project(&aged, &rules, before, now).await?,
            Step::Runs(old) => self.runs(old).await?,
            Step::Messages { before, after } => self.messages(before, after).await?,
            Step::Aged { rows, before } => self.aged(rows, before).await?,
            Step::Sweep { before } => {
                let begun = store.begin_sweep(now, now.before(SWEEP)).await?;
                begun.then(|| Step::Page { pages: self.parts.blobs.pages(), before }).into_iter().collect()
            }
            Step::Page { pages, before } => page(pages, before).await?,
            Step::Blobs { keys, before } => {
                let deleted = sweep::delete_unnamed(store.as_ref(), self.parts.blobs.as_ref(), keys, before).await?;
                metrics::counter!("runhook_blobs_dropped_total").increment(deleted);
                Vec::new()
            }
        };
        Ok(follow)
    }

    /// Rows that go by their age alone.
    async fn aged(&self, rows: Rows, before: Timestamp) -> Result<Vec<Step>, StoreError> {
        let store = &self.parts.store;
        let (kind, dropped) = match rows {
            Rows::Events => ("event", store.drop_unheard_events(before, BATCH).await?),
            Rows::Windows => ("window", store.drop_windows(before, BATCH).await?),
            Rows::Tokens => ("feedback_token", store.drop_feedback_tokens(before, BATCH).await?),
            Rows::Incomplete => ("incomplete_run", store.drop_incomplete(before, BATCH).await?),
            Rows::Matches => ("match", store.forget_matches(before, BATCH).await?),
            Rows::Audit => ("audit_entry", store.drop_audit(before, BATCH).await?),
        };
        Ok(again(kind, dropped, Step::Aged { rows, before }))
    }

    /// Old messages, and their deliveries.
    async fn messages(&self, before: Timestamp, after: Option<Ended>) -> Result<Vec<Step>, StoreError> {
        let dropped = self.parts.store.drop_messages(before, after, BATCH).await?;
        count("message", dropped.messages);
        count("delivery", dropped.deliveries);
        Ok(dropped.next.map(|next| Step::Messages { before, after: Some(next) }).into_iter().collect())
    }

    /// The projects with something old in them.
    async fn projects(&self, now: Timestamp) -> Result<Vec<Step>, StoreError> {
        let Some(age) = self.parts.retention.runs else { return Ok(Vec::new()) };
        let before = now.before(age);
        let aged = self.parts.store.aged_projects(before).await?;
        if aged.is_empty() {
            return Ok(Vec::new());
        }
        let snapshot = self.parts.store.active_rules().await?;
        let rules = Arc::new(Rules { version: snapshot.version, watching: Watching::of(snapshot.rules) });
        Ok(aged.into_iter().map(|aged| Step::Project { aged, rules: Arc::clone(&rules), before }).collect())
    }

    /// How far a project is old, and has been seen.
    async fn project(
        &mut self,
        aged: &Aged,
        rules: &Rules,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Step>, StoreError> {
        let store = self.parts.store.as_ref();
        let standing = store.standing(aged.tenant_id, aged.project_id).await?;
        let starts = store.starts(aged.tenant_id, aged.project_id, 0).await?;
        let seen = rules.watching.seen_by_all(aged, &standing, &starts);
        let old = seen::last_before(store, aged, before).await?;
        if seen < old {
            self.held_back = self.held_back.saturating_add(1);
            tracing::warn!(project = %aged.project_id, seen, old, "runs past their age are kept until every rule has seen them");
        }
        let through = seen.min(old);
        let runs = OldRuns {
            tenant_id: aged.tenant_id,
            project_id: aged.project_id,
            after: 0,
            through,
            rules_version: rules.version,
            limit: BATCH,
            now,
        };
        Ok((through > 0).then_some(Step::Runs(runs)).into_iter().collect())
    }

    async fn runs(&self, old: OldRuns) -> Result<Vec<Step>, StoreError> {
        let dropped = match self.parts.store.drop_runs(old).await {
            Ok(dropped) => dropped,
            // Other rules may have to see these changes: the next round looks again.
            Err(StoreError::Stale(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        count("run", dropped.runs);
        count("change", dropped.changes);
        Ok(dropped
            .next
            .map(|after| Step::Runs(OldRuns { after, now: self.parts.clock.now(), ..old }))
            .into_iter()
            .collect())
    }
}

/// A page of blobs, cut into what is asked about together.
async fn page(mut pages: Box<dyn BlobPages>, before: Timestamp) -> Result<Vec<Step>, crate::blob::BlobError> {
    let Some(page) = pages.next().await? else { return Ok(Vec::new()) };
    let old = sweep::old(page, before);
    let blobs = old.chunks(sweep::AT_A_TIME).map(|keys| Step::Blobs { keys: keys.to_vec(), before });
    Ok(blobs.chain([Step::Page { pages, before }]).collect())
}

fn again(kind: &'static str, dropped: crate::store::retention::Dropped, step: Step) -> Vec<Step> {
    count(kind, dropped.rows);
    dropped.more.then_some(step).into_iter().collect()
}

fn count(kind: &'static str, rows: u64) {
    metrics::counter!("runhook_rows_dropped_total", "kind" => kind).increment(rows);
}

#[async_trait::async_trait]
impl Activity for Keeper {
    fn name(&self) -> &'static str {
        "retention"
    }

    async fn pass(&mut self) -> Result<Next, Failed> {
        self.run_pass().await
    }
}
