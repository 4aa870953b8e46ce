//! Projects.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::id::{ProjectId, TenantId};
use crate::model::project::{DEFAULT_PROJECT, Project};
use crate::model::time::Timestamp;
use crate::store::accept::ensure_default;
use crate::store::failure::is_repeat;
use crate::store::projects::{ProjectQuery, ProjectStore};
use crate::store::records::project;
use crate::store::revision::RuleRows as _;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::row::id_list;
use crate::store::{Result, StoreError, revision};

const COLUMNS: &str = "SELECT tenant_id, project_id, name, description, extra, reference_dataset_id, start_at, end_at \
     FROM projects WHERE tenant_id = ";

const ONE: &str = "SELECT tenant_id, project_id, name, description, extra, reference_dataset_id, start_at, end_at \
     FROM projects WHERE tenant_id = $1 AND project_id = $2";

const CREATE: &str = "INSERT INTO projects (tenant_id, project_id, name, description, extra, reference_dataset_id, \
     start_at, end_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const UPDATE: &str = "UPDATE projects SET name = $3, description = $4, extra = $5, reference_dataset_id = $6, \
     start_at = $7, end_at = $8 WHERE tenant_id = $1 AND project_id = $2";

const DELETE: &str = "DELETE FROM projects WHERE tenant_id = $1 AND project_id = $2";

/// What belongs to a project. Feedback and bodies come first: they are found through the runs. Feedback whose run is
/// known is where its run is, whatever its sender said before.
const DELETE_CONTENTS: [&str; 11] = [
    "DELETE FROM queued_runs WHERE tenant_id = $1 AND run_id IN \
     (SELECT run_id FROM run_bodies WHERE tenant_id = $1 AND project_id = $2)",
    "DELETE FROM feedback WHERE tenant_id = $1 AND (run_id IN \
     (SELECT run_id FROM run_bodies WHERE tenant_id = $1 AND project_id = $2) OR (project_id = $2 AND NOT EXISTS \
     (SELECT 1 FROM run_bodies b WHERE b.tenant_id = $1 AND b.run_id = feedback.run_id)))",
    "DELETE FROM run_bodies WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM runs WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM changes WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM matches WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM windows WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM window_finds WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM group_cursors WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM rule_starts WHERE tenant_id = $1 AND project_id = $2",
    "DELETE FROM rule_spans WHERE tenant_id = $1 AND project_id = $2",
];

#[async_trait]
impl ProjectStore for SqliteStore {
    async fn create_project(&self, project: Project) -> Result<Project> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    let written = write(connection, CREATE, &project).await?;
                    debug_assert_eq!(written, 1, "an INSERT either writes its row or fails");
                    Ok(project)
                })
            })
            .await
    }

    async fn update_project(&self, project: Project, now: Timestamp) -> Result<()> {
        self.queue.write(move |connection| Box::pin(update(connection, project, now))).await
    }

    async fn delete_project(&self, tenant: TenantId, id: ProjectId) -> Result<bool> {
        self.queue.write(move |connection| Box::pin(delete(connection, tenant, id))).await
    }

    async fn project(&self, tenant: TenantId, id: ProjectId) -> Result<Option<Project>> {
        let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(&self.readers).await?;
        row.as_ref().map(project).transpose()
    }

    async fn list_projects(&self, tenant: TenantId, query: &ProjectQuery) -> Result<Vec<Project>> {
        let rows = page(tenant, query).build().fetch_all(&self.readers).await?;
        if rows.is_empty() && self.lacks_default(tenant).await? {
            self.queue.write(move |connection| Box::pin(ensure_default(connection, tenant))).await?;
            let rows = page(tenant, query).build().fetch_all(&self.readers).await?;
            return rows.iter().map(project).collect();
        }
        rows.iter().map(project).collect()
    }
}

impl SqliteStore {
    async fn lacks_default(&self, tenant: TenantId) -> Result<bool> {
        let query = ProjectQuery { name: Some(DEFAULT_PROJECT.to_owned()), limit: 1, ..ProjectQuery::default() };
        Ok(page(tenant, &query).build().fetch_optional(&self.readers).await?.is_none())
    }
}

fn page(tenant: TenantId, query: &ProjectQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push_bind(tenant.0);
    if !query.ids.is_empty() {
        let ids = id_list(query.ids.iter().map(|id| id.0));
        sql.push(" AND project_id IN (SELECT unhex(value) FROM json_each(").push_bind(ids).push("))");
    }
    if let Some(name) = &query.name {
        sql.push(" AND name = ").push_bind(name.clone());
    }
    if let Some(part) = &query.name_contains {
        sql.push(" AND instr(lower(name), ").push_bind(part.to_ascii_lowercase()).push(") > 0");
    }
    sql.push(" ORDER BY start_at DESC, project_id LIMIT ").push_bind(query.limit);
    sql.push(" OFFSET ").push_bind(query.offset);
    sql
}

async fn write(connection: &mut SqliteConnection, statement: &'static str, project: &Project) -> Result<u64> {
    let done = sqlx::query(statement)
        .bind(project.tenant_id.0)
        .bind(project.id.0)
        .bind(&project.name)
        .bind(&project.description)
        .bind(project.extra.as_ref().map(|extra| extra.text().to_owned()))
        .bind(project.reference_dataset_id)
        .bind(project.start_time.0)
        .bind(project.end_time.map(|end| end.0))
        .execute(connection)
        .await;
    match done {
        Ok(done) => Ok(done.rows_affected()),
        Err(error) if is_repeat(&error) => Err(StoreError::Conflict(format!("the project `{}`", project.name))),
        Err(error) => Err(error.into()),
    }
}

async fn update(connection: &mut SqliteConnection, project: Project, now: Timestamp) -> Result<()> {
    let known = sqlx::query(ONE).bind(project.tenant_id.0).bind(project.id.0).fetch_optional(&mut *connection).await?;
    let before = match known {
        Some(row) => self::project(&row)?,
        None => return Err(StoreError::NotFound("the project")),
    };
    if before.name != project.name {
        revision::rename(connection, &project, now).await?;
    }
    write(connection, UPDATE, &project).await?;
    Ok(())
}

/// Windows being evaluated over the project must not be committed over its next life: that is what the version is for.
async fn delete(connection: &mut SqliteConnection, tenant: TenantId, id: ProjectId) -> Result<bool> {
    let there = sqlx::query(DELETE).bind(tenant.0).bind(id.0).execute(&mut *connection).await?.rows_affected() > 0;
    if there {
        for statement in DELETE_CONTENTS {
            sqlx::query(statement).bind(tenant.0).bind(id.0).execute(&mut *connection).await?;
        }
        connection.bump_version().await?;
    }
    Ok(there)
}
