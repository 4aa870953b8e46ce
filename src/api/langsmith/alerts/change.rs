//! `PATCH /v1/platform/alerts/{session_id}/{alert_rule_id}`: what the body does not name stays, `null` clears; a list of
//! actions replaces the one there is.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::langsmith::fault::Fault;
use crate::api::native::rules::TURN;
use crate::api::problem::Problem;
use crate::api::request;
use crate::model::alert::{Alert, Kept, Standing};
use crate::model::audit::Action;
use crate::store::alerts::AlertPut;

use super::put::{Body, body, check_room, just_before, store};
use super::wish::{self, Wished};
use super::{Asker, actions, answer, find, object};

/// How often it is tried: an evaluation may come in between, once a minute.
const TRIES: usize = 3;

pub(super) async fn update(
    State(api): State<Api>,
    by: Asker,
    Path((session, alert)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Fault> {
    let by = by.map_err(Fault::intake)?;
    changed(&api, &by, (&session, &alert), request).await.map_err(Fault::intake)
}

async fn changed(api: &Api, by: &By, (session, alert): (&str, &str), request: Request) -> Result<Response, Problem> {
    let tenant = by.tenant_id;
    // A path that names nothing is told before a body that is wrong.
    find(api, tenant, session, alert).await?;
    let bytes = request::body(api, request).await?;
    let body = body(api, &bytes)?;
    // No key is dropped between sealing with it and storing that.
    let _turn = TURN.lock().await;
    let mut tries = 1;
    loop {
        let kept = find(api, tenant, session, alert).await?;
        let put = laid(api, by, &kept, &body).await?;
        match store(api, put).await {
            Err(problem) if problem.code == "stale" && tries < TRIES => tries += 1,
            Err(problem) => return Err(problem),
            Ok(()) => break,
        }
    }
    answer(api, StatusCode::OK, &find(api, tenant, session, alert).await?).await
}

/// A body laid over an alert.
async fn laid(api: &Api, by: &By, kept: &Kept, body: &Body<'_>) -> Result<AlertPut, Problem> {
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
        check_room(api, before.tenant_id, &put_endpoints, &remove_endpoints).await?;
    }
    // What is counted otherwise is counted anew; whether it fires is found out by that.
    let is_another = (&alert.metric, &alert.condition) != (&before.metric, &before.condition);
    let anew = || {
        let state = &kept.standing;
        (Standing { state: state.state, since: state.since, ..Standing::default() }, just_before(now))
    };
    let fields = fields(before, &alert, body);
    let act = || Act::new(Action::UpdateAlert, object(&alert)).with(json!({ "fields": fields }));
    let told = (!fields.is_empty()).then(|| by.entry(api, act()));
    Ok(AlertPut {
        alert,
        before: Some(kept.version),
        standing: is_another.then(anew),
        put_endpoints,
        remove_endpoints,
        most: api.limits.alerts_per_tenant,
        now,
        told,
    })
}

/// The fields that change. A list of actions always does: it is sealed anew.
fn fields(before: &Alert, after: &Alert, body: &Body<'_>) -> Vec<&'static str> {
    let (metric, condition) = (&before.metric, &before.condition);
    let fields = [
        ("name", before.name != after.name),
        ("description", before.description != after.description),
        ("attribute", metric.attribute != after.metric.attribute),
        ("aggregation", metric.aggregation != after.metric.aggregation),
        ("filter", metric.filter != after.metric.filter),
        ("denominator_filter", metric.denominator_filter != after.metric.denominator_filter),
        ("operator", condition.operator != after.condition.operator),
        ("window_minutes", condition.window_minutes != after.condition.window_minutes),
        ("threshold", condition.against != after.condition.against),
        ("actions", body.actions.is_some()),
    ];
    fields.into_iter().filter(|(_, changes)| *changes).map(|(name, _)| name).collect()
}
