-- Projects that were removed while what they held is still being dropped. Nothing begins under such an id.
CREATE TABLE removed_projects (
    tenant_id  UUID NOT NULL,
    project_id UUID NOT NULL,
    PRIMARY KEY (tenant_id, project_id)
);

-- Pages of the runs of all projects.
CREATE INDEX runs_of_tenant ON runs (tenant_id, start_at, run_id);
