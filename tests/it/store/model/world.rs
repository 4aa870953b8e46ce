//! Taking steps: each is made concrete by what the reference holds, asked of every store, and the answers compared.

use runhook::model::delivery::{Attempt, AttemptResult, Delivery, Lease, Outcome};
use runhook::model::id::{DeliveryId, ProjectId, TenantId, WindowId};
use runhook::model::project::Project;
use runhook::model::rule::RuleState;
use runhook::model::run::PartKind;
use runhook::model::sealed::Sealed;
use runhook::model::time::Timestamp;
use runhook::model::window::{GroupKey, Progress, Window};
use runhook::store::collections::ActionsTaken;
use runhook::store::outbox::{Claimant, DeliveryQuery};
use runhook::store::projects::ProjectQuery;
use runhook::store::runs::{Batch, FeedbackQuery, RunQuery};
use runhook::store::windows::WindowCommit;
use runhook::store::{OutboxStore as _, ProjectStore as _, RuleStore as _, Store, WindowStore as _};
use uuid::Uuid;

use super::answer::{self, Answer, answer, everything};
use super::reference::Reference;
use super::samples::{api_key, changes_of, endpoint_id, feedback_of, marker, name, part_of, rule_id, run_ids, tenant};
use super::step::{Item, KeyStep, LookAt, ProjectStep, RULES, Step, TENANTS, WindowStep};
use crate::store::sample::{self, at, run_id, uuid};
use crate::support::outbox;

/// The stores, and the present.
pub(super) struct World<'a> {
    backends: &'a [(&'static str, &'a dyn Store)],
    reference: Reference,
    now: Timestamp,
    /// All leases there ever were.
    leases: Vec<Lease>,
}

/// What differs.
pub(super) type Taken<T = ()> = Result<T, String>;

impl<'a> World<'a> {
    /// Stores that hold nothing yet.
    pub(super) fn of(backends: &'a [(&'static str, &'a dyn Store)]) -> Self {
        Self { backends, reference: Reference::new(), now: at(100), leases: Vec::new() }
    }

    /// Asks all stores the same. Returns what they answer.
    async fn ask<T: PartialEq + std::fmt::Debug>(&self, ask: impl AsyncFn(&dyn Store) -> T) -> Taken<T> {
        let expected = ask(&self.reference).await;
        for (backend, store) in self.backends {
            let found = ask(*store).await;
            if found != expected {
                return Err(format!("{backend} says\n{found:#?}\nand should say\n{expected:#?}"));
            }
        }
        Ok(expected)
    }

    pub(super) async fn take(&mut self, step: &Step) -> Taken {
        match step {
            Step::Accept { tenant, items } => self.accept(*tenant, items).await,
            Step::DeleteFeedback { tenant: of, feedback } => {
                let (of, id, now) = (tenant(*of), sample::feedback_id(*feedback), self.now);
                self.ask(async |store| answer(store.delete_feedback(of, id, now, None).await)).await.map(drop)
            }
            Step::Revise { tenant: of, revision } => {
                let (of, now) = (tenant(*of), self.now);
                let changes = changes_of(of, revision, now);
                self.ask(async |store| answer(store.apply_rules(of, changes.clone(), now).await)).await.map(drop)
            }
            Step::Pause { tenant, rule } => self.set_state(*tenant, *rule, RuleState::Paused).await,
            Step::Resume { tenant, rule } => self.set_state(*tenant, *rule, RuleState::Active).await,
            Step::Project { tenant: of, step } => self.change_project(tenant(*of), step).await,
            Step::Commit { tenant: of, window } => self.commit(tenant(*of), window).await,
            Step::Settle { tenant: of, project, ahead, stale } => {
                let (of, project) = (tenant(*of), self.project(tenant(*of), *project));
                let (seq, version) = (self.last_seq(of, project).await + ahead, self.version(*stale).await);
                self.ask(async |store| answer(store.settle_project(of, project, seq, version).await)).await.map(drop)
            }
            Step::Claim { limit, seconds, crowded } => self.claim(*limit, *seconds, *crowded).await,
            Step::Finish { claim, outcome } => self.finish(*claim, *outcome).await,
            Step::Replay { tenant: of, delivery } => {
                let (of, now) = (tenant(*of), self.now);
                let deliveries = self.deliveries(of).await;
                let ids: Vec<DeliveryId> = deliveries.iter().skip(*delivery).step_by(2).map(|one| one.id).collect();
                self.ask(async |store| answer(store.replay(of, &ids, now, None).await)).await.map(drop)
            }
            Step::Keys(step) => self.keys(step).await,
            Step::Wait(seconds) => {
                self.now = Timestamp(self.now.0 + seconds * 1_000_000);
                Ok(())
            }
            Step::Wipe => self.ask(async |store| answer(store.wipe(None).await)).await.map(drop),
            Step::Look { tenant: of, at } => self.look(tenant(*of), at).await,
        }
    }

