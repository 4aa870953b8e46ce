-- What alerts have yet to say, by where it goes and when it was said: one thing after the other. It has no entry for anything
-- else that waits.
CREATE INDEX deliveries_of_alerts ON deliveries (endpoint_id, created_at) WHERE state = 0 AND source = 'alert';

-- Roots by their traces: from traces that are known to those of their runs that most searches are about.
CREATE INDEX runs_roots ON runs (tenant_id, project_id, trace_id) WHERE is_root;

-- Traces with a run that failed, which are counted before a search sets out.
CREATE INDEX runs_failed_by_trace ON runs (tenant_id, project_id, trace_id) WHERE status = 'error';
