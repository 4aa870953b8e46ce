//! What is told of datasets and of the examples in them, in the transaction in which it happens, as events of Argilla's
//! webhooks: a dataset is a dataset, an example is a record of it, and the tenant is their workspace.
//!
//! A dataset that is removed takes its examples along without a word about each. What an example keeps as a blob is not
//! opened for this, and is `null`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

use crate::model::collection::{Collection, CollectionKind, Example};
use crate::model::id::{ExampleId, MessageId, TenantId, derived};
use crate::model::json::RawJson;
use crate::model::run::Payload;
use crate::model::time::Timestamp;
use crate::store::row::{Cells, if_readable, json_text};
use crate::store::{Result, records};

use super::Connection;
use super::notices::{hearers, tell};

pub(in crate::store) const CREATED: &str = "dataset.created";
pub(in crate::store) const UPDATED: &str = "dataset.updated";
pub(in crate::store) const DELETED: &str = "dataset.deleted";

const RECORD_CREATED: &str = "record.created";
const RECORD_UPDATED: &str = "record.updated";
const RECORD_DELETED: &str = "record.deleted";

const COLLECTION: &str = "SELECT body FROM collections WHERE tenant_id = $1 AND kind = $2 AND collection_id = $3";

const EXAMPLE: &str = "SELECT body FROM examples WHERE tenant_id = $1 AND example_id = $2";

const IS_THERE: &str = "SELECT EXISTS (SELECT 1 FROM examples WHERE tenant_id = $1 AND example_id = $2)";

#[derive(Serialize)]
struct Dataset<'a> {
    id: Uuid,
    name: &'a str,
    guidelines: Option<&'a str>,
    /// Whoever has a dataset can put examples into it.
    status: &'static str,
    workspace: Workspace,
    inserted_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct Workspace {
    id: TenantId,
    name: TenantId,
}