    /// That all stores hold the same.
    pub(super) async fn compare(&self) -> Taken {
        let tenants: Vec<TenantId> = (0..TENANTS).map(tenant).collect();
        let expected = everything(&self.reference, &tenants).await;
        for (backend, store) in self.backends {
            let found = everything(*store, &tenants).await;
            if let Some((found, expected)) = found.iter().zip(&expected).find(|(found, expected)| found != expected) {
                let (what, found) = found;
                return Err(format!(
                    "{what}: {backend} holds\n{found}\nand should hold\n{}: {}",
                    expected.0, expected.1
                ));
            }
            if found.len() != expected.len() {
                return Err(format!("{backend} holds {} things of {}", found.len(), expected.len()));
            }
        }
        Ok(())
    }

    async fn accept(&self, of: usize, items: &[Item]) -> Taken {
        let (of, mut batch, now) = (tenant(of), Batch::default(), self.now);
        for item in items {
            match item {
                Item::Part { run, says, named, patch, variant } => {
                    let kind = if *patch { PartKind::Patch } else { PartKind::Post };
                    batch.parts.push(part_of(of, *run, says, named, kind, *variant));
                }
                Item::Feedback { feedback, run, session, score } => {
                    batch.feedback.push(feedback_of(of, *feedback, *run, *session, *score, now));
                }
            }
        }
        self.ask(async |store| answer(store.accept(of, batch.clone(), now).await).map(answer::accepted)).await.map(drop)
    }

    async fn set_state(&self, of: usize, rule: usize, state: RuleState) -> Taken {
        let (of, now) = (tenant(of), self.now);
        self.ask(async |store| answer(store.set_rule_state(of, rule_id(of, rule), state, now, None).await))
            .await
            .map(drop)
    }

    /// The project that has this name now, or would be made for it.
    fn project(&self, of: TenantId, number: usize) -> ProjectId {
        self.reference.project_of_name(of, &name(number)).unwrap_or_else(|| ProjectId::of_name(of, &name(number)))
    }

    async fn last_seq(&self, of: TenantId, project: ProjectId) -> i64 {
        let log = self.reference.changes(of, project, 0, Timestamp(i64::MAX), u32::MAX).await.unwrap_or_default();
        log.last().map_or(0, |change| change.seq)
    }

    async fn version(&self, stale: bool) -> i64 {
        self.reference.rules_version().await.unwrap_or_default() - i64::from(stale)
    }

    async fn deliveries(&self, of: TenantId) -> Vec<Delivery> {
        let all = DeliveryQuery { limit: u32::MAX, ..DeliveryQuery::default() };
        self.reference.list_deliveries(of, &all).await.unwrap_or_default()
    }

    async fn change_project(&self, of: TenantId, step: &ProjectStep) -> Taken {
        let now = self.now;
        match step {
            ProjectStep::Create { id, name: number } => {
                let id = ProjectId(Uuid::from_u128(u128::from(*id) + 100));
                let (description, extra, reference_dataset_id) = (None, None, None);
                let (start_time, end_time, name) = (now, Some(now), name(*number));
                let project =
                    Project { tenant_id: of, id, name, description, extra, reference_dataset_id, start_time, end_time };
                self.ask(async |store| answer(store.create_project(project.clone()).await)).await.map(drop)
            }
            ProjectStep::Rename { project, name: number } => {
                self.update(of, *project, |project| project.name = name(*number)).await
            }
            ProjectStep::Describe { project } => {
                self.update(of, *project, |project| project.description = Some(format!("as of {now}"))).await
            }
            ProjectStep::Delete { project } => {
                let id = self.project(of, *project);
                self.ask(async |store| answer(store.delete_project(of, id, None).await)).await.map(drop)
            }
        }
    }

    async fn update(&self, of: TenantId, number: usize, change: impl FnOnce(&mut Project)) -> Taken {
        let id = self.project(of, number);
        let Ok(Some(mut project)) = self.reference.project(of, id).await else { return Ok(()) };
        change(&mut project);
        self.ask(async |store| answer(store.update_project(project.clone()).await)).await.map(drop)
    }

