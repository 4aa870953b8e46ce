//! `/v1/endpoints`: a page of endpoints, named ones first.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::store::names::EndpointMark;

use super::shown::with_subscriptions;

/// Endpoints on a page, unless asked otherwise.
const PAGE: u32 = 200;

/// Endpoints on the largest page.
const LARGEST: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    limit: Option<u32>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    principal: Principal,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Asked { limit, cursor }) =
        asked.map_err(|error| Problem::malformed(error.body_text()).hint("known here: limit, cursor"))?;
    let limit = limit.unwrap_or(PAGE).clamp(1, LARGEST);
    let after = cursor.as_deref().map(read_cursor).transpose()?;
    let found = api.store.endpoint_page(principal.tenant_id, after.as_ref(), limit.saturating_add(1)).await?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let page: Vec<_> = found.iter().take(size).collect();
    let next = page.last().filter(|_| found.len() > size).map(|last| write_cursor(&EndpointMark::of(last)));
    let endpoints = with_subscriptions(&api, principal.tenant_id, &page).await?;
    Ok(Json(json!({ "endpoints": endpoints, "next": next })))
}

fn write_cursor(mark: &EndpointMark) -> String {
    match mark {
        EndpointMark::Key(key) => format!("key.{key}"),
        EndpointMark::Id(id) => format!("id.{id}"),
    }
}

/// Reads what a page gave as `next`.
fn read_cursor(text: &str) -> Result<EndpointMark, Problem> {
    let read = match text.split_once('.') {
        Some(("key", key)) => Some(EndpointMark::Key(key.to_owned())),
        Some(("id", id)) => id.parse().ok().map(EndpointMark::Id),
        _ => None,
    };
    read.ok_or_else(|| Problem::malformed("`cursor` is not a page's `next`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::EndpointId;

    #[test]
    fn a_cursor_comes_back() {
        for mark in [EndpointMark::Key("a.b-c".into()), EndpointMark::Id(EndpointId(uuid::Uuid::from_u128(7)))] {
            assert_eq!(read_cursor(&write_cursor(&mark)).unwrap(), mark);
        }
        assert!(read_cursor("x").is_err() && read_cursor("id.x").is_err());
    }
}
