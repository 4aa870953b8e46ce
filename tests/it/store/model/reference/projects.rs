//! Projects.

use async_trait::async_trait;
use runhook::model::audit::Entry;
use runhook::model::id::{ProjectId, TenantId, derived};
use runhook::model::project::{DEFAULT_PROJECT, Project};
use runhook::model::time::Timestamp;
use runhook::store::projects::{ProjectOrder, ProjectQuery, ProjectStore};
use runhook::store::{Result, StoreError};

use super::{Log, Reference, Tenant, conflict};

#[async_trait]
impl ProjectStore for Reference {
    async fn create_project(&self, project: Project) -> Result<Project> {
        self.change(|state| {
            let tenant = state.tenant(project.tenant_id);
            if tenant.projects.contains_key(&project.id) || tenant.id_of(&project.name).is_some() {
                return conflict("the project");
            }
            tenant.create(project.clone());
            Ok(project)
        })
    }

    async fn update_project(&self, project: Project) -> Result<()> {
        self.change(|state| {
            let tenant = state.tenant(project.tenant_id);
            let Some(log) = tenant.projects.get(&project.id) else { return Err(StoreError::NotFound("the project")) };
            if log.project.name != project.name {
                if tenant.id_of(&project.name).is_some() {
                    return conflict("the project");
                }
                tenant.rename(project.id, &project.name);
                state.rules_version += 1;
            }
            let log = state.tenant(project.tenant_id).projects.get_mut(&project.id).expect("it was there");
            log.project = project;
            Ok(())
        })
    }

    async fn delete_project(&self, tenant: TenantId, id: ProjectId, _: Option<Entry>) -> Result<bool> {
        self.change(|state| {
            let there = state.tenant(tenant).delete(id);
            state.rules_version += i64::from(there);
            Ok(there)
        })
    }

    async fn project(&self, tenant: TenantId, id: ProjectId) -> Result<Option<Project>> {
        Ok(self.look_at(tenant, |tenant| tenant.projects.get(&id).map(|log| log.project.clone())))
    }

    async fn list_projects(&self, id: TenantId, query: &ProjectQuery) -> Result<Vec<Project>> {
        self.change(|state| {
            let tenant = state.tenant(id);
            let mut found = tenant.page(query);
            if found.is_empty() && tenant.id_of(DEFAULT_PROJECT).is_none() {
                tenant.ensure_default(id);
                found = tenant.page(query);
            }
            Ok(found)
        })
    }
}

impl Reference {
    /// The project that has this name now.
    pub(in crate::store::model) fn project_of_name(&self, tenant: TenantId, name: &str) -> Option<ProjectId> {
        self.look_at(tenant, |tenant| tenant.id_of(name))
    }
}

impl Tenant {
    pub(super) fn id_of(&self, name: &str) -> Option<ProjectId> {
        self.projects.values().find(|log| log.project.name == name).map(|log| log.project.id)
    }

    fn create(&mut self, project: Project) {
        self.projects.insert(project.id, Log { project, changes: Vec::new(), settled: 0 });
    }

    /// The project of this name, made if need be. Its id follows from the name, or, if that is another project's by now,
    /// from the name and a number.
    pub(super) fn project_named(&mut self, tenant: TenantId, name: &str, now: Timestamp) -> ProjectId {
        if let Some(id) = self.id_of(name) {
            return id;
        }
        let numbered = |n: u8| ProjectId(derived("project", &[tenant.0.as_bytes(), name.as_bytes(), &[n]]));
        let mut ids = std::iter::once(ProjectId::of_name(tenant, name)).chain((1..).map(numbered));
        let id = ids.find(|id| !self.projects.contains_key(id)).expect("some id is free");
        let (description, extra, reference_dataset_id, end_time) = (None, None, None, None);
        let name = name.to_owned();
        let project = Project {
            tenant_id: tenant,
            id,
            name,
            description,
            extra,
            reference_dataset_id,
            start_time: now,
            end_time,
        };
        self.create(project);
        id
    }

    /// Nobody knows the time here: the first change sets the start.
    pub(super) fn ensure_default(&mut self, tenant: TenantId) {
        self.project_named(tenant, DEFAULT_PROJECT, Timestamp(0));
    }

    fn page(&self, query: &ProjectQuery) -> Vec<Project> {
        let mut found: Vec<Project> = self.projects.values().map(|log| log.project.clone()).collect();
        found.retain(|project| {
            (query.ids.is_empty() || query.ids.contains(&project.id))
                && query.name.as_ref().is_none_or(|name| *name == project.name)
                && query
                    .name_contains
                    .as_ref()
                    .is_none_or(|part| project.name.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
        });
        assert_eq!(query.order, ProjectOrder::default(), "histories ask for no other");
        found.sort_by_key(|project| (std::cmp::Reverse(project.start_time), project.id));
        found.into_iter().skip(query.offset as usize).take(query.limit as usize).collect()
    }

    /// Removes all that is in a project. What was said stays.
    fn delete(&mut self, id: ProjectId) -> bool {
        if !self.projects.contains_key(&id) {
            return false;
        }
        let inside: Vec<_> =
            self.feedback.keys().copied().filter(|at| self.place_of_feedback(*at) == Some(id)).collect();
        self.feedback.retain(|at, _| !inside.contains(at));
        self.runs.retain(|_, known| known.project != id);
        self.matches.retain(|_, project| *project != id);
        self.windows.retain(|(window, _)| window.project_id != id);
        self.cursors.retain(|key, _| key.project_id != id);
        self.starts.retain(|(project, _), _| *project != id);
        self.spans.retain(|(project, _, _), _| *project != id);
        self.projects.remove(&id).is_some()
    }
}
