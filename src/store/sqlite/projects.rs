//! Projects.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::audit::Entry;
use crate::model::id::{ProjectId, TenantId};
use crate::model::project::{DEFAULT_PROJECT, Project};
use crate::store::accept::ensure_default;
use crate::store::failure::{RETRY_AFTER, is_repeat};
use crate::store::projects::{ProjectOrder, ProjectQuery, ProjectStore};
use crate::store::records::project;
use crate::store::sqlite::row::id_list;
use crate::store::sqlite::{SqliteStore, audit, removal};
use crate::store::{Result, StoreError, revision};

const COLUMNS: &str = "SELECT tenant_id, project_id, name, description, extra, reference_dataset_id, start_at, end_at \
     FROM projects WHERE tenant_id = ";

const ONE: &str = "SELECT tenant_id, project_id, name, description, extra, reference_dataset_id, start_at, end_at \
     FROM projects WHERE tenant_id = $1 AND project_id = $2";

const CREATE: &str = "INSERT INTO projects (tenant_id, project_id, name, description, extra, reference_dataset_id, \
     start_at, end_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const UPDATE: &str = "UPDATE projects SET name = $3, description = $4, extra = $5, reference_dataset_id = $6, \
     start_at = $7, end_at = $8 WHERE tenant_id = $1 AND project_id = $2";

/// What a removed project held is dropped so many rows at a time, of each kind. Whoever sends waits for one of these.
const STEP: u32 = 200;

#[async_trait]
impl ProjectStore for SqliteStore {
    async fn create_project(&self, project: Project) -> Result<Project> {
        self.queue
            .write(move |connection| {
                Box::pin(async move {
                    if removal::is_removed(connection, project.tenant_id, project.id).await? {
                        return Err(StoreError::Busy { retry_after: RETRY_AFTER });
                    }
                    let written = write(connection, CREATE, &project).await?;
                    debug_assert_eq!(written, 1, "an INSERT either writes its row or fails");
                    Ok(project)
                })
            })
            .await
    }

    async fn update_project(&self, project: Project) -> Result<()> {
        self.queue.write(move |connection| Box::pin(update(connection, project))).await
    }

    async fn delete_project(&self, tenant: TenantId, id: ProjectId, told: Option<Entry>) -> Result<bool> {
        let removed = self
            .queue
            .write(move |connection| {
                Box::pin(async move {
                    let there = removal::remove(connection, tenant, id).await?;
                    if there {
                        audit::write(connection, told.as_slice()).await?;
                    }
                    Ok(there)
                })
            })
            .await?;
        if !removed {
            return Ok(false);
        }
        while self.drop_some((tenant, id), STEP).await?.more {}
        Ok(true)
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
    if !query.reference_datasets.is_empty() {
        let datasets = id_list(query.reference_datasets.iter().copied());
        sql.push(" AND reference_dataset_id IN (SELECT unhex(value) FROM json_each(").push_bind(datasets).push("))");
    }
    if let Some(is_experiment) = query.is_experiment {
        sql.push(" AND reference_dataset_id IS").push(if is_experiment { " NOT NULL" } else { " NULL" });
    }
    sql.push(match query.order {
        ProjectOrder::NewestFirst => " ORDER BY start_at DESC, project_id LIMIT ",
        ProjectOrder::OldestFirst => " ORDER BY start_at, project_id LIMIT ",
        ProjectOrder::Name => " ORDER BY name, project_id LIMIT ",
        ProjectOrder::NameBackwards => " ORDER BY name DESC, project_id LIMIT ",
    });
    sql.push_bind(query.limit);
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

async fn update(connection: &mut SqliteConnection, project: Project) -> Result<()> {
    let known = sqlx::query(ONE).bind(project.tenant_id.0).bind(project.id.0).fetch_optional(&mut *connection).await?;
    let before = match known {
        Some(row) => self::project(&row)?,
        None => return Err(StoreError::NotFound("the project")),
    };
    if before.name != project.name {
        revision::rename(connection, &project).await?;
    }
    write(connection, UPDATE, &project).await?;
    Ok(())
}
