//! Runs that come with the request: read as ingest reads them, and forgotten.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::ingest::normalise;
use crate::model::id::{ProjectId, RunId, TenantId, derived};
use crate::model::project::{DEFAULT_PROJECT, ProjectRef};
use crate::model::run::{Layers, PartKind, StoredRun};

/// A run that could not be read.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    /// Which: `runs[3]`.
    part: String,
    /// Why.
    error: String,
}

/// Reads runs. Of those with the same id the last one counts.
pub(super) fn read(texts: &[&RawValue], tenant: TenantId, api: &Api) -> (Vec<StoredRun>, Vec<Refused>) {
    let (mut runs, mut refused) = (HashMap::new(), Vec::new());
    for (index, text) in texts.iter().enumerate() {
        match one(text, index, tenant, api) {
            Ok(stored) => {
                runs.insert(stored.run.id, stored);
            }
            Err(error) => refused.push(Refused { part: format!("runs[{index}]"), error }),
        }
    }
    (runs.into_values().collect(), refused)
}

fn one(text: &RawValue, index: usize, tenant: TenantId, api: &Api) -> Result<StoredRun, String> {
    let draft = normalise::run(text.get().as_bytes(), PartKind::Post, None, api.limits.json_depth)
        .map_err(|error| error.to_string())?;
    let run_id = draft.run_id.unwrap_or_else(|| RunId(derived("given run", &[&index.to_be_bytes()])));
    let project_id = match draft.project {
        Some(ProjectRef::Id(id)) => id,
        Some(ProjectRef::Name(name)) => ProjectId::of_name(tenant, &name),
        None => ProjectId::of_name(tenant, DEFAULT_PROJECT),
    };
    let mut layers = Layers { post: draft.fields, ..Layers::default() };
    layers.price(&api.prices);
    let run = layers.resolve(tenant, project_id, run_id, api.clock.now());
    let run = run.ok_or("`name`, `run_type` or `start_time` is missing, without which it is not a run yet")?;
    Ok(StoredRun { run, feedback: Vec::new(), changed_seq: 0 })
}
