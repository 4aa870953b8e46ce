//! Endpoints of rule files: named ones, and those written inside a rule.

use std::ops::Range;

use crate::model::id::{EndpointId, TenantId, derived};
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

impl EndpointName {
    /// Its id: the same file gives the same endpoints everywhere.
    #[must_use]
    pub fn id(&self, tenant: TenantId) -> EndpointId {
        let tenant = tenant.0.as_bytes().as_slice();
        EndpointId(match self {
            Self::Named(key) => derived("endpoint", &[tenant, b"named", key.as_bytes()]),
            Self::Within { rule, index } => {
                derived("endpoint", &[tenant, b"within", rule.as_bytes(), &(*index as u64).to_be_bytes()])
            }
        })
    }
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
