-- Keys start with the tenant. Ids are 16-byte blobs, instants (*_at) microseconds since the epoch, JSON that must come
-- back byte for byte is text or, packed, a blob. Columns named *_sealed hold ciphertext only. There are no foreign keys:
-- each operation of the store is one transaction that keeps the rows in step.

CREATE TABLE projects (
    tenant_id            BLOB    NOT NULL,
    project_id           BLOB    NOT NULL,
    name                 TEXT    NOT NULL,
    description          TEXT,
    extra                TEXT,
    reference_dataset_id BLOB,
    start_at             BIGINT  NOT NULL,
    end_at               BIGINT,
    last_seq             BIGINT  NOT NULL DEFAULT 0,
    settled_seq          BIGINT  NOT NULL DEFAULT 0,
    last_change_at       BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, project_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX projects_by_name ON projects (tenant_id, name);
-- The scheduler asks for exactly these; idle projects are not in it.
CREATE INDEX projects_stirred ON projects (tenant_id, project_id) WHERE last_seq > settled_seq;

-- Every run whose project is known, complete or not. Says where a run is. Tables of large rows keep their rowid: new rows
-- are appended, and the tree that is searched by key stays small.
CREATE TABLE run_bodies (
    tenant_id  BLOB NOT NULL,
    run_id     BLOB NOT NULL,
    project_id BLOB NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (tenant_id, run_id)
);

-- What pages and the scheduler look at, of complete runs.
CREATE TABLE runs (
    tenant_id     BLOB    NOT NULL,
    project_id    BLOB    NOT NULL,
    run_id        BLOB    NOT NULL,
    trace_id      BLOB    NOT NULL,
    parent_run_id BLOB,
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
) WITHOUT ROWID;
CREATE INDEX runs_by_start ON runs (tenant_id, project_id, start_at, run_id);
CREATE INDEX runs_by_trace ON runs (tenant_id, project_id, trace_id);
-- Children without a path, by the parent who can tell them: hardly any client leaves the path out.
CREATE INDEX runs_stray ON runs (tenant_id, parent_run_id) WHERE is_stray;

-- Patches of unknown runs that name no project, in the order of their arrival.
CREATE TABLE waiting_parts (
    position  INTEGER PRIMARY KEY,
    tenant_id BLOB   NOT NULL,
    run_id    BLOB   NOT NULL,
    digest    BIGINT NOT NULL,
    part      BLOB   NOT NULL
);
CREATE UNIQUE INDEX waiting_parts_by_run ON waiting_parts (tenant_id, run_id, digest);

CREATE TABLE feedback (
    tenant_id   BLOB   NOT NULL,
    feedback_id BLOB   NOT NULL,
    run_id      BLOB,
    project_id  BLOB,
    key         TEXT   NOT NULL,
    source      TEXT,
    created_at  BIGINT NOT NULL,
    body        TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, feedback_id)
) WITHOUT ROWID;
CREATE INDEX feedback_by_run ON feedback (tenant_id, run_id);
CREATE INDEX feedback_by_creation ON feedback (tenant_id, created_at, feedback_id);

CREATE TABLE changes (
    tenant_id  BLOB   NOT NULL,
    project_id BLOB   NOT NULL,
    seq        BIGINT NOT NULL,
    run_id     BLOB   NOT NULL,
    trace_id   BLOB   NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id, seq)
) WITHOUT ROWID;

CREATE TABLE rules (
    tenant_id BLOB NOT NULL,
    rule_id   BLOB NOT NULL,
    key       TEXT NOT NULL,
    state     TEXT NOT NULL,
    rule      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, rule_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX rules_by_key ON rules (tenant_id, key);

-- From which change on a rule looks at a project; a rule that is not here looks from the first.
CREATE TABLE rule_starts (
    tenant_id  BLOB   NOT NULL,
    project_id BLOB   NOT NULL,
    rule_id    BLOB   NOT NULL,
    start_seq  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id, rule_id)
) WITHOUT ROWID;

CREATE TABLE rule_spans (
    tenant_id   BLOB   NOT NULL,
    project_id  BLOB   NOT NULL,
    rule_id     BLOB   NOT NULL,
    after_seq   BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id, rule_id, after_seq)
) WITHOUT ROWID;

