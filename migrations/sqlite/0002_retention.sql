-- What is past its age is found here. Runs need no index of their own: changes are numbered in the order of their arrival.

-- Runs of which something is stored, and that were not complete when it came: patches that wait, runs without a name,
-- feedback that came first. A row stays when its run has become complete; it is removed when its time has come.
CREATE TABLE incomplete_runs (
    tenant_id  BLOB   NOT NULL,
    run_id     BLOB   NOT NULL,
    touched_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, run_id)
) WITHOUT ROWID;
CREATE INDEX incomplete_runs_by_age ON incomplete_runs (touched_at);

INSERT INTO incomplete_runs (tenant_id, run_id, touched_at)
    SELECT tenant_id, run_id, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM (
        SELECT tenant_id, run_id FROM waiting_parts
        UNION SELECT b.tenant_id, b.run_id FROM run_bodies b WHERE NOT EXISTS (SELECT 1 FROM runs r
            WHERE r.tenant_id = b.tenant_id AND r.project_id = b.project_id AND r.run_id = b.run_id)
        UNION SELECT f.tenant_id, f.run_id FROM feedback f WHERE f.run_id IS NOT NULL AND NOT EXISTS
            (SELECT 1 FROM run_bodies b WHERE b.tenant_id = f.tenant_id AND b.run_id = f.run_id));

-- The blobs a message's links open.
CREATE TABLE message_links (
    tenant_id  BLOB NOT NULL,
    message_id BLOB NOT NULL,
    blob_key   TEXT NOT NULL,
    PRIMARY KEY (tenant_id, message_id, blob_key)
) WITHOUT ROWID;
CREATE INDEX message_links_by_blob ON message_links (tenant_id, blob_key);

INSERT INTO message_links (tenant_id, message_id, blob_key)
    SELECT DISTINCT m.tenant_id, m.message_id, link.value ->> 'key' FROM messages m, json_each(m.links) link;

-- When the run of a match was dropped; until then there is none. It is remembered for a while that it was told.
ALTER TABLE matches ADD COLUMN run_dropped_at BIGINT;
CREATE INDEX matches_by_run ON matches (tenant_id, run_id);
CREATE INDEX matches_by_drop ON matches (run_dropped_at) WHERE run_dropped_at IS NOT NULL;

CREATE INDEX deliveries_by_end ON deliveries (finished_at, delivery_id) WHERE finished_at IS NOT NULL;
CREATE INDEX deliveries_by_message ON deliveries (tenant_id, message_id);
CREATE INDEX windows_by_end ON windows (end_at);
CREATE INDEX window_finds_by_end ON window_finds (end_at);

-- When somebody last began to look through all blobs.
INSERT INTO counters (name, value) VALUES ('blobs_swept_at', 0);