impl<'a> Dataset<'a> {
    fn of(collection: &'a Collection) -> Self {
        Self {
            id: collection.id,
            name: &collection.name,
            guidelines: collection.description.as_deref(),
            status: "ready",
            workspace: Workspace { id: collection.tenant_id, name: collection.tenant_id },
            inserted_at: collection.created_at.to_string(),
            updated_at: collection.modified_at.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Record<'a> {
    id: ExampleId,
    /// Nobody has answered it.
    status: &'static str,
    fields: BTreeMap<&'static str, Field<'a>>,
    metadata: BTreeMap<String, RawJson>,
    /// The run it was made of.
    external_id: String,
    dataset: Dataset<'a>,
    inserted_at: String,
    updated_at: String,
}

/// What a field of a record may hold: text, an object, or nothing. All else travels as its own text.
#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    Nothing,
    Kept(&'a RawJson),
    Text(&'a str),
}

impl<'a> Field<'a> {
    fn of(payload: Option<&'a Payload>) -> Self {
        match payload {
            Some(Payload::Inline(json)) if json.text().starts_with(['{', '"']) || json.is_null() => Self::Kept(json),
            Some(Payload::Inline(json)) => Self::Text(json.text()),
            Some(Payload::Blob(_)) | None => Self::Nothing,
        }
    }
}

impl<'a> Record<'a> {
    fn of(example: &'a Example, dataset: &'a Collection) -> Self {
        let metadata = example.metadata.as_ref().and_then(|metadata| metadata.read().ok());
        Self {
            id: example.id,
            status: "pending",
            fields: [("inputs", &example.inputs), ("outputs", &example.outputs)]
                .map(|(name, payload)| (name, Field::of(payload.as_ref())))
                .into(),
            metadata: metadata.unwrap_or_default(),
            external_id: example.source_run_id.map_or(example.id.0, |run| run.0).to_string(),
            dataset: Dataset::of(dataset),
            inserted_at: example.created_at.to_string(),
            updated_at: example.modified_at.to_string(),
        }
    }
}

/// The id of a telling: one for each time that something is put, whether it was there before or not, and one for its end.
fn telling(event_type: &str, id: Uuid, at: Timestamp) -> MessageId {
    let what = if event_type.ends_with(".deleted") { event_type } else { "put" };
    MessageId(derived(what, &[id.as_bytes(), &at.0.to_be_bytes()]))
}

/// A collection that is there.
pub(in crate::store) async fn collection(
    connection: &mut Connection,
    tenant: TenantId,
    kind: CollectionKind,
    id: Uuid,
) -> Result<Option<Collection>> {
    let query = sqlx::query(COLLECTION).bind(tenant.0).bind(kind.as_str()).bind(id);
    let row = query.fetch_optional(connection).await?;
    row.as_ref().map(|row| Cells::of("collections", row).json()).transpose()
}

/// An example that is there and decodes: one that does not is in nobody's way.
pub(in crate::store) async fn example(
    connection: &mut Connection,
    tenant: TenantId,
    id: ExampleId,
) -> Result<Option<Example>> {
    let row = sqlx::query(EXAMPLE).bind(tenant.0).bind(id.0).fetch_optional(connection).await?;
    Ok(row.map(|row| if_readable(records::example(&row))).transpose()?.flatten())
}

/// Tells what became of a collection, if it is a dataset.
pub(in crate::store) async fn changed(
    connection: &mut Connection,
    event_type: &'static str,
    collection: &Collection,
    at: Timestamp,
) -> Result<()> {
    let tenant = collection.tenant_id;
    if collection.kind != CollectionKind::Dataset {
        return Ok(());
    }
    let to = hearers(connection, tenant, event_type).await?;
    let body = json_text(&Dataset::of(collection))?;
    tell(connection, tenant, (telling(event_type, collection.id, at), event_type, at), body, to).await
}

/// Those of these examples that are there already; nothing, where nobody hears of what becomes of them.
pub(in crate::store) async fn there(
    connection: &mut Connection,
    tenant: TenantId,
    examples: &[&Example],
) -> Result<Option<HashSet<ExampleId>>> {
    let mut is_heard = false;
    for event_type in [RECORD_CREATED, RECORD_UPDATED] {
        is_heard |= !examples.is_empty() && !hearers(connection, tenant, event_type).await?.is_empty();
    }
    if !is_heard {
        return Ok(None);
    }
    let mut found = HashSet::new();
    for one in examples {
        let query = sqlx::query_scalar(IS_THERE).bind(tenant.0).bind(one.id.0);
        if query.fetch_one(&mut *connection).await? {
            found.insert(one.id);
        }
    }
    Ok(Some(found))
}

/// Tells of examples that were put: of those that were `there` before, that they changed.
pub(in crate::store) async fn put(
    connection: &mut Connection,
    tenant: TenantId,
    examples: impl Iterator<Item = &Example>,
    there: &HashSet<ExampleId>,
) -> Result<()> {
    let mut datasets = HashMap::new();
    for example in examples {
        let event_type = if there.contains(&example.id) { RECORD_UPDATED } else { RECORD_CREATED };
        let id = example.dataset_id.0;
        let dataset = match datasets.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                unknown.insert(collection(connection, tenant, CollectionKind::Dataset, id).await?)
            }
        };
        let Some(dataset) = dataset.as_ref() else { continue };
        tell_of(connection, event_type, example, dataset, example.modified_at).await?;
    }
    Ok(())
}

/// Tells that an example was removed.
pub(in crate::store) async fn removed(connection: &mut Connection, example: &Example, at: Timestamp) -> Result<()> {
    let (tenant, id) = (example.tenant_id, example.dataset_id.0);
    let dataset = collection(connection, tenant, CollectionKind::Dataset, id).await?;
    let Some(dataset) = dataset else { return Ok(()) };
    tell_of(connection, RECORD_DELETED, example, &dataset, at).await
}

async fn tell_of(
    connection: &mut Connection,
    event_type: &'static str,
    example: &Example,
    dataset: &Collection,
    at: Timestamp,
) -> Result<()> {
    let to = hearers(connection, example.tenant_id, event_type).await?;
    if to.is_empty() {
        return Ok(());
    }
    let (id, body) = (telling(event_type, example.id.0, at), json_text(&Record::of(example, dataset))?);
    tell(connection, example.tenant_id, (id, event_type, at), body, to).await
}
