//! Batches as they wait: whatever can be done about their runs without a database is done.
//!
//! Nearly every run that is posted is new. So a posted run is made out, on the thread of its request, as if nothing were
//! stored of it: merged, packed, and its outline told. Whoever writes has only to find that indeed nothing is. If
//! something is, or another batch of the same transaction speaks of the run, what was made is left aside and the parts
//! are merged into what is there. A patch that comes alone is hardly ever about a new run: nothing is made of it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::model::id::RunId;
use crate::model::merge;
use crate::model::price::Prices;
use crate::model::run::{Fields, Layers, Outline, Part, PartKind};
use crate::model::usage::Costs;
use crate::store::Result;
use crate::store::body::pack_json;
use crate::store::runs::Batch;

/// A batch whose posted runs are made out.
#[derive(Debug, Default)]
pub(in crate::store) struct Ready {
    pub(in crate::store) batch: Batch,
    made: HashMap<RunId, Made>,
}

/// A run, if nothing is stored of it and nobody else speaks of it.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// What is known of it, packed.
    pub(super) body: Bytes,
    /// None of a run that is not complete.
    pub(super) outline: Option<Arc<Outline>>,
}

/// [`Layers`] of a single part.
#[derive(Serialize)]
struct Alone<'a> {
    post: &'a Fields,
    patch: &'a Fields,
    applied: [u64; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    priced: Option<Costs>,
}

impl Ready {
    /// Makes the posted runs of a batch out.
    pub(in crate::store) fn of(batch: Batch) -> Result<Self> {
        let mut parts: Vec<&Part> = batch.parts.iter().collect();
        parts.sort_by_key(|part| part.run_id);
        let mut made = HashMap::with_capacity(parts.len());
        for parts in parts.chunk_by(|one, other| one.run_id == other.run_id) {
            let run = match parts {
                [part] if part.kind == PartKind::Post && is_plain(part) => Made::alone(part, &batch.prices)?,
                [part, ..] if parts.iter().any(|part| part.kind == PartKind::Post) => {
                    Made::together(part.run_id, parts, &batch.prices)?
                }
                _ => continue,
            };
            made.extend(parts.first().map(|part| (part.run_id, run)));
        }
        Ok(Self { batch, made })
    }

    /// What was made of a run.
    pub(super) fn made(&self, run: RunId) -> Option<&Made> {
        self.made.get(&run)
    }
}

impl Made {
    /// Of one part, which stays as it is.
    fn alone(part: &Part, prices: &Prices) -> Result<Self> {
        let (said, silent) = (&part.fields, Fields::default());
        let (post, patch) = match part.kind {
            PartKind::Post => (said, &silent),
            PartKind::Patch => (&silent, said),
        };
        let alone = Alone { post, patch, applied: [part.digest], priced: merge::priced(said, prices) };
        let body = pack_json(&alone)?.into();
        Ok(Self { body, outline: merge::outline_alone(part).map(Arc::new) })
    }

    /// Of all parts of a run.
    fn together(run: RunId, parts: &[&Part], prices: &Prices) -> Result<Self> {
        let layers = merged(parts.iter().copied().cloned(), prices);
        Ok(Self { body: pack_json(&layers)?.into(), outline: layers.outline(run).map(Arc::new) })
    }
}

/// What a batch's parts say of a run, priced.
pub(in crate::store) fn merged(parts: impl IntoIterator<Item = Part>, prices: &Prices) -> Layers {
    let mut layers = Layers::default();
    for part in parts {
        layers.apply(part);
    }
    layers.price(prices);
    layers
}

/// Whether merging a part into nothing gives the part as it is.
fn is_plain(part: &Part) -> bool {
    !part.fields.says_null() && part.fields.attachments.len() <= 1
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::*;
    use crate::model::json::RawJson;
    use crate::model::price::{Pattern, Price, Rates};
    use crate::model::run::{Attachment, BlobKey, Payload};
    use crate::model::time::Timestamp;
    use crate::model::usage::Amounts;
    use crate::store::body::unpack_json;

    fn part(run: u128, kind: PartKind, inputs: &str) -> Part {
        let fields = Fields {
            name: Some("n".into()),
            run_type: Some("llm".into()),
            start_time: Some(Timestamp(7)),
            inputs: Some(Payload::Inline(RawJson::parse(inputs.to_owned()).unwrap())),
            tags: Some(vec!["t".into()]),
            ..Fields::default()
        };
        let run_id = RunId(Uuid::from_u128(run));
        Part { run_id, kind, project: None, digest: merge::digest(&fields, kind, run_id), fields }
    }

    /// A hundred tokens of a model that has a price.
    fn priced(run: u128) -> Part {
        let json = |text: &str| RawJson::parse(text.to_owned()).unwrap();
        let mut part = part(run, PartKind::Post, "{}");
        let outputs = json(r#"{"usage_metadata": {"input_tokens": 99, "output_tokens": 1}}"#);
        part.fields.outputs = Some(Payload::Inline(outputs));
        part.fields.extra = Some(json(r#"{"metadata": {"ls_model_name": "acme-1"}}"#));
        part
    }

    fn prices() -> Arc<Prices> {
        let rates = || Rates { each: Decimal::new(2, 6), details: Amounts::new() };
        let model = Pattern::parse("acme").unwrap();
        Arc::new(Prices::new(vec![Price { model, provider: None, from: None, prompt: rates(), completion: rates() }]))
    }

    #[test]
    fn what_is_made_of_a_run_is_what_merging_its_parts_into_nothing_gives() {
        let attachment = |name: &str| Attachment {
            name: name.into(),
            mime_type: "text/plain".into(),
            key: BlobKey(name.into()),
            bytes: 1,
        };
        let mut with_files = part(5, PartKind::Post, "{}");
        with_files.fields.attachments = vec![attachment("b"), attachment("a")];
        let cases = [
            vec![part(1, PartKind::Post, r#"{"a": 1.10}"#)],
            vec![part(2, PartKind::Patch, "1"), part(2, PartKind::Post, "2")],
            vec![part(3, PartKind::Post, "1"), part(3, PartKind::Post, "1")],
            vec![part(4, PartKind::Post, "null")],
            vec![with_files],
            vec![priced(6)],
            vec![priced(7), part(7, PartKind::Patch, "{}")],
        ];
        // Beside each other, so that parts of one run do not stand together.
        let most = cases.iter().map(Vec::len).max().unwrap();
        let parts = (0..most).flat_map(|nth| cases.iter().filter_map(move |parts| parts.get(nth).cloned())).collect();
        let ready = Ready::of(Batch { parts, feedback: Vec::new(), prices: prices() }).unwrap();
        for parts in cases {
            let run = parts[0].run_id;
            let made = ready.made(run).unwrap();
            let layers = merged(parts, &prices());
            assert_eq!(layers.priced.is_some(), [6, 7].map(|run| RunId(Uuid::from_u128(run))).contains(&run));
            assert_eq!(unpack_json::<Layers>("t", &made.body).unwrap(), layers);
            assert_eq!(made.outline.as_deref(), layers.outline(run).as_ref());
        }
    }

    #[test]
    fn nothing_is_made_of_a_patch_that_comes_alone() {
        let parts = vec![part(1, PartKind::Patch, "1")];
        let ready = Ready::of(Batch { parts, feedback: Vec::new(), ..Batch::default() }).unwrap();
        assert!(ready.made(RunId(Uuid::from_u128(1))).is_none());
    }
}
