//! What becomes of a rule's matches beside notifications: examples of a dataset, entries of an annotation queue.

use std::str::FromStr;

use crate::model::id::InvalidId;
use crate::model::rule::Actions;
use crate::rule_file::reading::{Reading, Section};

/// Keys that give a rule something to do.
pub(super) const KEYS: [&str; 2] = ["add_to_dataset_id", "add_to_annotation_queue_id"];

const PREFER: &str = "add_to_dataset_prefer_correction";

/// Reads them. None when something that is written cannot be read.
pub(super) fn lower(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<Actions> {
    let [dataset, queue] = KEYS;
    let (dataset, queue) = (id(reading, rule, dataset), id(reading, rule, queue));
    let prefer = preference(reading, rule);
    let actions = Actions {
        add_to_dataset_id: dataset.ok()?,
        prefer_correction: prefer?,
        add_to_annotation_queue_id: queue.ok()?,
    };
    if actions.prefer_correction && actions.add_to_dataset_id.is_none() {
        let span = rule.key_span(PREFER).unwrap_or_else(|| rule.span());
        let message = format!("`{PREFER}` says how examples are made, and the rule makes none");
        reading.error("no-dataset", &span, message, "add `add_to_dataset_id`, or remove it");
        return None;
    }
    Some(actions)
}

/// Something is written and cannot be read; why is among the problems.
struct Unreadable;

fn id<T: FromStr<Err = InvalidId>>(
    reading: &mut Reading<'_>,
    rule: &Section<'_>,
    key: &str,
) -> Result<Option<T>, Unreadable> {
    let Some(node) = rule.get(key) else {
        return if rule.key_span(key).is_none() { Ok(None) } else { Err(Unreadable) };
    };
    let text = reading.resolved(node, &format!("`{key}`")).ok_or(Unreadable)?.text;
    text.parse().map(Some).map_err(|error: InvalidId| {
        reading.error("bad-id", &node.span, error.to_string(), "write the id that the API shows");
        Unreadable
    })
}

fn preference(reading: &mut Reading<'_>, rule: &Section<'_>) -> Option<bool> {
    let Some(node) = rule.get(PREFER) else { return rule.key_span(PREFER).is_none().then_some(false) };
    match reading.text(node, &format!("`{PREFER}`"))? {
        "true" => Some(true),
        "false" => Some(false),
        _ => {
            reading.error("bad-value", &node.span, format!("`{PREFER}` is true or false"), "write true or false");
            None
        }
    }
}
