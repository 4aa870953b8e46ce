//! `POST|GET /feedback`, `GET|PATCH|DELETE /feedback/{id}`.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::{Params, wrong};
use crate::api::problem::Problem;
use crate::api::request;
use crate::crypto;
use crate::ingest::feedback as bodies;
use crate::model::audit::{Action, Object};
use crate::model::feedback::{Feedback, Score};
use crate::model::id::{FeedbackId, ProjectId, RunId, TraceId};
use crate::model::json::RawJson;
use crate::query;
use crate::store::runs::FeedbackQuery;

/// A page when the client does not say how long.
const PAGE: u32 = 100;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/feedback", get(list).post(create))
        .route("/feedback/{id}", get(read).patch(update).delete(delete))
}

/// Feedback as it is shown. The clients need the first six keys, whatever their values.
#[derive(Serialize)]
struct Shown<'a> {
    id: FeedbackId,
    created_at: String,
    modified_at: String,
    run_id: Option<RunId>,
    trace_id: Option<TraceId>,
    key: &'a str,
    score: Option<Score>,
    value: Option<&'a RawJson>,
    comment: Option<&'a str>,
    correction: Option<&'a RawJson>,
    feedback_source: Option<&'a RawJson>,
    session_id: Option<ProjectId>,
    error: Option<bool>,
    /// Whether it is about the root of a trace, as far as is known: about which trace a run belongs to it may come first.
    is_root: bool,
    extra: Option<RawJson>,
    feedback_thread_id: Option<RawJson>,
    feedback_group_id: Option<RawJson>,
    comparative_experiment_id: Option<RawJson>,
}

impl<'a> From<&'a Feedback> for Shown<'a> {
    fn from(feedback: &'a Feedback) -> Self {
        let mut further: BTreeMap<String, RawJson> =
            feedback.extra.as_ref().and_then(|extra| extra.read().ok()).unwrap_or_default();
        Self {
            id: feedback.id,
            created_at: feedback.created_at.with_offset(),
            modified_at: feedback.modified_at.with_offset(),
            run_id: feedback.run_id,
            trace_id: feedback.trace_id,
            key: &feedback.key,
            score: feedback.score,
            value: feedback.value.as_ref(),
            comment: feedback.comment.as_deref(),
            correction: feedback.correction.as_ref(),
            feedback_source: feedback.source.as_ref(),
            session_id: feedback.session_id,
            error: feedback.error,
            is_root: feedback.run_id.is_some_and(|run| feedback.trace_id == Some(run.into())),
            feedback_thread_id: further.remove("feedback_thread_id"),
            extra: further.remove("extra"),
            feedback_group_id: further.remove("feedback_group_id"),
            comparative_experiment_id: further.remove("comparative_experiment_id"),
        }
    }
}

fn shown(feedback: &Feedback) -> Response {
    Json(Shown::from(feedback)).into_response()
}

/// The same id again is the same record again: clients repeat what they got no answer to.
async fn create(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    let fresh = FeedbackId(uuid::Builder::from_random_bytes(crypto::random()).into_uuid());
    let feedback = bodies::read(&body, fresh, api.clock.now(), api.limits.json_depth)?;
    api.intake().feedback(principal.tenant_id, feedback.clone()).await?;
    Ok(shown(&feedback))
}

async fn list(State(api): State<Api>, principal: Principal, params: Params) -> Result<Response, Fault> {
    let narrowing = Narrowing::of(&params)?;
    let query = FeedbackQuery {
        runs: params.ids("run")?,
        keys: params.all("key").map(str::to_owned).collect(),
        projects: params.ids("session")?,
        sources: params.all("source").map(str::to_owned).collect(),
        on_runs: params.one("level").map(is_of_runs).transpose()?,
        created_from: params.time("min_created_at")?,
        created_until: params.time("max_created_at")?,
        before: None,
        limit: params.limit(PAGE)?,
        offset: params.offset()?,
    };
    let (store, tenant) = (api.store.as_ref(), principal.tenant_id);
    let feedback = if narrowing == Narrowing::default() {
        store.list_feedback(tenant, &query).await?
    } else {
        query::feedback::page(store, tenant, &query, |feedback| narrowing.admits(feedback)).await?
    };
    Ok(Json(feedback.iter().map(Shown::from).collect::<Vec<_>>()).into_response())
}

fn is_of_runs(level: &str) -> Result<bool, Problem> {
    match level {
        "run" => Ok(true),
        "session" => Ok(false),
        _ => Err(wrong("level", "must be run or session")),
    }
}

/// What a list is narrowed by that no column says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Narrowing {
    users: Vec<String>,
    has_comment: Option<bool>,
    has_score: Option<bool>,
    experiment: Option<String>,
}

/// Who gave feedback, as a source names them.
#[derive(Default, Deserialize)]
struct Giver {
    user_id: Option<String>,
    ls_user_id: Option<String>,
}

impl Narrowing {
    fn of(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            users: params.all("user").map(str::to_owned).collect(),
            has_comment: params.flag_or_none("has_comment")?,
            has_score: params.flag_or_none("has_score")?,
            experiment: params.one("comparative_experiment_id").map(str::to_owned),
        })
    }

    fn admits(&self, feedback: &Feedback) -> bool {
        let has = |wanted: Option<bool>, there: bool| wanted.is_none_or(|wanted| wanted == there);
        let by = |source: &RawJson| {
            let Giver { user_id, ls_user_id } = source.read().unwrap_or_default();
            [user_id, ls_user_id].iter().flatten().any(|user| self.users.contains(user))
        };
        let further = || feedback.extra.as_ref()?.read::<BTreeMap<String, serde_json::Value>>().ok();
        has(self.has_comment, feedback.comment.is_some())
            && has(self.has_score, feedback.score.is_some())
            && (self.users.is_empty() || feedback.source.as_ref().is_some_and(by))
            && self.experiment.as_ref().is_none_or(|wanted| {
                further()
                    .and_then(|mut extra| extra.remove("comparative_experiment_id"))
                    .is_some_and(|id| id == **wanted)
            })
    }
}

async fn find(api: &Api, principal: Principal, id: &str) -> Result<Feedback, Problem> {
    let id = request::id("feedback_id", id)?;
    api.store.feedback(principal.tenant_id, id).await?.ok_or_else(|| Problem::not_found("feedback"))
}

async fn read(State(api): State<Api>, principal: Principal, Path(id): Path<String>) -> Result<Response, Fault> {
    Ok(shown(&find(&api, principal, &id).await?))
}

async fn update(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let known = find(&api, principal, &id).await?;
    let body = request::body(&api, request).await?;
    let feedback = bodies::update(known, &body, api.clock.now(), api.limits.json_depth)?;
    api.intake().feedback(principal.tenant_id, feedback.clone()).await?;
    Ok(shown(&feedback))
}

async fn delete(State(api): State<Api>, by: By, Path(id): Path<String>) -> Result<Response, Fault> {
    let id: FeedbackId = request::id("feedback_id", &id)?;
    let told = by.entry(&api, Act::new(Action::DeleteFeedback, Object::of_id(id.0)));
    if !api.store.delete_feedback(by.tenant_id, id, api.clock.now(), Some(told)).await? {
        return Err(Problem::not_found("feedback").into());
    }
    api.scheduler.poke();
    Ok(Json(json!({ "message": "deleted" })).into_response())
}
