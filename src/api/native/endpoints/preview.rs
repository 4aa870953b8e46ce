//! `/v1/endpoints/{key}/preview`: what would be sent there, of the sample message or of a stored run. Nothing is sent.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::model::endpoint::Format;
use crate::model::id::{MessageId, RunId, TenantId};
use crate::model::message::Message;
use crate::model::run::BlobKey;
use crate::payload::{PayloadError, format, render, sample};

use super::{find, read};

/// Bytes of a body that are shown.
const SHOWN: usize = 256 * 1024;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// The run it tells of; the sample, when absent.
    run_id: Option<RunId>,
    /// A template that is not stored yet.
    template: Option<String>,
}

pub(super) async fn preview(
    State(api): State<Api>,
    principal: Principal,
    Path(key): Path<String>,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    let asked: Asked = read(&body, "{\"run_id\": …, \"template\": …}, or nothing")?;
    let endpoint = find(&api, principal.tenant_id, &key).await?;
    let message = message(&api, principal.tenant_id, asked.run_id).await?;
    let body = with_links(&api, &message).await?;
    let format = asked.template.map_or(endpoint.format, Format::Template);
    let secrets: Vec<String> = endpoint.shown.secrets.into_keys().collect();
    let found = format::preview(&format, &message, body, &secrets);
    let text = String::from_utf8_lossy(found.body.get(..SHOWN).unwrap_or(&found.body));
    Ok(Json(json!({
        "endpoint": endpoint.key,
        "endpoint_id": endpoint.id,
        "format": format.name(),
        "run_id": asked.run_id,
        "ok": found.problem.is_none(),
        "error": found.problem.map(|problem| problem.to_string()),
        "bytes": found.body.len(),
        "cut": found.body.len() > SHOWN,
        "body": text,
    })))
}

async fn message(api: &Api, tenant: TenantId, run: Option<RunId>) -> Result<Message, Problem> {
    let (id, now) = (MessageId(Uuid::nil()), api.clock.now());
    let unwritten = |error: PayloadError| Problem::internal(&error);
    let Some(run) = run else { return sample::message(tenant, id, now).map_err(unwritten) };
    let stored = api.store.run(tenant, run).await?.ok_or_else(|| Problem::not_found("run"))?;
    let project = api.store.project(tenant, stored.run.project_id).await?.map(|project| project.name);
    sample::telling_of(&stored, &project.unwrap_or_default(), id, now).map_err(unwritten)
}

async fn with_links(api: &Api, message: &Message) -> Result<Bytes, Problem> {
    let mut links: HashMap<BlobKey, Url> = HashMap::new();
    for link in &message.body.links {
        if let Some(url) = api.link(&link.key).await? {
            links.insert(link.key.clone(), url);
        }
    }
    Ok(render(&message.body, &links))
}
