-- Keys start with the tenant, so that the tables can be distributed by it. Instants (*_at) are microseconds since the
-- epoch, JSON that must come back byte for byte is text or, packed, bytes. Columns named *_sealed hold ciphertext only.
-- There are no foreign keys: each operation of the store is one transaction that keeps the rows in step.

CREATE TABLE projects (
    tenant_id            UUID    NOT NULL,
    project_id           UUID    NOT NULL,
    name                 TEXT    NOT NULL,
    description          TEXT,
    extra                TEXT,
    reference_dataset_id UUID,
    start_at             BIGINT  NOT NULL,
    end_at               BIGINT,
    last_seq             BIGINT  NOT NULL DEFAULT 0,
    settled_seq          BIGINT  NOT NULL DEFAULT 0,
    last_change_at       BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, project_id)
);
CREATE UNIQUE INDEX projects_by_name ON projects (tenant_id, name);
-- The scheduler asks for exactly these; idle projects are not in it.
CREATE INDEX projects_stirred ON projects (tenant_id, project_id) WHERE last_seq > settled_seq;

-- Every run whose project is known, complete or not. Says where a run is. Bodies come packed, and are not worth packing
-- again.
CREATE TABLE run_bodies (
    tenant_id  UUID NOT NULL,
    run_id     UUID NOT NULL,
    project_id UUID NOT NULL,
    body       BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, run_id)
);
ALTER TABLE run_bodies ALTER COLUMN body SET STORAGE EXTERNAL;

-- What pages and the scheduler look at, of complete runs.
CREATE TABLE runs (
    tenant_id     UUID    NOT NULL,
    project_id    UUID    NOT NULL,
    run_id        UUID    NOT NULL,
    trace_id      UUID    NOT NULL,
    parent_run_id UUID,
    name          TEXT    NOT NULL,
    run_type      TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    is_root       BOOLEAN NOT NULL,
    is_stray      BOOLEAN NOT NULL,
    start_at      BIGINT  NOT NULL,
    end_at        BIGINT,
    changed_seq   BIGINT  NOT NULL,
    modified_at   BIGINT  NOT NULL,
    PRIMARY KEY (tenant_id, project_id, run_id)
);
CREATE INDEX runs_by_start ON runs (tenant_id, project_id, start_at, run_id);
CREATE INDEX runs_by_trace ON runs (tenant_id, project_id, trace_id);
-- Children without a path, by the parent who can tell them: hardly any client leaves the path out.
CREATE INDEX runs_stray ON runs (tenant_id, parent_run_id) WHERE is_stray;

-- Patches of unknown runs that name no project, in the order of their arrival.
CREATE TABLE waiting_parts (
    position  BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant_id UUID   NOT NULL,
    run_id    UUID   NOT NULL,
    digest    BIGINT NOT NULL,
    part      BYTEA  NOT NULL,
    PRIMARY KEY (tenant_id, position)
);
CREATE UNIQUE INDEX waiting_parts_by_run ON waiting_parts (tenant_id, run_id, digest);

CREATE TABLE feedback (
    tenant_id   UUID   NOT NULL,
    feedback_id UUID   NOT NULL,
    run_id      UUID,
    project_id  UUID,
    key         TEXT   NOT NULL,
    source      TEXT,
    created_at  BIGINT NOT NULL,
    body        TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, feedback_id)
);
CREATE INDEX feedback_by_run ON feedback (tenant_id, run_id);
CREATE INDEX feedback_by_creation ON feedback (tenant_id, created_at, feedback_id);

CREATE TABLE changes (
    tenant_id  UUID   NOT NULL,
    project_id UUID   NOT NULL,
    seq        BIGINT NOT NULL,
    run_id     UUID   NOT NULL,
    trace_id   UUID   NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id, seq)
);

CREATE TABLE rules (
    tenant_id UUID NOT NULL,
    rule_id   UUID NOT NULL,
    key       TEXT NOT NULL,
    state     TEXT NOT NULL,
    rule      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, rule_id)
);
CREATE UNIQUE INDEX rules_by_key ON rules (tenant_id, key);

-- From which change on a rule looks at a project; a rule that is not here looks from the first.
CREATE TABLE rule_starts (
    tenant_id  UUID   NOT NULL,
    project_id UUID   NOT NULL,
    rule_id    UUID   NOT NULL,
    start_seq  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id, rule_id)
);

