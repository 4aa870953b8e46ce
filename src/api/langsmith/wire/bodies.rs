//! The parts of a run that may live in blob storage: inputs and outputs fetched, or linked to when a page would become
//! too large; attachments as links.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use url::Url;

use crate::api::Api;
use crate::api::langsmith::wire::Select;
use crate::api::problem::Problem;
use crate::blob::BlobError;
use crate::model::json::RawJson;
use crate::model::run::{BlobRef, Payload, Run};

/// Bytes of blobs that are fetched for one answer. What is beyond is linked to.
const MOST: u64 = 32 * 1024 * 1024;

/// How much may still be fetched for an answer.
pub(crate) struct Room {
    left: u64,
    is_first: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: MOST, is_first: true }
    }
}

impl Room {
    /// Whether there is room for this; the first blob always has some.
    fn take(&mut self, blob: &BlobRef) -> bool {
        let fits = self.is_first || blob.bytes <= self.left;
        if fits {
            self.left = self.left.saturating_sub(blob.bytes);
            self.is_first = false;
        }
        fits
    }
}

/// The parts of one run. For each of inputs and outputs exactly one holds: here, linked, or there are none.
#[derive(Default)]
pub(crate) struct Bodies {
    pub(crate) inputs: Body,
    pub(crate) outputs: Body,
    pub(crate) attachments: BTreeMap<String, Link>,
}

/// Inputs or outputs.
#[derive(Default)]
pub(crate) enum Body {
    /// There are none, or nobody asked.
    #[default]
    Nothing,
    /// The JSON.
    Here(RawJson),
    /// Where it is.
    There(Root),
}

/// A link under the name that LangSmith gives it.
#[derive(Serialize)]
pub(crate) struct Root {
    #[serde(rename = "ROOT")]
    root: BlobLink,
}

#[derive(Serialize)]
struct BlobLink {
    presigned_url: Url,
    s3_url: String,
}

/// A link to an attachment.
#[derive(Serialize)]
pub(crate) struct Link {
    pub(crate) presigned_url: Url,
    mime_type: String,
}

impl Body {
    pub(crate) fn json(&self) -> Option<&RawJson> {
        if let Self::Here(json) = self { Some(json) } else { None }
    }

    pub(crate) fn link(&self) -> Option<&Root> {
        if let Self::There(root) = self { Some(root) } else { None }
    }
}

impl Bodies {
    /// Fetches what is asked for of the run, as far as there is room, and signs links.
    pub(crate) async fn load(api: &Api, run: &Run, select: &Select, room: &mut Room) -> Result<Self, Problem> {
        let mut bodies = Self::default();
        if select.asks_attachments() {
            for file in &run.attachments {
                let Some(presigned_url) = api.link(&file.key).await? else { continue };
                let link = Link { presigned_url, mime_type: file.mime_type.clone() };
                bodies.attachments.insert(file.name.clone(), link);
            }
        }
        if select.asks_inputs() {
            bodies.inputs = body(api, run.inputs.as_ref(), room).await?;
        }
        if select.asks_outputs() {
            bodies.outputs = body(api, run.outputs.as_ref(), room).await?;
        }
        Ok(bodies)
    }
}

async fn body(api: &Api, payload: Option<&Payload>, room: &mut Room) -> Result<Body, Problem> {
    match payload {
        None => Ok(Body::Nothing),
        Some(Payload::Inline(json)) => Ok(Body::Here(json.clone())),
        Some(Payload::Blob(blob)) if room.take(blob) => fetch(api, blob).await.map(Body::Here),
        Some(Payload::Blob(blob)) => {
            let link = api.link(&blob.key).await?.ok_or_else(|| missing(blob))?;
            Ok(Body::There(Root { root: BlobLink { presigned_url: link, s3_url: blob.key.0.clone() } }))
        }
    }
}

/// Inputs or outputs of something that is shown whole, wherever they are kept.
pub(crate) async fn whole(api: &Api, payload: Option<&Payload>) -> Result<Option<RawJson>, Problem> {
    match payload {
        None => Ok(None),
        Some(Payload::Inline(json)) => Ok(Some(json.clone())),
        Some(Payload::Blob(blob)) => fetch(api, blob).await.map(Some),
    }
}

/// Never an empty answer: the client would take it for a run without inputs.
async fn fetch(api: &Api, blob: &BlobRef) -> Result<RawJson, Problem> {
    let bytes = api.blobs.get(&blob.key).await?;
    bytes.as_ref().and_then(json).ok_or_else(|| missing(blob))
}

fn missing(blob: &BlobRef) -> Problem {
    tracing::error!(key = blob.key.0, "a blob that a run refers to is missing or damaged");
    BlobError::Unavailable("a blob is missing".to_owned()).into()
}

fn json(bytes: &Bytes) -> Option<RawJson> {
    RawJson::parse(String::from_utf8(bytes.to_vec()).ok()?).ok()
}
