//! How batches are cut.

use crate::model::amount::{SIZE_HINT, size, size_text};
use crate::model::rule::BatchLimits;
use crate::rule_file::node::Node;
use crate::rule_file::reading::Reading;

/// Keys of `batch`.
pub(super) const BATCH_KEYS: &[&str] = &["max_runs", "max_bytes", "inline_bytes"];

const MOST_RUNS: u32 = 10_000;
const LEAST_BYTES: u64 = 16 * 1024;
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Reads `batch`.
pub(super) fn lower(reading: &mut Reading<'_>, node: &Node) -> Option<BatchLimits> {
    let section = reading.section(node, "`batch`", BATCH_KEYS)?;
    let before = reading.problems.len();
    let mut limits = BatchLimits::default();
    if let Some(runs) = section.get("max_runs").and_then(|node| max_runs(reading, node)) {
        limits.max_runs = runs;
    }
    if let Some(node) = section.get("max_bytes")
        && let Some(bytes) = bytes(reading, node, "`max_bytes`", LEAST_BYTES, MOST_BYTES)
    {
        limits.max_bytes = bytes;
    }
    limits.inline_bytes = limits.inline_bytes.min(limits.max_bytes);
    if let Some(node) = section.get("inline_bytes")
        && let Some(bytes) = bytes(reading, node, "`inline_bytes`", 0, limits.max_bytes)
    {
        limits.inline_bytes = bytes;
    }
    (reading.problems.len() == before).then_some(limits)
}

fn max_runs(reading: &mut Reading<'_>, node: &Node) -> Option<u32> {
    let number = reading.number(node, "`max_runs`")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    if number.fract() == 0.0 && (1.0..=f64::from(MOST_RUNS)).contains(&number) {
        return Some(number as u32);
    }
    let hint = format!("a whole number from 1 to {MOST_RUNS}");
    reading.error("out-of-range", &node.span, "`max_runs` is out of range", &hint);
    None
}

fn bytes(reading: &mut Reading<'_>, node: &Node, what: &str, least: u64, most: u64) -> Option<u64> {
    let text = reading.text(node, what)?;
    let Some(found) = size(text) else {
        reading.error("bad-size", &node.span, format!("{what} is not a size"), SIZE_HINT);
        return None;
    };
    if !(least..=most).contains(&found) {
        let hint = format!("from {} to {}", size_text(least), size_text(most));
        reading.error("out-of-range", &node.span, format!("{what} is out of range"), &hint);
        return None;
    }
    Some(found)
}
