//! `POST /runs/stats`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::search::{Keys, asked, refused};
use crate::api::langsmith::wire::{self, shown_stats};
use crate::api::request;
use crate::model::time::Timestamp;
use crate::model::usage::{Amounts, Counts};
use crate::query;

/// Statistics as they are shown.
#[derive(Serialize)]
pub(in crate::api::langsmith) struct Shown {
    run_count: u64,
    latency_p50: Option<f64>,
    latency_p99: Option<f64>,
    first_token_p50: Option<f64>,
    first_token_p99: Option<f64>,
    total_tokens: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    median_tokens: Option<i64>,
    total_tokens_p50: Option<i64>,
    total_tokens_p99: Option<i64>,
    prompt_tokens_p50: Option<i64>,
    prompt_tokens_p99: Option<i64>,
    completion_tokens_p50: Option<i64>,
    completion_tokens_p99: Option<i64>,
    last_run_start_time: Option<String>,
    feedback_stats: BTreeMap<String, wire::Stats>,
    run_facets: Vec<()>,
    error_rate: Option<f64>,
    streaming_rate: Option<f64>,
    total_cost: Option<Decimal>,
    prompt_cost: Option<Decimal>,
    completion_cost: Option<Decimal>,
    prompt_token_details: Counts,
    completion_token_details: Counts,
    prompt_cost_details: Amounts,
    completion_cost_details: Amounts,
    cost_p50: Option<Decimal>,
    cost_p99: Option<Decimal>,
}

pub(super) async fn stats(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let tenant = principal.tenant_id;
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    let question = asked(&keys).map_err(refused)?.terms.question(&api, tenant).await?;
    let stats = query::stats(api.store.as_ref(), tenant, &question).await?;
    Ok(Json(Shown::of(&stats)).into_response())
}

/// Microseconds as seconds.
pub(super) fn seconds(micros: i64) -> f64 {
    std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64() * if micros < 0 { -1.0 } else { 1.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a share of so many runs need not be exact to the last one")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Shown {
    /// Statistics, in LangSmith's names and units.
    pub(in crate::api::langsmith) fn of(stats: &query::Stats) -> Self {
        let tokens = |at: usize| {
            let of = |all: [i64; 3]| all.get(at).copied();
            (stats.tokens.and_then(|spread| of(spread.p50)), stats.tokens.and_then(|spread| of(spread.p99)))
        };
        let (total, prompt, completion) = (tokens(0), tokens(1), tokens(2));
        Self {
            run_count: stats.runs,
            latency_p50: stats.latency.map(|spread| seconds(spread.p50)),
            latency_p99: stats.latency.map(|spread| seconds(spread.p99)),
            first_token_p50: stats.first_token.map(|spread| seconds(spread.p50)),
            first_token_p99: stats.first_token.map(|spread| seconds(spread.p99)),
            total_tokens: stats.usage.total_tokens,
            prompt_tokens: stats.usage.prompt_tokens,
            completion_tokens: stats.usage.completion_tokens,
            median_tokens: total.0,
            total_tokens_p50: total.0,
            total_tokens_p99: total.1,
            prompt_tokens_p50: prompt.0,
            prompt_tokens_p99: prompt.1,
            completion_tokens_p50: completion.0,
            completion_tokens_p99: completion.1,
            last_run_start_time: stats.last_start.map(Timestamp::naive),
            feedback_stats: shown_stats(&stats.feedback),
            run_facets: Vec::new(),
            error_rate: share(stats.failed, stats.runs),
            streaming_rate: share(stats.streamed, stats.runs),
            total_cost: stats.usage.total_cost,
            prompt_cost: stats.usage.prompt_cost,
            completion_cost: stats.usage.completion_cost,
            prompt_token_details: stats.usage.prompt_token_details.clone(),
            completion_token_details: stats.usage.completion_token_details.clone(),
            prompt_cost_details: stats.usage.prompt_cost_details.clone(),
            completion_cost_details: stats.usage.completion_cost_details.clone(),
            cost_p50: stats.costs.map(|spread| spread.p50),
            cost_p99: stats.costs.map(|spread| spread.p99),
        }
    }
}
