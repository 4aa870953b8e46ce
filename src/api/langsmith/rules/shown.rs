//! A rule as LangSmith's clients read it, secrets masked, with its origin.

use std::collections::HashMap;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Api;
use crate::api::langsmith::fault::Fault;
use crate::api::problem::Problem;
use crate::model::collection::CollectionKind;
use crate::model::endpoint::Endpoint;
use crate::model::glob::Glob;
use crate::model::id::{ProjectId, TenantId, derived};
use crate::model::rule::{Rule, RuleState};
use crate::model::time::Timestamp;
use crate::model::window::Seq;
use crate::store::collections::CollectionQuery;
use crate::store::projects::ProjectQuery;

use super::webhooks;

/// How far a rule has come with looking back.
struct Backfill {
    id: Uuid,
    status: &'static str,
    progress: f64,
}

/// One rule, as the answer to a request.
pub(super) async fn answer(api: &Api, tenant: TenantId, rule: Rule) -> Result<Response, Fault> {
    let mut shown = all(api, tenant, std::slice::from_ref(&rule)).await?;
    Ok(Json(shown.pop()).into_response())
}

/// Rules, in their order.
pub(super) async fn all(api: &Api, tenant: TenantId, rules: &[Rule]) -> Result<Vec<Value>, Problem> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let endpoints = api.store.list_endpoints(tenant).await?;
    let ids: Vec<ProjectId> = rules.iter().filter_map(|rule| session(tenant, rule)).collect();
    let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1);
    let query = ProjectQuery { ids, limit, ..ProjectQuery::default() };
    let sessions = if query.ids.is_empty() { Vec::new() } else { api.store.list_projects(tenant, &query).await? };
    let filled = collections(api, tenant, rules).await?;
    let names: HashMap<ProjectId, String> = sessions.into_iter().map(|project| (project.id, project.name)).collect();
    let mut shown = Vec::with_capacity(rules.len());
    for rule in rules {
        let session = session(tenant, rule).and_then(|id| names.get_key_value(&id));
        // A project that was renamed away holds the id that follows from its old name.
        let session = session.filter(|(_, name)| rule.is_registered() || **name == rule.project);
        let mut one = one(rule, &endpoints, session, backfill(api, tenant, rule).await?.as_ref());
        if let Some(one) = one.as_object_mut() {
            let dataset = rule.actions.add_to_dataset_id.and_then(|id| filled.get(&id.0));
            let queue = rule.actions.add_to_annotation_queue_id.and_then(|id| filled.get(&id.0));
            one.insert("add_to_dataset_name".to_owned(), json!(dataset));
            one.insert("add_to_annotation_queue_name".to_owned(), json!(queue));
        }
        shown.push(one);
    }
    Ok(shown)
}

/// The names of what rules fill.
async fn collections(api: &Api, tenant: TenantId, rules: &[Rule]) -> Result<HashMap<Uuid, String>, Problem> {
    let datasets = rules.iter().filter_map(|rule| rule.actions.add_to_dataset_id).map(|id| id.0);
    let queues = rules.iter().filter_map(|rule| rule.actions.add_to_annotation_queue_id).map(|id| id.0);
    let wanted = [(CollectionKind::Dataset, datasets.collect::<Vec<_>>()), (CollectionKind::Queue, queues.collect())];
    let mut names = HashMap::new();
    for (kind, ids) in wanted.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let query = CollectionQuery { ids, limit, ..CollectionQuery::default() };
        let found = api.store.list_collections(tenant, kind, &query).await?;
        names.extend(found.into_iter().map(|(collection, _)| (collection.id, collection.name)));
    }
    Ok(names)
}

/// The session a rule watches, when it is a single one.
fn session(tenant: TenantId, rule: &Rule) -> Option<ProjectId> {
    match &rule.registration {
        Some(registration) => Some(registration.project_id),
        None => Glob::parse(&rule.project).exact().map(|name| ProjectId::of_name(tenant, name)),
    }
}

fn one(
    rule: &Rule,
    endpoints: &[Endpoint],
    session: Option<(&ProjectId, &String)>,
    backfill: Option<&Backfill>,
) -> Value {
    let find = |id| endpoints.iter().find(|endpoint| endpoint.id == id);
    let registration = rule.registration.as_ref();
    let mut shown = json!({
        "id": rule.id,
        "tenant_id": rule.tenant_id,
        "display_name": rule.name,
        "is_enabled": rule.state == RuleState::Active,
        "sampling_rate": rule.sampling_rate,
        "session_id": session.map(|(id, _)| id),
        "session_name": session.map(|(_, name)| name),
        "dataset_id": null,
        "dataset_name": null,
        "filter": rule.filter,
        "trace_filter": rule.trace_filter,
        "tree_filter": rule.tree_filter,
        "group_by": rule.group_by,
        "add_to_dataset_id": rule.actions.add_to_dataset_id,
        "add_to_dataset_prefer_correction": rule.actions.prefer_correction,
        "add_to_annotation_queue_id": rule.actions.add_to_annotation_queue_id,
        "webhooks": rule.endpoints.iter().filter_map(|id| find(*id)).map(webhooks::shown).collect::<Vec<_>>(),
        "alerts": null,
        "evaluators": null,
        "code_evaluators": null,
        "evaluator_version": 1,
        "extend_only": false,
        "transient": false,
        "created_at": registration.map(|registration| registration.created_at.with_offset()),
        "updated_at": registration.map(|registration| registration.updated_at.with_offset()),
        "key": rule.key,
        "project": rule.project,
        "origin": rule.origin,
        "read_only": !rule.is_registered(),
    });
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("backfill_from".to_owned(), json!(rule.backfill_from.map(Timestamp::with_offset)));
        shown.insert("backfill_id".to_owned(), json!(backfill.map(|backfill| backfill.id)));
        shown.insert("backfill_status".to_owned(), json!(backfill.map(|backfill| backfill.status)));
        shown.insert("backfill_progress".to_owned(), json!(backfill.map(|backfill| backfill.progress)));
        shown.insert("backfill_error".to_owned(), Value::Null);
        shown.insert("backfill_completed_at".to_owned(), Value::Null);
    }
    shown
}

/// What is left of a rule's looking back, against all it had to look at: changes of its session from `backfill_from` to
/// when it was told to.
async fn backfill(api: &Api, tenant: TenantId, rule: &Rule) -> Result<Option<Backfill>, Problem> {
    let Some((registration, from)) = rule.registration.as_ref().zip(rule.backfill_from) else { return Ok(None) };
    let Some(told_at) = registration.backfilled_at else { return Ok(None) };
    let project = registration.project_id;
    let begin = api.store.last_change_before(tenant, project, from).await?;
    let end = api.store.last_change_before(tenant, project, told_at).await?;
    let spans = api.store.standing(tenant, project).await?.spans;
    let left = spans.iter().filter(|span| span.rule_id == rule.id);
    let left: Seq = left.map(|span| span.through.min(end).saturating_sub(span.after.max(begin)).max(0)).sum();
    let id = derived("backfill", &[rule.id.0.as_bytes(), &told_at.0.to_be_bytes()]);
    let (status, progress) = match end.saturating_sub(begin) {
        all if all > 0 && left > 0 => ("running", 1.0 - share(left, all)),
        _ => ("completed", 1.0),
    };
    Ok(Some(Backfill { id, status, progress }))
}

#[expect(clippy::cast_precision_loss, reason = "progress is read by people")]
fn share(part: Seq, all: Seq) -> f64 {
    part as f64 / all as f64
}
