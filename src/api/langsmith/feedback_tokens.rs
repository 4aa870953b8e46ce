//! `POST|GET /feedback/tokens`, `GET|POST /feedback/tokens/{token}`: feedback from browsers, which have no API key.
//!
//! A token's URL is all that its holder needs, so the second pair of routes asks for no key and answers pages of any
//! origin. Each use of a token is a feedback record of its own.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use tower_http::cors::{Any, CorsLayer};
use url::Url;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::{Params, wrong};
use crate::api::problem::Problem;
use crate::api::request;
use crate::config::Limits;
use crate::crypto;
use crate::ingest::Intake;
use crate::ingest::feedback_token::{self as bodies, Said};
use crate::model::feedback::FeedbackToken;
use crate::model::id::{FeedbackId, FeedbackTokenId};

/// A page when the client does not say how long.
const PAGE: u32 = 100;

/// Bytes that someone without an API key may send.
const LARGEST: u64 = 256 * 1024;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    let anyone = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE]);
    Router::new()
        .route("/feedback/tokens", get(list).post(create))
        .route("/feedback/tokens/{token}", get(follow).post(give).options(preflight).layer(anyone))
}

/// A token as it is shown.
#[derive(Serialize)]
struct Shown {
    id: FeedbackTokenId,
    url: Url,
    expires_at: String,
    feedback_key: String,
}

impl Shown {
    fn of(api: &Api, token: FeedbackToken) -> Result<Self, Problem> {
        let mut url = api.public_url.clone();
        url.path_segments_mut()
            .map_err(|()| Problem::invalid("this server's public URL cannot carry a path"))?
            .pop_if_empty()
            .extend(["feedback", "tokens", &token.id.to_string()]);
        Ok(Self { id: token.id, url, expires_at: token.expires_at.with_offset(), feedback_key: token.key })
    }
}

/// One token, or as many as the body lists.
async fn create(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let body = request::body(&api, request).await?;
    let (tenant_id, created_at) = (principal.tenant_id, api.clock.now());
    let (wishes, is_list) = bodies::wishes(&body, created_at, api.limits.json_depth)?;
    let token = |wish: bodies::Wish| FeedbackToken {
        tenant_id,
        id: FeedbackTokenId(random_id()),
        run_id: wish.run_id,
        key: wish.key,
        config: wish.config,
        created_at,
        expires_at: wish.expires_at,
    };
    let tokens: Vec<FeedbackToken> = wishes.into_iter().map(token).collect();
    api.store.create_feedback_tokens(tenant_id, tokens.clone()).await?;
    let mut shown = tokens.into_iter().map(|token| Shown::of(&api, token)).collect::<Result<Vec<_>, _>>()?;
    match shown.pop() {
        Some(one) if !is_list => Ok(Json(one).into_response()),
        last => {
            shown.extend(last);
            Ok(Json(shown).into_response())
        }
    }
}

fn random_id() -> uuid::Uuid {
    uuid::Builder::from_random_bytes(crypto::random()).into_uuid()
}

async fn list(State(api): State<Api>, principal: Principal, params: Params) -> Result<Response, Fault> {
    let runs = params.ids("run_id")?;
    let [run] = runs.as_slice() else { return Err(wrong("run_id", "must name one run").into()) };
    let (limit, offset) = (params.limit(PAGE)?, params.offset()?);
    let tokens = api.store.list_feedback_tokens(principal.tenant_id, *run, api.clock.now(), limit, offset).await?;
    let shown = tokens.into_iter().map(|token| Shown::of(&api, token)).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(shown).into_response())
}

/// A link that was followed: what it says is in its parameters.
async fn follow(State(api): State<Api>, Path(token): Path<String>, params: Params) -> Result<Json<Value>, Fault> {
    let token = usable(&api, &token).await?;
    let said =
        Said::of_parameters(|name| params.one(name)).map_err(|invalid| wrong(&invalid.field, &invalid.reason))?;
    record(&api, &token, said).await
}

async fn give(State(api): State<Api>, Path(token): Path<String>, request: Request) -> Result<Json<Value>, Fault> {
    let token = usable(&api, &token).await?;
    let limits = Limits {
        request_bytes: api.limits.request_bytes.min(LARGEST),
        decompressed_bytes: api.limits.decompressed_bytes.min(LARGEST),
        ..Limits::clone(&api.limits)
    };
    let intake = Intake { limits: Arc::new(limits), ..api.intake() };
    let body = intake.body(request::incoming(request)).await.map_err(Problem::from)?;
    record(&api, &token, bodies::said(&body, api.limits.json_depth)?).await
}

/// What a browser asks before it sends; the layer of the route has the answer.
async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// A token that is there and has not expired.
async fn usable(api: &Api, token: &str) -> Result<FeedbackToken, Problem> {
    let unknown = || Problem::not_found("feedback token");
    let id = token.parse().map_err(|_| unknown())?;
    let token = api.store.feedback_token(id).await?.ok_or_else(unknown)?;
    if token.expires_at > api.clock.now() {
        return Ok(token);
    }
    Err(Problem::new(StatusCode::GONE, "expired", "the feedback token has expired"))
}

async fn record(api: &Api, token: &FeedbackToken, said: Said) -> Result<Json<Value>, Fault> {
    let feedback = said.feedback(token, FeedbackId(random_id()), api.clock.now())?;
    api.intake().feedback(token.tenant_id, feedback).await?;
    Ok(Json(json!({ "message": "feedback received" })))
}
