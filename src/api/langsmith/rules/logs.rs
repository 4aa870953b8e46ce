//! `GET /runs/rules/{id}/logs`, `/logs/v2` and `/last_applied`: what a rule did, a row for each run.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::{Params, wrong};
use crate::api::problem::Problem;
use crate::model::id::RunId;
use crate::model::rule::{GroupBy, Rule};
use crate::model::thread;
use crate::model::time::Timestamp;
use crate::store::rule_log::{LogEntry, LogQuery};

use super::find;

/// A page when the client does not say how long, and the longest one.
const PAGE: u32 = 150;
const LONGEST: u32 = 1440;

/// Runs that are read together for their threads.
const TOGETHER: usize = 256;

pub(super) async fn logs(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Fault> {
    let rule = find(&api, principal.tenant_id, &id).await?;
    let query = LogQuery { offset: params.offset()?, ..query(&params)? };
    let found = api.store.rule_log(principal.tenant_id, rule.id, &query).await?;
    Ok(Json(all(&api, &rule, &found).await?).into_response())
}

pub(super) async fn pages(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Fault> {
    let rule = find(&api, principal.tenant_id, &id).await?;
    let mut query = query(&params)?;
    query.before = params.one("cursor").map(read_cursor).transpose()?;
    let length = query.limit;
    query.limit = length.saturating_add(1);
    let mut found = api.store.rule_log(principal.tenant_id, rule.id, &query).await?;
    let has_more = u32::try_from(found.len()).is_ok_and(|found| found > length);
    found.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    let cursor = found.last().filter(|_| has_more).map(cursor);
    let logs = all(&api, &rule, &found).await?;
    Ok(Json(json!({ "logs": logs, "cursor": cursor, "has_more": has_more })).into_response())
}

pub(super) async fn last_applied(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Fault> {
    let rule = find(&api, principal.tenant_id, &id).await?;
    let query = LogQuery { limit: 1, is_span: params.flag("backfill").then_some(true), ..LogQuery::default() };
    let found = api.store.rule_log(principal.tenant_id, rule.id, &query).await?;
    let mut shown = all(&api, &rule, &found).await?;
    let entry = shown.pop().ok_or_else(|| Problem::not_found("an application of the rule"))?;
    Ok(Json(entry).into_response())
}

fn query(params: &Params) -> Result<LogQuery, Problem> {
    Ok(LogQuery {
        project_id: params.ids("session_id")?.first().copied(),
        from: instant(params, "start_time")?,
        until: instant(params, "end_time")?,
        is_span: params.one("backfill").map(|_| params.flag("backfill")),
        limit: params.limit_within(PAGE, LONGEST)?,
        ..LogQuery::default()
    })
}

fn instant(params: &Params, name: &str) -> Result<Option<Timestamp>, Problem> {
    let read = |text: &str| Timestamp::parse(text).map_err(|error| wrong(name, format!("is not a time: {error}")));
    params.one(name).map(read).transpose()
}

/// A place in the log: the instant and the run of the row before.
fn cursor(entry: &LogEntry) -> String {
    format!("{}.{}", entry.applied_at.0, entry.run_id)
}

fn read_cursor(text: &str) -> Result<(Timestamp, RunId), Problem> {
    let read = || {
        let (at, run) = text.split_once('.')?;
        Some((Timestamp(at.parse().ok()?), run.parse().ok()?))
    };
    read().ok_or_else(|| wrong("cursor", "is not one that this server gave"))
}

/// Entries as they are shown. Those of a rule on threads say which thread, while the run is there.
async fn all(api: &Api, rule: &Rule, entries: &[LogEntry]) -> Result<Vec<Value>, Problem> {
    let mut threads: HashMap<RunId, String> = HashMap::new();
    if rule.group_by == Some(GroupBy::Thread) {
        let runs: Vec<RunId> = entries.iter().map(|entry| entry.run_id).collect();
        for runs in runs.chunks(TOGETHER) {
            let found = api.store.runs(rule.tenant_id, runs).await?.into_iter();
            threads
                .extend(found.filter_map(|stored| Some((stored.run.id, thread::named(stored.run.extra.as_ref()?)?))));
        }
    }
    Ok(entries.iter().map(|entry| shown(rule, entry, threads.get(&entry.run_id))).collect())
}

/// What is said of a webhook is that its notification was committed with the match. How it fared is the deliveries'.
fn shown(rule: &Rule, entry: &LogEntry, thread: Option<&String>) -> Value {
    let (start, end) = entry.window.unwrap_or((entry.applied_at, entry.applied_at));
    let mut shown = json!({
        "rule_id": rule.id,
        "run_id": entry.run_id,
        "run_name": entry.run_name,
        "run_type": entry.run_type,
        "run_session_id": entry.project_id,
        "start_time": start.with_offset(),
        "end_time": end.with_offset(),
        "application_time": entry.applied_at.with_offset(),
        "thread_id": thread,
        "add_to_annotation_queue": null,
        "add_to_dataset": null,
        "evaluators": null,
        "alerts": null,
        "webhooks": null,
        "extend_only": null,
    });
    if let Some(shown) = shown.as_object_mut() {
        if !rule.endpoints.is_empty() {
            let payload = json!({ "deliveries": format!("/v1/deliveries?rule={}", rule.key) });
            shown.insert("webhooks".to_owned(), json!({ "outcome": "success", "payload": payload }));
        }
        let outcome: Map<String, Value> =
            entry.outcome.as_ref().and_then(|outcome| outcome.read().ok()).unwrap_or_default();
        shown.extend(outcome);
    }
    shown
}
