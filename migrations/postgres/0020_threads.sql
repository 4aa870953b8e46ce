-- Threads: which one a root is a turn of, and which one it left with a change. Roots that are stored without one get theirs
-- when they next change. Binaries that know nothing of threads may use this until there is a rule on threads: the first
-- of those raises the least version.
ALTER TABLE runs ADD COLUMN thread_id UUID;
ALTER TABLE changes ADD COLUMN left_thread_id UUID;
CREATE INDEX runs_by_thread ON runs (tenant_id, project_id, thread_id, start_at, run_id) WHERE thread_id IS NOT NULL;

-- Which run an example was made of. Examples that are stored say it in their bodies alone.
ALTER TABLE examples ADD COLUMN source_run_id UUID;
CREATE INDEX examples_by_run ON examples (tenant_id, source_run_id) WHERE source_run_id IS NOT NULL;
