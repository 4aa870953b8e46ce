-- Which scheduler a stirred project is with for the moment. Losing these rows costs work done twice, so they are not
-- worth a wait for the disk.
CREATE UNLOGGED TABLE project_leases (
    tenant_id  UUID   NOT NULL,
    project_id UUID   NOT NULL,
    holder     UUID   NOT NULL,
    until_at   BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id)
);
