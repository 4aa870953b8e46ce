-- Deliveries by where they went, and those that failed in the order of their ends: by themselves, at one endpoint, of one
-- rule. A partial index serves only queries that hold its condition word for word: `state = 2`.
CREATE INDEX deliveries_by_endpoint ON deliveries (tenant_id, endpoint_id, created_at, delivery_id);
CREATE INDEX deliveries_failed ON deliveries (tenant_id, finished_at, delivery_id) WHERE state = 2;
CREATE INDEX deliveries_failed_by_endpoint ON deliveries (tenant_id, endpoint_id, finished_at, delivery_id)
    WHERE state = 2;
CREATE INDEX deliveries_failed_by_rule ON deliveries (tenant_id, rule_id, finished_at, delivery_id) WHERE state = 2;
