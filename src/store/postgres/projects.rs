//! Projects.

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};

use crate::model::audit::Entry;
use crate::model::id::{ProjectId, TenantId};
use crate::model::project::{DEFAULT_PROJECT, Project};
use crate::store::failure::{RETRY_AFTER, is_repeat};
use crate::store::postgres::rules::own_version;
use crate::store::postgres::runner::take_your_time;
use crate::store::postgres::session::Session;
use crate::store::postgres::{PgStore, audit, ids, removal, text};
use crate::store::projects::{ProjectOrder, ProjectQuery, ProjectStore};
use crate::store::records::project;
use crate::store::{Result, StoreError, revision};

const PAGE: &str = "SELECT tenant_id, project_id, name, description, extra, reference_dataset_id, start_at, end_at \
     FROM projects WHERE tenant_id = ";

const ONE: &str = "SELECT tenant_id, project_id, name, description, extra, reference_dataset_id, start_at, end_at \
     FROM projects WHERE tenant_id = $1 AND project_id = $2";

const CREATE: &str = "INSERT INTO projects (tenant_id, project_id, name, description, extra, reference_dataset_id, \
     start_at, end_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const UPDATE: &str = "UPDATE projects SET name = $3, description = $4, extra = $5, reference_dataset_id = $6, \
     start_at = $7, end_at = $8 WHERE tenant_id = $1 AND project_id = $2";

/// What a removed project held is dropped so many rows at a time, of each kind.
const STEP: u32 = 500;

#[async_trait]
impl ProjectStore for PgStore {
    async fn create_project(&self, project: Project) -> Result<Project> {
        let made = &project;
        self.run("create_project", |mut this| {
            Box::pin(async move {
                // An earlier try may have made it.
                if !(this.in_doubt && find(&mut this, made.tenant_id, made.id).await?.as_ref() == Some(made)) {
                    write(&mut this, CREATE, made).await?;
                    // Asked after that has waited for whoever is removing it.
                    if removal::are_removed(&mut this, made.tenant_id, &[made.id.0]).await? {
                        return Err(StoreError::Busy { retry_after: RETRY_AFTER });
                    }
                }
                Ok(this.done(()))
            })
        })
        .await?;
        Ok(project)
    }

    async fn update_project(&self, project: Project) -> Result<()> {
        let project = &project;
        self.run("update_project", |mut this| {
            Box::pin(async move {
                update(&mut this, project).await?;
                Ok(this.done(()))
            })
        })
        .await
    }

    async fn delete_project(&self, tenant: TenantId, id: ProjectId, told: Option<Entry>) -> Result<bool> {
        let told = told.as_slice();
        let there = self
            .run_long("delete_project", |mut this| {
                Box::pin(async move {
                    take_your_time(&mut this).await?;
                    let removed = removal::remove(&mut this, tenant, id).await?;
                    if removed {
                        audit::write(&mut this, told).await?;
                    }
                    let there = removed || this.in_doubt;
                    Ok(this.done(there))
                })
            })
            .await?;
        while there && self.drop_some((tenant, id), STEP).await?.more {}
        Ok(there)
    }

    async fn project(&self, tenant: TenantId, id: ProjectId) -> Result<Option<Project>> {
        self.read(async { find(&mut *self.reader().await?, tenant, id).await }).await
    }

    async fn list_projects(&self, tenant: TenantId, query: &ProjectQuery) -> Result<Vec<Project>> {
        let found = self.page(tenant, query).await?;
        let default = ProjectQuery { name: Some(DEFAULT_PROJECT.to_owned()), limit: 1, ..ProjectQuery::default() };
        if found.is_empty() && self.page(tenant, &default).await?.is_empty() {
            self.ensure_default(tenant).await?;
            return self.page(tenant, query).await;
        }
        Ok(found)
    }
}

impl PgStore {
    async fn page(&self, tenant: TenantId, query: &ProjectQuery) -> Result<Vec<Project>> {
        self.read(async {
            let mut reader = self.reader().await?;
            page(tenant, query).build().fetch_all(&mut *reader).await?.iter().map(project).collect()
        })
        .await
    }
}

fn page(tenant: TenantId, query: &ProjectQuery) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(PAGE);
    sql.push_bind(tenant.0);
    if !query.ids.is_empty() {
        sql.push(" AND project_id = ANY(").push_bind(ids(&query.ids, |id| id.0)).push(")");
    }
    if let Some(name) = &query.name {
        sql.push(" AND name = ").push_bind(text(name).into_owned());
    }
    if let Some(part) = &query.name_contains {
        let part = text(part).to_ascii_lowercase();
        // Of ASCII letters alone: whatever the database's locale, the other backend folds no others.
        sql.push(" AND strpos(lower(name COLLATE \"C\"), ").push_bind(part).push(") > 0");
    }
    if !query.reference_datasets.is_empty() {
        sql.push(" AND reference_dataset_id = ANY(").push_bind(query.reference_datasets.clone()).push(")");
    }
    if let Some(is_experiment) = query.is_experiment {
        sql.push(" AND reference_dataset_id IS").push(if is_experiment { " NOT NULL" } else { " NULL" });
    }
    sql.push(match query.order {
        ProjectOrder::NewestFirst => " ORDER BY start_at DESC, project_id LIMIT ",
        ProjectOrder::OldestFirst => " ORDER BY start_at, project_id LIMIT ",
        ProjectOrder::Name => " ORDER BY name COLLATE \"C\", project_id LIMIT ",
        ProjectOrder::NameBackwards => " ORDER BY name COLLATE \"C\" DESC, project_id LIMIT ",
    });
    sql.push_bind(i64::from(query.limit));
    sql.push(" OFFSET ").push_bind(i64::from(query.offset));
    sql
}

async fn find(connection: &mut Session, tenant: TenantId, id: ProjectId) -> Result<Option<Project>> {
    let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(project).transpose()
}

async fn write(connection: &mut Session, statement: &'static str, project: &Project) -> Result<u64> {
    let done = sqlx::query(statement)
        .bind(project.tenant_id.0)
        .bind(project.id.0)
        .bind(text(&project.name))
        .bind(project.description.as_deref().map(text))
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

/// Replaces what is stored of a project. A new name is a matter of rules, whose version is locked before anything is
/// looked at; the project's row is locked by whoever writes it, after that.
async fn update(connection: &mut Session, project: &Project) -> Result<()> {
    let name = |found: Option<Project>| found.map(|found| found.name).ok_or(StoreError::NotFound("the project"));
    if name(find(connection, project.tenant_id, project.id).await?)? != text(&project.name) {
        own_version(connection).await?;
        if name(find(connection, project.tenant_id, project.id).await?)? != text(&project.name) {
            revision::rename(&mut *connection, project).await?;
        }
    }
    match write(connection, UPDATE, project).await? {
        0 => Err(StoreError::NotFound("the project")),
        _ => Ok(()),
    }
}
