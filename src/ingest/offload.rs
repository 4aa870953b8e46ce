//! What is too large for a row leaves for blob storage before the row is written: large inputs and outputs, and every
//! attachment. A crash between the two leaves a blob nobody names, never a row that names no blob.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use crate::blob::{self, BlobError, BlobStore};
use crate::config::Limits;
use crate::ingest::extract;
use crate::ingest::intake::Loose;
use crate::model::id::TenantId;
use crate::model::json::RawJson;
use crate::model::run::{Attachment, BlobKey, BlobRef, Payload};

/// How many blobs are written at a time for one request.
const AT_A_TIME: usize = 8;

/// The media type of inputs and outputs.
pub(crate) const JSON: &str = "application/json";

/// A blob to be written.
struct Leaving {
    key: BlobKey,
    bytes: Bytes,
    mime_type: String,
}

/// Writes what is too large to blob storage, and puts references in its place.
pub(crate) async fn offload(
    tenant: TenantId,
    parts: &mut [Loose],
    blobs: &dyn BlobStore,
    limits: &Limits,
) -> Result<(), BlobError> {
    let mut leaving = Vec::new();
    for part in parts {
        take_payloads(tenant, part, limits, &mut leaving);
        take_files(tenant, part, &mut leaving);
    }
    let writes = leaving.into_iter().map(|blob| async move { blobs.put(&blob.key, blob.bytes, &blob.mime_type).await });
    let mut writes = stream::iter(writes).buffer_unordered(AT_A_TIME);
    while let Some(written) = writes.next().await {
        written?;
    }
    Ok(())
}

fn take_payloads(tenant: TenantId, part: &mut Loose, limits: &Limits, leaving: &mut Vec<Leaving>) {
    let fields = &mut part.fields;
    for (name, payload) in [("inputs", &mut fields.inputs), ("outputs", &mut fields.outputs)] {
        let Some(Payload::Inline(json)) = payload.as_ref() else { continue };
        let bytes = json.text().len() as u64;
        if bytes <= limits.offload_bytes {
            continue;
        }
        let budget = usize::try_from(limits.extract_bytes).unwrap_or(usize::MAX);
        // The extract of valid JSON is valid JSON; were it not, the value would stay where it is and nothing be lost.
        let Ok(extract) = RawJson::parse(extract::of(json.text(), budget)) else { continue };
        let content = Bytes::copy_from_slice(json.text().as_bytes());
        let key = blob::key_of(tenant, part.run_id, name, &content);
        leaving.push(Leaving { key: key.clone(), bytes: content, mime_type: JSON.to_owned() });
        *payload = Some(Payload::Blob(BlobRef { key, bytes, extract }));
    }
}

fn take_files(tenant: TenantId, part: &mut Loose, leaving: &mut Vec<Leaving>) {
    for file in std::mem::take(&mut part.files) {
        let key = blob::key_of(tenant, part.run_id, "attachment", &file.bytes);
        let bytes = file.bytes.len() as u64;
        leaving.push(Leaving { key: key.clone(), bytes: file.bytes, mime_type: file.mime_type.clone() });
        part.fields.attachments.push(Attachment { name: file.name, mime_type: file.mime_type, key, bytes });
    }
}
