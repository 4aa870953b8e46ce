//! `/runs/rules`: rules under LangSmith's name and in its words, beside those that files have.
//!
//! A rule made here belongs to a session and follows it when that is renamed. A rule that came from a file is shown with
//! its origin, and only the file changes it. What this server would not do (evaluators, alerts, spend limits)
//! is refused when it is asked for, never stored and forgotten.

mod create;
mod delete;
mod list;
mod logs;
mod shown;
mod trigger;
mod update;
mod webhooks;
mod wish;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, patch, post};

use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::request;
use crate::model::id::{RuleId, TenantId};
use crate::model::rule::Rule;

pub(in crate::api::langsmith) use wish::filter;

/// The routes of this folder.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/runs/rules", get(list::list).post(create::create))
        .route("/runs/rules/trigger", post(trigger::trigger_all))
        .route("/runs/rules/{id}", patch(update::update).delete(delete::delete))
        .route("/runs/rules/{id}/trigger", post(trigger::trigger))
        .route("/runs/rules/{id}/logs", get(logs::logs))
        .route("/runs/rules/{id}/logs/v2", get(logs::pages))
        .route("/runs/rules/{id}/last_applied", get(logs::last_applied))
}

async fn find(api: &Api, tenant: TenantId, id: &str) -> Result<Rule, Problem> {
    let id: RuleId = request::id("rule_id", id)?;
    let rules = api.store.list_rules(tenant).await?;
    rules.into_iter().find(|rule| rule.id == id).ok_or_else(|| Problem::not_found("rule"))
}

/// A rule that this surface may change.
async fn find_own(api: &Api, tenant: TenantId, id: &str) -> Result<Rule, Problem> {
    let rule = find(api, tenant, id).await?;
    if rule.is_registered() {
        return Ok(rule);
    }
    let origin = rule.origin.as_deref().unwrap_or("a file");
    let detail =
        format!("the rule `{}` came from {origin} and is read-only here: change it there and apply it", rule.key);
    Err(Problem::new(StatusCode::CONFLICT, "rule-from-file", detail))
}
