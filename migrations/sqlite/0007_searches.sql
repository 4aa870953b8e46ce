-- What searches of runs go by. All runs of a project are in the order of their start already.
CREATE INDEX runs_by_name ON runs (tenant_id, project_id, name, start_at, run_id);
CREATE INDEX runs_failed ON runs (tenant_id, project_id, start_at, run_id) WHERE status = 'error';
CREATE INDEX feedback_by_key ON feedback (tenant_id, key, run_id);
