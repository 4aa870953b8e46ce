//! `POST /v1/platform/alerts/{session_id}`, and what it shares with changing one.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::langsmith::fault::Fault;
use crate::api::native::rules::{TURN, check_endpoints};
use crate::api::problem::Problem;
use crate::api::request;
use crate::crypto;
use crate::ingest::Invalid;
use crate::model::alert::{Alert, Standing, beginning_of, minute_of};
use crate::model::audit::Action;
use crate::model::endpoint::Endpoint;
use crate::model::id::{AlertId, EndpointId, TenantId};
use crate::model::project::Project;
use crate::model::time::Timestamp;
use crate::store::alerts::{AlertPut, Put};

use super::wish::{self, Keys, Wished};
use super::{Asker, actions, answer, object, session};

/// A body.
#[derive(Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, default)]
    pub(super) rule: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) actions: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    /// The keys of its rule.
    pub(super) fn rule(&self) -> Result<Option<Keys<'a>>, Invalid> {
        let read =
            |raw: &'a RawValue| serde_json::from_str(raw.get()).map_err(|_| Invalid::new("rule", "must be an object"));
        self.rule.filter(|raw| raw.get() != "null").map(read).transpose()
    }
}

/// Reads a body.
pub(super) fn body<'a>(api: &Api, bytes: &'a [u8]) -> Result<Body<'a>, Problem> {
    let keys: Keys<'a> = request::keys(api, bytes)?;
    let unknown = keys.keys().find(|key| !["rule", "actions", "id", "state"].contains(&key.as_str()));
    if let Some(unknown) = unknown {
        let shown: String = unknown.chars().take(64).collect();
        return Err(Invalid::new(&shown, "is unknown; known here: rule, actions").into());
    }
    Ok(Body { rule: keys.get("rule").copied(), actions: keys.get("actions").copied() })
}

pub(super) async fn create(
    State(api): State<Api>,
    by: Asker,
    Path(session): Path<String>,
    request: Request,
) -> Result<Response, Fault> {
    let by = by.map_err(Fault::intake)?;
    made(&api, &by, &session, request).await.map_err(Fault::intake)
}

async fn made(api: &Api, by: &By, path: &str, request: Request) -> Result<Response, Problem> {
    let tenant = by.tenant_id;
    let project = session(api, tenant, path).await?;
    let bytes = request::body(api, request).await?;
    let body = body(api, &bytes)?;
    let keys = body.rule()?.ok_or_else(|| Invalid::new("rule", "is missing"))?;
    let mut alert = wished(api, &project, &keys)?;
    let raw = body.actions.ok_or_else(|| Invalid::new("actions", "is missing: it says whom the alert tells"))?;
    let wanted = actions::read(raw, &[])?;
    // No key is dropped between sealing with it and storing that.
    let _turn = TURN.lock().await;
    let (actions, put_endpoints) = actions::sealed(api, &alert, &project.name, wanted).await?;
    check_room(api, tenant, &put_endpoints, &[]).await?;
    alert.actions = actions;
    let now = api.clock.now();
    let standing = Some((Standing::default(), just_before(now)));
    store(
        api,
        AlertPut {
            alert: alert.clone(),
            before: None,
            standing,
            put_endpoints,
            remove_endpoints: Vec::new(),
            most: api.limits.alerts_per_tenant,
            now,
            told: Some(by.entry(api, Act::new(Action::CreateAlert, object(&alert)))),
        },
    )
    .await?;
    let kept = api.store.alert(tenant, alert.id).await?.ok_or_else(|| Problem::not_found("alert rule"))?;
    answer(api, StatusCode::CREATED, &kept).await
}

/// The alert that a rule's keys describe, without its actions.
pub(super) fn wished(api: &Api, project: &Project, keys: &Keys<'_>) -> Result<Alert, Problem> {
    let mut wished = Wished::default();
    wished.lay(keys)?;
    let (metric, condition) = wished.measured()?;
    let now = api.clock.now();
    Ok(Alert {
        tenant_id: project.tenant_id,
        id: AlertId(Uuid::from_bytes(crypto::random())),
        project_id: project.id,
        name: wish::required("name", wished.name)?,
        description: wish::required("description", wished.description)?,
        metric,
        condition,
        actions: Vec::new(),
        created_at: now,
        updated_at: now,
    })
}

/// The minute before this one: so that this one is judged at once.
pub(super) fn just_before(now: Timestamp) -> Timestamp {
    beginning_of(minute_of(now).saturating_sub(1))
}

/// Whether there would be too many endpoints.
pub(super) async fn check_room(
    api: &Api,
    tenant: TenantId,
    put: &[Endpoint],
    removed: &[EndpointId],
) -> Result<(), Problem> {
    let there = api.store.list_endpoints(tenant).await?;
    let is_new = |endpoint: &&Endpoint| !there.iter().any(|other| other.id == endpoint.id);
    let added = put.iter().filter(is_new).count();
    let stay = there.iter().filter(|endpoint| !removed.contains(&endpoint.id)).count();
    if added == 0 { Ok(()) } else { check_endpoints(api, stay.saturating_add(added)) }
}

/// Stores it, and has it evaluated.
pub(super) async fn store(api: &Api, put: AlertPut) -> Result<(), Problem> {
    let most = put.most;
    match api.store.put_alert(put).await? {
        Put::Stored => {
            api.alerts.poke();
            Ok(())
        }
        Put::Full => {
            metrics::counter!("runhook_limit_refusals_total", "limit" => "alerts per tenant").increment(1);
            let detail = format!("alert rule limit reached: there are {most}");
            Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-alerts", detail)
                .hint("remove alert rules, or raise limits.alerts_per_tenant in the configuration"))
        }
    }
}
