//! The projects that parts name.

use std::collections::{HashMap, HashSet};

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use crate::model::id::{ProjectId, TenantId, derived};
use crate::model::project::{DEFAULT_PROJECT, ProjectRef};
use crate::model::time::Timestamp;
use crate::store::sqlite::row::{Cells, id_list, json_text};
use crate::store::{Result, StoreError};

pub(super) const FIND: &str = "SELECT project_id, name FROM projects \
     WHERE tenant_id = $1 AND name IN (SELECT value FROM json_each($2)) \
     UNION ALL SELECT project_id, name FROM projects \
     WHERE tenant_id = $1 AND project_id IN (SELECT unhex(value) FROM json_each($3))";

const CREATE: &str = "INSERT INTO projects (tenant_id, project_id, name, start_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT DO NOTHING";

/// The projects of one tenant that some parts name.
pub(super) struct Projects {
    tenant: TenantId,
    by_name: HashMap<String, ProjectId>,
    ids: HashSet<ProjectId>,
}

impl Projects {
    /// Looks up what is named.
    pub(super) async fn load(
        connection: &mut SqliteConnection,
        tenant: TenantId,
        named: impl Iterator<Item = ProjectRef>,
    ) -> Result<Self> {
        let (mut by_name, mut by_id) = (HashSet::new(), HashSet::new());
        for project in named {
            match project {
                ProjectRef::Name(name) => _ = by_name.insert(name),
                ProjectRef::Id(id) => _ = by_id.insert(id.0),
            }
        }
        let mut projects = Self { tenant, by_name: HashMap::new(), ids: HashSet::new() };
        if by_name.is_empty() && by_id.is_empty() {
            return Ok(projects);
        }
        let query = sqlx::query(FIND).bind(tenant.0).bind(json_text(&by_name)?).bind(id_list(by_id));
        for row in query.fetch_all(connection).await? {
            let mut cells = Cells::of("projects", &row);
            let id = ProjectId(cells.take()?);
            projects.ids.insert(id);
            projects.by_name.insert(cells.take()?, id);
        }
        Ok(projects)
    }

    /// Whether a project with this id is there.
    pub(super) fn has(&self, id: ProjectId) -> bool {
        self.ids.contains(&id)
    }

    /// The project of this name, created if need be.
    pub(super) async fn named(
        &mut self,
        connection: &mut SqliteConnection,
        name: &str,
        now: Timestamp,
    ) -> Result<ProjectId> {
        if let Some(id) = self.by_name.get(name) {
            return Ok(*id);
        }
        let id = create(connection, self.tenant, name, now).await?;
        self.by_name.insert(name.to_owned(), id);
        self.ids.insert(id);
        Ok(id)
    }
}

/// Creates a project whose name is free. Its id follows from its name, unless a project that was renamed holds that id.
async fn create(connection: &mut SqliteConnection, tenant: TenantId, name: &str, now: Timestamp) -> Result<ProjectId> {
    let others = (1_u8..=u8::MAX).map(|number| namesake(tenant, name, number));
    for id in std::iter::once(ProjectId::of_name(tenant, name)).chain(others) {
        let query = sqlx::query(CREATE).bind(tenant.0).bind(id.0).bind(name).bind(now.0);
        if query.execute(&mut *connection).await?.rows_affected() == 1 {
            return Ok(id);
        }
    }
    Err(StoreError::Conflict(format!("the project `{name}`")))
}

fn namesake(tenant: TenantId, name: &str, number: u8) -> ProjectId {
    let id: Uuid = derived("project", &[tenant.0.as_bytes(), name.as_bytes(), &[number]]);
    ProjectId(id)
}

/// Makes sure that a tenant has its default project. Nobody knows the time here: the first change sets its start.
pub(in crate::store::sqlite) async fn ensure_default(
    connection: &mut SqliteConnection,
    tenant: TenantId,
) -> Result<()> {
    let found: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT project_id FROM projects WHERE tenant_id = $1 AND name = $2")
            .bind(tenant.0)
            .bind(DEFAULT_PROJECT)
            .fetch_optional(&mut *connection)
            .await?;
    if found.is_none() {
        create(connection, tenant, DEFAULT_PROJECT, Timestamp(0)).await?;
    }
    Ok(())
}
