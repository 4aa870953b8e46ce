//! About how many bytes a batch keeps in memory while it waits. Large values are counted, the rest is a flat sum.

use crate::model::feedback::Feedback;
use crate::model::json::RawJson;
use crate::model::run::{Attachment, Fields, Part, Payload};
use crate::store::runs::Batch;

/// A part without its large values, and what is made of a run before it is stored.
const PART: usize = 1536;
/// An attachment without its texts.
const ATTACHMENT: usize = 128;
/// A feedback record without its large values.
const FEEDBACK: usize = 512;

/// About how many bytes a batch keeps.
pub(super) fn of_batch(batch: &Batch) -> usize {
    let parts = batch.parts.iter().map(of_part);
    parts.chain(batch.feedback.iter().map(of_feedback)).fold(0, usize::saturating_add)
}

/// About how many bytes a part keeps.
pub(super) fn of_part(part: &Part) -> usize {
    let Fields { inputs, outputs, extra, events, serialized, tags, attachments, .. } = &part.fields;
    let Fields { name, run_type, status, dotted_order, error, .. } = &part.fields;
    let payloads = [inputs, outputs].into_iter().flatten().map(|payload| match payload {
        Payload::Inline(json) => json.text().len(),
        Payload::Blob(blob) => blob.extract.text().len(),
    });
    let tags = tags.iter().flatten().map(String::len);
    payloads
        .chain(texts([extra, events, serialized]))
        .chain([name, run_type, status, dotted_order, error].into_iter().flatten().map(String::len))
        .chain(tags)
        .chain(attachments.iter().map(of_attachment))
        .fold(PART, sum)
}

fn of_attachment(attachment: &Attachment) -> usize {
    [attachment.name.len(), attachment.mime_type.len(), attachment.key.0.len()].into_iter().fold(ATTACHMENT, sum)
}

fn of_feedback(feedback: &Feedback) -> usize {
    let Feedback { value, correction, source, extra, comment, .. } = feedback;
    texts([value, correction, source, extra]).chain(comment.as_ref().map(String::len)).fold(FEEDBACK, sum)
}

fn texts<const N: usize>(values: [&Option<RawJson>; N]) -> impl Iterator<Item = usize> {
    values.into_iter().flatten().map(|json| json.text().len())
}

fn sum(all: usize, one: usize) -> usize {
    all.saturating_add(one)
}
