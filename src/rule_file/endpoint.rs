//! Endpoints of rule files: named ones, and those written inside a rule.

use std::ops::Range;

use crate::model::id::{EndpointId, TenantId, derived};
use crate::model::time::Timestamp;
use crate::rule_file::target::TargetDraft;

/// Which endpoint, whoever applies the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointName {
    /// An entry of `endpoints`.
    Named(String),
    /// The webhook at this place of a rule's list.
    Within {
        /// The rule's key.
        rule: String,
        /// From 0.
        index: usize,
    },
}

/// The id of the endpoint with this key: the same file gives the same id everywhere.
#[must_use]
pub(super) fn id_of_named(tenant: TenantId, key: &str) -> EndpointId {
    EndpointId(derived("endpoint", &[tenant.0.as_bytes(), b"named", key.as_bytes()]))
}

/// An id for a webhook that is new in a rule at this instant. Another instant gives another id: one that was removed
/// is never given out again, because its deliveries can still be replayed.
#[must_use]
pub(super) fn id_of_new(tenant: TenantId, rule: &str, index: u64, at: Timestamp) -> EndpointId {
    let (index, at) = (index.to_be_bytes(), at.0.to_be_bytes());
    EndpointId(derived("endpoint", &[tenant.0.as_bytes(), b"within", rule.as_bytes(), &index, &at]))
}

/// An endpoint as a file describes it.
#[derive(Debug, Clone)]
pub struct EndpointDraft {
    /// Which one it is.
    pub name: EndpointName,
    /// What it is.
    pub target: TargetDraft,
    /// The file it is in.
    pub file: String,
}

/// A key, and where it is written.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) key: String,
    pub(super) span: Range<usize>,
}