CREATE TABLE group_cursors (
    tenant_id  BLOB   NOT NULL,
    project_id BLOB   NOT NULL,
    cadence    TEXT   NOT NULL,
    settle_us  BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, project_id, cadence, settle_us)
) WITHOUT ROWID;

CREATE TABLE matches (
    tenant_id  BLOB NOT NULL,
    rule_id    BLOB NOT NULL,
    run_id     BLOB NOT NULL,
    project_id BLOB NOT NULL,
    PRIMARY KEY (tenant_id, rule_id, run_id)
) WITHOUT ROWID;

-- Windows that found something.
CREATE TABLE windows (
    tenant_id   BLOB   NOT NULL,
    window_id   BLOB   NOT NULL,
    project_id  BLOB   NOT NULL,
    progress    TEXT   NOT NULL,
    after_seq   BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    start_at    BIGINT NOT NULL,
    end_at      BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, window_id)
) WITHOUT ROWID;

-- How many runs a window found for each rule.
CREATE TABLE window_finds (
    tenant_id  BLOB   NOT NULL,
    rule_id    BLOB   NOT NULL,
    end_at     BIGINT NOT NULL,
    window_id  BLOB   NOT NULL,
    project_id BLOB   NOT NULL,
    found      BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, rule_id, end_at, window_id)
) WITHOUT ROWID;

CREATE TABLE messages (
    tenant_id  BLOB   NOT NULL,
    message_id BLOB   NOT NULL,
    rule_id    BLOB   NOT NULL,
    window_id  BLOB   NOT NULL,
    part       BIGINT NOT NULL,
    parts      BIGINT NOT NULL,
    runs       BIGINT NOT NULL,
    links      TEXT   NOT NULL,
    body       BLOB   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, message_id)
);

CREATE TABLE endpoints (
    tenant_id     BLOB NOT NULL,
    endpoint_id   BLOB NOT NULL,
    key           TEXT,
    rule_id       BLOB,
    target_sealed BLOB NOT NULL,
    shown         TEXT NOT NULL,
    format        TEXT NOT NULL,
    policy        TEXT NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX endpoints_by_id ON endpoints (endpoint_id);
CREATE UNIQUE INDEX endpoints_by_key ON endpoints (tenant_id, key) WHERE key IS NOT NULL;

-- state: 0 pending, 1 delivered, 2 failed. A delivery can be claimed from ready_at on: that is due_at, or the end of the
-- lease while someone holds it.
CREATE TABLE deliveries (
    tenant_id   BLOB   NOT NULL,
    delivery_id BLOB   NOT NULL,
    message_id  BLOB   NOT NULL,
    endpoint_id BLOB   NOT NULL,
    rule_id     BLOB   NOT NULL,
    state       BIGINT NOT NULL,
    reason      TEXT,
    attempts    BIGINT NOT NULL,
    due_at      BIGINT NOT NULL,
    ready_at    BIGINT NOT NULL,
    holder      BLOB,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (tenant_id, delivery_id)
) WITHOUT ROWID;
-- A partial index serves only queries that hold its condition word for word: `state = 0`.
CREATE INDEX deliveries_ready ON deliveries (ready_at, endpoint_id) WHERE state = 0;
CREATE INDEX deliveries_pending ON deliveries (delivery_id) WHERE state = 0;
CREATE INDEX deliveries_by_creation ON deliveries (tenant_id, created_at, delivery_id);
CREATE INDEX deliveries_by_rule ON deliveries (tenant_id, rule_id, created_at, delivery_id);

CREATE TABLE attempts (
    tenant_id   BLOB   NOT NULL,
    delivery_id BLOB   NOT NULL,
    number      BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    result      TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, delivery_id, number)
) WITHOUT ROWID;

CREATE TABLE api_keys (
    tenant_id  BLOB   NOT NULL,
    key_id     BLOB   NOT NULL,
    name       TEXT   NOT NULL,
    hash       BLOB   NOT NULL,
    prefix     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, key_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);

CREATE TABLE markers (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Numbers of the database as a whole: the version of the rules, and when a write was last proved possible.
CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('rules_version', 0), ('checked_at', 0);
