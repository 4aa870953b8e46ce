-- Where the last rules begin to look at a project is asked at every evaluation of it, however many rules watch it.
CREATE INDEX rule_starts_by_seq ON rule_starts (tenant_id, project_id, start_seq);
