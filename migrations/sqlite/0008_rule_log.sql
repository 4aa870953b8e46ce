-- Which window a match was found in, when that was committed, and what became of the actions of its rule where it has any.
-- Matches from before have none of it, and are in no log.
ALTER TABLE matches ADD COLUMN window_id BLOB;
ALTER TABLE matches ADD COLUMN applied_at BIGINT;
ALTER TABLE matches ADD COLUMN outcome TEXT;
CREATE INDEX matches_by_application ON matches (tenant_id, rule_id, applied_at, run_id) WHERE applied_at IS NOT NULL;
