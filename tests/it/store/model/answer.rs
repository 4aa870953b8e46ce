//! Answers as they can be compared: what comes in no order is put in one, and of an error only its kind counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use runhook::model::delivery::{Delivery, Lease};
use runhook::model::endpoint::Endpoint;
use runhook::model::feedback::Feedback;
use runhook::model::id::{EndpointId, ProjectId, RuleId, RunId, TenantId, ThreadId};
use runhook::model::message::Message;
use runhook::model::run::{Run, StoredRun};
use runhook::model::sealed::Sealed;
use runhook::model::time::Timestamp;
use runhook::model::window::{Cursor, GroupKey, Seq, Span};
use runhook::store::names::EndpointMark;
use runhook::store::outbox::{Claim, DeliveryQuery};
use runhook::store::projects::ProjectQuery;
use runhook::store::runs::{Accepted, FeedbackQuery, RunQuery};
use runhook::store::windows::{Standing, Stirred};
use runhook::store::{Result, Store, StoreError};

use super::samples::{marker, rule_id, run_ids, thread};
use super::step::RULES;

/// What kind of error it is.
pub(super) fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Busy { .. } => "busy",
        StoreError::Full => "full",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Stale(_) => "stale",
        StoreError::Conflict(_) => "conflict",
        StoreError::NotFound(_) => "not found",
        StoreError::Unusable(_) => "unusable",
        StoreError::Corrupt { .. } => "corrupt",
        StoreError::Internal(_) => "internal",
    }
}

pub(super) type Answer<T> = std::result::Result<T, &'static str>;

pub(super) fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map_err(|error| kind(&error))
}

/// Which runs had parts that were refused, and whether anything changed.
pub(super) fn accepted(accepted: Accepted) -> (Vec<RunId>, bool) {
    (accepted.refused.into_iter().map(|refusal| refusal.run_id).collect(), accepted.changed)
}

pub(super) type Shown = (Run, Vec<Feedback>, Seq);

pub(super) fn runs(stored: Vec<StoredRun>) -> Vec<Shown> {
    stored.into_iter().map(|stored| (stored.run, stored.feedback, stored.changed_seq)).collect()
}

fn unordered(stored: Vec<StoredRun>) -> Vec<Shown> {
    let mut runs = runs(stored);
    runs.sort_by_key(|(run, _, _)| run.id);
    runs
}

pub(super) type Claimed = (Lease, Delivery, Arc<Endpoint>, Option<Arc<Message>>);

pub(super) fn claims(claims: Vec<Claim>) -> Vec<Claimed> {
    claims.into_iter().map(|claim| (claim.lease, claim.delivery, claim.endpoint, claim.message)).collect()
}

type Standings = (BTreeMap<GroupKey, Cursor>, Seq, Vec<Span>);

fn standing(standing: Standing) -> Standings {
    let mut spans = standing.spans;
    spans.sort_by_key(|span| (span.rule_id, span.after));
    (standing.groups.into_iter().collect(), standing.last_start, spans)
}

fn stirred(mut stirred: Vec<Stirred>) -> Vec<Stirred> {
    stirred.sort_by_key(|project| (project.tenant_id, project.project_id));
    stirred
}

fn sealed(targets: Vec<(EndpointId, Sealed)>) -> Vec<(EndpointId, Vec<u8>)> {
    targets.into_iter().map(|(id, sealed)| (id, sealed.0)).collect()
}

/// All that can be read of a store, piece by piece, in words that can be compared.
pub(super) async fn everything(store: &dyn Store, tenants: &[TenantId]) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut tell = |what: String, answer: &dyn std::fmt::Debug| told.push((what, format!("{answer:#?}")));
    tell("version".into(), &answer(store.rules_version().await));
    tell("stirred".into(), &answer(store.stirred_projects().await.map(stirred)));
    tell("next due".into(), &answer(store.next_due().await));
    tell("waiting".into(), &answer(store.waiting(None, 100).await));
    tell("api keys".into(), &answer(store.api_keys().await));
    tell("sealed".into(), &answer(store.sealed_targets(None, 100).await.map(sealed)));
    for name in 0..2 {
        tell(marker(name), &answer(store.marker(&marker(name)).await));
    }
    let active = store.active_rules().await.map(|mut snapshot| {
        snapshot.rules.sort_by_key(|rule| (rule.tenant_id, rule.id));
        (snapshot.version, snapshot.rules)
    });
    tell("active rules".into(), &answer(active));
    for tenant in tenants {
        for (what, answer) in of_tenant(store, *tenant).await {
            told.push((format!("{what} of tenant {tenant}"), answer));
        }
    }
    told
}

