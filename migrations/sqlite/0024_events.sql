-- The catalogue of events, and who subscribes to what. `body` is JSON and says all there is to say of a row.

CREATE TABLE event_types (
    tenant_id BLOB    NOT NULL,
    name      TEXT    NOT NULL,
    archived  BOOLEAN NOT NULL,
    body      TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, name)
) WITHOUT ROWID;

-- `number` is the order in which they were made.
CREATE TABLE applications (
    tenant_id      BLOB   NOT NULL,
    application_id BLOB   NOT NULL,
    uid            TEXT,
    number         BIGINT NOT NULL,
    body           TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, application_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX applications_by_uid ON applications (tenant_id, uid) WHERE uid IS NOT NULL;
CREATE UNIQUE INDEX applications_by_number ON applications (tenant_id, number);

-- What an endpoint hears of. The nil application is the tenant as a whole.
CREATE TABLE subscriptions (
    tenant_id      BLOB   NOT NULL,
    endpoint_id    BLOB   NOT NULL,
    application_id BLOB   NOT NULL,
    uid            TEXT,
    number         BIGINT NOT NULL,
    body           TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX subscriptions_by_uid ON subscriptions (tenant_id, application_id, uid) WHERE uid IS NOT NULL;
CREATE UNIQUE INDEX subscriptions_by_number ON subscriptions (tenant_id, application_id, number);

-- The same by type; the empty type is every type of the application.
CREATE TABLE subscribed_types (
    tenant_id      BLOB NOT NULL,
    endpoint_id    BLOB NOT NULL,
    event_type     TEXT NOT NULL,
    application_id BLOB NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id, event_type)
) WITHOUT ROWID;
CREATE INDEX subscribed_types_by_type ON subscribed_types (tenant_id, event_type, application_id, endpoint_id);

-- What messages are events of.
CREATE TABLE events (
    tenant_id      BLOB   NOT NULL,
    message_id     BLOB   NOT NULL,
    application_id BLOB   NOT NULL,
    event_type     TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    body           TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, message_id)
) WITHOUT ROWID;
CREATE INDEX events_by_application ON events (tenant_id, application_id, created_at, message_id);
CREATE INDEX events_by_type ON events (tenant_id, application_id, event_type, created_at, message_id);
CREATE INDEX events_by_age ON events (created_at);

-- What a message tells of, where it is not that a rule matched.
ALTER TABLE messages ADD COLUMN event_type TEXT;

-- Where attempts were made, for endpoints that subscribe: their attempts are listed.
ALTER TABLE attempts ADD COLUMN endpoint_id BLOB;
CREATE INDEX attempts_by_endpoint ON attempts (tenant_id, endpoint_id, started_at, delivery_id, number)
    WHERE endpoint_id IS NOT NULL;

INSERT INTO counters (name, value) VALUES ('numbered', 0);
