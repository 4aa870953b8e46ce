-- An endpoint's own timeout and retries (JSON), the file it came from, and when and why it was disabled. Endpoints that
-- are stored say nothing of these.
ALTER TABLE endpoints ADD COLUMN overrides TEXT;
ALTER TABLE endpoints ADD COLUMN origin TEXT;
ALTER TABLE endpoints ADD COLUMN disabled_at BIGINT;
ALTER TABLE endpoints ADD COLUMN disabled_why TEXT;
