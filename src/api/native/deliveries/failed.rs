//! `/v1/deliveries/failed`: what failed for good and waits for somebody, counted by endpoint and rule, each with its last
//! reason, and page by page, the last that failed first.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::store::failed::FailedQuery;

use super::selection::{self, Wanted, instant};
use super::shown::{Alert, Line, Names, Rule, Where};
use super::{LARGEST, PAGE};

/// Deliveries that are counted, of those that failed last.
const COUNTED: u32 = 100_000;

/// Pairs of an endpoint and a rule that are told.
const GROUPS: usize = 500;

/// The query. Instants are those of the failures.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    rule: Option<String>,
    endpoint: Option<String>,
    status: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Answer {
    /// Absent on pages that follow another.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
    deliveries: Vec<Line>,
    /// What to ask for as `cursor` to get the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Counts {
    /// How many deliveries were counted.
    total: u64,
    /// Whether there are more than are counted.
    more: bool,
    /// The most first.
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    endpoint: Where,
    rule: Option<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert>,
    count: u64,
    last_failed_at: String,
    last_reason: String,
}

pub(super) async fn failed(
    State(api): State<Api>,
    principal: Principal,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Query(asked) = asked.map_err(|error| {
        Problem::malformed(error.body_text()).hint("known here: rule, endpoint, status, since, until, limit, cursor")
    })?;
    let (tenant, now) = (principal.tenant_id, api.clock.now());
    let query = FailedQuery {
        rule_id: match &asked.rule {
            Some(rule) => Some(selection::rule_id(&api, tenant, rule).await?),
            None => None,
        },
        endpoint_id: match &asked.endpoint {
            Some(endpoint) => Some(selection::endpoint_id(&api, tenant, endpoint).await?),
            None => None,
        },
        statuses: asked.status.as_deref().map(selection::statuses).transpose()?,
        since: asked.since.map(|text| instant(&text, now)).transpose()?,
        until: asked.until.map(|text| instant(&text, now)).transpose()?,
        ..FailedQuery::default()
    };
    let counts = if asked.cursor.is_none() { Some(counts(&api, &query, principal).await?) } else { None };
    let limit = asked.limit.unwrap_or(PAGE).clamp(1, LARGEST);
    let found = selection::page(&api, tenant, &Wanted::Failed(query), limit, asked.cursor.as_deref()).await?;
    let names = Names::of(&api, tenant, &found.deliveries).await?;
    let deliveries = found.deliveries.iter().map(|delivery| names.line(delivery)).collect();
    Ok(Json(Answer { counts, deliveries, next: found.next }))
}

async fn counts(api: &Api, query: &FailedQuery, principal: Principal) -> Result<Counts, Problem> {
    let tenant = principal.tenant_id;
    let counted = api.store.count_failed(tenant, &FailedQuery { limit: COUNTED, ..query.clone() }).await?;
    let total = counted.iter().map(|group| group.count).sum();
    let told = counted.get(..GROUPS).unwrap_or(&counted);
    let sources = told.iter().map(|group| group.source).collect();
    let names = Names::named(api, tenant, sources, told.iter().map(|group| group.endpoint_id).collect()).await?;
    let groups = told
        .iter()
        .map(|group| Group {
            endpoint: names.place(group.endpoint_id),
            rule: names.rule(group.source),
            alert: names.alert(group.source),
            count: group.count,
            last_failed_at: group.last_at.to_string(),
            last_reason: group.last_reason.clone(),
        })
        .collect();
    Ok(Counts { total, more: total >= u64::from(COUNTED), groups })
}
