//! `/background-task`: what was asked for of many deliveries at once. It is done when it is answered, so every task has
//! ended.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Api;
use crate::crypto;
use crate::model::event::Errand;
use crate::model::id::{ErrandId, TenantId};

use super::page::{Listed, Paging};
use super::{Answer, Asks, Caller, Fault};

/// For how long one can ask what became of it.
const KEPT: Duration = Duration::from_hours(90 * 24);

/// An errand as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Out {
    id: ErrandId,
    status: &'static str,
    task: String,
    data: Value,
    updated_at: String,
}

const FINISHED: &str = "finished";

impl From<Errand> for Out {
    fn from(found: Errand) -> Self {
        Self {
            id: found.id,
            status: FINISHED,
            task: found.kind,
            data: json!({ "messagesSent": found.deliveries }),
            updated_at: found.ended_at.to_string(),
        }
    }
}

/// Notes what has just been done.
pub(super) async fn ended(api: &Api, tenant: TenantId, kind: &str, deliveries: u64) -> Answer<Json<Out>> {
    let (id, ended_at) = (ErrandId(Uuid::from_bytes(crypto::random())), api.clock.now());
    let errand = Errand { id, number: 0, kind: kind.to_owned(), deliveries, ended_at };
    api.store.note_errand(tenant, errand.clone(), ended_at.before(KEPT)).await?;
    Ok(Json(errand.into()))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    status: Option<String>,
    task: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Asks(paging): Asks<Paging>,
    Asks(asked): Asks<Asked>,
) -> Answer<Json<Listed<Out>>> {
    let (page, cut) = paging.read()?;
    let mut found = Vec::new();
    if asked.status.is_none_or(|status| status == FINISHED) {
        found = api.store.errands(tenant, asked.task.as_deref(), page).await?;
    }
    Ok(cut.listed(found, |one| one.number.to_string(), Out::from))
}

pub(super) async fn show(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path(task): Path<String>,
) -> Answer<Json<Out>> {
    let Ok(id) = task.parse::<ErrandId>() else { return Err(Fault::not_found()) };
    Ok(Json(api.store.errand(tenant, id).await?.ok_or_else(Fault::not_found)?.into()))
}
