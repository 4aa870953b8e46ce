//! `{"post": [run, ...], "patch": [run, ...]}`: everything of a run in one object.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::Limits;
use crate::ingest::error::{IngestError, Invalid};
use crate::ingest::intake::{Gathered, Loose};
use crate::ingest::normalise;
use crate::ingest::opening;
use crate::ingest::receipt::Refused;
use crate::model::run::PartKind;

/// The batch, its runs still text: one that cannot be read fails alone.
#[derive(Deserialize)]
struct Runs<'a> {
    #[serde(borrow)]
    post: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    patch: Option<Vec<&'a RawValue>>,
}

/// Reads a batch.
pub(crate) fn read(json: &[u8], limits: &Limits) -> Result<Gathered, IngestError> {
    if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(IngestError::Malformed(
            "the body must be an object: {\"post\": [...], \"patch\": [...]}".to_owned(),
        ));
    }
    let runs: Runs<'_> = serde_json::from_slice(json)
        .map_err(|error| IngestError::Malformed(format!("the body is not a batch of runs: {error}")))?;
    if runs.post.is_none() && runs.patch.is_none() {
        return Err(
            Invalid::new("post", "is missing, and so is `patch`: send {\"post\": [...], \"patch\": [...]}").into()
        );
    }
    let (post, patch) = (runs.post.unwrap_or_default(), runs.patch.unwrap_or_default());
    if post.len().saturating_add(patch.len()) > limits.runs_per_request as usize {
        return Err(IngestError::TooMany { what: "runs", limit: limits.runs_per_request });
    }
    let (mut parts, mut refused) = (Vec::new(), Vec::new());
    for (kind, word, runs) in [(PartKind::Post, "post", post), (PartKind::Patch, "patch", patch)] {
        for (index, raw) in runs.into_iter().enumerate() {
            let name = format!("{word}[{index}]");
            match read_run(raw, kind, limits) {
                Ok(loose) => parts.push((name, loose)),
                Err(reason) => refused.push(Refused::new(&name, &reason)),
            }
        }
    }
    let parts = opening::whole(parts, |name, invalid| refused.push(Refused::new(name, invalid)));
    Ok(Gathered { parts, refused, ..Gathered::default() })
}

fn read_run(raw: &RawValue, kind: PartKind, limits: &Limits) -> Result<Loose, String> {
    let draft =
        normalise::run(raw.get().as_bytes(), kind, None, limits.json_depth).map_err(|invalid| invalid.to_string())?;
    let run_id = draft.run_id.ok_or("`id` is missing")?;
    Ok(Loose { run_id, kind, project: draft.project, fields: draft.fields, files: Vec::new() })
}
