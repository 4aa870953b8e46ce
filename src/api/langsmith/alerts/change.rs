//! `PATCH /v1/platform/alerts/{session_id}/{alert_rule_id}`: what the body does not name stays, `null` clears; a list of
//! actions replaces the one there is.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::api::Api;
use crate::api::langsmith::fault::Fault;
use crate::api::native::rules::TURN;
use crate::api::problem::Problem;
use crate::api::request;
use crate::model::alert::{Alert, Kept, Standing};
use crate::model::id::TenantId;
use crate::store::alerts::AlertPut;

use super::put::{Body, body, just_before, store};
use super::wish::{self, Wished};
use super::{Asker, actions, answer, find};

/// How often it is tried: an evaluation may come in between, once a minute.
const TRIES: usize = 3;

pub(super) async fn update(
    State(api): State<Api>,
    principal: Asker,
    Path((session, alert)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Fault> {
    let tenant = principal.map_err(Fault::intake)?.tenant_id;
    changed(&api, tenant, (&session, &alert), request).await.map_err(Fault::intake)
}

async fn changed(
    api: &Api,
    tenant: TenantId,
    (session, alert): (&str, &str),
    request: Request,
) -> Result<Response, Problem> {
    // A path that names nothing is told before a body that is wrong.
    find(api, tenant, session, alert).await?;
    let bytes = request::body(api, request).await?;
    let body = body(api, &bytes)?;
    // No key is dropped between sealing with it and storing that.
    let _turn = TURN.lock().await;
    let mut tries = 1;
    loop {
        let kept = find(api, tenant, session, alert).await?;
        let put = laid(api, &kept, &body).await?;
        match store(api, put).await {
            Err(problem) if problem.code == "stale" && tries < TRIES => tries += 1,
            Err(problem) => return Err(problem),
            Ok(()) => break,
        }
    }
    answer(api, StatusCode::OK, &find(api, tenant, session, alert).await?).await
}

/// A body laid over an alert.
async fn laid(api: &Api, kept: &Kept, body: &Body<'_>) -> Result<AlertPut, Problem> {
    let before = &kept.alert;
    let mut wished = Wished::of(before);
    if let Some(keys) = body.rule()? {
        wished.lay(&keys)?;
    }
    let (metric, condition) = wished.measured()?;
    let now = api.clock.now();
    let mut alert = Alert {
        name: wish::required("name", wished.name)?,
        description: wish::required("description", wished.description)?,
        metric,
        condition,
        updated_at: now,
        ..before.clone()
    };
    let (mut put_endpoints, mut remove_endpoints) = (Vec::new(), Vec::new());
    if let Some(raw) = body.actions {
        let stored = actions::stored(api, before).await?;
        let wanted = actions::read(raw, &stored)?;
        (alert.actions, put_endpoints) = actions::sealed(api, &alert, &kept.project, wanted).await?;
        let stays = |id| alert.actions.iter().any(|action| action.endpoint_id == id);
        let left = before.actions.iter().map(|action| action.endpoint_id).filter(|id| !stays(*id));
        remove_endpoints = left.collect();
    }
    // What is counted otherwise is counted anew; whether it fires is found out by that.
    let is_another = (&alert.metric, &alert.condition) != (&before.metric, &before.condition);
    let anew = || {
        let state = &kept.standing;
        (Standing { state: state.state, since: state.since, ..Standing::default() }, just_before(now))
    };
    Ok(AlertPut {
        alert,
        before: Some(kept.version),
        standing: is_another.then(anew),
        put_endpoints,
        remove_endpoints,
        most: api.limits.alerts_per_tenant,
        now,
    })
}
