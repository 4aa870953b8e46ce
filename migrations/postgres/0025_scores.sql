-- Feedback by its score, as searches ask for it. The score is read from the record itself, so that it is right whichever
-- version wrote it.
CREATE INDEX feedback_by_score ON feedback (tenant_id, key, CAST(replace(replace(nullif(substring(body from
    '"score":(null|true|false|-?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)'), 'null'), 'true', '1'), 'false', '0')
    AS double precision), run_id) WHERE run_id IS NOT NULL;