CREATE TABLE rule_spans (
    tenant_id   UUID   NOT NULL,
    project_id  UUID   NOT NULL,
    rule_id     UUID   NOT NULL,
    after_seq   BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id, rule_id, after_seq)
);

CREATE TABLE group_cursors (
    tenant_id  UUID   NOT NULL,
    project_id UUID   NOT NULL,
    cadence    TEXT   NOT NULL,
    settle_us  BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id, cadence, settle_us)
);

CREATE TABLE matches (
    tenant_id  UUID NOT NULL,
    rule_id    UUID NOT NULL,
    run_id     UUID NOT NULL,
    project_id UUID NOT NULL,
    PRIMARY KEY (tenant_id, rule_id, run_id)
);

-- Windows that found something.
CREATE TABLE windows (
    tenant_id   UUID   NOT NULL,
    window_id   UUID   NOT NULL,
    project_id  UUID   NOT NULL,
    progress    TEXT   NOT NULL,
    after_seq   BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    start_at    BIGINT NOT NULL,
    end_at      BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, window_id)
);

-- How many runs a window found for each rule.
CREATE TABLE window_finds (
    tenant_id  UUID   NOT NULL,
    rule_id    UUID   NOT NULL,
    end_at     BIGINT NOT NULL,
    window_id  UUID   NOT NULL,
    project_id UUID   NOT NULL,
    found      BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, rule_id, end_at, window_id)
);

CREATE TABLE messages (
    tenant_id  UUID   NOT NULL,
    message_id UUID   NOT NULL,
    rule_id    UUID   NOT NULL,
    window_id  UUID   NOT NULL,
    part       BIGINT NOT NULL,
    parts      BIGINT NOT NULL,
    runs       BIGINT NOT NULL,
    links      TEXT   NOT NULL,
    body       BYTEA   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, message_id)
);
ALTER TABLE messages ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE endpoints (
    tenant_id     UUID NOT NULL,
    endpoint_id   UUID NOT NULL,
    key           TEXT,
    rule_id       UUID,
    target_sealed BYTEA NOT NULL,
    shown         TEXT NOT NULL,
    format        TEXT NOT NULL,
    policy        TEXT NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id)
);
CREATE INDEX endpoints_by_id ON endpoints (endpoint_id);
CREATE UNIQUE INDEX endpoints_by_key ON endpoints (tenant_id, key) WHERE key IS NOT NULL;

-- state: 0 pending, 1 delivered, 2 failed. A delivery can be claimed from ready_at on: that is due_at, or the end of the
-- lease while someone holds it.
CREATE TABLE deliveries (
    tenant_id   UUID   NOT NULL,
    delivery_id UUID   NOT NULL,
    message_id  UUID   NOT NULL,
    endpoint_id UUID   NOT NULL,
    rule_id     UUID   NOT NULL,
    state       BIGINT NOT NULL,
    reason      TEXT,
    attempts    BIGINT NOT NULL,
    due_at      BIGINT NOT NULL,
    ready_at    BIGINT NOT NULL,
    holder      UUID,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (tenant_id, delivery_id)
);
CREATE INDEX deliveries_ready ON deliveries (ready_at, endpoint_id) WHERE state = 0;
CREATE INDEX deliveries_pending ON deliveries (delivery_id) WHERE state = 0;
CREATE INDEX deliveries_by_creation ON deliveries (tenant_id, created_at, delivery_id);
CREATE INDEX deliveries_by_rule ON deliveries (tenant_id, rule_id, created_at, delivery_id);

CREATE TABLE attempts (
    tenant_id   UUID   NOT NULL,
    delivery_id UUID   NOT NULL,
    number      BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    result      TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, delivery_id, number)
);

CREATE TABLE api_keys (
    tenant_id  UUID   NOT NULL,
    key_id     UUID   NOT NULL,
    name       TEXT   NOT NULL,
    hash       BYTEA   NOT NULL,
    prefix     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, key_id)
);
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);

CREATE TABLE markers (
    name  TEXT NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Numbers of the database as a whole: the version of the rules, and when a write was last proved possible.
CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('rules_version', 0), ('checked_at', 0);
