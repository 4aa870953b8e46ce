-- What waits, by where it goes: first what was never tried, then what was, each by when it can be claimed. Like every
-- partial index, it serves only queries that hold its condition word for word, and here its expression too.
CREATE INDEX deliveries_waiting ON deliveries (endpoint_id, min(attempts, 1), ready_at) WHERE state = 0;
