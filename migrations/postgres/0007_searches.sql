-- What searches of runs go by. All runs of a project are in the order of their start already.

-- An entry of an index has room for 2,700 bytes, so names are in it by their beginnings.
CREATE INDEX runs_by_name ON runs (tenant_id, project_id, left(name, 100), start_at, run_id);
CREATE INDEX runs_failed ON runs (tenant_id, project_id, start_at, run_id) WHERE status = 'error';
CREATE INDEX feedback_by_key ON feedback (tenant_id, key, run_id);
