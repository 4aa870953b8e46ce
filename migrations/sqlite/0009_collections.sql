-- Datasets and annotation queues; `body` is all of it.
CREATE TABLE collections (
    tenant_id     BLOB   NOT NULL,
    kind          TEXT   NOT NULL,
    collection_id BLOB   NOT NULL,
    name          TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    body          TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, kind, collection_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX collections_by_name ON collections (tenant_id, kind, name);

-- Examples of datasets; `body` is all of one, packed.
CREATE TABLE examples (
    tenant_id  BLOB   NOT NULL,
    example_id BLOB   NOT NULL,
    dataset_id BLOB   NOT NULL,
    created_at BIGINT NOT NULL,
    body       BLOB   NOT NULL,
    PRIMARY KEY (tenant_id, example_id)
);
CREATE INDEX examples_by_dataset ON examples (tenant_id, dataset_id, created_at, example_id);

-- The blobs that examples name.
CREATE TABLE example_links (
    tenant_id  BLOB NOT NULL,
    example_id BLOB NOT NULL,
    blob_key   TEXT NOT NULL,
    PRIMARY KEY (tenant_id, example_id, blob_key)
) WITHOUT ROWID;
CREATE INDEX example_links_by_blob ON example_links (tenant_id, blob_key);

-- Runs that wait in annotation queues.
CREATE TABLE queued_runs (
    tenant_id BLOB   NOT NULL,
    queue_id  BLOB   NOT NULL,
    run_id    BLOB   NOT NULL,
    added_at  BIGINT NOT NULL,
    position  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, queue_id, run_id)
) WITHOUT ROWID;
CREATE INDEX queued_runs_in_order ON queued_runs (tenant_id, queue_id, added_at, position, run_id);
CREATE INDEX queued_runs_by_run ON queued_runs (tenant_id, run_id);
