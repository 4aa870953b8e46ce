-- Datasets and annotation queues; `body` is all of it.
CREATE TABLE collections (
    tenant_id     UUID   NOT NULL,
    kind          TEXT   NOT NULL,
    collection_id UUID   NOT NULL,
    name          TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    body          TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, kind, collection_id)
);
CREATE UNIQUE INDEX collections_by_name ON collections (tenant_id, kind, name);

-- Examples of datasets; `body` is all of one, packed.
CREATE TABLE examples (
    tenant_id  UUID   NOT NULL,
    example_id UUID   NOT NULL,
    dataset_id UUID   NOT NULL,
    created_at BIGINT NOT NULL,
    body       BYTEA   NOT NULL,
    PRIMARY KEY (tenant_id, example_id)
);
CREATE INDEX examples_by_dataset ON examples (tenant_id, dataset_id, created_at, example_id);

-- The blobs that examples name.
CREATE TABLE example_links (
    tenant_id  UUID NOT NULL,
    example_id UUID NOT NULL,
    blob_key   TEXT NOT NULL,
    PRIMARY KEY (tenant_id, example_id, blob_key)
);
CREATE INDEX example_links_by_blob ON example_links (tenant_id, blob_key);

-- Runs that wait in annotation queues.
CREATE TABLE queued_runs (
    tenant_id UUID   NOT NULL,
    queue_id  UUID   NOT NULL,
    run_id    UUID   NOT NULL,
    added_at  BIGINT NOT NULL,
    position  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, queue_id, run_id)
);
CREATE INDEX queued_runs_in_order ON queued_runs (tenant_id, queue_id, added_at, position, run_id);
CREATE INDEX queued_runs_by_run ON queued_runs (tenant_id, run_id);
