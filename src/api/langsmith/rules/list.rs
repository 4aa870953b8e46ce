//! `GET /runs/rules`: all rules, those of files included.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::Params;
use crate::model::glob::Glob;
use crate::model::id::{DatasetId, ProjectId, RuleId};
use crate::model::rule::Rule;

use super::shown;

pub(super) async fn list(State(api): State<Api>, principal: Principal, params: Params) -> Result<Response, Fault> {
    params.refuse(&["tag_value_id", "evaluator_id"])?;
    let tenant = principal.tenant_id;
    let ids: Vec<RuleId> = params.ids("id")?;
    let sessions: Vec<ProjectId> = params.ids("session_id")?;
    let datasets: Vec<DatasetId> = params.ids("dataset_id")?;
    let contains = params.one("name_contains").map(str::to_lowercase);
    let mut rules = api.store.list_rules(tenant).await?;
    rules.retain(|rule| rule.event.is_none());
    if !datasets.is_empty() || params.one("type").is_some_and(|kind| kind != "session") {
        // Rules here watch sessions.
        rules.clear();
    }
    if let Some(id) = sessions.first() {
        let project = api.store.project(tenant, *id).await?;
        let watches = |rule: &Rule| {
            rule.belongs_to(*id)
                || project
                    .as_ref()
                    .is_some_and(|project| !rule.is_registered() && Glob::parse(&rule.project).matches(&project.name))
        };
        rules.retain(watches);
    }
    rules.retain(|rule| ids.is_empty() || ids.contains(&rule.id));
    rules.retain(|rule| contains.as_ref().is_none_or(|part| rule.name.to_lowercase().contains(part)));
    Ok(Json(shown::all(&api, tenant, &rules).await?).into_response())
}
