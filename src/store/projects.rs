//! Projects.

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::audit::Entry;
use crate::model::id::{ProjectId, TenantId};
use crate::model::project::Project;
use crate::store::Result;

/// The order of a list of projects. Those that are alike in it follow one another by their ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProjectOrder {
    /// By their starts, the last one first.
    #[default]
    NewestFirst,
    /// By their starts, the first one first.
    OldestFirst,
    /// By their names, character by character.
    Name,
    /// The same, backwards.
    NameBackwards,
}

/// Which projects a page lists, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectQuery {
    /// With these ids; empty means any.
    pub ids: Vec<ProjectId>,
    /// With exactly this name.
    pub name: Option<String>,
    /// With this text in the name, whatever its case.
    pub name_contains: Option<String>,
    /// Experiments on one of these datasets; empty means any.
    pub reference_datasets: Vec<Uuid>,
    /// Only experiments, or only what is none.
    pub is_experiment: Option<bool>,
    /// In this order.
    pub order: ProjectOrder,
    /// At most this many.
    pub limit: u32,
    /// After skipping this many.
    pub offset: u32,
}

/// Projects.
#[async_trait]
pub trait ProjectStore: Send + Sync {
    /// Stores a project. A project of that name or id is a conflict.
    async fn create_project(&self, project: Project) -> Result<Project>;

    /// Replaces what is stored of a project (same tenant and id). Another project with that name is a conflict. Rules that
    /// watch it under its new name only start at its newest change (see [`crate::store::placement`]).
    async fn update_project(&self, project: Project) -> Result<()>;

    /// Removes a project with its runs, feedback, changes, windows and matches. Whether it was there. The project goes at
    /// once, and another may begin under its name; what it held goes after it, in transactions of bounded size, before
    /// this returns. What is left because the process ended is for [`crate::store::RetentionStore::drop_removed`]; until
    /// it is gone `accept` is `Busy` for batches about its runs, and so is `create_project` for its id.
    async fn delete_project(&self, tenant: TenantId, id: ProjectId, told: Option<Entry>) -> Result<bool>;

    /// A project by id.
    async fn project(&self, tenant: TenantId, id: ProjectId) -> Result<Option<Project>>;

    /// A page of projects.
    async fn list_projects(&self, tenant: TenantId, query: &ProjectQuery) -> Result<Vec<Project>>;
}