async fn of_tenant(store: &dyn Store, tenant: TenantId) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut tell = |what: String, answer: &dyn std::fmt::Debug| told.push((what, format!("{answer:#?}")));
    tell("runs".into(), &answer(store.runs(tenant, &run_ids()).await.map(unordered)));
    let all = RunQuery { limit: 100, ..RunQuery::default() };
    tell("list of runs".into(), &answer(store.list_runs(tenant, &all).await.map(runs)));
    let all = FeedbackQuery { limit: 100, ..FeedbackQuery::default() };
    let feedback = store.list_feedback(tenant, &all).await;
    for record in feedback.iter().flatten() {
        tell("feedback".into(), &answer(store.feedback(tenant, record.id).await));
    }
    tell("list of feedback".into(), &answer(feedback));
    tell("rules".into(), &answer(store.list_rules(tenant).await));
    let endpoints = store.list_endpoints(tenant).await.map(|mut endpoints| {
        endpoints.sort_by_key(|endpoint| endpoint.id);
        endpoints
    });
    tell("endpoints".into(), &answer(endpoints));
    tell("pages of endpoints".into(), &pages_of_endpoints(store, tenant).await);
    let pairs: Vec<(RuleId, RunId)> =
        (0..RULES).flat_map(|rule| run_ids().map(|run| (rule_id(tenant, rule), run))).collect();
    let matched = store.matched(tenant, &pairs).await.map(|found| found.into_iter().collect::<BTreeSet<_>>());
    tell("matches".into(), &answer(matched));
    for rule in 0..RULES {
        tell(format!("windows of rule {rule}"), &answer(store.rule_windows(tenant, rule_id(tenant, rule), 100).await));
    }
    let all = DeliveryQuery { limit: 1000, ..DeliveryQuery::default() };
    let deliveries = store.list_deliveries(tenant, &all).await;
    for delivery in deliveries.iter().flatten() {
        tell("delivery".into(), &answer(store.delivery(tenant, delivery.id).await));
        tell("message".into(), &answer(store.message(tenant, delivery.message_id).await));
    }
    tell("deliveries".into(), &answer(deliveries));
    let projects = store.list_projects(tenant, &ProjectQuery { limit: 100, ..ProjectQuery::default() }).await;
    for project in projects.iter().flatten() {
        told.extend(of_project(store, tenant, project.id).await);
    }
    told.push(("projects".into(), format!("{:#?}", answer(projects))));
    told
}

async fn of_project(store: &dyn Store, tenant: TenantId, project: ProjectId) -> Vec<(String, String)> {
    let changes = store.changes(tenant, project, 0, Timestamp(i64::MAX), 10_000).await;
    let traces: Vec<_> = run_ids().into_iter().map(Into::into).collect();
    let traces = store.traces(tenant, project, &traces).await.map(unordered);
    let threads: Vec<ThreadId> = (0..=u8::MAX).take(8).map(|variant| ThreadId::of_name(&thread(variant))).collect();
    let turns = store.turns(tenant, project, &threads, 2).await.map(|mut turns| {
        turns.sort_by_key(|turn| turn.run_id);
        turns
    });
    let threads = store.threads_of(tenant, project, &run_ids()).await.map(BTreeMap::from_iter);
    let stands = store.standing(tenant, project).await.map(standing);
    let starts = store.starts(tenant, project, 1).await.map(|starts| starts.into_iter().collect::<BTreeMap<_, _>>());
    vec![
        (format!("starts in {project}"), format!("{:#?}", answer(starts))),
        (format!("project {project}"), format!("{:#?}", answer(store.project(tenant, project).await))),
        (format!("changes of {project}"), format!("{:#?}", answer(changes))),
        (format!("threads of {project}"), format!("{:#?} {:#?}", answer(threads), answer(turns))),
        (format!("traces of {project}"), format!("{:#?}", answer(traces))),
        (format!("standing in {project}"), format!("{:#?}", answer(stands))),
    ]
}

/// The endpoints as small pages have them, each looked up again by its id and its key.
async fn pages_of_endpoints(store: &dyn Store, tenant: TenantId) -> Vec<String> {
    let (mut told, mut after) = (Vec::new(), None);
    while let Ok(page) = store.endpoint_page(tenant, after.as_ref(), 2).await {
        let Some(last) = page.last() else { break };
        after = Some(EndpointMark::of(last));
        for endpoint in page {
            told.push(format!("{:?}", answer(store.endpoints(tenant, &[endpoint.id]).await)));
            if let Some(key) = &endpoint.key {
                told.push(format!("{:?}", answer(store.endpoint_of_key(tenant, key).await)));
            }
        }
    }
    told
}
