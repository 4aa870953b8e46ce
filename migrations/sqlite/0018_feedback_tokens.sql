-- Presigned tokens: whoever holds one may give feedback under its key on its run until it expires. `body` is all of it.
CREATE TABLE feedback_tokens (
    tenant_id  BLOB   NOT NULL,
    token_id   BLOB   NOT NULL,
    run_id     BLOB   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, token_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX feedback_tokens_by_id ON feedback_tokens (token_id);
CREATE INDEX feedback_tokens_by_run ON feedback_tokens (tenant_id, run_id, created_at, token_id);
CREATE INDEX feedback_tokens_by_expiry ON feedback_tokens (expires_at);
