//! `POST /runs/query`.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::search::{Keys, asked, refused};
use crate::api::langsmith::wire::{Document, Sheet};
use crate::api::request;
use crate::query::page;

#[derive(Serialize)]
struct Answer<'a> {
    runs: Vec<Document<'a>>,
    cursors: Cursors,
    search_cursors: Option<()>,
    parsed_query: Option<()>,
}

#[derive(Serialize)]
struct Cursors {
    next: Option<String>,
    /// Pages are turned forward only.
    prev: Option<String>,
}

/// A page of runs.
pub(super) async fn query(State(api): State<Api>, principal: Principal, request: Request) -> Result<Response, Fault> {
    let tenant = principal.tenant_id;
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    let asked = asked(&keys).map_err(refused)?;
    let question = asked.terms.question(&api, tenant).await?;
    let page = page(api.store.as_ref(), tenant, &question, asked.after, asked.limit).await?;
    let next = page.next.map(|position| position.to_string());
    let sheet = Sheet::of(&api, tenant, page.runs, &asked.select).await?;
    let cursors = Cursors { next, prev: None };
    Ok(Json(Answer { runs: sheet.documents(), cursors, search_cursors: None, parsed_query: None }).into_response())
}
