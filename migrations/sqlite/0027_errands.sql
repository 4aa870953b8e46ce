-- What was asked for of many deliveries at once, and is done: Svix's clients ask for it by its id.
CREATE TABLE errands (
    tenant_id  BLOB   NOT NULL,
    errand_id  BLOB   NOT NULL,
    number     BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    deliveries BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, errand_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX errands_by_number ON errands (tenant_id, number);
