//! Projects: streams of runs, and the unit of ordering.

use crate::model::id::{ProjectId, TenantId};
use crate::model::json::RawJson;
use crate::model::time::Timestamp;

/// The project of runs that name none.
pub const DEFAULT_PROJECT: &str = "default";

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its owner.
    pub tenant_id: TenantId,
    /// Its id.
    pub id: ProjectId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// What its owner wrote about it.
    pub description: Option<String>,
    /// Anything its owner attached to it.
    pub extra: Option<RawJson>,
    /// The dataset it is an experiment on.
    pub reference_dataset_id: Option<uuid::Uuid>,
    /// When it began.
    pub start_time: Timestamp,
    /// When it was closed.
    pub end_time: Option<Timestamp>,
}

/// How a client names a project.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProjectRef {
    /// By name; created when first seen.
    Name(String),
    /// By id; must exist.
    Id(ProjectId),
}
