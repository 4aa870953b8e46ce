//! The answer about a run. Evaluation never fails: whatever could be wrong was refused when the filter was checked.

pub(crate) mod compare;
mod pair;
pub(crate) mod text;

use crate::filter::checked::{Condition, Contained};
use crate::filter::facts::Facts;
use crate::filter::field::Root;

/// Whether a condition holds.
pub(crate) fn holds(condition: &Condition, facts: &Facts<'_>) -> bool {
    match condition {
        Condition::And(parts) => {
            let pairs = parts.iter().any(|part| part.pair().is_some());
            (!pairs || pair::joined(parts, facts))
                && parts.iter().all(|part| part.pair().is_some() || holds(part, facts))
        }
        Condition::Or(parts) => parts.iter().any(|part| holds(part, facts)),
        Condition::Not(inner) => !holds(inner, facts),
        Condition::Field(field, test) => match condition.pair() {
            // A test of a pair group by itself is about one row too.
            Some(_) => pair::joined(std::slice::from_ref(condition), facts),
            None => compare::field(field, test, facts),
        },
        Condition::Words(words) => facts.says(words),
        Condition::HasKey(root, key) => facts.entries(*root).iter().any(|entry| *entry.path == **key),
        Condition::Contains(root, within, contained) => contains(*root, within.as_deref(), contained, facts),
    }
}

fn contains(root: Root, within: Option<&str>, contained: &Contained, facts: &Facts<'_>) -> bool {
    let entries = facts.entries(root);
    contained.entries.iter().all(|wanted| {
        entries.iter().any(|entry| {
            let path = match within {
                Some(within) => entry.path.strip_prefix(within).and_then(|rest| rest.strip_prefix('.')),
                None => Some(entry.path.as_str()),
            };
            path == Some(wanted.path.as_str()) && entry.value == wanted.value
        })
    })
}