    async fn commit(&self, of: TenantId, step: &WindowStep) -> Taken {
        let project_id = self.project(of, step.project);
        let version = self.version(step.stale).await;
        let rules = self.reference.list_rules(of).await.unwrap_or_default();
        let standing = self.reference.standing(of, project_id).await.unwrap_or_default();
        let rule = rules.iter().find(|rule| rule.id == rule_id(of, step.rule));
        let span = standing.spans.iter().find(|span| span.rule_id == rule_id(of, step.rule) && step.span);
        let (progress, begins) = match (span, rule) {
            (Some(span), _) => (Progress::Span(span.rule_id), span.after),
            (None, Some(rule)) => {
                let (cadence, settle) = (rule.cadence.clone(), rule.settle);
                let key = GroupKey { tenant_id: of, project_id, cadence, settle };
                let seq = standing.groups.get(&key).map_or(0, |cursor| cursor.seq);
                (Progress::Group(key), seq)
            }
            (None, None) => (Progress::Span(rule_id(of, step.rule)), 0),
        };
        let after = begins + step.ahead;
        let through = (after + step.length).min(self.last_seq(of, project_id).await).max(after);
        let id = WindowId::of(of, project_id, &progress, after, version);
        let (start_time, end_time) = (at(90), self.now);
        let window = Window { id, tenant_id: of, project_id, progress, after, through, start_time, end_time };
        let commit = self.found(window, version, step);
        self.ask(async |store| answer(store.commit_window(commit.clone()).await)).await.map(drop)
    }

    /// A window over nothing finds nothing.
    fn found(&self, window: Window, rules_version: i64, step: &WindowStep) -> WindowCommit {
        let of = window.tenant_id;
        let found = if window.through > window.after { step.matches.as_slice() } else { &[] };
        let matches: Vec<_> = found.iter().map(|(rule, run)| (rule_id(of, *rule), run_id(*run))).collect();
        let (mut messages, mut deliveries) = (Vec::new(), Vec::<Delivery>::new());
        for rule in (0..RULES).map(|rule| rule_id(of, rule)) {
            if !matches.iter().any(|(found, _)| *found == rule) {
                continue;
            }
            let message = runhook::model::message::Message { tenant_id: of, ..sample::message(&window, rule) };
            for (seconds, to) in (0_i64..).zip(&step.to) {
                let due = Timestamp(self.now.0 + seconds * 1_000_000);
                let delivery = Delivery { tenant_id: of, ..sample::delivery(&message, endpoint_id(of, *to), due) };
                if deliveries.iter().all(|other| other.id != delivery.id) {
                    deliveries.push(delivery);
                }
            }
            messages.push(message);
        }
        let settles = step.settles.then_some(window.through);
        WindowCommit {
            window,
            rules_version,
            matches,
            messages,
            deliveries,
            events: Vec::new(),
            actions: ActionsTaken::default(),
            applied_at: self.now,
            settles,
        }
    }

    async fn claim(&mut self, limit: u32, seconds: i64, crowded: Option<u32>) -> Taken {
        let crowded: Vec<_> = crowded.into_iter().map(|endpoint| endpoint_id(tenant(0), endpoint)).collect();
        let shares = self.reference.unambiguous(self.now, limit, &crowded);
        let until = Timestamp(self.now.0 + seconds * 1_000_000);
        let holder = uuid(9, u32::try_from(self.leases.len()).unwrap());
        let claimant = Claimant { holder, now: self.now, until };
        let ask = async |store: &dyn Store| answer(store.claim_deliveries(claimant, &shares).await).map(answer::claims);
        let claims = self.ask(ask).await?;
        self.leases.extend(claims.into_iter().flatten().map(|(lease, ..)| lease));
        Ok(())
    }

    async fn finish(&self, claim: usize, outcome: u8) -> Taken {
        // Counted from the newest, so that most leases are held.
        let Some(lease) = self.leases.iter().rev().nth(claim) else { return Ok(()) };
        if outcome == 4 {
            let put_back = async |store: &dyn Store| answer(store.put_back(std::slice::from_ref(lease)).await);
            return self.ask(put_back).await.map(drop);
        }
        let (started_at, duration_ms) = (self.now, 1_500);
        let result = AttemptResult::answered(500 - u16::from(outcome));
        let attempt = Attempt { number: lease.attempt, started_at, duration_ms, request: None, result };
        let outcome = match outcome {
            0 => Outcome::Delivered,
            1 => Outcome::Retry(Timestamp(self.now.0 + 7_000_000)),
            3 => Outcome::Gone("gone".to_owned()),
            _ => Outcome::Failed("no".to_owned()),
        };
        let ask =
            async |store: &dyn Store| answer(outbox::finish(store, lease, attempt.clone(), outcome.clone()).await);
        self.ask(ask).await.map(drop)
    }

