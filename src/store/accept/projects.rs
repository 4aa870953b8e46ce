//! The projects that parts name.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::model::id::{ProjectId, TenantId, derived};
use crate::model::project::{DEFAULT_PROJECT, ProjectRef};
use crate::model::time::Timestamp;
use crate::store::accept::Rows;
use crate::store::{Result, StoreError};

/// The projects of one tenant that some parts name.
pub(super) struct Projects {
    tenant: TenantId,
    by_name: HashMap<String, ProjectId>,
    ids: HashSet<ProjectId>,
}

impl Projects {
    /// Looks up what is named.
    pub(super) async fn load(
        rows: &mut dyn Rows,
        tenant: TenantId,
        named: impl Iterator<Item = ProjectRef>,
    ) -> Result<Self> {
        let (mut by_name, mut by_id) = (HashSet::new(), HashSet::new());
        for project in named {
            match project {
                ProjectRef::Name(name) => _ = by_name.insert(name),
                ProjectRef::Id(id) => _ = by_id.insert(id),
            }
        }
        let mut projects = Self { tenant, by_name: HashMap::new(), ids: HashSet::new() };
        if by_name.is_empty() && by_id.is_empty() {
            return Ok(projects);
        }
        let by_name: Vec<String> = by_name.into_iter().collect();
        let by_id: Vec<ProjectId> = by_id.into_iter().collect();
        for (id, name) in rows.projects(tenant, &by_name, &by_id).await? {
            projects.ids.insert(id);
            projects.by_name.insert(name, id);
        }
        Ok(projects)
    }

    /// Whether a project with this id is there.
    pub(super) fn has(&self, id: ProjectId) -> bool {
        self.ids.contains(&id)
    }

    /// The project of this name, created if need be.
    pub(super) async fn named(&mut self, rows: &mut dyn Rows, name: &str, now: Timestamp) -> Result<ProjectId> {
        if let Some(id) = self.by_name.get(name) {
            return Ok(*id);
        }
        let id = create(rows, self.tenant, name, now).await?;
        self.by_name.insert(name.to_owned(), id);
        self.ids.insert(id);
        Ok(id)
    }
}

/// Creates a project whose name is free. Its id follows from its name, unless a project that was renamed holds that id.
async fn create(rows: &mut dyn Rows, tenant: TenantId, name: &str, now: Timestamp) -> Result<ProjectId> {
    let others = (1_u8..=u8::MAX).map(|number| namesake(tenant, name, number));
    for id in std::iter::once(ProjectId::of_name(tenant, name)).chain(others) {
        if rows.create_project(tenant, id, name, now).await? {
            return Ok(id);
        }
        // It is the name that is taken when someone else has just created it.
        if let Some((id, _)) = rows.projects(tenant, &[name.to_owned()], &[]).await?.first() {
            return Ok(*id);
        }
    }
    Err(StoreError::Conflict(format!("the project `{name}`")))
}

fn namesake(tenant: TenantId, name: &str, number: u8) -> ProjectId {
    let id: Uuid = derived("project", &[tenant.0.as_bytes(), name.as_bytes(), &[number]]);
    ProjectId(id)
}

/// Makes sure that a tenant has its default project. Nobody knows the time here: the first change sets its start.
pub(in crate::store) async fn ensure_default(rows: &mut dyn Rows, tenant: TenantId) -> Result<()> {
    if rows.projects(tenant, &[DEFAULT_PROJECT.to_owned()], &[]).await?.is_empty() {
        create(rows, tenant, DEFAULT_PROJECT, Timestamp(0)).await?;
    }
    Ok(())
}
