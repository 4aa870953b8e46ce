//! Pages of projects by what the store does not know of them.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::id::TenantId;
use crate::model::project::Project;
use crate::store::projects::ProjectQuery;
use crate::store::{Result, Store};

/// Projects that are looked at together.
const BATCH: u32 = 500;

/// The page of a query whose projects also hold this metadata, which counts as part of the query.
pub async fn page(
    store: &dyn Store,
    tenant: TenantId,
    query: &ProjectQuery,
    metadata: &Map<String, Value>,
) -> Result<Vec<Project>> {
    let (mut page, mut skipped, mut offset) = (Vec::new(), 0, 0_u32);
    loop {
        let batch = ProjectQuery { limit: BATCH, offset, ..query.clone() };
        let found = store.list_projects(tenant, &batch).await?;
        let is_last = found.len() < BATCH as usize;
        for project in found.into_iter().filter(|project| holds(project, metadata)) {
            if skipped < query.offset {
                skipped = skipped.saturating_add(1);
            } else if page.len() < query.limit as usize {
                page.push(project);
            }
        }
        if is_last || page.len() >= query.limit as usize {
            return Ok(page);
        }
        offset = offset.saturating_add(BATCH);
    }
}

/// Whether a project has all of this under its metadata.
fn holds(project: &Project, metadata: &Map<String, Value>) -> bool {
    #[derive(Default, Deserialize)]
    struct Extra {
        #[serde(default)]
        metadata: Option<Map<String, Value>>,
    }
    let extra: Extra = project.extra.as_ref().and_then(|extra| extra.read().ok()).unwrap_or_default();
    let own = extra.metadata.unwrap_or_default();
    metadata.iter().all(|(key, value)| own.get(key) == Some(value))
}
