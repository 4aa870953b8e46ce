-- Who did what the scope `manage` is for. Written with the act; a wipe leaves it, age does not.
CREATE TABLE audit_log (
    tenant_id  BLOB   NOT NULL,
    entry_id   BLOB   NOT NULL,
    at         BIGINT NOT NULL,
    actor      TEXT   NOT NULL,
    actor_id   BLOB,
    actor_name TEXT,
    address    TEXT,
    action     TEXT   NOT NULL,
    object     TEXT   NOT NULL,
    object_id  BLOB,
    request_id TEXT,
    detail     TEXT,
    PRIMARY KEY (tenant_id, at, entry_id)
) WITHOUT ROWID;
CREATE INDEX audit_log_by_age ON audit_log (at);