    async fn keys(&self, step: &KeyStep) -> Taken {
        let now = self.now;
        match step {
            KeyStep::Put { key, hash } => {
                self.ask(async |store| answer(store.put_api_key(api_key(*key, *hash), None).await)).await.map(drop)
            }
            KeyStep::Revoke(key) => {
                let id = api_key(*key, 0).id;
                self.ask(async |store| answer(store.revoke_api_key(id, now, None).await)).await.map(drop)
            }
            KeyStep::Marker { name, value } => {
                self.ask(async |store| answer(store.set_marker(&marker(*name), &[*value]).await)).await.map(drop)
            }
            KeyStep::Reseal { endpoint, old, new } => {
                let (id, old, new) = (endpoint_id(tenant(0), *endpoint), Sealed(vec![*old]), Sealed(vec![*new]));
                self.ask(async |store| answer(store.reseal_target(id, &old, new.clone()).await)).await.map(drop)
            }
            KeyStep::CheckWritable => self.ask(async |store| answer(store.check_writable(now).await)).await.map(drop),
        }
    }

    async fn look(&self, of: TenantId, look: &LookAt) -> Taken {
        match look {
            LookAt::Run(run) => {
                let ask = async |store: &dyn Store| {
                    let found = answer(store.run(of, run_id(*run)).await)?;
                    Ok::<_, &'static str>(answer::runs(found.into_iter().collect()))
                };
                self.ask(ask).await.map(drop)
            }
            LookAt::Runs { project, trace, roots, before, limit } => {
                let mut query = RunQuery { roots_only: *roots, limit: *limit, ..RunQuery::default() };
                if let Some(project) = project {
                    query.project_id = Some(self.project(of, *project));
                }
                query.trace_id = trace.map(|run| run_id(run).into());
                query.before = before.map(|run| (at(i64::from(run)), run_id(run)));
                self.ask(async |store| answer(store.list_runs(of, &query).await).map(answer::runs)).await.map(drop)
            }
            LookAt::Feedback { run, key, source, project, limit, offset } => {
                let mut query = FeedbackQuery { limit: *limit, offset: *offset, ..FeedbackQuery::default() };
                query.runs = run.map(run_id).into_iter().collect();
                query.keys = key.then(|| "correct".to_owned()).into_iter().collect();
                query.sources = source.then(|| "api".to_owned()).into_iter().collect();
                if let Some(project) = project {
                    query.projects = vec![self.project(of, *project)];
                }
                self.ask(async |store| answer(store.list_feedback(of, &query).await)).await.map(drop)
            }
            LookAt::Deliveries { state, rule, endpoint, since, before } => {
                let state = ["pending", "delivered", "failed", ""][*state];
                let mut query = DeliveryQuery { limit: 3, ..DeliveryQuery::default() };
                query.state = (!state.is_empty()).then(|| state.to_owned());
                query.rule_id = rule.map(|rule| rule_id(of, rule));
                query.endpoint_id = endpoint.map(|endpoint| endpoint_id(of, endpoint));
                query.since = since.map(|seconds| at(100 + seconds));
                let deliveries = self.deliveries(of).await;
                query.before = before.and_then(|at| deliveries.get(at)).map(|one| (one.created_at, one.id));
                self.ask(async |store| answer(store.list_deliveries(of, &query).await)).await.map(drop)
            }
            LookAt::Projects { name: number, part, limit, offset } => {
                let mut query = ProjectQuery { limit: *limit, offset: *offset, ..ProjectQuery::default() };
                query.name = number.map(name);
                query.name_contains = part.map(|part| ["sup", "ER", "%"][part].to_owned());
                self.ask(async |store| answer(store.list_projects(of, &query).await)).await.map(drop)
            }
            LookAt::Changes { project, after, until, limit } => {
                let (project, until) = (self.project(of, *project), at(100 + until));
                self.ask(async |store| answer(store.changes(of, project, *after, until, *limit).await)).await.map(drop)
            }
            LookAt::Due { after } => {
                let after = after.map(|endpoint| endpoint_id(of, endpoint));
                self.ask(async |store| answer(store.waiting(after, 2).await)).await.map(drop)
            }
            LookAt::SealedAfter(endpoint) => {
                let after = Some(endpoint_id(of, *endpoint));
                let ask = async |store: &dyn Store| -> Answer<Vec<_>> {
                    let targets = answer(store.sealed_targets(after, 2).await)?;
                    Ok(targets.into_iter().map(|(id, sealed)| (id, sealed.0)).collect())
                };
                self.ask(ask).await.map(drop)
            }
        }
    }
}

#[test]
fn the_runs_of_histories_are_those_that_are_compared() {
    assert_eq!(run_ids().last(), Some(&run_id(super::step::RUNS - 1)));
}
