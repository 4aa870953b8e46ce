-- Alerts: `alert` is what one watches and whom it tells, `standing` is how it stands and what it has counted so far; both
-- JSON. An alert is looked at when its project has changes it has not seen, or it is restless: its answer may change
-- without them. `version` rises with every edit and every evaluation.
CREATE TABLE alerts (
    tenant_id    UUID   NOT NULL,
    alert_id     UUID   NOT NULL,
    project_id   UUID   NOT NULL,
    created_at   BIGINT NOT NULL,
    version      BIGINT NOT NULL,
    evaluated_at BIGINT NOT NULL,
    seen_seq     BIGINT NOT NULL,
    restless     BIGINT NOT NULL,
    alert        TEXT   NOT NULL,
    standing     TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, alert_id)
);
CREATE INDEX alerts_by_project ON alerts (tenant_id, project_id);

-- The alert an endpoint is written in.
ALTER TABLE endpoints ADD COLUMN alert_id UUID;

-- What `rule_id` is the id of: a rule where nothing is said. A message that no window made has the nil id for its window.
ALTER TABLE messages ADD COLUMN source TEXT;
ALTER TABLE deliveries ADD COLUMN source TEXT;
