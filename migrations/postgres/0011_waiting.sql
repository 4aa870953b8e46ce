-- What waits, by where it goes: first what was never tried, then what was, each by when it can be claimed.
CREATE INDEX deliveries_waiting ON deliveries (endpoint_id, least(attempts, 1), ready_at) WHERE state = 0;
