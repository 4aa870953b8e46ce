-- Since when an endpoint fails (the first failure after the last success), and its circuit: until when nothing is sent there,
-- and how often it has opened, one time after the other. An endpoint that does well has none of it.
ALTER TABLE endpoints ADD COLUMN failing_since BIGINT;
ALTER TABLE endpoints ADD COLUMN circuit_until BIGINT;
ALTER TABLE endpoints ADD COLUMN circuit_openings BIGINT;
